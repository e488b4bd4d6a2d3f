#include <nlohmann/json.hpp>

#include "base/text.h"
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

using WheelModules = std::vector<std::vector<WheelModule>>;

std::string wheel_text(const std::vector<Inspection>& inspections, const WheelModules& modules) {
  std::string text;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (modules[i].empty()) continue;
    text += "\nIn " + printable(inspections[i].environment.name_for_people) + ":\n";
    for (const WheelModule& module : modules[i]) {
      const std::string code = module.gpu_code.empty() ? "none" : join(module.gpu_code, ", ");
      const std::string torch = module.torch.empty() ? "not said by its metadata" : module.torch;
      text += "  " + printable(module.module) + "\n    loads:    " + printable(module.loads) +
              "\n    GPU code: " + code + "\n    torch:    " + printable(torch) + "\n";
    }
  }
  return text;
}

// The published document with the answers by extension added.
std::string wheel_json(const std::vector<Inspection>& inspections, const WheelModules& modules) {
  nlohmann::ordered_json document = nlohmann::ordered_json::parse(render_json(inspections));
  for (size_t i = 0; i < modules.size(); ++i) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const WheelModule& module : modules[i]) {
      list.push_back({{"module", module.module},
                      {"loads", module.loads},
                      {"gpu_code", module.gpu_code},
                      {"torch", module.torch.empty() ? nlohmann::ordered_json(nullptr)
                                                     : nlohmann::ordered_json(module.torch)}});
    }
    document["inspections"][i]["wheel_modules"] = std::move(list);
  }
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int run_inspect(const InspectOptions& options) {
  const Terminal terminal = probe_terminal();
  const bool progress = terminal.error_is_terminal && !options.quiet;
  WheelModules modules;
  Result<std::vector<Inspection>> found =
      options.wheel.empty() ? inspect_environments(options.target, options.gpu, progress)
                            : inspect_wheel(options.target, options.wheel, options.gpu, &modules);
  if (!found.ok()) return fail(found.error());
  const std::vector<Inspection>& inspections = *found;

  if (options.json) {
    print(options.wheel.empty() ? render_json(inspections) : wheel_json(inspections, modules));
  } else {
    TextStyle style;
    style.colour = terminal.colour;
    style.utf8 = terminal.utf8;
    style.columns = terminal.columns;
    style.quiet = options.quiet;
    print(render_text(inspections, style));
    if (!options.quiet) print(wheel_text(inspections, modules));
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
