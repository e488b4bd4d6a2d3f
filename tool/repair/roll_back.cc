#include "repair/roll_back.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/sha256.h"
#include "base/text.h"

namespace ssmend {
namespace {

constexpr uint64_t kLargestFileBytes = uint64_t{4} << 30;
constexpr std::string_view kCopyName = ".ssmend-copy";  // at most one at a time

// A new file at `to` with content and metadata of `old`, read from `from`. Not yet synced as a
// name.
Result<void> copy_file(Disk& disk, const std::string& from, const OldFile& old,
                       const std::string& to) {
  if (old.kind == FileStat::Kind::kSymlink) {
    if (Result<void> made = disk.make_symlink(old.link_target, to); !made.ok()) return made;
    if (Result<void> owner = disk.set_owner(to, old.user_id, old.group_id);
        !owner.ok() && owner.error().system_errno != EPERM) {
      return owner;
    }
  } else {
    const Result<std::string> content = disk.read(from, kLargestFileBytes);
    if (!content.ok()) return content.error();
    WriteOptions write;
    write.mode = old.mode;
    write.user_id = old.user_id;
    write.group_id = old.group_id;
    Result<void> wrote = disk.replace_atomically(to, *content, write);
    if (!wrote.ok() && wrote.error().system_errno == EPERM) {
      write.user_id = write.group_id = -1;
      wrote = disk.replace_atomically(to, *content, write);
    }
    if (!wrote.ok()) return wrote;
    for (const auto& [name, value] : old.attributes) {
      const Result<void> ignored = disk.set_extended_attribute(to, name, value);
      static_cast<void>(ignored);
    }
  }
  return disk.set_times(to, old.mtime_seconds, old.mtime_nanoseconds);
}

bool cannot_link(int errno_value) {
  // EPERM also stands for fs.protected_hardlinks and for file systems without links.
  return errno_value == EXDEV || errno_value == EPERM || errno_value == EMLINK ||
         errno_value == ENOTSUP || errno_value == EOPNOTSUPP || errno_value == ENOSYS;
}

class RollBack {
 public:
  RollBack(Disk& disk, const RepairScope& scope, const Transaction& transaction, Journal journal,
           UndoReport& report)
      : disk_(disk),
        scope_(scope),
        transaction_(transaction),
        journal_(std::move(journal)),
        report_(report) {}

  Result<void> run() {
    if (Result<void> safe = check_paths(); !safe.ok()) return safe;
    if (Result<void> clean = remove_temporaries(); !clean.ok()) return clean;
    using Kind = JournalEntry::Kind;
    // Sources first: whether bytecode is given back depends on the source being the old one again.
    for (size_t index = journal_.entries.size(); index-- > 0;) {
      if (journal_.entries[index].kind != Kind::kWrite) continue;
      if (Result<void> done = give_back_written(index); !done.ok()) return done;
    }
    for (size_t index = journal_.entries.size(); index-- > 0;) {
      const Kind kind = journal_.entries[index].kind;
      if (kind != Kind::kRemove && kind != Kind::kMoveAside) continue;
      if (Result<void> done = give_back_removed(index); !done.ok()) return done;
    }
    for (const std::string& folder : journal_.absent_bytecode_folders) {
      if (Result<void> removed = remove_if_empty(folder); !removed.ok()) return removed;
    }
    for (size_t index = journal_.entries.size(); index-- > 0;) {
      if (journal_.entries[index].kind != Kind::kMakeDirectory) continue;
      if (Result<void> removed = remove_directory(journal_.entries[index].path); !removed.ok()) {
        return removed;
      }
    }
    if (Result<void> timed = give_back_times(); !timed.ok()) return timed;
    return forget();
  }

 private:
  // A journal inside a hostile root must not reach beyond the environment.
  Result<void> check_paths() const {
    for (const JournalEntry& entry : journal_.entries) {
      if (Result<void> inside = check_inside(entry.path); !inside.ok()) return inside;
    }
    for (const std::string& folder : journal_.absent_bytecode_folders) {
      if (base_name(folder) != "__pycache__") {
        return Error(printable(folder) + ": the journal calls this a bytecode folder");
      }
      if (Result<void> inside = check_inside(folder); !inside.ok()) return inside;
    }
    return {};
  }

  Result<void> check_inside(const std::string& path) const {
    Result<std::string> real = path_in_scope(disk_, scope_, path);
    if (!real.ok()) {
      return std::move(real).error().with_context(printable(transaction_.directory) +
                                                  ": this journal cannot be undone here");
    }
    if (*real != path) {
      return Error(printable(path) + ": a directory on the way is now a link to " +
                   printable(*real));
    }
    return {};
  }

