// What a writer needs beyond bytes: hard links, owners, modes, extended attributes, locks.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/system_disk.h"
#include "base/text.h"

namespace ssmend {
namespace {

Error not_supported(const std::string& path, const char* operation) {
  return Error(path + ": " + operation + ": this disk cannot do that", ENOTSUP);
}

// A file system without extended attributes has none to keep.
bool has_no_attributes(int errno_value) {
  return errno_value == ENOTSUP || errno_value == ENOSYS || errno_value == EPERM;
}

}  // namespace

Result<void> Disk::hard_link(const std::string& from, const std::string&) {
  return not_supported(from, "link");
}
Result<void> Disk::set_owner(const std::string& path, uint32_t, uint32_t) {
  return not_supported(path, "chown");
}
Result<void> Disk::set_mode(const std::string& path, uint32_t) {
  return not_supported(path, "chmod");
}
Result<ExtendedAttributes> Disk::extended_attributes(const std::string&) const {
  return ExtendedAttributes();
}
Result<void> Disk::set_extended_attribute(const std::string& path, const std::string&,
                                          const std::string&) {
  return not_supported(path, "setxattr");
}
Result<void> Disk::check_writable(const std::string& directory) const {
  return not_supported(directory, "write");
}
Result<std::unique_ptr<DirectoryLock>> Disk::lock_directory(const std::string& directory) {
  return not_supported(directory, "lock");
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> SystemDisk::hard_link(const std::string& from, const std::string& to) {
  Result<std::string> host_from = place(from, false);
  if (!host_from.ok()) return std::move(host_from).error();
  Result<std::string> host_to = place(to, false);
  if (!host_to.ok()) return std::move(host_to).error();
  // Without AT_SYMLINK_FOLLOW a symbolic link is linked itself.
  if (::linkat(AT_FDCWD, host_from->c_str(), AT_FDCWD, host_to->c_str(), 0) != 0) {
    return system_error(from, "link", errno);
  }
  return sync_directory_of(*host_to);
}

Result<void> SystemDisk::set_owner(const std::string& path, uint32_t user_id, uint32_t group_id) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  if (::lchown(host->c_str(), user_id, group_id) != 0) return system_error(path, "chown", errno);
  return {};
}

Result<void> SystemDisk::set_mode(const std::string& path, uint32_t mode) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  // chmod follows links, and no kernel before 6.6 has a way not to: look first.
  struct stat raw;
  if (::lstat(host->c_str(), &raw) != 0) return system_error(path, "stat", errno);
  if (S_ISLNK(raw.st_mode)) return system_error(path, "chmod", ELOOP);
  if (::chmod(host->c_str(), mode) != 0) return system_error(path, "chmod", errno);
  return {};
}

Result<ExtendedAttributes> SystemDisk::extended_attributes(const std::string& path) const {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  ExtendedAttributes found;
  std::array<char, 65536> names;  // XATTR_LIST_MAX
  const ssize_t length = ::llistxattr(host->c_str(), names.data(), names.size());
  if (length < 0) {
    if (has_no_attributes(errno)) return found;
    return system_error(path, "listxattr", errno);
  }
  for (const std::string& name :
       split(std::string_view(names.data(), static_cast<size_t>(length)), '\0')) {
    if (name.empty()) continue;
    std::string value(65536, '\0');  // XATTR_SIZE_MAX
    const ssize_t size = ::lgetxattr(host->c_str(), name.c_str(), value.data(), value.size());
    if (size < 0) continue;  // gone meanwhile, or not ours to read
    value.resize(static_cast<size_t>(size));
    found[name] = std::move(value);
  }
  return found;
}

Result<void> SystemDisk::set_extended_attribute(const std::string& path, const std::string& name,
                                                const std::string& value) {
  Result<std::string> host = place(path, false);
  if (!host.ok()) return std::move(host).error();
  if (::lsetxattr(host->c_str(), name.c_str(), value.data(), value.size(), 0) != 0) {
    return system_error(path, "setxattr", errno);
  }
  return {};
}

Result<void> SystemDisk::check_writable(const std::string& directory) const {
  Result<std::string> host = place(directory, true);
  if (!host.ok()) return std::move(host).error();
  // AT_EACCESS: by the rights that a write would be judged by.
  if (::faccessat(AT_FDCWD, host->c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return system_error(directory, "write", errno);
  }
  return {};
}

Result<std::unique_ptr<DirectoryLock>> SystemDisk::lock_directory(const std::string& directory) {
  Result<std::string> host = place(directory, true);
  if (!host.ok()) return std::move(host).error();
  const int descriptor = ::open(host->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_error(directory, "open", errno);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
    return std::make_unique<DirectoryLock>(descriptor);
  }
  const int errno_value = errno;
  ::close(descriptor);
  // NFS emulates flock by record locks, which a directory cannot have; 9p and some FUSE have none.
  if (errno_value == EBADF || errno_value == ENOLCK || errno_value == ENOSYS ||
      errno_value == EOPNOTSUPP || errno_value == EINVAL) {
    return std::make_unique<DirectoryLock>(-1);
  }
  return system_error(directory, "lock", errno_value);
}

}  // namespace ssmend
