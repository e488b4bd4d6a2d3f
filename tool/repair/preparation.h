// The first step of an application: every change of a plan checked against the scope, and what is
// there now read into the journal. Nothing is written.
#pragma once

#include <vector>

#include "repair/plan.h"
#include "repair/state.h"

namespace ssmend {

struct PreparedChange {  // one entry of the journal with what is needed to carry it out
  JournalEntry entry;
  const FileChange* source = nullptr;  // null for directories and bytecode
  FileState before;
};

struct PreparedPlan {
  Journal journal;
  std::vector<PreparedChange> changes;
};

// `plan` must outlive the result. A file that does not exist and is to go is left out.
Result<PreparedPlan> prepare_plan(const Disk& disk, const RepairScope& scope, const Plan& plan);

}  // namespace ssmend
