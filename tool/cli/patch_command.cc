#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"
#include "elf/contract.h"
#include "patch/diff.h"
#include "repair/ownership.h"

namespace ssmend {
namespace {

using nlohmann::json;

struct PatchOptions {
  TargetOptions target;
  std::vector<std::string> paths;
  std::string contract;
  bool check = false;
  bool diff = false;
  bool yes = false;
  bool json = false;
  bool detailed_exit_code = false;
};

bool is_problem(const FilePatch& patch) {
  return patch.state == PatchState::kPartlyByHand || patch.state == PatchState::kRefused ||
         patch.state == PatchState::kFailed;
}

// Of --detailed-exitcode, where kExitBroken does not tell them apart; 0: no problem.
int detailed_code(PatchState state) {
  if (state == PatchState::kPartlyByHand) return kExitPartlyByHand;
  if (state == PatchState::kRefused) return kExitRefused;
  return state == PatchState::kFailed ? kExitPatchFailed : 0;
}

size_t count_state(const std::vector<FilePatch>& patches, PatchState state) {
  return static_cast<size_t>(
      std::count_if(patches.begin(), patches.end(),
                    [&](const FilePatch& patch) { return patch.state == state; }));
}

// "applied" is said of what was written; before that it is what would be.
std::string state_text(const FilePatch& patch, bool written) {
  if (patch.state == PatchState::kApplied && !written) return "would apply";
  return patch_state_name(patch.state);
}

std::string render_patches(const std::vector<FilePatch>& patches, bool written, size_t columns) {
  std::string text;
  for (const FilePatch& patch : patches) {
    std::string line =
        fmt::format("{:<22}  {}", state_text(patch, written), printable(patch.relative));
    if (!patch.edits.empty()) line += "   " + count_of(patch.edits.size(), "edit");
    if (!patch.rules.empty()) line += "   " + join(patch.rules, ", ");
    text += fold(line, columns, 0, 24) + "\n";
    if (!patch.reason.empty()) {
      text += fold(std::string(24, ' ') + printable(patch.reason), columns, 0, 24) + "\n";
    }
  }
  std::vector<std::string> counts;
  for (PatchState state :
       {PatchState::kApplied, PatchState::kAlreadyApplied, PatchState::kNotNeeded,
        PatchState::kPartlyByHand, PatchState::kRefused, PatchState::kFailed}) {
    const size_t count = count_state(patches, state);
    if (count == 0) continue;
    FilePatch of_state;
    of_state.state = state;
    counts.push_back(std::to_string(count) + " " + state_text(of_state, written));
  }
  if (patches.empty()) return "No file that a rule looks at\n";
  return text + count_of(patches.size(), "file") + ": " + join(counts, ", ") + "\n";
}

json patches_json(const std::vector<FilePatch>& patches) {
  json files = json::array();
  for (const FilePatch& patch : patches) {
    json edits = json::array();
    for (const PatchEdit& edit : patch.edits) {
      edits.push_back(json{{"rule", edit.rule},
                           {"edit", edit.edit},
                           {"line", edit.line},
                           {"before", edit.before},
                           {"after", edit.after}});
    }
    files.push_back(json{{"path", patch.path},
                         {"relative", patch.relative},
                         {"state", patch_state_name(patch.state)},
                         {"reason", patch.reason},
                         {"rules", patch.rules},
                         {"edits", edits}});
  }
  return files;
}

class PatchRun {
 public:
  PatchRun(Target* target, Disk& disk, const PatchOptions& options)
      : target_(target), disk_(disk), options_(options), style_(text_style(false)) {}

