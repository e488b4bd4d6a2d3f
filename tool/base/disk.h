// Disk: the file system as every stage sees it. One of the two virtual interfaces (the other is
// Process), so that tests can make a disk full or a call fail, and so that a mounted root file
// system is read exactly like the running one.
//
// Paths given to a Disk are absolute paths *of the target*: with open_root_disk("/mnt/jetson") the
// path "/usr/lib/libc.so.6" is /mnt/jetson/usr/lib/libc.so.6, and every symbolic link on the way,
// absolute ones too, is followed inside the root and never out of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ssmend {

struct FileStat {
  enum class Kind { kRegular, kDirectory, kSymlink, kOther };
  Kind kind = Kind::kOther;
  uint64_t size_bytes = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t hard_links = 1;
  uint32_t mode = 0;  // permission bits only (07777)
  uint32_t user_id = 0;
  uint32_t group_id = 0;
  int64_t mtime_seconds = 0;
  int64_t mtime_nanoseconds = 0;

  [[nodiscard]] bool is_regular() const { return kind == Kind::kRegular; }
  [[nodiscard]] bool is_directory() const { return kind == Kind::kDirectory; }
  [[nodiscard]] bool is_symlink() const { return kind == Kind::kSymlink; }
};

struct DirectoryEntry {
  std::string name;
  FileStat::Kind kind = FileStat::Kind::kOther;  // of the entry itself, links not followed
};

// An open file for reading at offsets (pread; never mapped, so a file truncated by somebody else
// gives a short read and not a SIGBUS). Owns the descriptor.
class ReadFile {
 public:
  ReadFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~ReadFile();
  ReadFile(ReadFile&& other) noexcept;
  ReadFile& operator=(ReadFile&& other) noexcept;
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  [[nodiscard]] int descriptor() const { return descriptor_; }     // still owned by this object
  [[nodiscard]] const std::string& path() const { return path_; }  // of the target, for messages
  [[nodiscard]] Result<FileStat> stat() const;
  // Up to `count` bytes from `offset`; fewer at the end of the file.
  [[nodiscard]] Result<std::string> read_at(uint64_t offset, uint64_t count) const;

 private:
  int descriptor_;
  std::string path_;
};

// How a file is to be after a write.
struct WriteOptions {
  uint32_t mode = 0644;
  int64_t user_id = -1;  // -1: whoever runs ssmend
  int64_t group_id = -1;
  int64_t mtime_seconds = -1;  // -1: now
  int64_t mtime_nanoseconds = 0;
};

// Extended attributes by name ("user.note", "security.selinux"), values as bytes.
using ExtendedAttributes = std::map<std::string, std::string>;

// Held until destroyed.
class DirectoryLock {
 public:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_;  // -1: the file system has no locks, nothing is held
};

class Disk {
 public:
  virtual ~Disk() = default;

  // --- reading ---
  virtual Result<FileStat> stat(const std::string& path) const = 0;   // links followed
  virtual Result<FileStat> lstat(const std::string& path) const = 0;  // of the link itself
  virtual Result<ReadFile> open(const std::string& path) const = 0;   // regular files only
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& path) const = 0;  // by name
  virtual Result<std::string> read_link(const std::string& path) const = 0;
  // The path with every link resolved, still a path of the target.
  virtual Result<std::string> real_path(const std::string& path) const = 0;
  // Where this path lies for a program outside the target (equal to `path` for the running system).
  virtual Result<std::string> host_path(const std::string& path) const = 0;
  virtual bool is_mounted_root() const = 0;

  // --- writing (tool/repair only). None follows a link in the last component. ---
  // A new inode: temporary file in the same directory, fsync, rename, fsync of the directory.
  virtual Result<void> replace_atomically(const std::string& path, std::string_view content,
                                          const WriteOptions& options) = 0;
  virtual Result<void> make_directory(const std::string& path, uint32_t mode) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;  // and fsyncs
  virtual Result<void> remove_file(const std::string& path) = 0;
  virtual Result<void> remove_directory(const std::string& path) = 0;  // must be empty
  virtual Result<void> make_symlink(const std::string& target, const std::string& path) = 0;
  virtual Result<void> set_times(const std::string& path, int64_t mtime_seconds,
                                 int64_t mtime_nanoseconds) = 0;
  // The rest of writing (base/system_disk_metadata.cc). A Disk that is only read need not have it:
  // the base class answers with an error (ENOTSUP), and with no attributes.
  virtual Result<void> hard_link(const std::string& from, const std::string& to);  // and fsyncs
  virtual Result<void> set_owner(const std::string& path, uint32_t user_id, uint32_t group_id);
  virtual Result<void> set_mode(const std::string& path, uint32_t mode);  // no symbolic links
  virtual Result<ExtendedAttributes> extended_attributes(const std::string& path) const;
  virtual Result<void> set_extended_attribute(const std::string& path, const std::string& name,
                                              const std::string& value);
  // Whether the running user may make, rename and remove entries in this directory.
  virtual Result<void> check_writable(const std::string& directory) const;
  // An exclusive lock on a directory, without any file for it; ends with the process, also by
  // SIGKILL. EWOULDBLOCK: somebody else holds it.
  virtual Result<std::unique_ptr<DirectoryLock>> lock_directory(const std::string& directory);

  // --- conveniences over the above ---
  [[nodiscard]] bool exists(const std::string& path) const;
  [[nodiscard]] bool is_directory(const std::string& path) const;  // links followed
  // The whole file; an error where it is longer than `limit_bytes`.
  [[nodiscard]] Result<std::string> read(const std::string& path,
                                         uint64_t limit_bytes = uint64_t{64} << 20) const;
};

std::unique_ptr<Disk> open_system_disk();
// `root_directory` must exist; "/" gives the running system.
Result<std::unique_ptr<Disk>> open_root_disk(const std::string& root_directory);

}  // namespace ssmend
