// The tree as it would be after a plan: a Disk that answers for planned files from memory and for
// all others from the real disk. A plan is judged on it, by the same stages that judged the real
// tree, before anything is written. Reading only; every write is an error.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/disk.h"
#include "repair/plan.h"

namespace ssmend {

class OverlayDisk : public Disk {
 public:
  explicit OverlayDisk(const Disk& below) : below_(below) {}
  void add(const FileChange& change);
  void add(const Plan& plan);

  Result<FileStat> stat(const std::string& path) const override;
  Result<FileStat> lstat(const std::string& path) const override;
  Result<ReadFile> open(const std::string& path) const override;
  Result<std::vector<DirectoryEntry>> list(const std::string& path) const override;
  Result<std::string> read_link(const std::string& path) const override;
  Result<std::string> real_path(const std::string& path) const override;
  Result<std::string> host_path(const std::string& path) const override;
  bool is_mounted_root() const override { return below_.is_mounted_root(); }

  Result<void> replace_atomically(const std::string& path, std::string_view content,
                                  const WriteOptions& options) override;
  Result<void> make_directory(const std::string& path, uint32_t mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove_file(const std::string& path) override;
  Result<void> remove_directory(const std::string& path) override;
  Result<void> make_symlink(const std::string& target, const std::string& path) override;
  Result<void> set_times(const std::string& path, int64_t mtime_seconds,
                         int64_t mtime_nanoseconds) override;

 private:
  // The path with links of its directories resolved, as far as they exist below.
  [[nodiscard]] std::string key(const std::string& path) const;
  [[nodiscard]] FileStat stat_of_planned(const std::string& key) const;

  const Disk& below_;
  std::map<std::string, std::string> files_;  // by resolved path
  std::map<std::string, uint64_t> inodes_;
  std::set<std::string> directories_;  // that only the plan makes
  std::set<std::string> removed_;
};

}  // namespace ssmend
