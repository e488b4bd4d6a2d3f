// Rendering of what verify found: one line a check that is right, a block for one that is not. A
// check that could not run is told as "not checked" with the reason, and never counted as right.
#pragma once

#include <string>
#include <vector>

#include "report/report.h"
#include "verify/check_outcome.h"

namespace ssmend {

struct Verification {
  std::string environment;          // prefix of the environment whose packages ran; empty: none
  std::vector<std::string> device;  // "GPU: NVIDIA H100, sm_90", "driver: 580.159.04", ...
  std::vector<CheckOutcome> outcomes;
  double seconds = 0;
};

size_t count_outcomes(const std::vector<CheckOutcome>& outcomes, CheckOutcome::State state);

std::string render_outcome(const CheckOutcome& outcome, const TextStyle& style);
std::string render_verification(const Verification& verification, const TextStyle& style);
// report/schemas/verification.schema.json describes it.
std::string render_verification_json(const Verification& verification);
// One test suite a component; a wrong or failed check is a failure, one not checked is skipped.
std::string render_verification_junit(const Verification& verification);

}  // namespace ssmend
