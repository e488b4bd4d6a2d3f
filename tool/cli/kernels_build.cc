#include "cli/kernels_build.h"

#include <fmt/core.h>

#include "base/text.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"
#include "compile/compile.h"

namespace ssmend {
namespace {

constexpr const char* kPackName = "ssm_kernels/local_images.pack";
constexpr const char* kLibraryName = "ssm_kernels/libssm_kernels.so";

struct BuildOptions {
  TargetOptions target;
  std::string source;
  std::string gpu;
  std::string nvrtc;
  std::string output;
  bool yes = false;
};

std::string version_name(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// The compilers to try, best first. A driver runs what a compiler of its own release or an older
// one made, and within one major release mostly what a newer one did.
std::vector<std::string> compilers_for(int driver, const std::vector<std::string>& found) {
  std::vector<std::string> fitting;
  std::vector<std::string> same_major;
  for (const std::string& path : found) {
    std::string reason;
    const int version = ssm::nvrtc_version(path, &reason);
    if (driver <= 0 || version <= driver) {
      fitting.push_back(path);
    } else if (version / 1000 == driver / 1000) {
      same_major.push_back(path);
    }
  }
  fitting.insert(fitting.end(), same_major.rbegin(), same_major.rend());
  return fitting;
}

Result<ssm::CompileReport> compile(const BuildOptions& options, int sm, int driver,
                                   const std::vector<std::string>& site_directories) {
  ssm::CompileRequest request;
  request.kernels_directory = options.source;
  if (request.kernels_directory.empty()) {
    Result<std::string> data = data_directory("kernels");
    if (!data.ok()) {
      return std::move(data).error().with_context("this ssmend comes without the kernels' sources");
    }
    request.kernels_directory = std::move(data).value() + "/source";
  }
  request.sources = ssm::unit_sources(request.kernels_directory);
  if (request.sources.empty()) {
    return Error(printable(request.kernels_directory) +
                 "/units.txt: names no source, expected one");
  }
  request.architectures = {"sm_" + std::to_string(sm)};
  std::vector<std::string> compilers = {options.nvrtc};
  if (options.nvrtc.empty()) {
    const std::vector<std::string> found = ssm::find_nvrtc(site_directories);
    compilers = compilers_for(driver, found);
    if (found.empty()) {
      return Error(
          "no libnvrtc.so is found here, expected one of a CUDA toolkit or of a package "
          "nvidia-cuda-nvrtc: name it with --nvrtc");
    }
    if (compilers.empty()) {
      return Error("every libnvrtc.so here is newer than the driver's CUDA " +
                   version_name(driver) + ": " + join(found, ", "));
    }
  }
  Error last("no compiler");
  for (const std::string& compiler : compilers) {
    request.nvrtc_path = compiler;
    ssm::CompileReport report = ssm::compile_images(request);
    if (report.error.empty()) {
      print(fmt::format("NVRTC {} ({}): {} for sm_{} in {:.1f} s\n", version_name(report.compiler),
                        printable(compiler), count_of(static_cast<size_t>(report.images), "image"),
                        sm, report.seconds));
      return report;
    }
    last = Error(printable(compiler) + ": " + report.error);
    print_progress(printable(compiler) + ": " + report.error + "\n");
  }
  return last;
}

// The import directory whose library the modules open; empty where there is none.
std::string site_of_library(const Disk& disk, const Environment& environment) {
  for (const std::string& site : environment.site_directories) {
    if (disk.stat(site + "/" + kLibraryName).ok()) return site;
  }
  return "";
}

// Lays the pack beside the environment's library as one transaction that undo gives back.
int install(const Target& target, const RepairSession& session, const BuildOptions& options,
            const std::string& site, std::string pack) {
  Plan plan;
  plan.environment_prefix = session.scope.name_for_people;
  Action action;
  action.kind = Action::Kind::kInstall;
  action.title = kPackName;
  action.summary = "images for this GPU, compiled here";
  FileChange change;
  change.path = site + "/" + kPackName;
  change.content = std::move(pack);
  action.changes.push_back(std::move(change));
  plan.actions.push_back(std::move(action));
  if (!options.yes && !can_ask()) {
    return fail(Error("nobody can be asked here: --yes installs, --output FILE only compiles"));
  }
  if (!options.yes && !ask("Write " + plan.actions[0].changes[0].path + "?")) {
    print("Nothing was changed\n");
    return kExitHealthy;
  }
  const Result<std::unique_ptr<DirectoryLock>> lock = lock_scope(*target.disk, session.scope);
  if (!lock.ok()) return fail(lock.error());
  const SignalsHeld signals;
  const Result<UndoReport> recovered = recover(*target.disk, session.scope);
  if (!recovered.ok()) return fail(recovered.error());
  ApplyOptions apply_options;
  apply_options.ssmend_version = SSMEND_VERSION;
  const Result<std::optional<int64_t>> epoch = source_date_epoch();
  if (!epoch.ok()) return fail(epoch.error());
  apply_options.source_date_epoch = *epoch;
  const Result<ApplyReport> applied = apply_plan(*target.disk, session.scope, plan, apply_options);
  if (!applied.ok()) return fail(applied.error());
  print("Changed " + count_of(files_changed(plan), "file") + "; undo with `ssmend undo`\n");
  return kExitHealthy;
}

int run_build(const BuildOptions& options) {
  const std::unique_ptr<Disk> disk = open_system_disk();
  const HostFacts host = probe_host(*disk);
  const Result<int> sm = chosen_gpu(options.gpu, host);
  if (!sm.ok()) return fail(sm.error());
  const int driver = parse_cuda_version(host.cuda_driver_api.value);
  if (!options.output.empty()) {
    Result<ssm::CompileReport> report = compile(options, *sm, driver, {});
    if (!report.ok()) return fail(report.error());
    const Result<void> written = disk->replace_atomically(options.output, report->pack, {});
    if (!written.ok()) return fail(written.error());
    print("Wrote " + printable(options.output) + "\n");
    return kExitHealthy;
  }
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());
  for (const Environment& environment : target->environments) {
    const RepairSession session = open_session(*target, environment, "sm_" + std::to_string(*sm));
    const std::string site = site_of_library(*target->disk, environment);
    if (site.empty()) {
      return fail(Error(printable(environment.name_for_people) +
                        ": the kernel library is not installed, expected " + kLibraryName +
                        ": install it first (`ssmend kernels install`)"));
    }
    Result<ssm::CompileReport> report = compile(options, *sm, driver, environment.site_directories);
    if (!report.ok()) return fail(report.error());
    const int status = install(*target, session, options, site, std::move(report->pack));
    if (status != kExitHealthy) return status;
  }
  return kExitHealthy;
}

}  // namespace

void add_kernels_build(CLI::App& kernels, Selected& selected) {
  auto options = std::make_shared<BuildOptions>();
  CLI::App* build = kernels.add_subcommand(
      "build", "compile the kernels here, for this GPU, with the libnvrtc found here");
  add_target_options(*build, options->target);
  build->add_option("--gpu", options->gpu, "sm_87; default: the GPU of this machine");
  build->add_option("--nvrtc", options->nvrtc, "libnvrtc.so to compile with (CUDA 11.4 or newer)");
  build->add_option("--source", options->source, "folder of the kernels' sources");
  build->add_option("--output", options->output, "only write this file, change no environment");
  build->add_flag("-y,--yes", options->yes, "without asking");
  build->callback(
      [options, &selected] { selected.run = [options] { return run_build(*options); }; });
}

}  // namespace ssmend
