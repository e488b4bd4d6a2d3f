// Disk over the system calls of Linux, for the running system and for a mounted root. Stages use
// base/disk.h; this header is for those who derive from SystemDisk (fault injection in tests).
#pragma once

#include <string>

#include "base/disk.h"

struct stat;

namespace ssmend {

FileStat file_stat_of(const struct stat& raw);
// A rename or a new entry is on the disk only once its directory is. `path` is one of the host.
Result<void> sync_directory_of(const std::string& path);
// "PATH: OPERATION: No such file or directory" with the errno kept.
Error system_error(const std::string& path, const char* operation, int errno_value);

class SystemDisk : public Disk {
 public:
  // `root_directory` is "/" or an existing directory, without a final slash.
  explicit SystemDisk(std::string root_directory) : root_(std::move(root_directory)) {}

  Result<FileStat> stat(const std::string& path) const override;
  Result<FileStat> lstat(const std::string& path) const override;
  Result<ReadFile> open(const std::string& path) const override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) const override;
  Result<std::string> read_link(const std::string& path) const override;
  Result<std::string> real_path(const std::string& path) const override;
  Result<std::string> host_path(const std::string& path) const override;
  bool is_mounted_root() const override { return root_ != "/"; }

  Result<void> replace_atomically(const std::string& path, std::string_view content,
                                  const WriteOptions& options) override;
  Result<void> make_directory(const std::string& path, uint32_t mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove_file(const std::string& path) override;
  Result<void> remove_directory(const std::string& path) override;
  Result<void> make_symlink(const std::string& target, const std::string& path) override;
  Result<void> set_times(const std::string& path, int64_t mtime_seconds,
                         int64_t mtime_nanoseconds) override;
  Result<void> hard_link(const std::string& from, const std::string& to) override;
  Result<void> set_owner(const std::string& path, uint32_t user_id, uint32_t group_id) override;
  Result<void> set_mode(const std::string& path, uint32_t mode) override;
  Result<ExtendedAttributes> extended_attributes(const std::string& path) const override;
  Result<void> set_extended_attribute(const std::string& path, const std::string& name,
                                      const std::string& value) override;
  Result<void> check_writable(const std::string& directory) const override;
  Result<std::unique_ptr<DirectoryLock>> lock_directory(const std::string& directory) override;

 private:
  // The path for the system call: links followed inside the root; the last one if `follow_last`.
  Result<std::string> place(const std::string& path, bool follow_last) const;
  Result<std::string> resolve_in_root(const std::string& path, bool follow_last) const;

  std::string root_;
};

}  // namespace ssmend
