#include "base/text.h"
#include "cli/command.h"
#include "report/report.h"

namespace ssmend {
namespace {

struct InspectOptions {
  TargetOptions target;
  std::string gpu;
  bool json = false;
  bool quiet = false;
};

int run_inspect(const InspectOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());

  const Terminal terminal = probe_terminal();
  DiagnoseOptions diagnose_options;
  diagnose_options.library_path = target->library_path;
  diagnose_options.gpu = options.gpu;
  std::vector<Inspection> inspections;
  for (Environment& environment : target->environments) {
    const std::string prefix = environment.prefix;
    if (terminal.error_is_terminal && !options.quiet) {
      print_progress("\r\x1b[Kreading " + printable(prefix));
    }
    inspections.push_back(diagnose(*target->disk, std::move(environment), diagnose_options));
  }
  if (terminal.error_is_terminal && !options.quiet) print_progress("\r\x1b[K");

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
  command->add_option("--gpu", options->gpu, "judge GPU code for this one, such as sm_87");
  command->add_flag("--json", options->json, "everything that was found, as JSON");
  command->add_flag("-q,--quiet", options->quiet, "one line a finding");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_inspect(*options); }; });
}

}  // namespace ssmend
