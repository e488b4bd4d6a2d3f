// The lookups of an Environment. find_module follows importlib's PathFinder and FileFinder
// (Lib/importlib/_bootstrap_external.py): in each import directory a package folder with an
// __init__ file comes first, then extension suffixes in order, then .py, then .pyc; a folder
// without __init__ is only remembered as a namespace portion and the search goes on.
#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "environment/environment.h"

namespace ssmend {
namespace {

struct FoundModule {
  std::string file;                   // empty for a namespace package
  std::vector<std::string> packages;  // where its submodules are searched; empty: no package
};

bool is_file(const Disk& disk, const std::string& path) {
  const Result<FileStat> stat = disk.stat(path);
  return stat.ok() && !stat->is_directory();
}

FoundModule find_part(const Disk& disk, const std::vector<std::string>& directories,
                      const std::vector<std::string>& suffixes, const std::string& name) {
  FoundModule found;
  for (const std::string& directory : directories) {
    const std::string base = path_join(directory, name);
    const bool folder = disk.is_directory(base);
    for (const std::string& suffix : suffixes) {
      if (!folder) break;
      const std::string init = path_join(base, "__init__" + suffix);
      if (!is_file(disk, init)) continue;
      return {init, {base}};
    }
    for (const std::string& suffix : suffixes) {
      if (is_file(disk, base + suffix)) return {base + suffix, {}};
    }
    if (folder) found.packages.push_back(base);
  }
  return found;
}

}  // namespace

const Distribution* Environment::find_distribution(std::string_view name) const {
  const std::string wanted = normalized_distribution_name(name);
  for (const Distribution& distribution : distributions) {
    if (distribution.normalized_name == wanted) return &distribution;
  }
  return nullptr;
}

std::vector<std::string> Environment::import_directories() const {
  std::vector<std::string> directories;
  if (!python.standard_library.empty()) {
    directories.push_back(python.standard_library);
    directories.push_back(path_join(python.standard_library, "lib-dynload"));
  }
  directories.insert(directories.end(), site_directories.begin(), site_directories.end());
  return directories;
}

std::string Environment::find_module(const Disk& disk, std::string_view dotted_name) const {
  std::vector<std::string> suffixes = python.extension_suffixes;
  suffixes.emplace_back(".py");
  suffixes.emplace_back(".pyc");
  std::vector<std::string> directories = import_directories();
  FoundModule found;
  for (const std::string& part : split(dotted_name, '.')) {
    if (part.empty()) return {};
    found = find_part(disk, directories, suffixes, part);
    if (found.file.empty() && found.packages.empty()) return {};
    directories = found.packages;
  }
  return found.file.empty() ? found.packages.front() : found.file;
}

const NativeFile* Environment::find_native_module(std::string_view dotted_name) const {
  for (const std::string& directory : site_directories) {
    for (const std::string& suffix : python.extension_suffixes) {
      for (const NativeFile& file : native_files) {
        if (file.module_name == dotted_name && file.suffix == suffix &&
            is_inside(file.path, directory)) {
          return &file;
        }
      }
    }
  }
  return nullptr;
}

std::string Environment::relative_path(std::string_view path) const {
  std::string_view best;
  for (const std::string& directory : site_directories) {
    if (is_inside(path, directory) && directory.size() > best.size()) best = directory;
  }
  if (best.empty() || path.size() <= best.size() + 1) return std::string(path);
  return std::string(path.substr(best.size() + 1));
}

}  // namespace ssmend
