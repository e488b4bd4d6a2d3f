#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "cli/checks.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"
#include "diagnose/codes.h"
#include "repair/recipe.h"
#include "repair/record.h"
#include "report/verification.h"

namespace ssmend {
namespace {

using nlohmann::json;

struct RepairOptions {
  TargetOptions target;
  std::string gpu;
  std::string payload;
  std::string recipe;
  std::vector<std::string> only;
  bool dry_run = false;
  bool diff = false;
  bool yes = false;
  bool editable = false;
  bool no_verify = false;
  bool detailed_exit_code = false;
  bool json = false;
};

struct Outcome {  // of one environment
  int exit_code = kExitHealthy;
  bool changed = false;
  json report;
};

class Repair {
 public:
  Repair(Target& target, const Environment& environment, const RepairOptions& options)
      : options_(options),
        disk_(*target.disk),
        environment_(environment),
        session_(open_session(target, environment, options.gpu)),
        style_(text_style(false)) {}

  Result<Outcome> run() {
    outcome_.report = json{{"environment", environment_.prefix}, {"changed", false}};
    if (session_.scope.base.empty()) {
      return Error(printable(environment_.name_for_people) + ": has no import directory");
    }
    std::unique_ptr<DirectoryLock> lock;
    if (!options_.dry_run) {
      Result<std::unique_ptr<DirectoryLock>> held = lock_scope(disk_, session_.scope);
      if (!held.ok()) return std::move(held).error();
      lock = std::move(held).value();
    }
    if (Result<void> recovered = recover_earlier(); !recovered.ok()) {
      return std::move(recovered).error();
    }
    Result<Inspection> inspection = inspect_session(session_, disk_);
    if (!inspection.ok()) return std::move(inspection).error();
    const std::unique_ptr<Disk> data_disk = open_system_disk();
    Result<PlanRequest> request =
        plan_request(session_, *data_disk, options_.payload, options_.only);
    if (!request.ok()) return std::move(request).error();
    if (Result<void> chosen = choose(*data_disk, inspection->environment); !chosen.ok()) {
      return std::move(chosen).error();
    }
    request->keep = recipe_.keep;
    for (const Recipe::Expected& expected : recipe_.expects) {
      request->expected.push_back(expected.code);
    }
    order_findings(recipe_, &inspection->findings);
    const std::string recipe_text = compare_with_recipe(inspection->findings);
    Result<Plan> plan = make_plan(*request, *inspection);
    if (!plan.ok()) return std::move(plan).error();
    outcome_.report["plan"] = plan_to_json(*plan);
    say(render_plan(*plan, inspection->environment, style_));
    if (plan->empty()) return nothing_to_do(*inspection, recipe_text);
    say(recipe_text);
    if (options_.diff) {
      const std::string diff = render_diffs(disk_, *plan);
      outcome_.report["diff"] = diff;
      say(diff);
    }
    if (options_.dry_run) {
      say(fmt_files("Would change", *plan) + "\nNothing was changed\n");
      return outcome_;
    }
    if (Result<bool> wanted = ask_for(*plan); !wanted.ok()) {
      return std::move(wanted).error();
    } else if (!*wanted) {
      say("Nothing was changed\n");
      outcome_.exit_code = kExitBroken;
      return outcome_;
    }
    return apply(*plan);
  }

 private:
  void say(const std::string& text) const {
    if (!options_.json) print(text);
  }

  Result<void> choose(const Disk& data_disk, const Environment& environment) {
    const Result<std::string> directory = data_directory("recipes");
    if (!directory.ok()) return directory.error();
    const Result<std::vector<Recipe>> recipes = load_recipes(data_disk, *directory);
    if (!recipes.ok()) return recipes.error();
    const Result<RecipeChoice> choice =
        choose_recipe(disk_, *recipes, environment, options_.recipe);
    if (!choice.ok()) return choice.error();
    recipe_ = *choice->recipe;
    recipe_reason_ = choice->reason;
    return {};
  }

  // What was chosen and by what evidence, which findings this host is known for, and which not.
  std::string compare_with_recipe(const std::vector<Finding>& findings) {
    const Expectation expectation = compare_expected(recipe_, findings);
    std::string text = "Recipe " + recipe_.id + ": " + printable(recipe_reason_) + "\n";
    json expected = json::array();
    for (const Recipe::Expected& each : expectation.met) {
      expected.push_back(json{{"code", each.code}, {"because", each.because}});
      text +=
          fold("  expected " + each.code + ": " + printable(each.because), style_.columns, 0, 4) +
          "\n";
    }
    for (const std::string& code : expectation.others) {
      text += "  not usual here: " + code + " (`ssmend explain " + code + "`)\n";
    }
    for (const std::string& note : recipe_.notes) {
      text += fold("  note: " + printable(note), style_.columns, 0, 4) + "\n";
    }
    outcome_.report["recipe"] = json{{"id", recipe_.id},
                                     {"reason", recipe_reason_},
                                     {"expected", expected},
                                     {"not_usual", expectation.others}};
    return text;
  }

