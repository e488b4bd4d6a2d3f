#include <fmt/format.h>

#include <chrono>

#include "base/text.h"
#include "cli/checks.h"
#include "cli/command.h"
#include "report/verification.h"
#include "verify/native_check.h"
#include "verify/packages.h"
#ifdef SSMEND_INJECT
#include "verify/inject.h"
#endif

namespace ssmend {
namespace {

struct VerifyOptions {
  TargetOptions target;
  PackageCheckRequest packages;
  std::string library;
  std::string operation;
  bool native = false;
  bool inject = false;
  bool require_gpu = false;
  bool json = false;
  bool junit = false;
  bool quiet = false;
};

using Clock = std::chrono::steady_clock;
using State = CheckOutcome::State;

#ifdef SSMEND_INJECT
Result<Verification> plant_faults(const VerifyOptions& options) {
  Verification verification;
  const Result<std::string> directory = data_directory("inject");
  if (!directory.ok()) return directory.error();
  const std::unique_ptr<Disk> disk = open_system_disk();
  const Result<std::vector<PlantedFault>> faults = load_faults(*disk, *directory);
  if (!faults.ok()) return faults.error();
  // The faults are built with the library that comes with this ssmend, and for it.
  const std::string library = options.library.empty() ? kernel_library(*disk, {}) : options.library;
  if (library.empty()) return Error("no kernel library comes with this ssmend");
  verification.outcomes = check_faults("/proc/self/exe", library, *faults);
  // Without the control, which comes first and is alone where it is not right.
  const size_t found = count_outcomes(verification.outcomes, State::kOk) - 1;
  const bool planted = verification.outcomes.size() > 1;
  verification.device = {
      "Library " + library,
      planted ? fmt::format("{} of {} planted faults were found", found, faults->size())
              : "No fault was planted: the library as it is was not found right"};
  return verification;
}
#endif

Result<Verification> verify(const VerifyOptions& options) {
#ifdef SSMEND_INJECT
  if (options.inject) return plant_faults(options);
#endif
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
    add_native_check(library, options.operation, verification);
  }
  if (!options.native) {
    const bool show_progress = probe_terminal().error_is_terminal && !options.quiet;
    const Result<void> packages = add_package_checks(
        options.packages, *target->disk, target->environments, show_progress, verification);
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
  const int code = exit_code_of(*verification, options.require_gpu);
  if (code == kExitNoGpu) print_progress("no GPU was checked, and --require-gpu asks for one\n");
  return code;
}

}  // namespace

void add_verify_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify", "compute with the kernel library and the packages, and compare with float64");
  add_target_options(*command, options->target);
  CLI::Option* native = command->add_flag(
      "--native", options->native, "only the kernel library itself, on the GPU, without Python");
#ifdef SSMEND_INJECT
  command
      ->add_flag("--inject", options->inject,
                 "plant wrong kernels and say for each whether the native check finds it")
      ->excludes(native);
#endif
  command
      ->add_option("--operation", options->operation,
                   "with --native: only this one (conv1d fwd, conv1d bwd, conv1d update, scan fwd, "
                   "scan bwd, scan update)")
      ->check(CLI::IsMember(native_operations()))
      ->needs(native);
  command->add_option("--library", options->library, "this libssm_kernels.so")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--component", options->packages.components,
                   "only this one (torch, imports, mamba, ...); may be given again")
      ->excludes(native);
  command->add_option("--yolo", options->packages.checkouts["yolo"],
                      "a Mamba-YOLO checkout: SS2D and VSSBlock are checked too");
  command->add_option("--vmamba", options->packages.checkouts["vmamba"],
                      "a VMamba checkout: its VSSBlock is checked too");
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
