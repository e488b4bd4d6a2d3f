#include "base/disk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/system_disk.h"

namespace ssmend {

ReadFile::~ReadFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ReadFile::ReadFile(ReadFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

ReadFile& ReadFile::operator=(ReadFile&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

Result<FileStat> ReadFile::stat() const {
  struct stat raw;
  if (::fstat(descriptor_, &raw) != 0) return system_error(path_, "fstat", errno);
  return file_stat_of(raw);
}

Result<std::string> ReadFile::read_at(uint64_t offset, uint64_t count) const {
  // Never trust `count` alone for the allocation: a hostile header may claim 2^60 bytes.
  struct stat raw;
  if (::fstat(descriptor_, &raw) != 0) return system_error(path_, "fstat", errno);
  const uint64_t size = raw.st_size < 0 ? 0 : static_cast<uint64_t>(raw.st_size);
  if (offset >= size) return std::string();
  std::string bytes(std::min(count, size - offset), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::pread(descriptor_, bytes.data() + have, bytes.size() - have,
                                static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path_, "read", errno);
    if (got == 0) break;  // truncated meanwhile
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

bool Disk::exists(const std::string& path) const { return stat(path).ok(); }

bool Disk::is_directory(const std::string& path) const {
  const Result<FileStat> found = stat(path);
  return found.ok() && found->is_directory();
}

Result<std::string> Disk::read(const std::string& path, uint64_t limit_bytes) const {
  Result<ReadFile> file = open(path);
  if (!file.ok()) return std::move(file).error();
  const Result<FileStat> found = file->stat();
  if (!found.ok()) return found.error();
  if (found->size_bytes > limit_bytes) {
    return Error(path + ": has " + std::to_string(found->size_bytes) + " bytes, at most " +
                 std::to_string(limit_bytes) + " are read");
  }
  // Files of /proc and /sys state a size of 0 (or one page): read those to their end.
  if (found->size_bytes != 0 && path.rfind("/sys/", 0) != 0) {
    return file->read_at(0, found->size_bytes);
  }
  std::string bytes;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(file->descriptor(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path, "read", errno);
    if (got == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
    if (bytes.size() > limit_bytes) {
      return Error(path + ": more than " + std::to_string(limit_bytes) + " bytes");
    }
  }
}

}  // namespace ssmend
