#include "environment/site_path.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr uint64_t kPthLimitBytes = 1 << 20;

bool add_directory(const Disk& disk, const std::string& directory, SitePath* path) {
  const Result<std::string> real = disk.real_path(directory);
  if (!real.ok() || !disk.is_directory(*real)) return false;
  for (const std::string& known : path->directories) {
    if (known == directory) return false;
    const Result<std::string> known_real = disk.real_path(known);
    if (known_real.ok() && *known_real == *real) return false;
  }
  path->directories.push_back(directory);
  return true;
}

void read_pth(const Disk& disk, const std::string& directory, const std::string& name,
              SitePath* path) {
  const Result<std::string> text = disk.read(path_join(directory, name), kPthLimitBytes);
  if (!text.ok()) {
    path->problems.push_back(text.error().message);
    return;
  }
  std::string_view content = *text;
  if (content.substr(0, 3) == "\xef\xbb\xbf") content.remove_prefix(3);
  for (const std::string& line : split_lines(content)) {
    const std::string_view entry = trim(line);
    if (entry.empty() || entry.front() == '#') continue;
    if (line.rfind("import ", 0) == 0 || line.rfind("import\t", 0) == 0) continue;
    add_directory(disk, normal_path(path_join(directory, entry)), path);
  }
}

// Debian's site.py looks for dist-packages; every other Python for site-packages.
bool is_debian_python(const Disk& disk, const PythonInterpreter& python) {
  if (python.standard_library.empty()) return false;
  const Result<std::string> text =
      disk.read(path_join(python.standard_library, "site.py"), 1 << 20);
  return text.ok() && text->find("dist-packages") != std::string::npos;
}

std::string minor_of(const PythonInterpreter& python) {
  const std::vector<std::string> parts = split(python.version, '.');
  return parts.size() < 2 ? std::string() : parts[0] + "." + parts[1];
}

void add_system_directories(const Disk& disk, const PythonInterpreter& python, SitePath* path) {
  const std::string version = "python" + minor_of(python);
  if (is_debian_python(disk, python)) {
    add_site_directory(
        disk, path_join(python.base_prefix, "local/lib/" + version + "/dist-packages"), path);
    add_site_directory(disk, path_join(python.base_prefix, "lib/python3/dist-packages"), path);
    add_site_directory(disk, path_join(python.base_prefix, "lib/" + version + "/dist-packages"),
                       path);
    return;
  }
  // sys.platlibdir first (lib64 on Fedora and SUSE), then lib.
  const bool wide = python.standard_library.find("/lib64/") != std::string::npos;
  if (wide) {
    add_site_directory(disk, path_join(python.base_prefix, "lib64/" + version + "/site-packages"),
                       path);
  }
  add_site_directory(disk, path_join(python.base_prefix, "lib/" + version + "/site-packages"),
                     path);
}

}  // namespace

void add_site_directory(const Disk& disk, const std::string& directory, SitePath* path) {
  if (!add_directory(disk, directory, path)) return;
  const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries.ok()) {
    path->problems.push_back(entries.error().message);
    return;
  }
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name.front() == '.' || !glob_match("*.pth", entry.name)) continue;
    read_pth(disk, directory, entry.name, path);
  }
}

SitePath find_site_path(const Disk& disk, const FoundInterpreter& interpreter,
                        const SitePathRequest& request) {
  SitePath path;
  const PythonInterpreter& python = interpreter.python;
  const std::string version = "python" + minor_of(python);
  for (const std::string& entry : split(request.python_path, ':')) {
    if (!entry.empty()) add_directory(disk, normal_path(entry), &path);
  }
  const bool isolated =
      interpreter.kind == EnvironmentKind::kVirtual && !interpreter.system_site_packages;
  if (interpreter.kind == EnvironmentKind::kVirtual) {
    add_site_directory(disk, path_join(interpreter.prefix, "lib64/" + version + "/site-packages"),
                       &path);
    // A lib64 link names the same folder; the spelling people know is lib.
    const std::string plain = path_join(interpreter.prefix, "lib/" + version + "/site-packages");
    SitePath spelled;
    add_site_directory(disk, plain, &spelled);
    if (!spelled.directories.empty()) {
      const Result<std::string> real = disk.real_path(plain);
      bool same = false;
      for (std::string& known : path.directories) {
        const Result<std::string> known_real = disk.real_path(known);
        if (!real.ok() || !known_real.ok() || *real != *known_real) continue;
        known = plain;
        same = true;
      }
      if (!same) add_site_directory(disk, plain, &path);
    }
  }
  if (isolated) return path;
  if (!request.home_directory.empty()) {
    add_site_directory(
        disk, path_join(request.home_directory, ".local/lib/" + version + "/site-packages"), &path);
  }
  add_system_directories(disk, python, &path);
  return path;
}

std::string prefix_of_site_directory(const std::string& site_directory) {
  const std::string_view name = base_name(site_directory);
  if (name != "site-packages" && name != "dist-packages") return site_directory;
  const std::string_view python = directory_name(site_directory);
  if (base_name(python).substr(0, 6) != "python") return site_directory;
  const std::string_view library = directory_name(python);
  if (base_name(library) != "lib" && base_name(library) != "lib64") return site_directory;
  return std::string(directory_name(library));
}

}  // namespace ssmend
