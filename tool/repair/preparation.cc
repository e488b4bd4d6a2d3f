#include "repair/preparation.h"

#include <algorithm>
#include <set>

#include "base/sha256.h"
#include "base/text.h"

namespace ssmend {
namespace {

std::vector<const FileChange*> changes_of(const Plan& plan) {
  std::vector<const FileChange*> changes;
  for (const Action& action : plan.actions) {
    for (const FileChange& change : action.changes) changes.push_back(&change);
  }
  for (const FileChange& change : plan.bookkeeping) changes.push_back(&change);
  return changes;
}

class Preparation {
 public:
  Preparation(const Disk& disk, const RepairScope& scope) : disk_(disk), scope_(scope) {}

  Result<void> add(const FileChange& change) {
    Result<std::string> path = path_in_scope(disk_, scope_, change.path);
    if (!path.ok()) return std::move(path).error();
    if (!seen_.insert(*path).second) return Error(printable(*path) + ": changed twice in one plan");
    Result<FileState> state = file_state(disk_, *path);
    if (!state.ok()) return state.error();
    if (state->exists && !state->stat.is_regular() && !state->stat.is_symlink()) {
      return Error(printable(*path) + ": neither a file nor a link, cannot be replaced");
    }
    PreparedChange step;
    step.source = &change;
    step.entry.path = *path;
    step.entry.only_with = change.only_with;
    if (change.kind == FileChange::Kind::kWrite) {
      step.entry.kind = JournalEntry::Kind::kWrite;
      step.entry.new_sha256 = sha256_hex(change.content);
    } else {
      if (!state->exists) return {};
      step.entry.kind = change.kind == FileChange::Kind::kMoveAside ? JournalEntry::Kind::kMoveAside
                                                                    : JournalEntry::Kind::kRemove;
    }
    if (Result<void> made = add_directories(*path); !made.ok()) return made;
    if (Result<void> kept = keep_old(step, std::move(state).value()); !kept.ok()) return kept;
    const JournalEntry entry = step.entry;
    changes_.push_back(std::move(step));
    return entry.kind == JournalEntry::Kind::kWrite ? add_bytecode(entry) : Result<void>();
  }

  Result<PreparedPlan> finish() {
    if (Result<void> touched = touch(scope_.base); !touched.ok()) return touched.error();
    PreparedPlan prepared;
    prepared.journal.directories = std::move(directories_);
    prepared.journal.absent_bytecode_folders.assign(absent_folders_.begin(), absent_folders_.end());
    prepared.changes = std::move(changes_);
    for (const PreparedChange& change : prepared.changes)
      prepared.journal.entries.push_back(change.entry);
    return prepared;
  }

 private:
  Result<void> keep_old(PreparedChange& step, FileState state) {
    step.entry.existed = state.exists;
    if (state.exists) {
      Result<OldFile> old = old_file(disk_, step.entry.path, state);
      if (!old.ok()) return old.error();
      step.entry.old = std::move(old).value();
    }
    step.before = std::move(state);
    return {};
  }

  // Missing parents become entries of their own; the nearest one that exists is touched.
  Result<void> add_directories(const std::string& path) {
    std::vector<std::string> missing;
    std::string directory(directory_name(path));
    while (directory != "/" && !disk_.lstat(directory).ok()) {
      missing.push_back(directory);
      directory = std::string(directory_name(directory));
    }
    std::reverse(missing.begin(), missing.end());
    for (const std::string& each : missing) {
      if (!seen_.insert(each).second) continue;
      PreparedChange step;
      step.entry.kind = JournalEntry::Kind::kMakeDirectory;
      step.entry.path = each;
      changes_.push_back(std::move(step));
    }
    return touch(directory);
  }

  Result<void> touch(const std::string& directory) {
    if (!touched_.insert(directory).second) return {};
    const Result<FileStat> found = disk_.lstat(directory);
    if (!found.ok()) return found.error();
    if (!found->is_directory()) return Error(printable(directory) + ": not a directory");
    Result<std::string> names = entries_sha256(disk_, directory);
    if (!names.ok()) return std::move(names).error();
    directories_.push_back(
        {directory, found->mtime_seconds, found->mtime_nanoseconds, std::move(names).value()});
    return {};
  }

  // Python compares whole seconds of mtime and the size, some bytecode is never compared at all:
  // after a write every .pyc of the source goes.
  Result<void> add_bytecode(const JournalEntry& source) {
    if (!source.path.ends_with(".py")) return {};
    const std::string folder = bytecode_folder_of(source.path);
    if (!disk_.lstat(folder).ok()) {
      absent_folders_.insert(folder);
      return {};
    }
    // Undo may have to remove what Python compiles there meanwhile.
    if (disk_.lstat(folder)->is_directory()) {
      if (Result<void> touched = touch(folder); !touched.ok()) return touched;
    }
    for (const std::string& path : bytecode_of(disk_, source.path)) {
      if (!seen_.insert(path).second) continue;
      PreparedChange step;
      step.entry.kind = JournalEntry::Kind::kRemove;
      step.entry.path = path;
      step.entry.only_with = source.path;
      step.entry.only_with_sha256 = source.existed ? source.old.sha256 : "";
      Result<FileState> state = file_state(disk_, path);
      if (!state.ok()) return state.error();
      if (Result<void> kept = keep_old(step, std::move(state).value()); !kept.ok()) return kept;
      changes_.push_back(std::move(step));
    }
    return {};
  }

  const Disk& disk_;
  const RepairScope& scope_;
  std::set<std::string> seen_;
  std::set<std::string> touched_;
  std::set<std::string> absent_folders_;
  std::vector<PreparedChange> changes_;
  std::vector<TouchedDirectory> directories_;
};

}  // namespace

Result<PreparedPlan> prepare_plan(const Disk& disk, const RepairScope& scope, const Plan& plan) {
  Preparation preparation(disk, scope);
  for (const FileChange* change : changes_of(plan)) {
    if (Result<void> added = preparation.add(*change); !added.ok()) return std::move(added).error();
  }
  return preparation.finish();
}

}  // namespace ssmend
