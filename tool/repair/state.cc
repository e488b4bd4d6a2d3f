#include "repair/state.h"

#include <algorithm>
#include <cerrno>

#include "base/sha256.h"
#include "base/text.h"

namespace ssmend {
namespace {

constexpr std::string_view kStateName = ".ssmend";
constexpr uint64_t kLargestFileBytes = uint64_t{4} << 30;

void add_root(const Disk& disk, const std::string& path, std::vector<std::string>& roots) {
  Result<std::string> real = disk.real_path(path);
  if (!real.ok() || *real == "/") return;
  if (std::find(roots.begin(), roots.end(), *real) == roots.end()) {
    roots.push_back(std::move(real).value());
  }
}

bool is_missing(const Error& error) {
  return error.system_errno == ENOENT || error.system_errno == ENOTDIR;
}

}  // namespace

RepairScope scope_of(const Disk& disk, const Environment& environment) {
  RepairScope scope;
  scope.name_for_people = environment.name_for_people;
  // The prefix of a system Python is /usr: only its import directories are ours to change.
  const bool own_prefix =
      environment.kind == EnvironmentKind::kVirtual || environment.kind == EnvironmentKind::kConda;
  if (own_prefix) add_root(disk, environment.prefix, scope.roots);
  for (const std::string& site : environment.site_directories) {
    add_root(disk, site, scope.roots);
  }
  // An earlier journal decides; else the first place, or the first that may be written.
  for (const std::string& root : scope.roots) {
    if (disk.is_directory(path_join(root, kStateName))) {
      scope.base = root;
      return scope;
    }
  }
  for (const std::string& root : scope.roots) {
    if (disk.check_writable(root).ok()) {
      scope.base = root;
      return scope;
    }
  }
  if (!scope.roots.empty()) scope.base = scope.roots.front();
  return scope;
}

Result<std::string> path_in_scope(const Disk& disk, const RepairScope& scope,
                                  const std::string& path) {
  if (path.empty() || path.front() != '/' || normal_path(path) != path) {
    return Error(printable(path) + ": not an absolute, normal path");
  }
  // Resolve the deepest directory that exists; what follows it is not there yet, so is no link.
  std::string directory(directory_name(path));
  std::string rest(base_name(path));
  Result<std::string> real = disk.real_path(directory);
  while (!real.ok() && is_missing(real.error()) && directory != "/") {
    rest = path_join(base_name(directory), rest);
    directory = std::string(directory_name(directory));
    real = disk.real_path(directory);
  }
  if (!real.ok()) return real;
  const std::string resolved = path_join(*real, rest);
  for (const std::string& root : scope.roots) {
    if (resolved != root && is_inside(resolved, root)) return resolved;
  }
  if (resolved != path) {
    return Error(printable(path) + ": leads out of the environment to " + printable(resolved));
  }
  return Error(printable(path) + ": lies outside the environment " +
               printable(scope.name_for_people));
}

std::string state_directory(const RepairScope& scope) { return path_join(scope.base, kStateName); }

Result<std::vector<Transaction>> list_transactions(const Disk& disk, const RepairScope& scope) {
  std::vector<Transaction> found;
  const std::string state = state_directory(scope);
  const Result<FileStat> there = disk.lstat(state);
  if (!there.ok()) {
    if (is_missing(there.error())) return found;
    return there.error();
  }
  if (!there->is_directory()) return Error(printable(state) + ": not a directory");
  const Result<std::vector<DirectoryEntry>> entries = disk.list(state);
  if (!entries.ok()) return entries.error();
  for (const DirectoryEntry& entry : *entries) {
    if (!is_all_digits(entry.name) || entry.kind != FileStat::Kind::kDirectory) continue;
    Transaction transaction;
    transaction.directory = path_join(state, entry.name);
    const auto has = [&](std::string_view name) {
      return disk.lstat(path_join(transaction.directory, name)).ok();
    };
    if (has("journal.json")) {
      transaction.phase = has("undoing")     ? TransactionPhase::kUndoing
                          : has("committed") ? TransactionPhase::kCommitted
                                             : TransactionPhase::kUncommitted;
    }
    found.push_back(std::move(transaction));
  }
  return found;
}

Result<Journal> read_journal_of(const Disk& disk, const Transaction& transaction) {
  const std::string path = path_join(transaction.directory, "journal.json");
  const Result<std::string> text = disk.read(path);
  if (!text.ok()) return text.error();
  return journal_from_json(*text, path);
}

Result<std::unique_ptr<DirectoryLock>> lock_scope(Disk& disk, const RepairScope& scope) {
  Result<std::unique_ptr<DirectoryLock>> lock = disk.lock_directory(scope.base);
  if (!lock.ok() && lock.error().system_errno == EWOULDBLOCK) {
    return Error("another ssmend is working on " + printable(scope.name_for_people) +
                     ": run this again when it has ended",
                 EWOULDBLOCK);
  }
  return lock;
}

Result<FileState> file_state(const Disk& disk, const std::string& path) {
  FileState state;
  const Result<FileStat> found = disk.lstat(path);
  if (!found.ok()) {
    if (is_missing(found.error())) return state;
    return found.error();
  }
  state.exists = true;
  state.stat = *found;
  if (found->is_symlink()) {
    Result<std::string> target = disk.read_link(path);
    if (!target.ok()) return target.error();
    state.link_target = std::move(target).value();
    state.sha256 = sha256_hex(state.link_target);
  } else if (found->is_regular()) {
    const Result<std::string> content = disk.read(path, kLargestFileBytes);
    if (!content.ok()) return content.error();
    state.sha256 = sha256_hex(*content);
  }
  return state;
}

Result<OldFile> old_file(const Disk& disk, const std::string& path, const FileState& state) {
  OldFile old;
  old.kind = state.stat.kind;
  old.sha256 = state.sha256;
  old.link_target = state.link_target;
  old.size_bytes = state.stat.size_bytes;
  old.hard_links = state.stat.hard_links;
  old.mode = state.stat.mode;
  old.user_id = state.stat.user_id;
  old.group_id = state.stat.group_id;
  old.mtime_seconds = state.stat.mtime_seconds;
  old.mtime_nanoseconds = state.stat.mtime_nanoseconds;
  Result<ExtendedAttributes> attributes = disk.extended_attributes(path);
  if (!attributes.ok()) return attributes.error();
  old.attributes = std::move(attributes).value();
  return old;
}

bool is_own_name(std::string_view name) {
  return name == kStateName || name.rfind(".ssmend-", 0) == 0;
}

Result<std::string> entries_sha256(const Disk& disk, const std::string& directory) {
  const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries.ok()) return entries.error();
  std::string names;
  for (const DirectoryEntry& entry : *entries) {
    if (is_own_name(entry.name)) continue;
    names += entry.name;
    names += '\0';
  }
  return sha256_hex(names);
}

