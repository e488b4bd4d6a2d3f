#include "environment/wheel.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "base/text.h"
#include "environment/distribution.h"
#include "environment/native_files.h"

#ifdef SSMEND_LIBARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

namespace ssmend {

Environment with_wheel(const Disk& disk, Environment environment, const UnpackedWheel& wheel,
                       const std::string& wheel_path) {
  environment.name_for_people += " with " + std::string(base_name(wheel_path));
  environment.site_directories.insert(environment.site_directories.begin(), wheel.directory);
  environment.distributions.clear();
  environment.native_files.clear();
  for (const std::string& directory : environment.site_directories) {
    add_distributions(disk, directory, &environment.distributions);
  }
  find_native_files(disk, &environment);
  for (const std::string& problem : wheel.problems) {
    environment.problems.push_back(std::string(base_name(wheel_path)) + ": " + problem);
  }
  return environment;
}

#ifndef SSMEND_LIBARCHIVE

bool can_unpack_wheels() { return false; }

Result<UnpackedWheel> unpack_wheel(const std::string& wheel_path, const std::string& /*folder*/,
                                   const UnpackLimits& /*limits*/) {
  return Error(printable(wheel_path) + ": this ssmend was built without libarchive");
}

#else

namespace {

struct ArchiveCloser {
  void operator()(archive* handle) const { archive_read_free(handle); }
};
using Archive = std::unique_ptr<archive, ArchiveCloser>;

// The name as a path below the folder; empty where it is none.
std::string safe_name(const char* raw) {
  if (raw == nullptr) return {};
  const std::string name = raw;
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos) return {};
  for (const std::string& part : split(name, '/')) {
    if (part == "..") return {};
  }
  const std::string normal = normal_path(name);
  return normal == "." ? std::string() : normal;
}

// Where an installer puts it: what lies in NAME.data/platlib goes to the import directory itself.
std::string installed_name(const std::string& name) {
  for (const std::string_view middle : {".data/platlib/", ".data/purelib/"}) {
    const size_t at = name.find(middle);
    if (at != std::string::npos && name.find('/') == at + 5) return name.substr(at + middle.size());
  }
  return name;
}

// Folders are ours alone: nothing in the archive can put a link in the way.
bool make_folders(const std::string& folder, const std::string& name) {
  for (size_t slash = name.find('/'); slash != std::string::npos;
       slash = name.find('/', slash + 1)) {
    const std::string path = path_join(folder, name.substr(0, slash));
    if (::mkdir(path.c_str(), 0700) == 0) continue;
    struct stat found;
    if (::lstat(path.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) return false;
  }
  return true;
}

Result<void> write_entry(archive* source, const std::string& path, uint64_t limit,
                         uint64_t* written) {
  const int descriptor =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return Error(printable(path) + ": cannot be created", errno);
  Result<void> result;
  for (;;) {
    const void* block = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(source, &block, &size, &offset);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) {
      const char* why = archive_error_string(source);
      result = Error(printable(base_name(path)) + ": " + (why == nullptr ? "damaged" : why));
      break;
    }
    *written += size;
    if (*written > limit) {
      result = Error(printable(base_name(path)) + ": more than " + std::to_string(limit) +
                     " bytes, the limit for one file or the rest of the archive");
      break;
    }
    if (::pwrite(descriptor, block, size, offset) != static_cast<ssize_t>(size)) {
      result = Error(printable(path) + ": write failed", errno);
      break;
    }
  }
  ::close(descriptor);
  return result;
}

}  // namespace

bool can_unpack_wheels() { return true; }

Result<UnpackedWheel> unpack_wheel(const std::string& wheel_path, const std::string& folder,
                                   const UnpackLimits& limits) {
  UnpackedWheel wheel;
  wheel.directory = folder;
  const Archive source(archive_read_new());
  archive_read_support_format_zip(source.get());
  const auto fail = [&]() {
    const char* why = archive_error_string(source.get());
    return Error(printable(wheel_path) + ": " + (why == nullptr ? "no zip archive" : why));
  };
  if (archive_read_open_filename(source.get(), wheel_path.c_str(), 1 << 16) != ARCHIVE_OK) {
    return fail();
  }
  std::set<std::string> seen;
  uint64_t total = 0;
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(source.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) return fail();
    const char* raw = archive_entry_pathname(entry);
    const std::string name = installed_name(safe_name(raw));
    const std::string shown = printable(raw == nullptr ? "" : raw);
    if (name.empty()) {
      wheel.problems.push_back("entry climbs out of the archive: " + shown);
      continue;
    }
    if (archive_entry_filetype(entry) == AE_IFDIR) continue;
    if (archive_entry_filetype(entry) != AE_IFREG) {
      wheel.problems.push_back("entry is no file: " + shown);
      continue;
    }
    if (!seen.insert(name).second) {
      wheel.problems.push_back("entry comes twice: " + shown);
      continue;
    }
    if (seen.size() > limits.files) {
      return Error(printable(wheel_path) + ": more than " + std::to_string(limits.files) +
                   " files");
    }
    const std::string path = path_join(folder, name);
    if (!make_folders(folder, name)) {
      wheel.problems.push_back("entry lies below another file: " + shown);
      continue;
    }
    uint64_t written = 0;
    const uint64_t limit = std::min(limits.file_bytes, limits.total_bytes - total);
    if (Result<void> done = write_entry(source.get(), path, limit, &written); !done.ok()) {
      return std::move(done).error().with_context(printable(wheel_path) + ": cannot be unpacked");
    }
    total += written;
  }
  if (seen.empty()) return Error(printable(wheel_path) + ": holds no file");
  return wheel;
}

#endif

}  // namespace ssmend
