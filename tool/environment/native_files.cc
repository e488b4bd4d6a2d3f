#include "environment/native_files.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr int kMaxDepth = 40;
constexpr size_t kMaxFiles = 200000;  // a site directory that is a whole disk ends somewhere

bool is_identifier(std::string_view text) {
  if (text.empty() || (text.front() >= '0' && text.front() <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (static_cast<unsigned char>(c) & 0x80) != 0;
  });
}

// "x.cpython-310-aarch64-linux-gnu.so" -> ".cpython-310-aarch64-linux-gnu.so"; "libx.so.1" -> "".
std::string module_suffix(std::string_view name) {
  if (!glob_match("*.so", name)) return {};
  const size_t dot = name.find('.');
  const std::string suffix(name.substr(dot));
  if (suffix == ".so" || suffix == ".abi3.so") return suffix;
  if (glob_match(".cpython-*.so", suffix) || glob_match(".pypy*.so", suffix)) return suffix;
  return {};
}

std::string dotted_name(std::string_view relative, std::string_view suffix) {
  std::vector<std::string> parts = split(relative.substr(0, relative.size() - suffix.size()), '/');
  if (parts.size() > 1 && parts.back() == "__init__") parts.pop_back();
  for (const std::string& part : parts) {
    if (!is_identifier(part)) return {};
  }
  return join(parts, ".");
}

class Walk {
 public:
  Walk(const Disk& disk, Environment* environment) : disk_(disk), environment_(environment) {
    for (size_t i = 0; i < environment->distributions.size(); ++i) {
      const Distribution& distribution = environment->distributions[i];
      for (const RecordEntry& entry : distribution.files) {
        if (entry.path.find(".so") == std::string::npos) continue;
        owners_.emplace(entry.path, static_cast<int>(i));
      }
    }
  }

  void site_directory(const std::string& directory) {
    site_ = directory;
    folder(directory, 0);
  }

 private:
  void folder(const std::string& path, int depth) {
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(path);
    if (!entries.ok()) {
      environment_->problems.push_back(entries.error().message);
      return;
    }
    for (const DirectoryEntry& entry : *entries) {
      if (environment_->native_files.size() >= kMaxFiles) return;
      if (entry.kind == FileStat::Kind::kDirectory) {
        if (entry.name == "__pycache__" || depth >= kMaxDepth) continue;
        const std::string below = path_join(path, entry.name);
        if (is_site_directory(below)) continue;
        folder(below, depth + 1);
        continue;
      }
      const bool named_native = glob_match("*.so", entry.name) || glob_match("*.so.*", entry.name);
      if (entry.kind == FileStat::Kind::kSymlink) {
        linked(path_join(path, entry.name), entry.name, named_native, depth);
      } else if (named_native) {
        // A pipe or a device named .so is a problem of its own; it is told when it is opened.
        file(path_join(path, entry.name), entry.name);
      }
    }
  }

  void linked(const std::string& path, std::string_view name, bool named_native, int depth) {
    const Result<FileStat> target = disk_.stat(path);
    if (!target.ok()) {
      // A dangling link or a loop named like a library is a broken library.
      if (named_native) file(path, name);
      return;
    }
    if (!target->is_directory()) {
      if (named_native) file(path, name);
      return;
    }
    if (depth >= kMaxDepth || name == "__pycache__") return;
    if (!followed_.insert({target->device, target->inode}).second) return;
    // A link to a folder that holds the link itself would be walked once more; that is the end.
    const Result<std::string> real = disk_.real_path(path);
    if (!real.ok() || is_inside(path, *real) || is_site_directory(*real)) return;
    folder(path, depth + 1);
  }

  void file(const std::string& path, std::string_view name) {
    if (glob_match("*.so.*", name) && !has_version_tail(name)) {
      return;  // libx.so.bak, x.so.py: nothing loads these
    }
    NativeFile native;
    native.path = path;
    native.suffix = module_suffix(name);
    const bool tagged = native.suffix.size() > 3 && native.suffix != ".abi3.so";
    if (!native.suffix.empty() && (tagged || name.substr(0, 3) != "lib")) {
      native.module_name =
          dotted_name(std::string_view(path).substr(site_.size() + 1), native.suffix);
    }
    const auto owner = owners_.find(path);
    if (owner != owners_.end()) native.owner = owner->second;
    environment_->native_files.push_back(std::move(native));
  }

  static bool has_version_tail(std::string_view name) {
    const std::string_view tail = name.substr(name.rfind(".so.") + 4);
    return !tail.empty() && std::all_of(tail.begin(), tail.end(),
                                        [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
  }

  [[nodiscard]] bool is_site_directory(const std::string& path) const {
    return std::find(environment_->site_directories.begin(), environment_->site_directories.end(),
                     path) != environment_->site_directories.end();
  }

  const Disk& disk_;
  Environment* environment_;
  std::string site_;
  std::unordered_map<std::string, int> owners_;
  std::set<std::pair<uint64_t, uint64_t>> followed_;
};

}  // namespace

void find_native_files(const Disk& disk, Environment* environment) {
  Walk walk(disk, environment);
  for (const std::string& directory : environment->site_directories) {
    walk.site_directory(directory);
  }
}

}  // namespace ssmend
