// Running another program: an argument vector, never a shell; output captured with a limit and a
// timeout. The second virtual interface, so that tests can answer for a program that is not there.
// Only tool/verify runs anything of the target.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ssmend {

struct ProcessRequest {
  std::vector<std::string> argv;               // argv[0] is the program's path; no PATH search
  std::vector<std::string> extra_environment;  // "NAME=value", added to the inherited environment
  std::vector<std::string> unset_environment;  // names removed from it
  std::string standard_input;
  double timeout_seconds = 60;
  uint64_t output_limit_bytes = uint64_t{16} << 20;  // of each stream; what is beyond is dropped
  // Called with every complete line of standard output as it arrives; may be empty.
  std::function<void(std::string_view line)> on_line;
};

struct ProcessResult {
  int exit_code = -1;  // -1 where a signal ended it
  int signal = 0;
  bool timed_out = false;
  std::string standard_output;
  std::string standard_error;
  double seconds = 0;
};

class Process {
 public:
  virtual ~Process() = default;
  // An error only where the program could not be started at all.
  virtual Result<ProcessResult> run(const ProcessRequest& request) = 0;
};

std::unique_ptr<Process> open_system_process();

}  // namespace ssmend
