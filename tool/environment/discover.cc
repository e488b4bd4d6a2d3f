// discover_environments: from what the user asked for to complete Environments.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "environment/distribution.h"
#include "environment/environment.h"
#include "environment/interpreter.h"
#include "environment/native_files.h"
#include "environment/search.h"
#include "environment/site_path.h"

namespace ssmend {
namespace {

void read_packages(const Disk& disk, Environment* environment) {
  for (const std::string& directory : environment->site_directories) {
    add_distributions(disk, directory, &environment->distributions);
  }
  for (const Distribution& distribution : environment->distributions) {
    for (const std::string& problem : distribution.problems) {
      environment->problems.push_back(printable(distribution.name) + ": " + problem);
    }
  }
  find_native_files(disk, environment);
  environment->host = probe_host(disk, environment->python.real_executable);
}

Environment complete(const Disk& disk, FoundInterpreter found, const EnvironmentRequest& request,
                     const std::string& how_found) {
  Environment environment;
  environment.how_found = how_found;
  environment.kind = found.kind;
  environment.prefix = found.prefix;
  environment.name_for_people = found.prefix;
  SitePathRequest site_request;
  site_request.home_directory = request.home_directory;
  site_request.python_path = request.python_path;
  SitePath path = find_site_path(disk, found, site_request);
  environment.site_directories = std::move(path.directories);
  environment.problems = std::move(found.problems);
  for (std::string& problem : path.problems) environment.problems.push_back(std::move(problem));
  environment.python = std::move(found.python);
  environment.externally_managed =
      found.kind != EnvironmentKind::kVirtual && !environment.python.standard_library.empty() &&
      disk.exists(path_join(environment.python.standard_library, "EXTERNALLY-MANAGED"));
  read_packages(disk, &environment);
  return environment;
}

// A folder of packages. Where it lies in an environment, the environment's interpreter is used, and
// the folder alone is looked at.
Environment of_site_directory(const Disk& disk, const std::string& directory,
                              const std::string& how_found) {
  Environment environment;
  environment.how_found = how_found;
  environment.name_for_people = directory;
  environment.prefix = prefix_of_site_directory(directory);
  environment.kind = EnvironmentKind::kBareDirectory;
  if (environment.prefix != directory) {
    Result<FoundInterpreter> found = find_interpreter(disk, environment.prefix);
    // The interpreter must be of the version whose packages these are.
    if (found.ok() && !found->python.executable.empty()) {
      const PythonInterpreter guess = guess_interpreter(disk, directory);
      const std::string version = found->python.version + ".";
      if (guess.version.empty() || version.rfind(guess.version + ".", 0) == 0) {
        environment.kind = found->kind;
        environment.python = std::move(found->python);
        environment.problems = std::move(found->problems);
      }
    }
  }
  if (environment.python.executable.empty()) {
    environment.python = guess_interpreter(disk, directory);
    environment.problems.push_back(directory + ": no interpreter beside it" +
                                   (environment.python.version.empty()
                                        ? ""
                                        : "; taken as Python " + environment.python.version));
  }
  SitePath path;
  add_site_directory(disk, directory, &path);
  environment.site_directories = std::move(path.directories);
  for (std::string& problem : path.problems) environment.problems.push_back(std::move(problem));
  read_packages(disk, &environment);
  return environment;
}

// An environment of which no import directory can be listed: nothing may be said of it, least of
// all that nothing is wrong.
Result<void> readable(const Disk& disk, const Environment& environment) {
  Result<void> answer;
  for (const std::string& directory : environment.site_directories) {
    const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
    if (entries.ok()) return {};
    answer = Error(entries.error());
  }
  return answer;
}

Result<std::string> absolute(const std::string& path, const EnvironmentRequest& request) {
  if (!path.empty() && path.front() == '/') return normal_path(path);
  if (request.working_directory.empty()) return Error(printable(path) + ": not an absolute path");
  return normal_path(path_join(request.working_directory, path));
}

bool holds_packages(const Disk& disk, const std::string& path) {
  const std::string_view name = base_name(path);
  return (name == "site-packages" || name == "dist-packages") && disk.is_directory(path);
}

Result<std::vector<Environment>> one_python(const Disk& disk, const std::string& python,
                                            const EnvironmentRequest& request,
                                            const std::string& how_found) {
  std::string path = python;
  if (python.find('/') == std::string::npos && !request.path_variable.empty()) {
    // A bare name such as python3.10 is looked up as the shell does it.
    for (const std::string& folder : split(request.path_variable, ':')) {
      const std::string candidate = path_join(folder, python);
      if (folder.empty() || folder.front() != '/' || disk.is_directory(candidate)) continue;
      if (!disk.exists(candidate)) continue;
      path = candidate;
      break;
    }
  }
  const Result<std::string> whole = absolute(path, request);
  if (!whole.ok()) return whole.error();
  if (holds_packages(disk, *whole)) {
    return std::vector<Environment>{of_site_directory(disk, *whole, how_found)};
  }
  Result<FoundInterpreter> found = find_interpreter(disk, *whole);
  if (!found.ok()) return std::move(found).error().with_context(how_found + ": no environment");
  Environment environment = complete(disk, std::move(*found), request, how_found);
  Result<void> listed = readable(disk, environment);
  if (!listed.ok()) return std::move(listed).error().with_context(how_found + ": cannot be read");
  return std::vector<Environment>{std::move(environment)};
}

Result<std::vector<Environment>> every_environment(const Disk& disk,
                                                   const EnvironmentRequest& request,
                                                   const std::string& how_found) {
  SearchResult search = search_environments(disk, request);
  std::vector<Environment> environments;
  const auto covered = [&](const std::string& directory) {
    return std::any_of(environments.begin(), environments.end(), [&](const Environment& known) {
      return std::find(known.site_directories.begin(), known.site_directories.end(), directory) !=
             known.site_directories.end();
    });
  };
  for (const std::string& interpreter : search.interpreters) {
    Result<FoundInterpreter> found = find_interpreter(disk, interpreter);
    if (!found.ok()) continue;
    const std::string& library = found->python.standard_library;
    const bool known =
        std::any_of(environments.begin(), environments.end(), [&](const Environment& other) {
          return other.prefix == found->prefix && other.python.standard_library == library;
        });
    if (known) continue;
    environments.push_back(complete(disk, std::move(*found), request, how_found));
  }
  for (const std::string& directory : search.bare_directories) {
    if (!covered(directory)) {
      environments.push_back(of_site_directory(disk, directory, how_found));
    }
  }
  if (environments.empty()) {
    return Error("no Python environment found; searched " + join(search.searched, ", "));
  }
  return environments;
}

}  // namespace

Result<std::vector<Environment>> discover_environments(const Disk& disk,
                                                       const EnvironmentRequest& request) {
  if (!request.python.empty()) return one_python(disk, request.python, request, "--python");
  if (!request.site_packages.empty()) {
    const Result<std::string> path = absolute(request.site_packages, request);
    if (!path.ok()) return path.error();
    const Result<std::vector<DirectoryEntry>> entries = disk.list(*path);
    if (!entries.ok()) return Error(entries.error()).with_context("--site-packages: not readable");
    return std::vector<Environment>{of_site_directory(disk, *path, "--site-packages")};
  }
  if (request.all) return every_environment(disk, request, "--all");
  if (disk.is_mounted_root()) return every_environment(disk, request, "--root");
  if (!request.virtual_env.empty()) {
    return one_python(disk, request.virtual_env, request, "VIRTUAL_ENV");
  }
  if (!request.conda_prefix.empty()) {
    return one_python(disk, request.conda_prefix, request, "CONDA_PREFIX");
  }
  const std::string python = python_in_path(disk, request);
  if (python.empty()) {
    return Error(
        "no Python environment: VIRTUAL_ENV and CONDA_PREFIX are not set and there is no python3 "
        "in PATH; name one with --python, --site-packages or --root");
  }
  return one_python(disk, python, request, "python3 in PATH");
}

}  // namespace ssmend
