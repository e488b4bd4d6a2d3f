#include "base/text.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"
#include "diagnose/kernels_alone.h"

namespace ssmend {
namespace {

using nlohmann::json;

struct StatusOptions {
  TargetOptions target;
  bool json = false;
};

std::string render_status(const Environment& environment, const StatusReport& status,
                          const std::vector<KernelsAlone>& alone) {
  const std::string name = printable(environment.name_for_people);
  std::string text;
  if (status.interrupted) {
    text += name +
            ": a run was interrupted; `ssmend undo` gives it back, so does `ssmend repair` "
            "before it begins\n";
  }
  if (status.repairs.empty()) return text.empty() ? name + ": nothing is applied\n" : text;
  size_t lost = 0;
  for (const StatusReport::Repair& repair : status.repairs) {
    text += name + ":\n";
    for (const JournalAction& action : repair.actions) {
      std::string line = "  " + action.kind + "  " + printable(action.title);
      if (!action.summary.empty()) line += "  " + action.summary;
      if (!action.for_findings.empty()) line += "  for " + join(action.for_findings, ", ");
      text += line + "\n";
    }
    for (const StatusEntry& file : repair.files) {
      if (file.state == StatusEntry::State::kLost) {
        text += "  lost: " + printable(environment.relative_path(file.path)) + ": " + file.reason +
                "\n";
      }
    }
    lost += repair.lost;
  }
  for (const KernelsAlone& each : alone) {
    text += "note: " + each.module + " comes from " + printable(each.provider) + "; " +
            each.package + " itself is not installed\n";
  }
  if (lost != 0) {
    text += count_of(lost, "change") + " lost, by a reinstall, an upgrade or an edit; " +
            "`ssmend repair` looks again\n";
  }
  return text;
}

json status_to_json(const Environment& environment, const StatusReport& status,
                    const std::vector<KernelsAlone>& alone) {
  json repairs = json::array();
  for (const StatusReport::Repair& repair : status.repairs) {
    json actions = json::array();
    for (const JournalAction& action : repair.actions) {
      actions.push_back(json{{"kind", action.kind},
                             {"title", action.title},
                             {"summary", action.summary},
                             {"for", action.for_findings}});
    }
    json files = json::array();
    for (const StatusEntry& file : repair.files) {
      const bool lost = file.state == StatusEntry::State::kLost;
      files.push_back(json{{"path", file.path},
                           {"change", file.kind},
                           {"state", lost ? "lost" : "in-place"},
                           {"reason", file.reason}});
    }
    repairs.push_back(json{{"actions", actions}, {"files", files}, {"lost", repair.lost}});
  }
  json kernels = json::array();
  for (const KernelsAlone& each : alone) {
    kernels.push_back(json{{"module", each.module}, {"package", each.package}});
  }
  return json{{"environment", environment.prefix},
              {"interrupted", status.interrupted},
              {"repairs", repairs},
              {"kernels_alone", kernels}};
}

int run_status(const StatusOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());
  int code = kExitHealthy;
  json reports = json::array();
  for (const Environment& environment : target->environments) {
    const RepairScope scope = scope_of(*target->disk, environment);
    const Result<StatusReport> status = read_status(*target->disk, scope);
    if (!status.ok()) {
      code = fail(status.error());
      continue;
    }
    bool lost = status->interrupted;
    for (const StatusReport::Repair& repair : status->repairs) lost = lost || repair.lost != 0;
    if (lost && code == kExitHealthy) code = kExitBroken;
    const std::vector<KernelsAlone> alone = kernels_alone(*target->disk, environment);
    if (options.json) {
      reports.push_back(status_to_json(environment, *status, alone));
    } else {
      print(render_status(environment, *status, alone));
    }
  }
  if (options.json) print(to_text(json{{"schema", "ssmend-status/1"}, {"status", reports}}));
  return code;
}

}  // namespace

void add_status_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command =
      app.add_subcommand("status", "what is applied, and what a reinstall has lost (exit 1)");
  add_target_options(*command, options->target);
  command->add_flag("--json", options->json, "the same as JSON");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_status(*options); }; });
}

}  // namespace ssmend
