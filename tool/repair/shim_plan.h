// Where a SONAME shim (repair/soname_shim.h) may cure a missing library: the loader looked at a
// path inside the environment that can be written, and another library of torch has the symbols.
#pragma once

#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "repair/plan.h"
#include "repair/state.h"

namespace ssmend {

struct ShimCandidate {
  std::string module;  // that it would make load
  std::string soname;
  Action action;
};

// At most one for each module. Whether it works is for the simulation to say.
std::vector<ShimCandidate> shim_candidates(const Disk& disk, const Inspection& inspection,
                                           const RepairScope& scope);

}  // namespace ssmend
