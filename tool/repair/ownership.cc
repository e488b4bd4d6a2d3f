#include "repair/ownership.h"

#include <algorithm>

#include "base/text.h"
#include "repair/record.h"

namespace ssmend {
namespace {

bool is_system_directory(const std::string& directory) {
  for (const char* top : {"/usr/lib", "/usr/lib64", "/usr/share"}) {
    if (is_inside(directory, top)) return true;
  }
  return false;
}

bool may_write(const Disk& disk, const std::string& directory) {
  return !is_system_directory(directory) && disk.is_directory(directory) &&
         disk.check_writable(directory).ok();
}

}  // namespace

std::string refusal_of(const Environment& environment, const std::string& path) {
  if (is_system_directory(path)) {
    return printable(path) +
           ": belongs to the operating system's package manager, whose next update would undo or "
           "break a change; install the package in a virtual environment instead";
  }
  const int owner = owner_of(environment, path);
  if (owner < 0) return "";
  const Distribution& distribution = environment.distributions[static_cast<size_t>(owner)];
  if (distribution.installer == "debian" || distribution.installer == "dpkg" ||
      distribution.installer == "rpm") {
    return printable(path) + ": " + distribution.name + " was installed by " +
           distribution.installer + ", which checks its files";
  }
  return "";
}

std::string question_of(const Environment& environment, const std::string& path) {
  for (const Distribution& distribution : environment.distributions) {
    if (!distribution.editable) continue;
    const size_t scheme = distribution.direct_url.find("file://");
    if (scheme == std::string::npos) continue;
    const size_t start = scheme + std::string_view("file://").size();
    const std::string checkout =
        distribution.direct_url.substr(start, distribution.direct_url.find('"', start) - start);
    if (!checkout.empty() && is_inside(path, normal_path(checkout))) {
      return printable(path) + " is in the checkout that " + distribution.name +
             " is installed from (editable); change it there?";
    }
  }
  for (const std::string& site : environment.site_directories) {
    if (is_inside(path, site) && !is_inside(site, environment.prefix) &&
        environment.kind == EnvironmentKind::kVirtual) {
      return printable(path) + " lies outside of " + printable(environment.prefix) +
             " (another environment may use it); change it there?";
    }
  }
  return "";
}

std::string install_directory(const Disk& disk, const Environment& environment,
                              const std::vector<std::string>& modules) {
  std::vector<std::string> places;
  for (const std::string& module : modules) {
    const NativeFile* file = environment.find_native_module(module);
    if (file != nullptr) places.emplace_back(directory_name(file->path));
  }
  for (const char* name : {"mamba-ssm", "causal-conv1d", "torch"}) {
    const Distribution* distribution = environment.find_distribution(name);
    if (distribution != nullptr && !distribution->editable) {
      places.push_back(distribution->site_directory);
    }
  }
  // A file beside a module can lie deeper than an import directory; only those are for modules.
  std::erase_if(places, [&](const std::string& place) {
    return std::find(environment.site_directories.begin(), environment.site_directories.end(),
                     place) == environment.site_directories.end();
  });
  places.insert(places.end(), environment.site_directories.begin(),
                environment.site_directories.end());
  const bool own_prefix =
      environment.kind == EnvironmentKind::kVirtual || environment.kind == EnvironmentKind::kConda;
  for (const bool inside_only : {true, false}) {
    for (const std::string& place : places) {
      const bool inside = !own_prefix || is_inside(place, environment.prefix);
      if ((inside || !inside_only) && may_write(disk, place)) return place;
    }
  }
  return "";
}

std::string why_not_writable(const Disk& disk, const Environment& environment) {
  std::vector<std::string> reasons;
  for (const std::string& site : environment.site_directories) {
    if (is_system_directory(site)) {
      reasons.push_back(printable(site) + ": belongs to the operating system's package manager");
    } else if (const Result<void> writable = disk.check_writable(site); !writable.ok()) {
      reasons.push_back(writable.error().message);
    }
  }
  return reasons.empty() ? "there is none" : join(reasons, "; ");
}

std::vector<std::string> shadowing_files(const Disk& disk, const Environment& environment,
                                         const std::string& module, const std::string& own) {
  std::vector<std::string> found;
  std::vector<std::string> suffixes = environment.python.extension_suffixes;
  if (suffixes.empty()) suffixes = {".abi3.so", ".so"};
  for (const std::string& site : environment.site_directories) {
    for (const std::string& suffix : suffixes) {
      std::string path = path_join(site, module + suffix);
      if (path == own) return found;
      if (disk.lstat(path).ok()) found.push_back(std::move(path));
    }
    // A source file of that name in an earlier import directory also comes first.
    std::string source = path_join(site, module + ".py");
    if (directory_name(own) == site) return found;
    if (disk.lstat(source).ok()) found.push_back(std::move(source));
  }
  return found;
}

}  // namespace ssmend
