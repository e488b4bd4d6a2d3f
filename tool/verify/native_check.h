// The native check: every operation of libssm_kernels.so at small shapes on the GPU, each type and
// layout, compared with the double-precision references of kernels/. Runs no Python and no code of
// the target but the library.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "verify/check_outcome.h"
#include "verify/native_gpu.h"

namespace ssmend {

// How often an operation is run on the same inputs, its outputs poisoned before each run: a race
// between its threads need not show in the first.
inline constexpr int kNativeRuns = 4;

// Collects one check's comparisons into its outcome. An element is right where
// |got - expected| <= relative * |expected| + absolute; a NaN never is. The outcome's error and
// limit are those of one element: of all, the one whose error is the largest part of its limit.
class NativeComparison {
 public:
  explicit NativeComparison(CheckOutcome* outcome) : outcome_(outcome) {}
  void compare(const std::string& part, const std::vector<double>& got,
               const std::vector<double>& expected, const std::vector<int64_t>& sizes,
               double relative, double absolute);
  // From here on the parts are of the run of this number, counted from 1.
  void begin_run(int run) { run_ = run; }
  // Nothing was wrong so far: another run may still show something.
  [[nodiscard]] bool right_so_far() const { return outcome_->state == CheckOutcome::State::kOk; }
  // What the operation must at least read and write, for the rate.
  void set_work(double seconds, double bytes) {
    seconds_ = seconds;
    bytes_ = bytes;
  }
  [[nodiscard]] double seconds() const { return seconds_; }
  [[nodiscard]] double bytes() const { return bytes_; }

 private:
  CheckOutcome* outcome_;
  int run_ = 1;
  double worst_ratio_ = -1;  // of error to limit; infinite for a NaN
  double seconds_ = 0;
  double bytes_ = 0;
};

// One output of an operation that is run several times.
struct NativeOutput {
  const char* part;
  ssm_tensor tensor;
  std::vector<double> expected;
  std::vector<int64_t> sizes;
  double relative, absolute;
  bool added_to = false;  // by the operation: cleared before each run, where others are poisoned
};

// Runs `call` on poisoned outputs, and compares them, until one is wrong. Bytes that are those of
// the first run need no second look.
void run_and_compare(NativeSession& session, NativeComparison& comparison,
                     const std::vector<NativeOutput>& outputs, const std::function<void()>& call);

struct NativeCase {
  std::string name;       // "conv1d fwd"
  std::string case_text;  // "bfloat16, 2x64x151, width 4, silu, rows"
  std::function<void(NativeSession& session, NativeComparison& comparison)> run;
};

struct NativeResult {
  CheckOutcome outcome;         // component "native"; seconds: of one call on the GPU
  double bytes_per_second = 0;  // least traffic over that time; 0 where not timed
};

struct NativeReport {
  enum class State { kChecked, kNoGpu, kNoLibrary };
  State state = State::kNoGpu;
  std::string reason;  // of the latter two
  NativeGpu gpu;
  std::vector<NativeResult> results;
};

// Half a unit in the last place of the type, and a float32 sum's error on top.
double relative_limit(int dtype);
std::vector<double> random_values(std::mt19937* generator, int64_t count, int dtype);

std::vector<NativeCase> conv1d_native_cases();
std::vector<NativeCase> scan_native_cases();    // native_scan.cc
std::vector<NativeCase> update_native_cases();  // native_update.cc
std::vector<NativeCase> native_cases();         // all of them, in this order

// The names that cases have: "conv1d fwd", "scan update", ...
std::vector<std::string> native_operations();

// Whether a kernel of this unit may run in that operation.
bool serves(const std::string& unit, const std::string& operation);

// What to try where an operation gave wrong numbers: which image ran, and what else the GPU runs.
std::vector<std::string> native_remedies(const NativeGpu& gpu, const std::string& operation);

// `library_path` is the libssm_kernels.so to check; `operation`: only this one, empty: all.
NativeReport run_native_check(const std::string& library_path, const std::string& operation);

}  // namespace ssmend
