// Giving back one transaction: shared by undo, by recovery and by an application that fails.
#pragma once

#include <string>

#include "repair/transaction.h"

namespace ssmend {

std::string old_path_of(const std::string& transaction, size_t index);
std::string new_path_of(const std::string& transaction, size_t index);

// Keeps the old file of an entry: a hard link to its inode where possible, else a full copy.
Result<void> keep_copy(Disk& disk, const JournalEntry& entry, const std::string& to);
// A rename between file systems: a complete copy beside the destination first, then a rename.
Result<void> move_across(Disk& disk, const std::string& from, const std::string& to);

// Gives the transaction back and removes it from the journal. May be called again after a kill at
// any point of it.
Result<void> roll_back(Disk& disk, const RepairScope& scope, const Transaction& transaction,
                       UndoReport& report);

}  // namespace ssmend
