// Where ssmend keeps its journal in an environment, what is there, and what may be written at all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "environment/environment.h"
#include "repair/journal.h"

namespace ssmend {

struct RepairScope {
  std::string base;                // real path of the directory that holds ".ssmend"
  std::vector<std::string> roots;  // real paths; every file that changes lies in one of them
  std::string name_for_people;     // the environment, for messages
};

// Roots are the prefix of a virtual or conda environment and the real paths of the import
// directories: a site-packages that is itself a link elsewhere is the environment's own, a link
// inside it that leads out is not.
RepairScope scope_of(const Disk& disk, const Environment& environment);

// The path with every directory on the way resolved (the last component is not followed), where it
// lies inside the scope; parts that do not exist yet are allowed.
Result<std::string> path_in_scope(const Disk& disk, const RepairScope& scope,
                                  const std::string& path);

std::string state_directory(const RepairScope& scope);  // BASE/.ssmend

enum class TransactionPhase {
  kNoJournal,    // stopped before anything changed
  kUncommitted,  // stopped in the middle
  kCommitted,
  kUndoing,  // an undo was stopped in the middle
};

struct Transaction {
  std::string directory;  // BASE/.ssmend/0001
  TransactionPhase phase = TransactionPhase::kNoJournal;
};

// In the order in which they were made. Empty where there is no journal.
Result<std::vector<Transaction>> list_transactions(const Disk& disk, const RepairScope& scope);
Result<Journal> read_journal_of(const Disk& disk, const Transaction& transaction);

// Held while anything is changed. The error is the whole sentence to print.
Result<std::unique_ptr<DirectoryLock>> lock_scope(Disk& disk, const RepairScope& scope);

// What is at a path now.
struct FileState {
  bool exists = false;
  FileStat stat;
  std::string sha256;  // of content, or of a link's target text
  std::string link_target;
};
Result<FileState> file_state(const Disk& disk, const std::string& path);
Result<OldFile> old_file(const Disk& disk, const std::string& path, const FileState& state);
// Hash over the names in a directory, without ssmend's own.
Result<std::string> entries_sha256(const Disk& disk, const std::string& directory);
bool is_own_name(std::string_view name);  // ".ssmend", ".ssmend-XXXXXX"

// The .pyc files of a source file, every Python and optimisation level: DIR/__pycache__/STEM.*.pyc
// (PEP 3147, PEP 488). Empty for other files.
std::vector<std::string> bytecode_of(const Disk& disk, const std::string& source_path);
std::string bytecode_folder_of(const std::string& source_path);

// A file or a whole directory tree; links are removed, never followed. Missing is fine.
Result<void> remove_tree(Disk& disk, const std::string& path);

}  // namespace ssmend
