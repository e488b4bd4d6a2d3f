#include "base/system_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel's MAXSYMLINKS

FileStat::Kind kind_of_mode(mode_t mode) {
  if (S_ISREG(mode)) return FileStat::Kind::kRegular;
  if (S_ISDIR(mode)) return FileStat::Kind::kDirectory;
  if (S_ISLNK(mode)) return FileStat::Kind::kSymlink;
  return FileStat::Kind::kOther;
}

Result<void> check(int status, const std::string& path, const char* operation) {
  if (status == 0) return {};
  return system_error(path, operation, errno);
}

Result<void> write_all(int descriptor, std::string_view content, const std::string& path) {
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t put = ::write(descriptor, content.data() + done, content.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return system_error(path, "write", errno);
    done += static_cast<size_t>(put);
  }
  return {};
}

Result<void> finish_temporary(int descriptor, const std::string& path, std::string_view content,
                              const WriteOptions& options) {
  if (Result<void> wrote = write_all(descriptor, content, path); !wrote) return wrote;
  if (options.user_id >= 0 || options.group_id >= 0) {
    // -1 as an id leaves it unchanged.
    if (::fchown(descriptor, static_cast<uid_t>(options.user_id),
                 static_cast<gid_t>(options.group_id)) != 0) {
      return system_error(path, "fchown", errno);
    }
  }
  if (::fchmod(descriptor, options.mode) != 0) return system_error(path, "fchmod", errno);
  if (options.mtime_seconds >= 0) {
    const std::array<timespec, 2> times = {
        timespec{0, UTIME_OMIT},
        timespec{options.mtime_seconds, static_cast<long>(options.mtime_nanoseconds)}};
    if (::futimens(descriptor, times.data()) != 0) return system_error(path, "futimens", errno);
  }
  if (::fsync(descriptor) != 0) return system_error(path, "fsync", errno);
  return {};
}

}  // namespace

Result<void> sync_directory_of(const std::string& path) {
  const std::string directory(directory_name(path));
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_error(directory, "open", errno);
  const int status = ::fsync(descriptor);
  const int errno_value = errno;
  ::close(descriptor);
  // Some file systems cannot fsync a directory and say so; there is nothing more to be done there.
  if (status != 0 && errno_value != EINVAL) return system_error(directory, "fsync", errno_value);
  return {};
}

FileStat file_stat_of(const struct stat& raw) {
  FileStat found;
  found.kind = kind_of_mode(raw.st_mode);
  found.size_bytes = static_cast<uint64_t>(raw.st_size);
  found.device = raw.st_dev;
  found.inode = raw.st_ino;
  found.hard_links = raw.st_nlink;
  found.mode = raw.st_mode & 07777;
  found.user_id = raw.st_uid;
  found.group_id = raw.st_gid;
  found.mtime_seconds = raw.st_mtim.tv_sec;
  found.mtime_nanoseconds = raw.st_mtim.tv_nsec;
  return found;
}

Error system_error(const std::string& path, const char* operation, int errno_value) {
  return Error(printable(path) + ": " + operation + ": " + std::strerror(errno_value), errno_value);
}

Result<std::string> SystemDisk::resolve_in_root(const std::string& path, bool follow_last) const {
  // A walk like the kernel's, but with "/" meaning the root directory for absolute links too.
  std::vector<std::string> pending = split(path, '/');
  std::reverse(pending.begin(), pending.end());
  std::vector<std::string> done;
  int links = 0;
  while (!pending.empty()) {
    const std::string part = pending.back();
    pending.pop_back();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!done.empty()) done.pop_back();
      continue;
    }
    const std::string here = "/" + join(done, "/") + (done.empty() ? "" : "/") + part;
    const bool last = pending.empty();
    std::array<char, PATH_MAX> target;
    const ssize_t length = last && !follow_last
                               ? -1
                               : ::readlink((root_ + here).c_str(), target.data(), target.size());
    if (length < 0) {
      done.push_back(part);
      continue;
    }
    if (++links > kMaxLinks) return system_error(path, "readlink", ELOOP);
    const std::string_view link(target.data(), static_cast<size_t>(length));
    if (!link.empty() && link.front() == '/') done.clear();
    std::vector<std::string> parts = split(link, '/');
    pending.insert(pending.end(), parts.rbegin(), parts.rend());
  }
  return "/" + join(done, "/");
}

Result<std::string> SystemDisk::place(const std::string& path, bool follow_last) const {
  if (path.find('\0') != std::string::npos) return Error(printable(path) + ": contains a NUL byte");
  if (root_ == "/") return path;
  Result<std::string> inside = resolve_in_root(path, follow_last);
  if (!inside.ok()) return inside;
  return root_ + *inside;
}

Result<FileStat> SystemDisk::stat(const std::string& path) const {
  Result<std::string> host = place(path, true);
  if (!host.ok()) return std::move(host).error();
  struct stat raw;
  if (::stat(host->c_str(), &raw) != 0) return system_error(path, "stat", errno);
  return file_stat_of(raw);
}

Result<FileStat> SystemDisk::lstat(const std::string& path) const {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  struct stat raw;
  if (::lstat(host->c_str(), &raw) != 0) return system_error(path, "lstat", errno);
  return file_stat_of(raw);
}