  static std::string fmt_files(const std::string& verb, const Plan& plan) {
    return verb + " " + count_of(files_changed(plan), "file") + "; undo with `ssmend undo`";
  }

  Result<void> recover_earlier() {
    const Result<std::vector<Transaction>> earlier = list_transactions(disk_, session_.scope);
    if (!earlier.ok()) return earlier.error();
    if (options_.dry_run) {
      if (needs_recovery(*earlier)) {
        say("An earlier run was interrupted; `ssmend repair` and `ssmend undo` give that back "
            "first\n");
      }
      return {};
    }
    const SignalsHeld held;
    const Result<UndoReport> recovered = recover(disk_, session_.scope);
    if (!recovered.ok()) return recovered.error();
    if (recovered->transactions != 0) {
      say("Gave back an earlier run that was interrupted: " +
          count_of(recovered->files_given_back, "file") + "\n");
      for (const std::string& left : recovered->left) say("  " + left + "\n");
    }
    return {};
  }

  Result<Outcome> nothing_to_do(const Inspection& inspection, const std::string& recipe_text) {
    size_t errors = 0;
    for (const Finding& finding : inspection.findings) {
      // Where no interpreter is, half of the judgement is missing: that is not "healthy".
      if (finding.severity == Severity::kError || finding.code == "interpreter-missing") {
        ++errors;
        say(render_finding(finding, style_) + "\n");
      }
    }
    if (inspection.environment.kind == EnvironmentKind::kBareDirectory &&
        inspection.environment.python.executable.empty() && !disk_.is_mounted_root()) {
      ++errors;
      say("error: " + printable(environment_.name_for_people) +
          ": no interpreter beside it, so its native modules are not judged; name the "
          "environment with --python\n");
    }
    if (errors != 0) say(recipe_text);
    say(errors == 0 ? "Nothing to repair\n" : "Nothing that ssmend can repair here\n");
    say(summary_line({inspection}));
    outcome_.exit_code = errors == 0 ? kExitHealthy : kExitBroken;
    return outcome_;
  }

  // What lies in a checkout is asked for apart; without an answer it stays out of the plan.
  Result<bool> ask_for(Plan& plan) const {
    const bool may_ask = can_ask() && !options_.json;
    if (!options_.yes && !may_ask) {
      return Error("nobody can be asked here: --yes applies the plan, --dry-run only shows it");
    }
    std::vector<Action> wanted;
    for (Action& action : plan.actions) {
      if (!action.question.empty() && !options_.editable && !(may_ask && ask(action.question))) {
        say("left out: " + printable(action.title) + " (--editable includes it)\n");
        continue;
      }
      wanted.push_back(std::move(action));
    }
    const bool all = wanted.size() == plan.actions.size();
    plan.actions = std::move(wanted);
    if (plan.actions.empty()) return false;
    if (!all) plan.bookkeeping = record_changes(disk_, environment_, plan);
    return options_.yes || ask(fmt_files("Change", plan) + ". Go on?");
  }

  Result<Outcome> apply(const Plan& plan) {
    ApplyOptions apply_options;
    apply_options.ssmend_version = SSMEND_VERSION;
    apply_options.recipe = recipe_.id;
    const Result<std::optional<int64_t>> epoch = source_date_epoch();
    if (!epoch.ok()) return epoch.error();
    apply_options.source_date_epoch = *epoch;
    {
      const SignalsHeld held;
      const Result<ApplyReport> applied = apply_plan(disk_, session_.scope, plan, apply_options);
      if (!applied.ok()) return applied.error();
      for (const std::string& note : applied->notes) say("note: " + note + "\n");
    }
    outcome_.changed = true;
    outcome_.report["changed"] = true;
    say(fmt_files("Changed", plan) + "\n");
    Result<Inspection> after = inspect_session(session_, disk_);
    if (!after.ok()) return std::move(after).error();
    order_findings(recipe_, &after->findings);
    json findings = json::array();
    for (const Finding& finding : after->findings) {
      findings.push_back(finding_line(finding));
      if (finding.severity == Severity::kError) say("\n" + render_finding(finding, style_));
    }
    outcome_.report["findings"] = findings;
    say(summary_line({*after}));
    if (count_findings({*after}, Severity::kError) != 0) outcome_.exit_code = kExitBroken;
    if (Result<void> verified = verify(after->environment); !verified.ok()) {
      return std::move(verified).error();
    }
    return outcome_;
  }

