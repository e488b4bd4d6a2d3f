#include <sys/auxv.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>

#include "base/text.h"
#include "cli/command.h"

namespace ssmend {
namespace {

// A path given on the command line, made absolute. Under --root it is a path of the target already.
std::string absolute(const std::string& path, bool mounted_root) {
  if (path.empty() || path.front() == '/') return path;
  if (mounted_root) return "/" + path;
  std::array<char, PATH_MAX> here;
  if (::getcwd(here.data(), here.size()) == nullptr) return path;
  return normal_path(path_join(here.data(), path));
}

}  // namespace

void add_target_options(CLI::App& command, TargetOptions& options) {
  CLI::Option* python =
      command.add_option("--python", options.python,
                         "the environment of this interpreter, or an environment's folder");
  CLI::Option* site = command.add_option("--site-packages", options.site_packages,
                                         "only this folder of installed packages");
  command.add_option("--root", options.root, "look into a mounted root file system");
  CLI::Option* all = command.add_flag("--all", options.all, "every environment that can be found");
  python->excludes(site)->excludes(all);
  site->excludes(all);
}

Result<std::unique_ptr<Disk>> open_target_disk(const std::string& root) {
  if (root.empty()) return open_system_disk();
  Result<std::unique_ptr<Disk>> disk = open_root_disk(root);
  if (!disk.ok()) return std::move(disk).error().with_context("--root " + root + " cannot be used");
  return disk;
}

Result<Target> open_target(const TargetOptions& options) {
  Target target;
  Result<std::unique_ptr<Disk>> disk = open_target_disk(options.root);
  if (!disk.ok()) return std::move(disk).error();
  target.disk = std::move(disk).value();

  EnvironmentRequest request;
  const bool mounted = !options.root.empty();
  request.python = absolute(options.python, mounted);
  request.site_packages = absolute(options.site_packages, mounted);
  request.all = options.all;
  if (!mounted) {
    request.virtual_env = environment_variable("VIRTUAL_ENV");
    request.conda_prefix = environment_variable("CONDA_PREFIX");
    request.path_variable = environment_variable("PATH");
    request.home_directory = environment_variable("HOME");
    request.python_path = environment_variable("PYTHONPATH");
    request.pyenv_version = environment_variable("PYENV_VERSION");
    std::array<char, PATH_MAX> here;
    if (::getcwd(here.data(), here.size()) != nullptr) request.working_directory = here.data();
    target.library_path = environment_variable("LD_LIBRARY_PATH");
  }
  Result<std::vector<Environment>> environments = discover_environments(*target.disk, request);
  if (!environments.ok()) return std::move(environments).error();
  target.environments = std::move(environments).value();
  target.request = std::move(request);
  return target;
}

Result<std::string> data_directory(const std::string& name) {
  std::vector<std::string> places;
  if (const std::string chosen = environment_variable("SSMEND_DATA"); !chosen.empty())
    places.push_back(chosen);
  // The kernel's own note of how this program was started does without a mounted /proc.
  const auto* started_as = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  for (const char* self : {"/proc/self/exe", started_as}) {
    std::array<char, PATH_MAX> executable;
    if (self == nullptr || ::realpath(self, executable.data()) == nullptr) continue;
    const std::string directory(directory_name(executable.data()));
    places.push_back(normal_path(path_join(directory, "../share/ssmend")));
    break;
  }
  const std::unique_ptr<Disk> disk = open_system_disk();
  std::vector<std::string> tried;
  for (const std::string& place : places) {
    std::string path = path_join(place, name);
    if (disk->is_directory(path)) return path;
    tried.push_back(path);
  }
  return Error("ssmend's own folder '" + name + "' is not there: looked at " + join(tried, ", ") +
               "; set SSMEND_DATA to the folder that holds it");
}

}  // namespace ssmend
