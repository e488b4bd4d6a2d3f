#include "repair/overlay_disk.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"

namespace ssmend {
namespace {

// No real file system has this device: (device, inode) still tells files apart.
constexpr uint64_t kDevice = ~uint64_t{0};

Error missing(const std::string& path) {
  return Error(printable(path) + ": stat: No such file or directory", ENOENT);
}

Error reading_only(const std::string& path) {
  return Error(printable(path) + ": a simulated disk cannot be written", EROFS);
}

}  // namespace

void OverlayDisk::add(const FileChange& change) {
  const std::string path = key(change.path);
  if (change.kind != FileChange::Kind::kWrite) {
    files_.erase(path);
    removed_.insert(path);
    return;
  }
  removed_.erase(path);
  files_[path] = change.content;
  inodes_.emplace(path, inodes_.size() + 1);
  std::string directory(directory_name(path));
  while (directory != "/" && !below_.lstat(directory).ok()) {
    directories_.insert(directory);
    directory = std::string(directory_name(directory));
  }
}

void OverlayDisk::add(const Plan& plan) {
  for (const Action& action : plan.actions) {
    for (const FileChange& change : action.changes) add(change);
  }
  for (const FileChange& change : plan.bookkeeping) add(change);
}

std::string OverlayDisk::key(const std::string& path) const {
  std::string directory(directory_name(path));
  std::string rest(base_name(path));
  for (;;) {
    const Result<std::string> real = below_.real_path(directory);
    if (real.ok()) return path_join(*real, rest);
    if (directory == "/" || directory == ".") return path;
    rest = path_join(base_name(directory), rest);
    directory = std::string(directory_name(directory));
  }
}

FileStat OverlayDisk::stat_of_planned(const std::string& key) const {
  FileStat stat;
  stat.device = kDevice;
  if (const auto file = files_.find(key); file != files_.end()) {
    stat.kind = FileStat::Kind::kRegular;
    stat.size_bytes = file->second.size();
    stat.inode = inodes_.at(key);
    stat.mode = 0644;
  } else {
    stat.kind = FileStat::Kind::kDirectory;
    stat.mode = 0755;
  }
  return stat;
}

Result<FileStat> OverlayDisk::lstat(const std::string& path) const {
  const std::string at = key(path);
  if (files_.count(at) != 0 || directories_.count(at) != 0) return stat_of_planned(at);
  if (removed_.count(at) != 0) return missing(path);
  return below_.lstat(path);
}

Result<FileStat> OverlayDisk::stat(const std::string& path) const {
  const std::string at = key(path);
  if (files_.count(at) != 0 || directories_.count(at) != 0) return stat_of_planned(at);
  if (removed_.count(at) != 0) return missing(path);
  // A link on the real disk may lead to a planned file.
  const Result<FileStat> self = below_.lstat(path);
  if (self.ok() && self->is_symlink()) {
    const Result<std::string> real = below_.real_path(path);
    if (real.ok() && *real != path) return stat(*real);
  }
  return below_.stat(path);
}

Result<ReadFile> OverlayDisk::open(const std::string& path) const {
  const std::string at = key(path);
  const auto file = files_.find(at);
  if (file == files_.end()) {
    if (removed_.count(at) != 0) return missing(path);
    return below_.open(path);
  }
  const int descriptor = ::memfd_create("planned", MFD_CLOEXEC);
  if (descriptor < 0) return Error(printable(path) + ": no memory for a planned file", errno);
  ReadFile opened(descriptor, path);
  size_t done = 0;
  while (done < file->second.size()) {
    const ssize_t put = ::write(descriptor, file->second.data() + done, file->second.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Error(printable(path) + ": no memory for a planned file", errno);
    done += static_cast<size_t>(put);
  }
  return opened;
}

Result<std::vector<DirectoryEntry>> OverlayDisk::list(const std::string& path) const {
  const std::string directory = key(path_join(path, "."));
  const std::string at = normal_path(directory);
  std::vector<DirectoryEntry> entries;
  if (directories_.count(at) == 0) {
    Result<std::vector<DirectoryEntry>> below = below_.list(path);
    if (!below.ok()) return below;
    entries = std::move(below).value();
    entries.erase(std::remove_if(entries.begin(), entries.end(),
                                 [&](const DirectoryEntry& entry) {
                                   const std::string each = path_join(at, entry.name);
                                   return removed_.count(each) != 0 || files_.count(each) != 0;
                                 }),
                  entries.end());
  }
  for (const auto& [each, content] : files_) {
    if (directory_name(each) == at) {
      entries.push_back({std::string(base_name(each)), FileStat::Kind::kRegular});
    }
  }
  for (const std::string& each : directories_) {
    if (directory_name(each) == at) {
      entries.push_back({std::string(base_name(each)), FileStat::Kind::kDirectory});
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

Result<std::string> OverlayDisk::read_link(const std::string& path) const {
  const std::string at = key(path);
  if (files_.count(at) != 0) return Error(printable(path) + ": not a link", EINVAL);
  if (removed_.count(at) != 0) return missing(path);
  return below_.read_link(path);
}

Result<std::string> OverlayDisk::real_path(const std::string& path) const {
  const std::string at = key(path);
  if (files_.count(at) != 0 || directories_.count(at) != 0) return at;
  if (removed_.count(at) != 0) return missing(path);
  return below_.real_path(path);
}

Result<std::string> OverlayDisk::host_path(const std::string& path) const {
  return below_.host_path(path);
}

Result<void> OverlayDisk::replace_atomically(const std::string& path, std::string_view,
                                             const WriteOptions&) {
  return reading_only(path);
}
Result<void> OverlayDisk::make_directory(const std::string& path, uint32_t) {
  return reading_only(path);
}
Result<void> OverlayDisk::rename(const std::string& from, const std::string&) {
  return reading_only(from);
}
Result<void> OverlayDisk::remove_file(const std::string& path) { return reading_only(path); }
Result<void> OverlayDisk::remove_directory(const std::string& path) { return reading_only(path); }
Result<void> OverlayDisk::make_symlink(const std::string&, const std::string& path) {
  return reading_only(path);
}
Result<void> OverlayDisk::set_times(const std::string& path, int64_t, int64_t) {
  return reading_only(path);
}

}  // namespace ssmend