  Result<void> verify(const Environment& environment) {
    if (options_.no_verify) return {};
    if (disk_.is_mounted_root()) {
      say("Not verified: nothing of a mounted root is run; `ssmend verify` on the target does "
          "it\n");
      return {};
    }
    const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    Verification verification;
    const std::string library = installed_kernel_library(disk_, {environment});
    if (!library.empty()) add_native_check(library, "", verification);
    PackageCheckRequest request;
    request.components = recipe_.checks;
    const bool show_progress = probe_terminal().error_is_terminal && !options_.json;
    Result<void> checked =
        add_package_checks(request, disk_, {environment}, show_progress, verification);
    if (!checked.ok()) return checked;
    verification.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    say(render_verification(verification, style_));
    if (!environment.host.driver.known() ||
        std::any_of(verification.outcomes.begin(), verification.outcomes.end(),
                    [](const CheckOutcome& outcome) { return outcome.gpu_is_missing; })) {
      say("Not checked here: what the GPU computes; `ssmend verify --require-gpu` does it where "
          "there is one\n");
    }
    outcome_.report["verification"] = json::parse(render_verification_json(verification));
    if (count_outcomes(verification.outcomes, CheckOutcome::State::kWrong) +
            count_outcomes(verification.outcomes, CheckOutcome::State::kFailed) !=
        0) {
      outcome_.exit_code = kExitBroken;
    }
    return {};
  }

  const RepairOptions& options_;
  Disk& disk_;
  const Environment& environment_;
  RepairSession session_;
  TextStyle style_;
  Recipe recipe_;
  std::string recipe_reason_;
  Outcome outcome_;
};

// Broken outranks changed, changed outranks healthy.
int exit_code_of(const std::vector<Outcome>& outcomes, bool detailed) {
  bool changed = false;
  for (const Outcome& outcome : outcomes) {
    if (outcome.exit_code != kExitHealthy) return outcome.exit_code;
    changed = changed || outcome.changed;
  }
  return changed && detailed ? kExitChanged : kExitHealthy;
}

int run_repair(const RepairOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());
  std::vector<Outcome> outcomes;
  bool failed = false;
  json reports = json::array();
  for (const Environment& environment : target->environments) {
    Result<Outcome> outcome = Repair(*target, environment, options).run();
    if (!outcome.ok()) {
      fail(outcome.error());
      failed = true;
      reports.push_back(json{{"environment", environment.prefix},
                             {"changed", false},
                             {"error", format_error(outcome.error())}});
      continue;
    }
    reports.push_back(outcome->report);
    outcomes.push_back(std::move(outcome).value());
  }
  if (options.json) print(to_text(json{{"schema", "ssmend-repair/1"}, {"repairs", reports}}));
  return failed ? kExitFailed : exit_code_of(outcomes, options.detailed_exit_code);
}

}  // namespace

void add_repair_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<RepairOptions>();
  CLI::App* command =
      app.add_subcommand("repair", "mend an environment; `ssmend undo` gives it back");
  add_target_options(*command, options->target);
  command->add_flag("--dry-run", options->dry_run, "show the plan, change nothing");
  command->add_flag("--diff", options->diff, "show every change of a text file");
  command->add_flag("-y,--yes", options->yes, "apply without asking");
  command->add_flag("--no-verify", options->no_verify, "do not compute with the packages after it");
  command->add_option("--only", options->only, "only for findings of this code; may be repeated");
  command->add_flag("--editable", options->editable, "also change checkouts of editable installs");
  command->add_option("--recipe", options->recipe, "instead of the one that the host calls for");
  command->add_option("--payload", options->payload, "folder of kernel libraries to install from");
  command->add_option("--gpu", options->gpu, "judge GPU code for this one, such as sm_87");
  command->add_flag("--detailed-exitcode", options->detailed_exit_code,
                    "exit 4 where something was changed and all is well");
  command->add_flag("--json", options->json, "plan and result as JSON; never asks");
  command->callback([options, &selected] {
    for (const std::string& code : options->only) {
      if (find_code(code) == nullptr) {
        throw CLI::ValidationError("--only", code + ": no such code; `ssmend explain` lists them");
      }
    }
    selected.run = [options] { return run_repair(*options); };
  });
}

}  // namespace ssmend
