#include "environment/search.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "base/text.h"
#include "environment/site_path.h"

namespace ssmend {
namespace {

constexpr int kMaxDepth = 4;
constexpr size_t kMaxFolders = 20000;

// Folders that are large and hold no environment.
constexpr std::array<std::string_view, 12> kSkipped = {
    "node_modules",  ".git",          "__pycache__", ".npm", ".cargo", ".rustup",
    "site-packages", "dist-packages", ".ccache",     "proc", "sys",    "dev"};

bool is_python_name(std::string_view name) {
  if (name == "python3" || name == "python") return true;
  if (name.substr(0, 8) != "python3.") return false;
  std::string_view rest = name.substr(8);
  if (!rest.empty() && rest.back() == 't') rest.remove_suffix(1);
  return is_all_digits(rest);
}

class Search {
 public:
  Search(const Disk& disk, const EnvironmentRequest& request) : disk_(disk), request_(request) {}

  SearchResult run() {
    for (const char* bin : {"/usr/local/bin", "/usr/bin", "/bin"}) binaries(bin);
    for (const char* conda : {"/opt/conda", "/opt/miniconda3", "/opt/miniforge3"}) folder(conda);
    for (const std::string& home : homes()) home_folder(home);
    for (const char* top : {"/opt", "/srv", "/venv", "/workspace", "/app", "/var/lib/venvs"}) {
      virtual_environments(top, 0);
    }
    for (const std::string& home : homes()) virtual_environments(home, 0);
    if (disk_.is_mounted_root()) bare_directories();
    return std::move(result_);
  }

 private:
  std::vector<std::string> homes() const {
    std::vector<std::string> found;
    if (!request_.home_directory.empty()) found.push_back(request_.home_directory);
    if (!disk_.is_mounted_root()) return found;
    found.emplace_back("/root");
    const Result<std::vector<DirectoryEntry>> entries = disk_.list("/home");
    if (!entries.ok()) return found;
    for (const DirectoryEntry& entry : *entries) found.push_back(path_join("/home", entry.name));
    return found;
  }

  void add(const std::string& path) {
    // A link to an interpreter that is known already names no second environment, but a virtual
    // environment's bin/python3 is such a link and does: those are added as folders.
    const Result<std::string> real = disk_.real_path(path);
    if (!real.ok() || !seen_.insert(*real).second) return;
    result_.interpreters.push_back(path);
  }

  void binaries(const std::string& bin) {
    result_.searched.push_back(bin);
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(bin);
    if (!entries.ok()) return;
    for (const DirectoryEntry& entry : *entries) {
      if (is_python_name(entry.name)) add(path_join(bin, entry.name));
    }
  }

  void folder(const std::string& path) {
    result_.searched.push_back(path);
    const bool conda = disk_.is_directory(path_join(path, "conda-meta"));
    if (conda && disk_.exists(path_join(path, "bin/python"))) add(path);
    children(path_join(path, "envs"));
  }

  void children(const std::string& path) {
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(path);
    if (!entries.ok()) return;
    result_.searched.push_back(path);
    for (const DirectoryEntry& entry : *entries) {
      const std::string below = path_join(path, entry.name);
      if (disk_.exists(path_join(below, "pyvenv.cfg")) ||
          disk_.exists(path_join(below, "bin/python3")) ||
          disk_.exists(path_join(below, "bin/python"))) {
        add(below);
      }
    }
  }

  void home_folder(const std::string& home) {
    for (const char* name : {".pyenv/versions", ".local/share/uv/python", ".virtualenvs",
                             ".cache/pypoetry/virtualenvs", ".local/share/pipx/venvs",
                             ".local/share/uv/tools", ".conda/envs"}) {
      children(path_join(home, name));
    }
    for (const char* name : {"miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba"}) {
      folder(path_join(home, name));
    }
    const Result<std::string> known =
        disk_.read(path_join(home, ".conda/environments.txt"), 1 << 20);
    if (!known.ok()) return;
    for (const std::string& line : split_lines(*known)) {
      if (!line.empty() && line.front() == '/') add(normal_path(line));
    }
  }

