// What the installed packages compute: scripts of recipes/checks run by the target's own
// interpreter, one process each, so that a crash costs one script and is told with its last step.
// Most of what a script takes is torch's own import, so some run side by side; those that compute
// on the GPU run after the others, and not at all where these found that there is none.
// Only here is the target's code run. recipes/checks/check.py says what the scripts write.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/process.h"
#include "base/result.h"
#include "environment/environment.h"
#include "verify/check_outcome.h"

namespace ssmend {

// One row of recipes/checks/checks.json.
struct CheckScript {
  std::string component;
  std::string file;  // absolute path
  std::vector<std::string> arguments;
  std::vector<std::string> modules;  // without one of these there is nothing to check
  std::string checkout;  // not empty: takes this checkout's folder ("yolo") as its last argument
  double timeout_seconds = 300;
  bool needs_gpu = false;  // has nothing to say where torch sees no GPU
};

// `directory` is on the running system: ssmend's own recipes/checks.
Result<std::vector<CheckScript>> load_check_scripts(const Disk& disk, const std::string& directory);

// The component names in the order of the table, each once.
std::vector<std::string> component_names(const std::vector<CheckScript>& scripts);

struct PackageCheckRequest {
  std::vector<std::string> components;           // empty: all of them
  std::map<std::string, std::string> checkouts;  // folders by the option's name: --yolo, --vmamba
  std::string device = "cuda";  // torch device type; "cpu" for a binary made for the CPU
  double timeout_seconds = 0;   // of one script; 0: the table's
  size_t at_a_time = 1;         // scripts side by side; `process` is used by as many threads
  // Told of every step before it runs, by one thread at a time; may be empty.
  std::function<void(const std::string& component, const std::string& step)> on_step;
};

std::vector<CheckOutcome> check_packages(Process& process, const Disk& disk,
                                         const Environment& environment,
                                         const std::vector<CheckScript>& scripts,
                                         const PackageCheckRequest& request);

// Reads what one script wrote, as far as it came; exposed for tests. `result` says how it ended.
std::vector<CheckOutcome> read_check_output(const std::string& component,
                                            const ProcessResult& result);

}  // namespace ssmend
