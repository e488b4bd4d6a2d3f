#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "cli/command.h"
#include "report/verification.h"
#include "verify/packages.h"

namespace ssmend {
namespace {

struct VerifyOptions {
  TargetOptions target;
  PackageCheckRequest packages;
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

Result<Verification> verify_packages(const VerifyOptions& options) {
  Result<std::string> directory = data_directory("recipes");
  if (!directory.ok()) return std::move(directory).error();
  const std::unique_ptr<Disk> own_disk = open_system_disk();
  Result<std::vector<CheckScript>> scripts =
      load_check_scripts(*own_disk, path_join(*directory, "checks"));
  if (!scripts.ok()) return std::move(scripts).error();
  const Result<void> known =
      check_component_names(options.packages.components, component_names(*scripts));
  if (!known.ok()) return known.error();
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return std::move(target).error();

  PackageCheckRequest request = options.packages;
  if (probe_terminal().error_is_terminal && !options.quiet) {
    request.on_step = [](const std::string& component, const std::string& step) {
      print_progress("\r\x1b[K" + printable(component) + ": " + printable(step));
    };
  }
  const std::unique_ptr<Process> process = open_system_process();
  Verification verification;
  for (const Environment& environment : target->environments) {
    verification.environment = environment.prefix;
    std::vector<CheckOutcome> more =
        check_packages(*process, *target->disk, environment, *scripts, request);
    verification.outcomes.insert(verification.outcomes.end(), more.begin(), more.end());
  }
  if (request.on_step) print_progress("\r\x1b[K");
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
  Result<Verification> verification = verify_packages(options);
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
      "verify", "compute with the packages and compare with double-precision references");
  add_target_options(*command, options->target);
  command->add_option("--component", options->packages.components,
                      "only this one (torch, imports, mamba, ...); may be given again");
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