  void virtual_environments(const std::string& path, int depth) {
    if (depth > kMaxDepth || folders_ >= kMaxFolders) return;
    ++folders_;
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(path);
    if (!entries.ok()) return;
    if (depth == 0) result_.searched.push_back(path);
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name != "pyvenv.cfg") continue;
      add(path);
      return;  // nothing is nested in an environment
    }
    // The remains of an environment, or packages unpacked as into one: no interpreter, no
    // pyvenv.cfg.
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name == "lib" && disk_.is_mounted_root()) packages_in(path_join(path, "lib"));
    }
    for (const DirectoryEntry& entry : *entries) {
      if (entry.kind != FileStat::Kind::kDirectory) continue;
      if (std::find(kSkipped.begin(), kSkipped.end(), entry.name) != kSkipped.end()) continue;
      virtual_environments(path_join(path, entry.name), depth + 1);
    }
  }

  // Packages unpacked where no interpreter is: lib/python*/{site,dist}-packages, or a root that is
  // itself a folder of packages.
  void bare_directories() {
    for (const char* library : {"/usr/local/lib", "/usr/lib", "/usr/local/lib64", "/usr/lib64"}) {
      packages_in(library);
    }
    if (has_distributions("/")) result_.bare_directories.emplace_back("/");
  }

  void packages_in(const std::string& library) {
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(library);
    if (!entries.ok()) return;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name.rfind("python", 0) != 0) continue;
      for (const char* packages : {"site-packages", "dist-packages"}) {
        const std::string path = path_join(path_join(library, entry.name), packages);
        if (has_distributions(path)) result_.bare_directories.push_back(path);
      }
    }
  }

  bool has_distributions(const std::string& path) const {
    const Result<std::vector<DirectoryEntry>> entries = disk_.list(path);
    if (!entries.ok()) return false;
    return std::any_of(entries->begin(), entries->end(), [](const DirectoryEntry& entry) {
      return glob_match("*.dist-info", entry.name) || glob_match("*.egg-info", entry.name);
    });
  }

  const Disk& disk_;
  const EnvironmentRequest& request_;
  SearchResult result_;
  std::set<std::string> seen_;
  size_t folders_ = 0;
};

// ~/.pyenv/shims/python3 is a shell script; which interpreter it starts is decided by
// PYENV_VERSION, a .python-version file upwards from the working directory, or the global version.
std::string follow_pyenv_shim(const Disk& disk, const std::string& shims,
                              const EnvironmentRequest& request) {
  const std::string root(directory_name(shims));
  std::string text = request.pyenv_version;
  for (std::string folder = request.working_directory; text.empty() && !folder.empty();
       folder = std::string(directory_name(folder))) {
    if (const Result<std::string> local = disk.read(path_join(folder, ".python-version"), 4096);
        local.ok()) {
      text = *local;
    }
    if (folder == "/") break;
  }
  if (text.empty()) text = disk.read(path_join(root, "version"), 4096).value_or("");
  for (const std::string& line : split_lines(replace_all(text, ":", "\n"))) {
    const std::string name(trim(line));
    if (name.empty() || name == "system" || name.find('/') != std::string::npos) continue;
    const std::string folder = path_join(path_join(root, "versions"), name);
    if (disk.exists(path_join(folder, "bin/python3"))) return path_join(folder, "bin/python3");
    // "3.12" stands for the newest 3.12.x that is installed.
    const Result<std::vector<DirectoryEntry>> entries = disk.list(path_join(root, "versions"));
    if (!entries.ok()) continue;
    std::string best;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name.rfind(name + ".", 0) == 0) {
        best = path_join(path_join(root, "versions"), entry.name + "/bin/python3");
      }
    }
    if (!best.empty() && disk.exists(best)) return best;
  }
  return {};
}

}  // namespace

SearchResult search_environments(const Disk& disk, const EnvironmentRequest& request) {
  return Search(disk, request).run();
}

std::string python_in_path(const Disk& disk, const EnvironmentRequest& request) {
  for (const char* name : {"python3", "python"}) {
    for (const std::string& folder : split(request.path_variable, ':')) {
      if (folder.empty() || folder.front() != '/') continue;
      const std::string path = path_join(normal_path(folder), name);
      const Result<FileStat> stat = disk.stat(path);
      if (!stat.ok() || !stat->is_regular() || (stat->mode & 0111) == 0) continue;
      if (base_name(normal_path(folder)) == "shims") {
        const std::string real = follow_pyenv_shim(disk, normal_path(folder), request);
        if (!real.empty()) return real;
        continue;
      }
      return path;
    }
  }
  return {};
}

}  // namespace ssmend
