#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "cli/command.h"
#include "report/verification.h"
#include "verify/native_check.h"
#include "verify/packages.h"

namespace ssmend {
namespace {

struct VerifyOptions {
  TargetOptions target;
  PackageCheckRequest packages;
  std::string library;
  bool native = false;
  bool require_gpu = false;
  bool json = false;
  bool junit = false;
  bool quiet = false;
};

using Clock = std::chrono::steady_clock;
using State = CheckOutcome::State;

Result<void> check_component_names(const std::vector<std::string>& wanted,
                                   const std::vector<std::string>& known) {
  for (const std::string& name : wanted) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return Error("--component " + printable(name) + ": is none of " + join(known, ", "));
    }
  }
  return {};
}

// The library that an environment's modules use; else the one that comes with this ssmend.
std::string kernel_library(const Disk& disk, const std::vector<Environment>& environments) {
  constexpr const char* kInPackage = "ssm_kernels/libssm_kernels.so";
  for (const Environment& environment : environments) {
    for (const std::string& site : environment.site_directories) {
      if (std::string path = path_join(site, kInPackage); disk.exists(path)) return path;
    }
  }
  const Result<std::string> own = data_directory("kernels");
  utsname system{};
  if (!own.ok() || ::uname(&system) != 0) return "";
  const std::string tag = std::string("linux_") + system.machine;
  std::string path = path_join(path_join(*own, tag), kInPackage);
  return open_system_disk()->exists(path) ? path : "";
}

CheckOutcome native_not_checked(const NativeReport& report) {
  CheckOutcome outcome;
  outcome.component = "native";
  outcome.name = "kernel library";
  outcome.state = State::kNotChecked;
  outcome.gpu_is_missing = report.state == NativeReport::State::kNoGpu;
  outcome.reason = report.reason;
  return outcome;
}

std::vector<std::string> device_lines(const NativeGpu& gpu, const std::string& library) {
  std::vector<std::string> lines = {
      "Library " + library,
      fmt::format("GPU     {}, sm_{}, {} multiprocessors, driver for CUDA {}.{}", gpu.name, gpu.sm,
                  gpu.multiprocessors, gpu.driver_version / 1000, gpu.driver_version % 1000 / 10)};
  for (const NativeImage& image : gpu.images) {
    lines.push_back(fmt::format("Image   {}: {}", image.unit, image.reason));
  }
  return lines;
}

void add_native(const std::string& library, Verification& verification) {
  if (library.empty()) {
    NativeReport none;
    none.state = NativeReport::State::kNoLibrary;
    none.reason = "no kernel library is installed here and none comes with this ssmend";
    verification.outcomes.push_back(native_not_checked(none));
    return;
  }
  const NativeReport report = run_native_check(library);
  if (report.state != NativeReport::State::kChecked) {
    verification.outcomes.push_back(native_not_checked(report));
    return;
  }
  verification.device = device_lines(report.gpu, library);
  for (const NativeResult& result : report.results) {
    CheckOutcome outcome = result.outcome;
    if (result.bytes_per_second > 0) {
      outcome.rate = fmt::format("{:.0f} GB/s", result.bytes_per_second / 1e9);
    }
    verification.outcomes.push_back(std::move(outcome));
  }
}

Result<void> add_packages(const VerifyOptions& options, const Target& target,
                          Verification& verification) {
  Result<std::string> directory = data_directory("recipes");
  if (!directory.ok()) return std::move(directory).error();
  const std::unique_ptr<Disk> own_disk = open_system_disk();
  Result<std::vector<CheckScript>> scripts =
      load_check_scripts(*own_disk, path_join(*directory, "checks"));
  if (!scripts.ok()) return std::move(scripts).error();
  Result<void> known =
      check_component_names(options.packages.components, component_names(*scripts));
  if (!known.ok()) return known;

  PackageCheckRequest request = options.packages;
  if (probe_terminal().error_is_terminal && !options.quiet) {
    request.on_step = [](const std::string& component, const std::string& step) {
      print_progress("\r\x1b[K" + printable(component) + ": " + printable(step));
    };
  }
  const std::unique_ptr<Process> process = open_system_process();
  for (const Environment& environment : target.environments) {
    verification.environment = environment.prefix;
    std::vector<CheckOutcome> more =
        check_packages(*process, *target.disk, environment, *scripts, request);
    verification.outcomes.insert(verification.outcomes.end(), more.begin(), more.end());
  }
  if (request.on_step) print_progress("\r\x1b[K");
  return {};
}

