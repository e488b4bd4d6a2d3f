#include "cli/inspection.h"
#include "report/report.h"

namespace ssmend {
namespace {

struct InspectOptions {
  TargetOptions target;
  std::string wheel;
  std::string gpu;
  bool json = false;
  bool quiet = false;
};

int run_inspect(const InspectOptions& options) {
  const Terminal terminal = probe_terminal();
  const bool progress = terminal.error_is_terminal && !options.quiet;
  Result<std::vector<Inspection>> found =
      options.wheel.empty() ? inspect_environments(options.target, options.gpu, progress)
                            : inspect_wheel(options.target, options.wheel, options.gpu);
  if (!found.ok()) return fail(found.error());
  const std::vector<Inspection>& inspections = *found;

  if (options.json) {
    print(render_json(inspections));
  } else {
    TextStyle style;
    style.colour = terminal.colour;
    style.utf8 = terminal.utf8;
    style.columns = terminal.columns;
    style.quiet = options.quiet;
    print(render_text(inspections, style));
  }
  return count_findings(inspections, Severity::kError) == 0 ? kExitHealthy : kExitBroken;
}

}  // namespace

void add_inspect_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "say what is wrong with an environment");
  add_target_options(*command, options->target);
  command->add_option("wheel", options->wheel,
                      "judge this wheel (FILE.whl) against the environment before installing it");
  command->add_option("--gpu", options->gpu, "judge GPU code for this one, such as sm_87");
  command->add_flag("--json", options->json, "everything that was found, as JSON");
  command->add_flag("-q,--quiet", options->quiet, "one line a finding");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_inspect(*options); }; });
}

}  // namespace ssmend