  // On an environment: journalled, so that `ssmend undo` gives it back.
  Result<void> on_environment(const Environment& environment) {
    RepairSession session = open_session(*target_, environment, "");
    if (session.scope.base.empty()) {
      return Error(printable(environment.name_for_people) + ": has no import directory");
    }
    std::unique_ptr<DirectoryLock> lock;
    if (!options_.check) {
      Result<std::unique_ptr<DirectoryLock>> held = lock_scope(disk_, session.scope);
      if (!held.ok()) return std::move(held).error();
      lock = std::move(held).value();
      const SignalsHeld signals;
      Result<UndoReport> recovered = recover(disk_, session.scope);
      if (!recovered.ok()) return std::move(recovered).error();
    }
    Result<Inspection> inspection = inspect_session(session, disk_);
    if (!inspection.ok()) return std::move(inspection).error();
    const std::unique_ptr<Disk> data_disk = open_system_disk();
    Result<PlanRequest> request = plan_request(session, *data_disk, "", {});
    if (!request.ok()) return std::move(request).error();
    Result<Plan> plan = make_patch_plan(*request, *inspection);
    if (!plan.ok()) return std::move(plan).error();
    for (const std::string& refusal : plan->refusals) say("not planned: " + refusal + "\n");
    const bool written = !plan->actions.empty() && may_write(plan->patches);
    if (written) {
      ApplyOptions apply_options;
      apply_options.ssmend_version = SSMEND_VERSION;
      const SignalsHeld signals;
      Result<ApplyReport> applied = apply_plan(disk_, session.scope, *plan, apply_options);
      if (!applied.ok()) return std::move(applied).error();
    }
    report(plan->patches, written, environment.prefix);
    return {};
  }

  // On files and folders anywhere: a fork's checkout has its own history to go back to.
  Result<void> on_paths(const PatchFacts& facts, const std::vector<RuleSet>& rules) {
    std::vector<PatchTarget> targets;
    for (const std::string& path : options_.paths) {
      Result<std::string> real = disk_.real_path(path);
      if (!real.ok()) return std::move(real).error();
      Result<std::vector<PatchTarget>> found = folder_targets(disk_, *real);
      if (!found.ok()) return std::move(found).error();
      targets.insert(targets.end(), found->begin(), found->end());
    }
    std::vector<FilePatch> patches = plan_patches(disk_, rules, facts, targets);
    const bool written = count_state(patches, PatchState::kApplied) != 0 && may_write(patches);
    for (const FilePatch& patch : patches) {
      if (!written || patch.state != PatchState::kApplied) continue;
      Result<FileStat> stat = disk_.lstat(patch.path);
      if (!stat.ok()) return std::move(stat).error();
      WriteOptions write;
      write.mode = stat->mode;
      write.user_id = stat->user_id;
      write.group_id = stat->group_id;
      Result<void> replaced = disk_.replace_atomically(patch.path, patch.after, write);
      if (!replaced.ok()) return replaced;
    }
    report(patches, written, "");
    return {};
  }

  [[nodiscard]] int exit_code() const {
    if (options_.detailed_exit_code && gravest_ > 0) return gravest_;
    if (options_.detailed_exit_code && options_.check && pending_) return kExitWouldPatch;
    if (problems_ || (options_.check && pending_)) return kExitBroken;
    if (left_) return kExitBroken;
    return changed_ && options_.detailed_exit_code ? kExitChanged : kExitHealthy;
  }
  [[nodiscard]] const json& results() const { return results_; }

 private:
  void say(const std::string& text) const {
    if (!options_.json) print(text);
  }

  // Shows what is to come and asks, where that is called for.
  bool may_write(const std::vector<FilePatch>& patches) {
    pending_ = true;
    if (options_.diff) {
      for (const FilePatch& patch : patches) {
        if (patch.state != PatchState::kApplied) continue;
        say(unified_diff(patch.before, patch.after, "a/" + patch.relative, "b/" + patch.relative));
      }
    }
    if (options_.check) return false;
    if (options_.yes) return true;
    const bool can = can_ask() && !options_.json;
    const std::string what = count_of(count_state(patches, PatchState::kApplied), "file");
    if (can && ask("Change " + what + ". Go on?")) return true;
    if (!can) print_progress("nobody can be asked here: --yes writes, --check only looks\n");
    left_ = true;
    return false;
  }

  void report(const std::vector<FilePatch>& patches, bool written, const std::string& prefix) {
    say(render_patches(patches, written, style_.columns));
    changed_ |= written;
    problems_ |= std::any_of(patches.begin(), patches.end(), is_problem);
    for (const FilePatch& patch : patches)
      gravest_ = std::max(gravest_, detailed_code(patch.state));
    json result = json{{"written", written}, {"files", patches_json(patches)}};
    if (!prefix.empty()) result["environment"] = prefix;
    results_.push_back(result);
  }

