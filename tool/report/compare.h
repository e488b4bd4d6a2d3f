// What changed between an earlier JSON report and a new inspection. Findings are matched by
// environment and fingerprint (report/fingerprint.h), never by their text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "diagnose/diagnose.h"

namespace ssmend {

struct ComparedFinding {
  std::string environment;
  std::string fingerprint;
  std::string code;
  std::string severity;
  std::string title;
  bool operator<(const ComparedFinding& other) const {
    return std::tie(environment, fingerprint) < std::tie(other.environment, other.fingerprint);
  }
};

struct Comparison {
  std::vector<ComparedFinding> appeared;
  std::vector<ComparedFinding> gone;
  std::vector<ComparedFinding> stayed;  // as they are now
  [[nodiscard]] size_t new_errors() const;
};

// `old_json` is what `--json` wrote (schema ssmend/inspection/1); an error where it is not.
Result<Comparison> compare_with(std::string_view old_json,
                                const std::vector<Inspection>& inspections);

std::string render_comparison(const Comparison& comparison);
std::string render_comparison_json(const Comparison& comparison);

}  // namespace ssmend