std::string bytecode_folder_of(const std::string& source_path) {
  return path_join(directory_name(source_path), "__pycache__");
}

std::vector<std::string> bytecode_of(const Disk& disk, const std::string& source_path) {
  std::vector<std::string> found;
  constexpr std::string_view kSuffix = ".py";
  if (!source_path.ends_with(kSuffix)) return found;
  const std::string_view name = base_name(source_path);
  const std::string start(name.substr(0, name.size() - kSuffix.size() + 1));  // "stem."
  const std::string folder = bytecode_folder_of(source_path);
  const Result<FileStat> there = disk.lstat(folder);
  if (!there.ok() || !there->is_directory()) return found;  // a link may lead anywhere
  const Result<std::vector<DirectoryEntry>> entries = disk.list(folder);
  if (!entries.ok()) return found;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.kind == FileStat::Kind::kRegular && entry.name.rfind(start, 0) == 0 &&
        entry.name.ends_with(".pyc")) {
      // "a.b.py" has bytecode "a.b.cpython-310.pyc", which is none of "a.py".
      const std::string_view tag = std::string_view(entry.name).substr(start.size());
      if (tag.rfind("cpython-", 0) == 0 || tag.rfind("pypy", 0) == 0) {
        found.push_back(path_join(folder, entry.name));
      }
    }
  }
  return found;
}

Result<void> remove_tree(Disk& disk, const std::string& path) {
  const Result<FileStat> found = disk.lstat(path);
  if (!found.ok()) {
    if (is_missing(found.error())) return {};
    return found.error();
  }
  if (!found->is_directory()) return disk.remove_file(path);
  const Result<std::vector<DirectoryEntry>> entries = disk.list(path);
  if (!entries.ok()) return entries.error();
  for (const DirectoryEntry& entry : *entries) {
    if (Result<void> removed = remove_tree(disk, path_join(path, entry.name)); !removed.ok()) {
      return removed;
    }
  }
  return disk.remove_directory(path);
}

}  // namespace ssmend
