#include "environment/interpreter.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "environment/elf_identity.h"

namespace ssmend {
namespace {

// "python3.10" -> "3.10"; empty for other names ("python3", "python3-config").
std::string version_in_name(std::string_view name) {
  const std::string_view start = "python";
  if (name.substr(0, start.size()) != start) return {};
  std::string_view rest = name.substr(start.size());
  if (!rest.empty() && rest.back() == 't') rest.remove_suffix(1);  // free-threaded builds
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return {};
  if (!is_all_digits(rest.substr(0, dot)) || !is_all_digits(rest.substr(dot + 1))) return {};
  return std::string(rest);
}

std::string minor_version(std::string_view version) {
  const std::vector<std::string> parts = split(version, '.');
  if (parts.size() < 2 || !is_all_digits(parts[0]) || !is_all_digits(parts[1])) return {};
  return parts[0] + "." + parts[1];
}

// pyvenv.cfg: "key = value" lines (PEP 405); keys in lower case.
std::map<std::string, std::string> read_venv_config(const Disk& disk, const std::string& path) {
  std::map<std::string, std::string> values;
  const Result<std::string> text = disk.read(path, 1 << 20);
  if (!text.ok()) return values;
  for (const std::string& line : split_lines(*text)) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    values[to_lower(trim(std::string_view(line).substr(0, equals)))] =
        trim(std::string_view(line).substr(equals + 1));
  }
  return values;
}

// The standard libraries (folders with os.py) right under `prefix`, as version -> folder.
std::map<std::string, std::string> standard_libraries(const Disk& disk, const std::string& prefix) {
  std::map<std::string, std::string> found;
  for (const char* library : {"lib", "lib64"}) {
    const std::string directory = path_join(prefix, library);
    const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : *entries) {
      const std::string version = version_in_name(entry.name);
      if (version.empty() || found.count(version) != 0) continue;
      const std::string path = path_join(directory, entry.name);
      if (disk.exists(path_join(path, "os.py"))) found[version] = path;
    }
  }
  return found;
}

// getpath.py's search: upwards from the folder of the executable to the first landmark.
void find_standard_library(const Disk& disk, std::string directory, const std::string& wanted,
                           FoundInterpreter* found) {
  for (;;) {
    std::map<std::string, std::string> libraries = standard_libraries(disk, directory);
    if (!wanted.empty() && libraries.count(wanted) == 0) libraries.clear();
    if (!libraries.empty()) {
      std::pair<std::string, std::string> best = *libraries.begin();
      for (const auto& candidate : libraries) {
        if (compare_dotted(candidate.first, best.first) > 0) best = candidate;
      }
      if (!wanted.empty()) best = *libraries.find(wanted);
      found->python.base_prefix = directory;
      found->python.standard_library = best.second;
      if (minor_version(found->python.version) != best.first) found->python.version = best.first;
      return;
    }
    if (directory == "/" || directory == ".") return;
    directory = std::string(directory_name(directory));
  }
}

// The value of 'KEY': '...' in the text of a _sysconfigdata file.
std::string sysconfig_value(std::string_view text, std::string_view key) {
  const std::string label = "'" + std::string(key) + "': '";
  const size_t at = text.find(label);
  if (at == std::string_view::npos) return {};
  const size_t start = at + label.size();
  const size_t end = text.find('\'', start);
  if (end == std::string_view::npos) return {};
  return std::string(text.substr(start, end - start));
}

void read_sysconfig(const Disk& disk, PythonInterpreter* python) {
  const Result<std::vector<DirectoryEntry>> entries = disk.list(python->standard_library);
  if (!entries.ok()) return;
  const std::string architecture = machine_architecture(python->machine);
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name.rfind("_sysconfigdata", 0) != 0 || !glob_match("*.py", entry.name)) continue;
    const Result<std::string> text =
        disk.read(path_join(python->standard_library, entry.name), 4 << 20);
    if (!text.ok()) continue;
    const std::string soabi = sysconfig_value(*text, "SOABI");
    if (soabi.empty()) continue;
    // With several (a cross-building Python, Debian's multiarch) the one of this machine counts.
    const bool right_machine =
        !architecture.empty() && soabi.find(architecture) != std::string::npos;
    if (python->soabi.empty() || right_machine) python->soabi = soabi;
    if (right_machine) return;
  }
}

