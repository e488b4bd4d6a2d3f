#include "verify/native_check.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "fmt/format.h"

namespace ssmend {
namespace {

std::string number_text(double value) { return fmt::format("{:.6g}", value); }

std::vector<int64_t> index_of(size_t flat, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> index(sizes.size());
  auto rest = static_cast<int64_t>(flat);
  for (size_t i = sizes.size(); i-- > 0;) {
    index[i] = rest % sizes[i];
    rest /= sizes[i];
  }
  return index;
}

NativeResult run_case(NativeSession& session, const NativeCase& native_case) {
  NativeResult result;
  CheckOutcome& outcome = result.outcome;
  outcome.component = "native";
  outcome.name = native_case.name + " " + native_case.case_text;
  outcome.case_text = native_case.case_text;
  outcome.compared = "the kernel's results on the GPU with a double-precision reference";
  outcome.state = CheckOutcome::State::kOk;
  NativeComparison comparison(&outcome);
  native_case.run(session, comparison);
  if (!session.error().empty()) {
    outcome.state = CheckOutcome::State::kFailed;
    outcome.reason = session.error();
  }
  outcome.seconds = comparison.seconds();
  if (comparison.seconds() > 0) result.bytes_per_second = comparison.bytes() / comparison.seconds();
  session.clear_error();
  session.release_tensors();
  if (outcome.state == CheckOutcome::State::kWrong) {
    outcome.remedies = native_remedies(session.gpu(), native_case.name);
  }
  return result;
}

}  // namespace

std::vector<std::string> native_operations() {
  return {"conv1d fwd", "conv1d bwd", "conv1d update", "scan fwd", "scan bwd", "scan update"};
}

std::vector<NativeCase> native_cases() {
  std::vector<NativeCase> cases = conv1d_native_cases();
  for (const auto& more : {scan_native_cases(), update_native_cases()}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  return cases;
}

bool serves(const std::string& unit, const std::string& operation) {
  const auto begins = [&](const char* text) { return unit.rfind(text, 0) == 0; };
  if (operation == "conv1d fwd") return begins("conv1d_forward");
  if (operation == "conv1d bwd") return begins("conv1d_backward");
  if (operation == "conv1d update") return begins("conv1d_update");
  const bool one_step = unit == "scan_update" || unit == "scan_step";
  if (operation == "scan update") return one_step;
  if (!begins("scan_") || one_step) return false;
  // The backward pass runs the forward recurrence first.
  return operation == "scan bwd" ||
         (unit != "scan_gradient" && unit != "scan_both_ends" && unit != "scan_finish" &&
          unit.find("backward") == std::string::npos);
}

std::vector<std::string> native_remedies(const NativeGpu& gpu, const std::string& operation) {
  std::vector<std::string> remedies;
  std::vector<std::string> others;
  bool local = false;
  for (const NativeImage& image : gpu.images) {
    if (!serves(image.unit, operation)) continue;
    local = local || image.local;
    for (const std::string& other : image.others) {
      if (std::find(others.begin(), others.end(), other) == others.end()) others.push_back(other);
    }
  }
  if (local) {
    remedies.push_back(
        "the image that ran was built on this machine: move local_images.pack beside the library "
        "away, or build it again with `ssmend kernels build`");
  }
  for (const std::string& other : others) {
    remedies.push_back(fmt::format(
        "`SSM_KERNELS_IMAGE={} ssmend verify --native --operation \"{}\"` tries another "
        "image; where that one is right, the variable serves the packages too",
        other, operation));
  }
  if (others.empty()) remedies.push_back("this library has no other image that this GPU runs");
  remedies.push_back("`ssmend undo` takes back an installed kernel library");
  return remedies;
}

void NativeComparison::compare(const std::string& part, const std::vector<double>& got,
                               const std::vector<double>& expected,
                               const std::vector<int64_t>& sizes, double relative,
                               double absolute) {
  if (got.size() != expected.size()) {
    // The session failed on the way; its error says why.
    outcome_->state = CheckOutcome::State::kFailed;
    return;
  }
  uint64_t bad = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(got[i] - expected[i]);
    const double limit = relative * std::fabs(expected[i]) + absolute;
    const bool right = error <= limit;  // false for a NaN
    const double ratio = limit > 0 && !std::isnan(error) ? error / limit
                         : right                         ? 0
                                                         : std::numeric_limits<double>::infinity();
    if (ratio > worst_ratio_) {
      worst_ratio_ = ratio;
      // A NaN or an infinity is no number to show: the first bad element shows it.
      outcome_->error = std::isfinite(error) ? std::optional<double>(error) : std::nullopt;
      outcome_->limit = limit;
    }
    if (right) continue;
    if (bad++ == 0 && outcome_->state != CheckOutcome::State::kWrong) {
      outcome_->part = run_ == 1 ? part : fmt::format("{} (run {} of the same input)", part, run_);
      outcome_->index = index_of(i, sizes);
      outcome_->found = number_text(got[i]);
      outcome_->expected = number_text(expected[i]);
    }
  }
  outcome_->all_elements += expected.size();
  if (bad == 0) return;
  outcome_->bad_elements += bad;
  outcome_->wrong_parts.push_back(part);
  outcome_->state = CheckOutcome::State::kWrong;
}

void run_and_compare(NativeSession& session, NativeComparison& comparison,
                     const std::vector<NativeOutput>& outputs, const std::function<void()>& call) {
  std::vector<std::vector<unsigned char>> first;
  for (int run = 1; run <= kNativeRuns && comparison.right_so_far(); ++run) {
    comparison.begin_run(run);
    for (const NativeOutput& output : outputs) {
      if (output.added_to) {
        session.clear(output.tensor);
      } else {
        session.poison(output.tensor);
      }
    }
    call();
    for (size_t i = 0; i < outputs.size(); ++i) {
      const NativeOutput& output = outputs[i];
      std::vector<unsigned char> bytes = session.download_bytes(output.tensor);
      if (run > 1 && !bytes.empty() && bytes == first[i]) continue;
      comparison.compare(output.part, values_of(output.tensor, bytes), output.expected,
                         output.sizes, output.relative, output.absolute);
      if (run == 1) first.push_back(std::move(bytes));
    }
  }
}

double relative_limit(int dtype) {
  constexpr double kSum = 4e-6;
  if (dtype == SSM_FLOAT16) return std::ldexp(1.0, -11) + kSum;
  if (dtype == SSM_BFLOAT16) return std::ldexp(1.0, -8) + kSum;
  return kSum;
}

std::vector<double> random_values(std::mt19937* generator, int64_t count, int dtype) {
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) value = normal(*generator);
  return rounded_to(dtype, std::move(values));
}

NativeReport run_native_check(const std::string& library_path, const std::string& operation) {
  NativeReport report;
  NativeSession::Opened opened = NativeSession::Opened::kNoGpu;
  const std::unique_ptr<NativeSession> session =
      NativeSession::open(library_path, &opened, &report.reason);
  if (session == nullptr) {
    report.state = opened == NativeSession::Opened::kNoLibrary ? NativeReport::State::kNoLibrary
                                                               : NativeReport::State::kNoGpu;
    return report;
  }
  report.state = NativeReport::State::kChecked;
  report.gpu = session->gpu();
  for (const NativeCase& native_case : native_cases()) {
    if (!operation.empty() && native_case.name != operation) continue;
    report.results.push_back(run_case(*session, native_case));
  }
  return report;
}

}  // namespace ssmend