Result<ReadFile> SystemDisk::open(const std::string& path) const {
  Result<std::string> host = place(path, true);
  if (!host.ok()) return std::move(host).error();
  // O_NONBLOCK: a named pipe called libx.so must not hang the scan.
  const int descriptor = ::open(host->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return system_error(path, "open", errno);
  ReadFile file(descriptor, path);
  const Result<FileStat> found = file.stat();
  if (!found.ok()) return found.error();
  if (found->is_directory()) return system_error(path, "open", EISDIR);
  if (!found->is_regular()) return Error(printable(path) + ": not a regular file", EINVAL);
  return file;
}

Result<std::vector<DirectoryEntry>> SystemDisk::list(const std::string& path) const {
  Result<std::string> host = place(path, true);
  if (!host.ok()) return std::move(host).error();
  DIR* directory = ::opendir(host->c_str());
  if (directory == nullptr) return system_error(path, "open directory", errno);
  std::vector<DirectoryEntry> entries;
  errno = 0;
  while (const dirent* raw = ::readdir(directory)) {
    const std::string_view name = raw->d_name;
    if (name == "." || name == "..") continue;
    DirectoryEntry entry;
    entry.name = name;
    switch (raw->d_type) {
      case DT_REG:
        entry.kind = FileStat::Kind::kRegular;
        break;
      case DT_DIR:
        entry.kind = FileStat::Kind::kDirectory;
        break;
      case DT_LNK:
        entry.kind = FileStat::Kind::kSymlink;
        break;
      case DT_UNKNOWN: {  // file systems that do not say
        struct stat found;
        if (::fstatat(::dirfd(directory), raw->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0) {
          entry.kind = kind_of_mode(found.st_mode);
        }
        break;
      }
      default:
        break;
    }
    entries.push_back(std::move(entry));
    errno = 0;
  }
  const int errno_value = errno;
  ::closedir(directory);
  if (errno_value != 0) return system_error(path, "read directory", errno_value);
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return entries;
}

Result<std::string> SystemDisk::read_link(const std::string& path) const {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return host;
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlink(host->c_str(), target.data(), target.size());
  if (length < 0) return system_error(path, "readlink", errno);
  return std::string(target.data(), static_cast<size_t>(length));
}

Result<std::string> SystemDisk::real_path(const std::string& path) const {
  if (root_ != "/") {
    Result<std::string> inside = resolve_in_root(path, true);
    if (!inside.ok()) return inside;
    if (const Result<FileStat> found = stat(*inside); !found.ok()) return found.error();
    return inside;
  }
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return system_error(path, "realpath", errno);
  std::string text(resolved);
  ::free(resolved);
  return text;
}

Result<std::string> SystemDisk::host_path(const std::string& path) const {
  return place(path, false);
}

Result<void> SystemDisk::replace_atomically(const std::string& path, std::string_view content,
                                            const WriteOptions& options) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  // Same directory, so that rename cannot cross file systems; a name no importer looks at.
  std::string temporary = std::string(directory_name(*host)) + "/.ssmend-XXXXXX";
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor < 0) return system_error(path, "create temporary file", errno);
  Result<void> written = finish_temporary(descriptor, path, content, options);
  if (::close(descriptor) != 0 && written.ok()) written = system_error(path, "close", errno);
  if (written.ok()) written = check(::rename(temporary.c_str(), host->c_str()), path, "rename");
  if (!written.ok()) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_directory_of(*host);
}

Result<void> SystemDisk::make_directory(const std::string& path, uint32_t mode) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  Result<void> made = check(::mkdir(host->c_str(), mode), path, "mkdir");
  return made.ok() ? sync_directory_of(*host) : std::move(made);
}

Result<void> SystemDisk::rename(const std::string& from, const std::string& to) {
  Result<std::string> host_from = place(from, false);
  if (!host_from.ok()) return std::move(host_from).error();
  Result<std::string> host_to = place(to, false);
  if (!host_to.ok()) return std::move(host_to).error();
  if (Result<void> moved = check(::rename(host_from->c_str(), host_to->c_str()), from, "rename");
      !moved.ok()) {
    return moved;
  }
  if (Result<void> synced = sync_directory_of(*host_from); !synced.ok()) return synced;
  return sync_directory_of(*host_to);
}

Result<void> SystemDisk::remove_file(const std::string& path) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  Result<void> removed = check(::unlink(host->c_str()), path, "unlink");
  return removed.ok() ? sync_directory_of(*host) : std::move(removed);
}

Result<void> SystemDisk::remove_directory(const std::string& path) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  Result<void> removed = check(::rmdir(host->c_str()), path, "rmdir");
  return removed.ok() ? sync_directory_of(*host) : std::move(removed);
}

Result<void> SystemDisk::make_symlink(const std::string& target, const std::string& path) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  Result<void> made = check(::symlink(target.c_str(), host->c_str()), path, "symlink");
  return made.ok() ? sync_directory_of(*host) : std::move(made);
}

Result<void> SystemDisk::set_times(const std::string& path, int64_t mtime_seconds,
                                   int64_t mtime_nanoseconds) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  const std::array<timespec, 2> times = {
      timespec{0, UTIME_OMIT}, timespec{mtime_seconds, static_cast<long>(mtime_nanoseconds)}};
  return check(::utimensat(AT_FDCWD, host->c_str(), times.data(), AT_SYMLINK_NOFOLLOW), path,
               "utimensat");
}

std::unique_ptr<Disk> open_system_disk() { return std::make_unique<SystemDisk>("/"); }

Result<std::unique_ptr<Disk>> open_root_disk(const std::string& root_directory) {
  char* resolved = ::realpath(root_directory.c_str(), nullptr);
  if (resolved == nullptr) return system_error(root_directory, "realpath", errno);
  std::string root(resolved);
  ::free(resolved);
  struct stat raw;
  if (::stat(root.c_str(), &raw) != 0) return system_error(root_directory, "stat", errno);
  if (!S_ISDIR(raw.st_mode)) return Error(printable(root_directory) + ": not a directory", ENOTDIR);
  return std::unique_ptr<Disk>(std::make_unique<SystemDisk>(root));
}

}  // namespace ssmend