void read_patch_level(const Disk& disk, PythonInterpreter* python) {
  const std::string minor = minor_version(python->version);
  const std::string header =
      path_join(python->base_prefix, "include/python" + minor + "/patchlevel.h");
  const Result<std::string> text = disk.read(header, 1 << 20);
  if (!text.ok()) return;
  const std::string label = "#define PY_VERSION";
  for (const std::string& line : split_lines(*text)) {
    if (line.rfind(label, 0) != 0) continue;
    const size_t open = line.find('"');
    const size_t close = line.rfind('"');
    if (open == std::string::npos || close <= open) continue;
    const std::string version = line.substr(open + 1, close - open - 1);
    if (minor_version(version) == minor) python->version = version;
    return;
  }
}

void complete_abi(const Disk& disk, PythonInterpreter* python) {
  if (!python->standard_library.empty()) {
    read_sysconfig(disk, python);
    read_patch_level(disk, python);
  }
  const std::vector<std::string> version = split(python->version, '.');
  const std::string architecture = machine_architecture(python->machine);
  if (python->soabi.empty() && version.size() >= 2 && !architecture.empty()) {
    python->soabi = "cpython-" + version[0] + version[1] + "-" + architecture + "-linux-gnu";
  }
  const size_t tag = python->soabi.find('-', python->soabi.find('-') + 1);
  if (tag != std::string::npos) python->platform_triplet = python->soabi.substr(tag + 1);
  python->extension_suffixes = extension_suffixes(python->soabi);
}

// The executable of an environment's folder; empty where there is none, a dangling link included.
std::string executable_in(const Disk& disk, const std::string& folder,
                          std::vector<std::string>* problems) {
  const std::string bin = path_join(folder, "bin");
  for (const char* name : {"python3", "python"}) {
    const std::string path = path_join(bin, name);
    if (disk.exists(path)) return path;
    if (const Result<std::string> target = disk.read_link(path); target.ok()) {
      problems->push_back(path + " points to " + printable(*target) + ", which does not exist");
    }
  }
  const Result<std::vector<DirectoryEntry>> entries = disk.list(bin);
  if (!entries.ok()) return {};
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = path_join(bin, entry.name);
    if (!version_in_name(entry.name).empty() && disk.exists(path)) return path;
  }
  return {};
}

void read_executable(const Disk& disk, FoundInterpreter* found) {
  PythonInterpreter& python = found->python;
  const Result<std::string> real = disk.real_path(python.executable);
  python.real_executable = real.ok() ? *real : python.executable;
  const Result<ElfIdentity> identity = read_elf_identity(disk, python.real_executable);
  if (!identity.ok()) {
    found->problems.push_back(identity.error().message);
    return;
  }
  python.machine = identity->machine;
  found->loader = identity->loader;
}

}  // namespace

std::vector<std::string> extension_suffixes(const std::string& soabi) {
  std::vector<std::string> suffixes;
  if (!soabi.empty()) suffixes.push_back("." + soabi + ".so");
  // Free-threaded builds ("cpython-313t-...") have no stable ABI before 3.15.
  const size_t dash = soabi.find('-');
  const std::string tag = dash == std::string::npos ? "" : soabi.substr(dash + 1);
  const std::string number = tag.substr(0, tag.find('-'));
  if (number.empty() || number.back() != 't') suffixes.emplace_back(".abi3.so");
  suffixes.emplace_back(".so");
  return suffixes;
}

