#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "repair/preparation.h"
#include "repair/roll_back.h"
#include "repair/transaction.h"

namespace ssmend {
namespace {

class Application {
 public:
  Application(Disk& disk, const RepairScope& scope, const ApplyOptions& options,
              PreparedPlan& prepared)
      : disk_(disk), scope_(scope), options_(options), prepared_(prepared) {}

  Result<ApplyReport> run() {
    Result<void> staged = stage();
    if (!staged.ok()) return give_up(std::move(staged).error());
    Result<void> done = carry_out();
    if (done.ok()) done = write_marker("committed");
    if (!done.ok()) return give_up(std::move(done).error());
    for (const PreparedChange& change : prepared_.changes) {
      switch (change.entry.kind) {
        case JournalEntry::Kind::kWrite:
          ++report_.files_written;
          break;
        case JournalEntry::Kind::kMakeDirectory:
          ++report_.directories_made;
          break;
        default:
          ++report_.files_removed;
          break;
      }
    }
    return report_;
  }

 private:
  Result<void> stage() {
    const std::string state = state_directory(scope_);
    if (!disk_.lstat(state).ok()) {
      if (Result<void> made = disk_.make_directory(state, 0755); !made.ok()) return made;
    }
    const Result<std::vector<Transaction>> earlier = list_transactions(disk_, scope_);
    if (!earlier.ok()) return earlier.error();
    int number = 1;
    for (const Transaction& each : *earlier) {
      number = std::max(number, std::atoi(std::string(base_name(each.directory)).c_str()) + 1);
    }
    const std::string digits = std::to_string(number);
    transaction_ =
        path_join(state, digits.size() < 4 ? std::string(4 - digits.size(), '0') + digits : digits);
    for (const std::string& directory :
         {transaction_, path_join(transaction_, "old"), path_join(transaction_, "new")}) {
      if (Result<void> made = disk_.make_directory(directory, 0755); !made.ok()) return made;
    }
    for (size_t index = 0; index < prepared_.changes.size(); ++index) {
      const PreparedChange& change = prepared_.changes[index];
      if (change.entry.existed) {
        Result<void> kept = keep_copy(disk_, change.entry, old_path_of(transaction_, index));
        if (!kept.ok()) return kept;
      }
      if (change.entry.kind == JournalEntry::Kind::kWrite) {
        if (Result<void> wrote = stage_new(change, index); !wrote.ok()) return wrote;
      }
    }
    WriteOptions write;
    stamp(write);
    return disk_.replace_atomically(path_join(transaction_, "journal.json"),
                                    journal_to_json(prepared_.journal), write);
  }

  // Mode, owner and attributes of the file it replaces; a new file belongs to its folder's owner.
  Result<void> stage_new(const PreparedChange& change, size_t index) {
    const std::string staged = new_path_of(transaction_, index);
    WriteOptions write;
    stamp(write);
    write.mode = change.source->mode;
    if (change.entry.existed) {
      if (change.entry.old.kind == FileStat::Kind::kRegular) write.mode = change.entry.old.mode;
      write.user_id = change.entry.old.user_id;
      write.group_id = change.entry.old.group_id;
    } else if (const Result<FileStat> folder = disk_.stat(existing_folder(change.entry.path));
               folder.ok()) {
      write.user_id = folder->user_id;
      write.group_id = folder->group_id;
    }
    Result<void> wrote = disk_.replace_atomically(staged, change.source->content, write);
    if (!wrote.ok() && wrote.error().system_errno == EPERM) {
      write.user_id = write.group_id = -1;
      wrote = disk_.replace_atomically(staged, change.source->content, write);
      if (wrote.ok() && change.entry.existed) {
        report_.notes.push_back(printable(change.entry.path) + ": belonged to user " +
                                std::to_string(change.entry.old.user_id) +
                                ", the new file belongs to whoever runs ssmend");
      }
    }
    if (!wrote.ok() || !change.entry.existed) return wrote;
    for (const auto& [name, value] : change.entry.old.attributes) {
      // Labels of security modules may be refused; the folder's default then applies.
      const Result<void> ignored = disk_.set_extended_attribute(staged, name, value);
      static_cast<void>(ignored);
    }
    return {};
  }

  Result<void> carry_out() {
    for (size_t index = 0; index < prepared_.changes.size(); ++index) {
      const PreparedChange& change = prepared_.changes[index];
      if (Result<void> same = check_unchanged(change); !same.ok()) return same;
      Result<void> done;
      switch (change.entry.kind) {
        case JournalEntry::Kind::kMakeDirectory:
          done = make_directory(change);
          break;
        case JournalEntry::Kind::kWrite:
          done = move_into_place(change, index);
          break;
        default:
          done = disk_.remove_file(change.entry.path);
          if (!done.ok() && done.error().system_errno == ENOENT) done = Result<void>();
          break;
      }
      if (!done.ok()) return done;
    }
    return set_stamps();
  }

