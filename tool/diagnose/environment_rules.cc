// The environment as a whole: is there an interpreter (interpreter-missing), and does the kernel
// library have a module whose own package is not installed (kernels-alone).
#include <fmt/format.h>

#include <cerrno>

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
}

}  // namespace ssmend