Result<Verification> verify(const VerifyOptions& options) {
  Verification verification;
  Result<Target> target = open_target(options.target);
  const bool named = !options.target.python.empty() || !options.target.site_packages.empty() ||
                     !options.target.root.empty();
  // The library can be checked where there is no environment at all, if none was asked for.
  if (!target.ok() && (!options.native || named)) return std::move(target).error();

  if (options.native || options.packages.components.empty()) {
    const std::unique_ptr<Disk> own_disk = open_system_disk();
    const bool mounted = target.ok() && target->disk->is_mounted_root();
    std::string library = options.library;
    if (library.empty() && !mounted) {
      library = target.ok() ? kernel_library(*target->disk, target->environments)
                            : kernel_library(*own_disk, {});
    }
    add_native(library, verification);
  }
  if (!options.native) {
    const Result<void> packages = add_packages(options, *target, verification);
    if (!packages.ok()) return packages.error();
  }
  return verification;
}

// A wrong number outranks a missing GPU: it was found, and it is the worse news.
int exit_code_of(const Verification& verification, bool require_gpu) {
  const std::vector<CheckOutcome>& outcomes = verification.outcomes;
  if (count_outcomes(outcomes, State::kWrong) + count_outcomes(outcomes, State::kFailed) != 0) {
    return kExitBroken;
  }
  if (!require_gpu) return kExitHealthy;
  for (const CheckOutcome& outcome : outcomes) {
    if (outcome.gpu_is_missing) return kExitNoGpu;
  }
  // Nothing was computed, for whatever reason: that a GPU works has not been shown.
  return count_outcomes(outcomes, State::kOk) == 0 ? kExitNoGpu : kExitHealthy;
}

int run_verify(const VerifyOptions& options) {
  const Clock::time_point begin = Clock::now();
  Result<Verification> verification = verify(options);
  if (!verification.ok()) return fail(verification.error());
  verification->seconds = std::chrono::duration<double>(Clock::now() - begin).count();

  if (options.json) {
    print(render_verification_json(*verification));
  } else if (options.junit) {
    print(render_verification_junit(*verification));
  } else {
    const Terminal terminal = probe_terminal();
    TextStyle style;
    style.colour = terminal.colour;
    style.utf8 = terminal.utf8;
    style.columns = terminal.columns;
    style.quiet = options.quiet;
    print(render_verification(*verification, style));
  }
  return exit_code_of(*verification, options.require_gpu);
}

}  // namespace

void add_verify_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "compute with the kernel library and the packages, and compare with float64");
  add_target_options(*command, options->target);
  CLI::Option* native = command->add_flag(
      "--native", options->native, "only the kernel library itself, on the GPU, without Python");
  command->add_option("--library", options->library, "this libssm_kernels.so")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--component", options->packages.components,
                   "only this one (torch, imports, mamba, ...); may be given again")
      ->excludes(native);
  command->add_option("--yolo", options->packages.yolo_checkout,
                      "a Mamba-YOLO checkout: SS2D and VSSBlock are checked too");
  command->add_option("--device", options->packages.device, "cuda, or cpu for binaries made for it")
      ->check(CLI::IsMember({"cuda", "cpu"}));
  command->add_option("--timeout", options->packages.timeout_seconds,
                      "seconds that one script may take");
  command->add_flag("--require-gpu", options->require_gpu, "exit 3 where there is no GPU");
  CLI::Option* json = command->add_flag("--json", options->json, "the results as JSON");
  command->add_flag("--junit", options->junit, "the results as JUnit XML")->excludes(json);
  command->add_flag("-q,--quiet", options->quiet, "only what is not right, and the last line");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_verify(*options); }; });
}

}  // namespace ssmend
