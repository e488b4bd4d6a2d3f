// Applying a plan so that a kill or a full disk at any instant leaves the old or the new
// environment, and giving it back. The only writer of ssmend; repair/journal.h explains the
// journal.
//
// Order of an application, each step on the disk before the next:
//   1. old files linked into the journal, new content staged there   tree untouched
//   2. journal.json                                                  tree untouched
//   3. directories, renames into place, removals                     old until undone, see below
//   4. committed                                                     new
// An application that stopped before 4 is rolled back by the next run, exactly as undo would.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repair/plan.h"
#include "repair/state.h"

namespace ssmend {

struct ApplyOptions {
  std::string ssmend_version;
  std::string recipe;
  // SOURCE_DATE_EPOCH: the time of everything written, so that an image layer is reproducible.
  std::optional<int64_t> source_date_epoch;
};

struct ApplyReport {
  size_t files_written = 0;
  size_t files_removed = 0;
  size_t directories_made = 0;
  std::vector<std::string> notes;  // "x.py: now belongs to user 1000, was 0: no right to keep that"
};

// The caller holds the lock and has recovered. After an error nothing is changed; where giving back
// failed too, the error says so and the next run finishes it.
Result<ApplyReport> apply_plan(Disk& disk, const RepairScope& scope, const Plan& plan,
                               const ApplyOptions& options);

struct UndoReport {
  size_t transactions = 0;
  size_t files_given_back = 0;
  size_t files_removed = 0;
  std::vector<std::string> left;  // "PATH: changed since, left as it is"
};

// Every repair of the scope, newest first; none is fine. The caller holds the lock.
Result<UndoReport> undo_all(Disk& disk, const RepairScope& scope);

// Finishes what a killed run left: an undo is completed, an application rolled back. `transactions`
// of the report counts them; 0: there was nothing to do. The caller holds the lock.
Result<UndoReport> recover(Disk& disk, const RepairScope& scope);
bool needs_recovery(const std::vector<Transaction>& transactions);

// One line of `ssmend status`.
struct StatusEntry {
  enum class State { kInPlace, kLost };
  std::string path;
  std::string kind;  // "write", "move-aside"
  State state = State::kInPlace;
  std::string reason;  // "changed since", "gone"
};
struct StatusReport {
  struct Repair {
    std::vector<JournalAction> actions;
    std::vector<StatusEntry> files;
    size_t lost = 0;
  };
  std::vector<Repair> repairs;
  bool interrupted = false;  // the next run of repair or undo recovers
};
Result<StatusReport> read_status(const Disk& disk, const RepairScope& scope);

}  // namespace ssmend