  Result<void> remove_temporaries() {
    for (const TouchedDirectory& directory : journal_.directories) {
      const Result<std::vector<DirectoryEntry>> entries = disk_.list(directory.path);
      if (!entries.ok()) continue;  // uninstalled meanwhile
      for (const DirectoryEntry& entry : *entries) {
        if (entry.name.rfind(".ssmend-", 0) != 0) continue;
        if (entry.kind == FileStat::Kind::kDirectory) continue;
        Result<void> removed = disk_.remove_file(path_join(directory.path, entry.name));
        if (!removed.ok()) return removed;
      }
    }
    return {};
  }

  static bool is_old(const FileState& now, const OldFile& old) {
    return now.exists && now.stat.kind == old.kind && now.sha256 == old.sha256;
  }

  Result<void> give_back_written(size_t index) {
    const JournalEntry& entry = journal_.entries[index];
    const Result<FileState> now = file_state(disk_, entry.path);
    if (!now.ok()) return now.error();
    const bool is_new = now->exists && now->stat.is_regular() && now->sha256 == entry.new_sha256;
    if (!is_new) {
      if (entry.existed ? !is_old(*now, entry.old) : now->exists) {
        leave(entry.path,
              now->exists ? "changed since, left as it is" : "gone since, not given back");
      }
      return {};
    }
    if (Result<void> removed = remove_bytecode(entry.path); !removed.ok()) return removed;
    if (!entry.existed) {
      ++report_.files_removed;
      return disk_.remove_file(entry.path);
    }
    return restore(index);
  }

  Result<void> give_back_removed(size_t index) {
    const JournalEntry& entry = journal_.entries[index];
    const Result<FileState> now = file_state(disk_, entry.path);
    if (!now.ok()) return now.error();
    if (is_old(*now, entry.old) && now->stat.mtime_seconds == entry.old.mtime_seconds &&
        now->stat.mtime_nanoseconds == entry.old.mtime_nanoseconds) {
      return {};
    }
    const bool bytecode = entry.kind == JournalEntry::Kind::kRemove;
    if (now->exists && !bytecode) {
      leave(entry.path, "something else is there since, left as it is");
      return {};
    }
    const bool folder = disk_.is_directory(std::string(directory_name(entry.path)));
    if (!folder || !is_still_wanted(entry)) {
      if (!bytecode) leave(entry.path, "its package is gone since, not given back");
      return {};
    }
    return restore(index);
  }

  [[nodiscard]] bool is_still_wanted(const JournalEntry& entry) const {
    if (entry.only_with.empty()) return true;
    const Result<FileState> other = file_state(disk_, entry.only_with);
    if (!other.ok() || !other->exists) return false;
    return entry.only_with_sha256.empty() || other->sha256 == entry.only_with_sha256;
  }

  Result<void> restore(size_t index) {
    const JournalEntry& entry = journal_.entries[index];
    const std::string kept = old_path_of(transaction_.directory, index);
    const Result<FileState> copy = file_state(disk_, kept);
    if (!copy.ok()) return copy.error();
    if (!copy->exists || !is_old(*copy, entry.old)) {
      leave(entry.path, copy->exists ? "the old file kept in the journal was changed"
                                     : "the old file is no longer in the journal");
      return {};
    }
    // A link to the old inode carries everything; what is unequal was changed through a twin, or
    // the environment was copied without its times.
    if (Result<void> same = restore_metadata(kept, copy->stat, entry.old); !same.ok()) return same;
    Result<void> moved = disk_.rename(kept, entry.path);
    if (!moved.ok() && moved.error().system_errno == EXDEV) {
      const std::string beside = path_join(directory_name(entry.path), kCopyName);
      moved = copy_file(disk_, kept, entry.old, beside);
      if (moved.ok()) moved = disk_.rename(beside, entry.path);
    }
    if (moved.ok()) ++report_.files_given_back;
    return moved;
  }

  Result<void> restore_metadata(const std::string& path, const FileStat& now, const OldFile& old) {
    if (now.user_id != old.user_id || now.group_id != old.group_id) {
      const Result<void> owner = disk_.set_owner(path, old.user_id, old.group_id);
      if (!owner.ok() && owner.error().system_errno != EPERM) return owner;
    }
    if (!now.is_symlink() && now.mode != old.mode) {
      if (Result<void> mode = disk_.set_mode(path, old.mode); !mode.ok()) return mode;
    }
    if (now.mtime_seconds != old.mtime_seconds || now.mtime_nanoseconds != old.mtime_nanoseconds) {
      return disk_.set_times(path, old.mtime_seconds, old.mtime_nanoseconds);
    }
    return {};
  }