  // Somebody else's pip may run at the same time: what was planned for is what is replaced.
  // Bytecode is excepted: any import may write it anew.
  Result<void> check_unchanged(const PreparedChange& change) {
    if (change.entry.kind == JournalEntry::Kind::kRemove) return {};
    const Result<FileStat> now = disk_.lstat(change.entry.path);
    const FileStat& then = change.before.stat;
    const bool same = change.before.exists ? now.ok() && now->inode == then.inode &&
                                                 now->size_bytes == then.size_bytes &&
                                                 now->mtime_seconds == then.mtime_seconds &&
                                                 now->mtime_nanoseconds == then.mtime_nanoseconds
                                           : !now.ok();
    if (same) return {};
    return Error(printable(change.entry.path) + ": changed by somebody else during the repair");
  }

  Result<void> make_directory(const PreparedChange& change) {
    const Result<FileStat> parent = disk_.stat(std::string(directory_name(change.entry.path)));
    if (!parent.ok()) return parent.error();
    Result<void> made = disk_.make_directory(change.entry.path, 0755);
    if (!made.ok()) return made;
    const Result<FileStat> now = disk_.lstat(change.entry.path);
    if (now.ok() && (now->user_id != parent->user_id || now->group_id != parent->group_id)) {
      const Result<void> owner =
          disk_.set_owner(change.entry.path, parent->user_id, parent->group_id);
      if (!owner.ok() && owner.error().system_errno != EPERM) return owner;
    }
    return {};
  }

  Result<void> move_into_place(const PreparedChange& change, size_t index) {
    const std::string staged = new_path_of(transaction_, index);
    Result<void> moved = disk_.rename(staged, change.entry.path);
    if (moved.ok() || moved.error().system_errno != EXDEV) return moved;
    return move_across(disk_, staged, change.entry.path);
  }

  Result<void> set_stamps() {
    if (!options_.source_date_epoch) return {};
    std::vector<std::string> directories = {state_directory(scope_), transaction_};
    for (const PreparedChange& change : prepared_.changes) {
      if (change.entry.kind == JournalEntry::Kind::kMakeDirectory) {
        directories.push_back(change.entry.path);
      }
    }
    for (const TouchedDirectory& each : prepared_.journal.directories) {
      directories.push_back(each.path);
    }
    directories.push_back(path_join(transaction_, "old"));
    directories.push_back(path_join(transaction_, "new"));
    for (const std::string& directory : directories) {
      if (Result<void> set = disk_.set_times(directory, *options_.source_date_epoch, 0);
          !set.ok()) {
        return set;
      }
    }
    return {};
  }

  Result<void> write_marker(std::string_view name) {
    WriteOptions write;
    stamp(write);
    Result<void> wrote = disk_.replace_atomically(path_join(transaction_, name), "", write);
    if (!wrote.ok() || !options_.source_date_epoch) return wrote;
    return disk_.set_times(transaction_, *options_.source_date_epoch, 0);
  }

  void stamp(WriteOptions& write) const {
    if (options_.source_date_epoch) write.mtime_seconds = *options_.source_date_epoch;
  }

  std::string existing_folder(const std::string& path) const {
    std::string folder(directory_name(path));
    while (folder != "/" && !disk_.stat(folder).ok()) folder = std::string(directory_name(folder));
    return folder;
  }

  Error give_up(Error error) {
    const Result<UndoReport> back = recover(disk_, scope_);
    if (!back.ok()) {
      std::string text =
          "the repair stopped half way and could not be given back: run `ssmend undo`";
      error.causes.push_back(back.error().message);
      return std::move(error).with_context(std::move(text));
    }
    // Before there is a journal nothing but the time of its folder can have changed.
    for (const TouchedDirectory& each : prepared_.journal.directories) {
      if (each.path != scope_.base || disk_.lstat(state_directory(scope_)).ok()) continue;
      const Result<void> ignored =
          disk_.set_times(each.path, each.mtime_seconds, each.mtime_nanoseconds);
      static_cast<void>(ignored);
    }
    return std::move(error).with_context("the repair stopped; nothing is changed");
  }

  Disk& disk_;
  const RepairScope& scope_;
  const ApplyOptions& options_;
  PreparedPlan& prepared_;
  std::string transaction_;
  ApplyReport report_;
};

}  // namespace

Result<ApplyReport> apply_plan(Disk& disk, const RepairScope& scope, const Plan& plan,
                               const ApplyOptions& options) {
  Result<PreparedPlan> prepared = prepare_plan(disk, scope, plan);
  if (!prepared.ok()) return std::move(prepared).error().with_context("nothing is changed");
  for (const TouchedDirectory& directory : prepared->journal.directories) {
    if (Result<void> right = disk.check_writable(directory.path); !right.ok()) {
      return std::move(right).error().with_context("nothing is changed");
    }
  }
  prepared->journal.ssmend_version = options.ssmend_version;
  prepared->journal.environment = scope.name_for_people;
  prepared->journal.recipe = options.recipe;
  for (const Action& action : plan.actions) {
    prepared->journal.actions.push_back(
        {action_kind_name(action.kind), action.title, action.summary, action.for_findings});
  }
  return Application(disk, scope, options, *prepared).run();
}

}  // namespace ssmend
