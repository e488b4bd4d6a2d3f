// What makes a finding "the same finding" in two runs: its code, its subject and where it lies
// relative to the import directory. Line numbers, versions, times and the environment's own path
// are left out, so that the same defect in another checkout or after an unrelated edit keeps its
// name. SARIF 2.1.0, 3.27.17 (partialFingerprints), wants exactly that.
#pragma once

#include <string>
#include <vector>

#include "diagnose/diagnose.h"

namespace ssmend {

// One for each finding of the inspection, in order: 32 hex digits. Where one run has several
// findings that are alike, the second and later ones differ by their rank.
std::vector<std::string> finding_fingerprints(const Inspection& inspection);

// Where a finding lies, for formats that want one place.
struct Place {
  std::string absolute;  // empty where the finding is about no file
  std::string relative;  // to its import directory, else equal to `absolute`
  int line = 0;
};
Place place_of(const Inspection& inspection, const Finding& finding);

}  // namespace ssmend
