// One check that was run, or could not be, whoever ran it: the native check of the kernel library
// or a script in the target's interpreter. Errors are relative to the largest reference value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ssmend {

struct CheckOutcome {
  // kWrong: it computed, and the numbers are not right. kFailed: an exception, a crash, a timeout.
  // kNotChecked: something that it needs is not there; never counted as right.
  enum class State { kOk, kWrong, kFailed, kNotChecked };

  std::string component;  // "native", "mamba"
  std::string name;       // "Mamba float16 forward and backward"
  State state = State::kFailed;
  std::string compared;         // what was compared with what, for which case
  std::string reason;           // of kFailed and kNotChecked
  bool gpu_is_missing = false;  // kNotChecked for want of a GPU
  std::optional<double>
      error;  // worst of the check; empty where it is no number, or none was taken
  std::optional<double> limit;
  double seconds = 0;
  std::string rate;  // "2740 GB/s"; empty where it was not taken

  // Of kWrong: the case, and where its first bad element lies.
  std::string case_text;  // "float16, 2x151x64"
  std::string part;       // "d conv1d.weight"
  std::vector<int64_t> index;
  std::string found;  // the number as text, so that a NaN can be said
  std::string expected;
  uint64_t bad_elements = 0;
  uint64_t all_elements = 0;
  std::vector<std::string> wrong_parts;
  std::vector<std::string> remedies;  // what to try, one sentence each
};

const char* check_state_name(CheckOutcome::State state);  // "ok", "wrong", "failed", "not-checked"

}  // namespace ssmend
