// The environment as a whole: is there an interpreter (interpreter-missing), does the kernel
// library have a module whose own package is not installed (kernels-alone), and does a package lie
// in several import directories (several-copies).
#include <fmt/format.h>

#include <cerrno>
#include <set>
#include <utility>

#include "base/text.h"
#include "diagnose/context.h"
#include "diagnose/kernels_alone.h"

namespace ssmend {
namespace {

constexpr std::string_view kKernelDistribution = "ssm-kernels";

void judge_interpreter(DiagnoseContext& context) {
  const Environment& environment = context.environment();
  // A folder of packages has no interpreter of its own; that is said among what is not checked.
  if (!environment.python.executable.empty() ||
      environment.kind == EnvironmentKind::kBareDirectory) {
    return;
  }
  Finding finding = make_finding("interpreter-missing");
  // A layer of an image can lack what is below it.
  if (context.disk.is_mounted_root()) finding.severity = Severity::kWarning;
  finding.subject = "python";
  finding.location.path = environment.prefix;
  finding.title = fmt::format("no interpreter in `{}`", environment.name_for_people);
  for (const char* name : {"bin/python3", "bin/python"}) {
    const std::string path = path_join(environment.prefix, name);
    const Result<std::string> target = context.disk.read_link(path);
    const Result<FileStat> there = context.disk.stat(path);
    // An interpreter in a folder that is closed to this user is as good as none.
    const bool missing = !there.ok() && (there.error().system_errno == ENOENT ||
                                         there.error().system_errno == ENOTDIR);
    finding.evidence.push_back({"looked at", (target.ok() ? path + " -> " + *target : path) +
                                                 (missing       ? ", which does not exist"
                                                  : !there.ok() ? ": " + there.error().message
                                                                : ", which is no program")});
  }
  finding.details.emplace_back("path", environment.prefix);
  context.add(std::move(finding));
}

void judge_kernels_alone(DiagnoseContext& context) {
  const Environment& environment = context.environment();
  for (const KernelsAlone& alone : kernels_alone(context.disk, environment)) {
    Finding finding = make_finding("kernels-alone");
    finding.subject = alone.module;
    finding.subject_path = alone.path;
    finding.location.path = context.shown(alone.path);
    finding.title = fmt::format("`{}` comes from {}; `{}` itself is not installed", alone.module,
                                alone.provider, alone.package);
    finding.evidence.push_back({"module", alone.path});
    finding.evidence.push_back({"searched", list_some(environment.site_directories, 4)});
    finding.meaning =
        fmt::format("Code that imports {} works; `import {}` is a ModuleNotFoundError.",
                    alone.module, alone.package);
    if (!alone.same_functions.empty()) {
      finding.remedies.push_back(
          {fmt::format("own code takes the same functions from {}", alone.same_functions),
           "own code"});
    }
    finding.details.emplace_back("module", alone.module);
    finding.details.emplace_back("package", alone.package);
    context.add(std::move(finding));
  }
}

struct Copy {
  std::string path;     // of the file that `import` runs
  std::string version;  // by the metadata beside it
};

// In the order of import. One folder under two names (lib64 -> lib) counts once.
std::vector<Copy> copies_of(const DiagnoseContext& context, const std::string& package,
                            const std::string& distribution_name) {
  std::vector<Copy> copies;
  std::set<std::pair<uint64_t, uint64_t>> folders;
  for (const std::string& site : context.environment().site_directories) {
    for (const std::string& file : {package + "/__init__.py", package + ".py"}) {
      const std::string path = path_join(site, file);
      const Result<FileStat> folder = context.disk.stat(std::string(directory_name(path)));
      if (!folder.ok() || !context.disk.exists(path)) continue;
      if (!folders.insert({folder->device, folder->inode}).second) break;
      Copy copy{path, "no metadata beside it"};
      for (const Distribution& distribution : context.environment().distributions) {
        if (distribution.site_directory == site &&
            distribution.normalized_name == distribution_name) {
          copy.version = distribution.version;
        }
      }
      copies.push_back(std::move(copy));
      break;
    }
  }
  return copies;
}

void judge_copies(DiagnoseContext& context) {
  std::vector<ConsumerInfo> packages = knowledge().consumers;
  packages.push_back({"torch", "torch"});
  for (const ConsumerInfo& package : packages) {
    const std::vector<Copy> copies = copies_of(context, package.package, package.distribution);
    if (copies.size() < 2) continue;
    Finding finding = make_finding("several-copies");
    finding.subject = package.package;
    finding.subject_path = copies.front().path;
    finding.location.path = context.shown(copies.front().path);
    finding.title = fmt::format("`{}` lies in {} import directories; Python takes the first",
                                package.package, copies.size());
    for (const Copy& copy : copies) {
      finding.evidence.push_back({&copy == copies.data() ? "imported" : "not used",
                                  fmt::format("{} ({})", copy.path, copy.version)});
    }
    finding.meaning = fmt::format(
        "What is installed, upgraded or patched in another of them changes nothing at `import {}`.",
        package.package);
    finding.remedies.push_back(
        {fmt::format("`pip uninstall {}` removes the first, where it is not the one that is wanted",
                     package.distribution),
         package.distribution});
    finding.details.emplace_back("module", package.package);
    finding.details.emplace_back("path", copies.front().path);
    context.add(std::move(finding));
  }
}

}  // namespace

std::vector<KernelsAlone> kernels_alone(const Disk& disk, const Environment& environment) {
  std::vector<KernelsAlone> found;
  for (const NativeModuleInfo& native : knowledge().native_modules) {
    if (native.package.empty()) continue;
    const NativeFile* file = environment.find_native_module(native.name);
    if (file == nullptr || file->owner < 0 ||
        environment.find_distribution(native.distribution) != nullptr ||
        !environment.find_module(disk, native.package).empty()) {
      continue;
    }
    const Distribution& owner = environment.distributions[static_cast<size_t>(file->owner)];
    if (owner.normalized_name != kKernelDistribution) continue;
    found.push_back({native.name, file->path, owner.name + " " + owner.version, native.package,
                     native.same_functions});
  }
  return found;
}

void judge_environment(DiagnoseContext& context) {
  judge_interpreter(context);
  judge_kernels_alone(context);
  judge_copies(context);
}

}  // namespace ssmend