  Result<void> remove_bytecode(const std::string& source_path) {
    for (const std::string& path : bytecode_of(disk_, source_path)) {
      if (Result<void> removed = disk_.remove_file(path); !removed.ok()) return removed;
    }
    return {};
  }

  Result<void> remove_if_empty(const std::string& directory) {
    const Result<FileStat> there = disk_.lstat(directory);
    if (!there.ok() || !there->is_directory()) return {};
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(directory);
    if (!entries.ok() || !entries->empty()) return {};
    return disk_.remove_directory(directory);
  }

  Result<void> remove_directory(const std::string& directory) {
    if (Result<void> removed = remove_if_empty(directory); !removed.ok()) return removed;
    if (disk_.lstat(directory).ok()) leave(directory, "holds files that are not ours, left");
    return {};
  }

  Result<void> give_back_times() {
    for (const TouchedDirectory& directory : journal_.directories) {
      const Result<std::string> names = entries_sha256(disk_, directory.path);
      if (!names.ok() || *names != directory.entries_sha256) continue;
      // The time of the folder that holds the journal changes once more when the journal goes.
      if (directory.path == scope_.base) base_time_ = &directory;
      if (Result<void> set =
              disk_.set_times(directory.path, directory.mtime_seconds, directory.mtime_nanoseconds);
          !set.ok()) {
        return set;
      }
    }
    return {};
  }

  // journal.json goes last: as long as it is there, a killed run is finished by the next one.
  Result<void> forget() {
    const std::string& directory = transaction_.directory;
    for (const char* part : {"old", "new", "committed", "undoing"}) {
      if (Result<void> removed = remove_tree(disk_, path_join(directory, part)); !removed.ok()) {
        return removed;
      }
    }
    if (Result<void> removed = remove_tree(disk_, directory); !removed.ok()) return removed;
    if (Result<void> removed = remove_if_empty(state_directory(scope_)); !removed.ok()) {
      return removed;
    }
    if (base_time_ == nullptr) return {};
    return disk_.set_times(scope_.base, base_time_->mtime_seconds, base_time_->mtime_nanoseconds);
  }

  void leave(const std::string& path, std::string_view why) {
    report_.left.push_back(printable(path) + ": " + std::string(why));
  }

  Disk& disk_;
  const RepairScope& scope_;
  const Transaction& transaction_;
  Journal journal_;
  UndoReport& report_;
  const TouchedDirectory* base_time_ = nullptr;
};

}  // namespace

std::string old_path_of(const std::string& transaction, size_t index) {
  return transaction + "/old/" + std::to_string(index);
}

std::string new_path_of(const std::string& transaction, size_t index) {
  return transaction + "/new/" + std::to_string(index);
}

Result<void> keep_copy(Disk& disk, const JournalEntry& entry, const std::string& to) {
  Result<void> linked = disk.hard_link(entry.path, to);
  if (linked.ok() || !cannot_link(linked.error().system_errno)) return linked;
  return copy_file(disk, entry.path, entry.old, to);
}

Result<void> move_across(Disk& disk, const std::string& from, const std::string& to) {
  const Result<FileState> state = file_state(disk, from);
  if (!state.ok()) return state.error();
  Result<OldFile> old = old_file(disk, from, *state);
  if (!old.ok()) return old.error();
  const std::string beside = path_join(directory_name(to), kCopyName);
  Result<void> copied = copy_file(disk, from, *old, beside);
  return copied.ok() ? disk.rename(beside, to) : std::move(copied);
}

Result<void> roll_back(Disk& disk, const RepairScope& scope, const Transaction& transaction,
                       UndoReport& report) {
  ++report.transactions;
  if (transaction.phase == TransactionPhase::kNoJournal) {
    if (Result<void> removed = remove_tree(disk, transaction.directory); !removed.ok()) {
      return removed;
    }
    const Result<std::vector<DirectoryEntry>> others = disk.list(state_directory(scope));
    if (others.ok() && others->empty()) return disk.remove_directory(state_directory(scope));
    return {};
  }
  Result<Journal> journal = read_journal_of(disk, transaction);
  if (!journal.ok()) return std::move(journal).error();
  return RollBack(disk, scope, transaction, std::move(journal).value(), report).run();
}

}  // namespace ssmend