Result<FoundInterpreter> find_interpreter(const Disk& disk, const std::string& path) {
  FoundInterpreter found;
  PythonInterpreter& python = found.python;
  const Result<FileStat> stat = disk.stat(path);
  std::string folder;
  if (stat.ok() && stat->is_directory()) {
    folder = path;
    python.executable = executable_in(disk, folder, &found.problems);
  } else if (stat.ok()) {
    python.executable = path;
  } else {
    // A link whose interpreter was removed still names its environment.
    const Result<FileStat> link = disk.lstat(path);
    if (!link.ok()) return Error(printable(path) + ": no such interpreter or folder");
    folder = directory_name(directory_name(path));
    python.executable = executable_in(disk, folder, &found.problems);
  }
  if (!python.executable.empty()) read_executable(disk, &found);

  std::string config_path;
  const std::string bin(directory_name(python.executable));
  std::vector<std::string> config_folders;
  if (!python.executable.empty()) config_folders = {bin, std::string(directory_name(bin))};
  if (!folder.empty()) config_folders.push_back(folder);
  for (const std::string& candidate : config_folders) {
    if (!disk.exists(path_join(candidate, "pyvenv.cfg"))) continue;
    config_path = path_join(candidate, "pyvenv.cfg");
    found.prefix = candidate;
    break;
  }

  std::string wanted = version_in_name(base_name(python.real_executable));
  if (wanted.empty()) wanted = version_in_name(base_name(python.executable));
  std::string start(directory_name(python.real_executable));
  if (!config_path.empty()) {
    std::map<std::string, std::string> config = read_venv_config(disk, config_path);
    found.kind = EnvironmentKind::kVirtual;
    found.system_site_packages = to_lower(config["include-system-site-packages"]) == "true";
    std::string version = config["version"].empty() ? config["version_info"] : config["version"];
    std::vector<std::string> parts = split(version, '.');
    if (parts.size() > 3) parts.resize(3);  // virtualenv and uv write 3.12.1.final.0
    version = join(parts, ".");
    if (wanted.empty()) wanted = minor_version(version);
    if (!version.empty()) python.version = version;
    if (!config["home"].empty()) start = normal_path(config["home"]);
  }
  if (python.executable.empty() && config_path.empty()) start = folder;
  if (!start.empty() && start != ".") find_standard_library(disk, start, wanted, &found);
  if (python.version.empty()) python.version = wanted;
  if (python.standard_library.empty()) {
    found.problems.push_back("no standard library (lib/pythonX.Y/os.py) found upwards from " +
                             printable(start));
  }
  if (found.prefix.empty()) {
    found.prefix = python.base_prefix.empty() ? folder : python.base_prefix;
    found.kind = disk.is_directory(path_join(found.prefix, "conda-meta"))
                     ? EnvironmentKind::kConda
                     : EnvironmentKind::kSystem;
  }
  // A folder is an environment by what lies in it; one found further up is somebody else's.
  if (python.executable.empty() && config_path.empty() &&
      (python.standard_library.empty() || python.base_prefix != normal_path(folder))) {
    return Error(printable(path) + ": no bin/python3, no pyvenv.cfg and no lib/pythonX.Y in it");
  }
  if (python.executable.empty() && found.problems.empty()) {
    found.problems.push_back(found.prefix + ": no interpreter in bin");
  }
  complete_abi(disk, &python);
  return found;
}

PythonInterpreter guess_interpreter(const Disk& disk, const std::string& site_directory) {
  PythonInterpreter python;
  for (const std::string& part : split(site_directory, '/')) {
    if (const std::string version = version_in_name(part); !version.empty()) {
      python.version = version;
    }
  }
  // The ABI tag that most modules of the first two levels carry.
  std::map<std::string, int> tags;
  const auto count_tags = [&](const std::string& directory, const auto& self, int depth) -> void {
    const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
    if (!entries.ok()) return;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.kind == FileStat::Kind::kDirectory && depth < 2) {
        self(path_join(directory, entry.name), self, depth + 1);
      } else if (glob_match("*.cpython-*-*.so", entry.name)) {
        const size_t tag = entry.name.find(".cpython-") + 1;
        ++tags[entry.name.substr(tag, entry.name.size() - tag - 3)];
      }
    }
  };
  count_tags(site_directory, count_tags, 0);
  int best = 0;
  for (const auto& [tag, count] : tags) {
    if (count <= best) continue;
    best = count;
    python.soabi = tag;
  }
  const std::vector<std::string> parts = split(python.soabi, '-');  // cpython-310-aarch64-...
  if (parts.size() >= 3) {
    python.machine = architecture_machine(parts[2]);
    const std::string& number = parts[1];
    if (python.version.empty() && number.size() > 1) {
      python.version = number.substr(0, 1) + "." + number.substr(1);
    }
  }
  complete_abi(disk, &python);
  return python;
}

}  // namespace ssmend
