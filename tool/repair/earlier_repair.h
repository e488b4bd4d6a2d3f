// Undoing what an earlier repair by other hands has done: start-up hooks and stubs are moved aside,
// and a file that was patched in part, or damaged, gets its original back where that can be proved:
// a copy beside it, or in a copy of the package's folder, that has the hash in the package's RECORD
// (PEP 376), or, where RECORD has none, the content of a release that a rule set knows.
#pragma once

#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "patch/patch.h"
#include "patch/rules.h"
#include "repair/plan.h"

namespace ssmend {

// One action that moves hooks and stubs aside; without changes where there are none. What may not
// be touched goes to `refusals`.
Action move_earlier_repairs(const Inspection& inspection, std::vector<std::string>& refusals);

// `patches`: what the rules say of every file. One that they cannot mend, for somebody has changed
// it, becomes the change to its original, with the rules applied to that; where there is no
// original, `refusals` says what to reinstall.
void start_from_originals(const Disk& disk, const Environment& environment,
                          const std::vector<RuleSet>& rules, const PatchFacts& facts,
                          std::vector<FilePatch>& patches, std::vector<std::string>& refusals);

}  // namespace ssmend