  Target* target_;
  Disk& disk_;
  const PatchOptions& options_;
  TextStyle style_;
  bool problems_ = false;
  int gravest_ = 0;  // detailed_code of the gravest file
  bool pending_ = false;
  bool changed_ = false;
  bool left_ = false;
  json results_ = json::array();
};

Result<std::vector<RuleSet>> installed_rules() {
  const std::unique_ptr<Disk> disk = open_system_disk();
  Result<std::string> directory = data_directory("patches");
  if (!directory.ok()) return std::move(directory).error();
  return load_rules(*disk, *directory);
}

// Of --contract: a letter of the table, or a module to read.
Result<PatchFacts> facts_of_option(const Disk& disk, const std::vector<RuleSet>& rules,
                                   const std::string& contract) {
  if (std::optional<PatchFacts> known = facts_of_contract(rules, contract)) return *known;
  Result<ModuleContract> read = read_contract(disk, contract);
  if (!read.ok()) {
    return std::move(read).error().with_context(
        "--contract " + contract + ": neither a letter of the contract table nor a native module");
  }
  const std::string name(base_name(contract));
  PatchFacts facts;
  for (const BoundFunction& function : read->functions) {
    if (!function.arity_known) continue;
    facts.binaries[name.substr(0, name.find('.'))][function.name] = {
        static_cast<int>(function.arity()), function.return_type == "void"};
  }
  assume_release(rules, facts);
  return facts;
}

int run_patch(const PatchOptions& options) {
  Result<Target> target = Error("not looked for");
  std::unique_ptr<Disk> disk;
  if (options.paths.empty() || options.contract.empty()) {
    target = open_target(options.target);
    if (!target.ok() && options.paths.empty()) return fail(target.error());
  }
  if (!options.paths.empty()) {
    Result<std::unique_ptr<Disk>> opened = open_target_disk(options.target.root);
    if (!opened.ok()) return fail(opened.error());
    disk = std::move(opened).value();
  }
  PatchRun run(target.ok() ? &*target : nullptr, disk ? *disk : *target->disk, options);
  Result<void> done;
  if (options.paths.empty()) {
    if (!options.contract.empty()) {
      return fail(Error("--contract is for files outside an environment: give their PATH"));
    }
    for (const Environment& environment : target->environments) {
      done = run.on_environment(environment);
      if (!done.ok()) break;
    }
  } else {
    Result<std::vector<RuleSet>> rules = installed_rules();
    if (!rules.ok()) return fail(rules.error());
    PatchFacts facts;
    std::unique_ptr<EnvironmentFiles> files;
    if (!options.contract.empty()) {
      Result<PatchFacts> given = facts_of_option(*disk, *rules, options.contract);
      if (!given.ok()) return fail(given.error());
      facts = std::move(given).value();
    } else if (target.ok() && !target->environments.empty()) {
      const Inspection inspection =
          diagnose(*target->disk, std::move(target->environments.front()), DiagnoseOptions());
      facts = patch_facts_of(inspection);
      files = std::make_unique<EnvironmentFiles>(*target->disk,
                                                 inspection.environment.site_directories);
      facts.files = files.get();
    }
    done = run.on_paths(facts, *rules);
  }
  if (!done.ok()) return fail(done.error());
  if (options.json) {
    print(to_text(json{{"schema", "ssmend-patch-result/1"}, {"results", run.results()}}));
  }
  return run.exit_code();
}

}  // namespace

void add_patch_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<PatchOptions>();
  CLI::App* command = app.add_subcommand(
      "patch", "apply the source rules to an environment, or to files and folders anywhere");
  add_target_options(*command, options->target);
  command->add_option("PATH", options->paths, "files and folders, such as a fork's checkout");
  command->add_option(
      "--contract", options->contract,
      "call contract where no binary is installed, A to F or a native module; it also\n"
      "stands for what its releases have: cpp_functions.py only with F");
  command->add_flag("--check", options->check, "change nothing; exit 1 where something would");
  command->add_flag("--diff", options->diff, "show every change");
  command->add_flag("-y,--yes", options->yes, "write without asking");
  command->add_flag(
      "--detailed-exitcode", options->detailed_exit_code,
      "exit 4: changed and all is well; 5: partly applied by hand, 6: refused, 7: failed\n"
      "(the gravest of the files); 8: --check, and something would be changed");
  command->add_flag("--json", options->json, "every file and edit as JSON; never asks");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_patch(*options); }; });
}

}  // namespace ssmend
