#include "repair/planner.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/text.h"
#include "base/version.h"
#include "repair/earlier_repair.h"
#include "repair/overlay_disk.h"
#include "repair/ownership.h"
#include "repair/record.h"
#include "repair/shim_plan.h"

namespace ssmend {
namespace {

// Codes that a change of Python source answers.
constexpr std::array kSourceCodes = {
    "call-contract", "import-guard",          "distributed-missing", "removed-name",
    "dtype-rule",    "python-module-missing", "earlier-repair",
};
// While torch itself is wrong no extension can be right.
constexpr std::array kBlockingCodes = {"torch-replaced"};

template <typename Codes>
bool is_one_of(const Codes& codes, const std::string& code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

using CodesBy = std::map<std::string, std::vector<std::string>>;

void add_once(std::vector<std::string>& codes, const std::string& code) {
  if (std::find(codes.begin(), codes.end(), code) == codes.end()) codes.push_back(code);
}

bool is_broken(const Finding& finding) { return finding.severity != Severity::kNote; }

bool is_wanted(const std::vector<std::string>& only, const std::string& code) {
  return only.empty() || std::find(only.begin(), only.end(), code) != only.end();
}

class Planner {
 public:
  Planner(const PlanRequest& request, const Inspection& inspection)
      : request_(request), inspection_(inspection), overlay_(*request.disk) {
    plan_.environment_prefix = inspection.environment.prefix;
  }

  Result<Plan> for_findings() {
    if (const Finding* blocking = find_blocking(); blocking != nullptr) {
      plan_.refusals.push_back("no change can help while this stands: " + blocking->title);
    } else {
      move_earlier();
      std::vector<std::string> modules;
      std::vector<std::string> codes;
      const Result<std::set<std::string>> shimmed = plan_shims();
      if (!shimmed.ok()) return shimmed.error();
      for (auto& [module, its_codes] : modules_to_install(inspection_, request_.only)) {
        if (shimmed->count(module) != 0) continue;
        modules.push_back(module);
        for (const std::string& code : its_codes) add_once(codes, code);
      }
      if (Result<void> planned = plan_modules(modules, codes); !planned.ok()) {
        return std::move(planned).error();
      }
      // A module that comes with the plan is of use only where the sources get at it: a guard that
      // drops it together with a package that is not there is no finding on a tree without it.
      const bool installs = !plan_.actions.empty();
      if (Result<void> planned = plan_sources(installs); !planned.ok()) {
        return std::move(planned).error();
      }
    }
    return finish();
  }

  Result<Plan> for_rules() {
    if (Result<void> planned = plan_sources(true); !planned.ok()) return std::move(planned).error();
    return finish();
  }

  Result<Plan> for_modules(const std::vector<std::string>& modules) {
    if (Result<void> planned = plan_modules(modules, {}); !planned.ok()) {
      return std::move(planned).error();
    }
    return finish();
  }

 private:
  void move_earlier() {
    if (!is_wanted(request_.only, "earlier-repair")) return;
    Action action = move_earlier_repairs(inspection_, plan_.refusals);
    if (action.changes.empty()) return;
    for (const FileChange& change : action.changes) overlay_.add(change);
    plan_.actions.push_back(std::move(action));
  }

  const Finding* find_blocking() const {
    for (const Finding& finding : inspection_.findings) {
      if (finding.severity == Severity::kError && is_one_of(kBlockingCodes, finding.code)) {
        return &finding;
      }
    }
    return nullptr;
  }

  // The modules that a shim makes load, tried one by one on a simulated tree.
  Result<std::set<std::string>> plan_shims() {
    std::set<std::string> cured;
    if (!is_wanted(request_.only, "missing-library")) return cured;
    for (ShimCandidate& candidate : shim_candidates(*request_.disk, inspection_, request_.scope)) {
      OverlayDisk trial(*request_.disk);
      for (const FileChange& change : candidate.action.changes) trial.add(change);
      const Result<Inspection> after = request_.inspect(trial);
      if (!after.ok()) return after.error();
      const bool still =
          std::any_of(after->findings.begin(), after->findings.end(), [&](const Finding& finding) {
            return finding.severity == Severity::kError &&
                   finding.detail("module") == candidate.module &&
                   is_answered_by_drop_in(finding.code);
          });
      if (still) continue;
      cured.insert(candidate.module);
      // Two modules may need the same shim.
      if (is_written(candidate.action.changes.front().path)) continue;
      for (const FileChange& change : candidate.action.changes) overlay_.add(change);
      plan_.actions.push_back(std::move(candidate.action));
    }
    return cured;
  }

  Result<void> plan_modules(const std::vector<std::string>& modules,
                            const std::vector<std::string>& codes) {
    if (modules.empty()) return {};
    const PayloadChoice choice = choose_payload(request_.payloads, inspection_.environment);
    if (choice.payload == nullptr) {
      plan_.refusals.push_back(join(modules, ", ") + ": " + choice.reason);
      return {};
    }
    std::vector<std::string> provided;
    for (const std::string& module : modules) {
      if (choice.payload->component_for(module) != nullptr) {
        provided.push_back(module);
      } else {
        plan_.refusals.push_back(module + ": the kernel library has no such module");
      }
    }
    if (provided.empty()) return {};
    const std::string site = install_directory(*request_.disk, inspection_.environment, provided);
    if (site.empty()) {
      plan_.refusals.push_back(join(provided, ", ") +
                               ": no import directory of this environment may be written: " +
                               why_not_writable(*request_.disk, inspection_.environment));
      return {};
    }
    Payload payload = *choice.payload;
    if (Result<void> read = read_contents(*request_.data_disk, payload); !read.ok()) return read;
    Action aside = move_aside(provided, site);
    Action install =
        install_action(*request_.disk, payload, provided, site, request_.ssmend_version);
    install.for_findings = aside.for_findings = codes;
    for (Action* action : {&aside, &install}) {
      if (action->changes.empty()) continue;
      for (const FileChange& change : action->changes) overlay_.add(change);
      plan_.actions.push_back(std::move(*action));
    }
    return {};
  }

  // What the finder would still take before the drop-in: an earlier import directory, or an earlier
  // suffix in the same one (".cpython-310-....so" comes before ".abi3.so").
  Action move_aside(const std::vector<std::string>& modules, const std::string& site) {
    Action action;
    action.kind = Action::Kind::kMoveAside;
    std::vector<std::string> names;
    for (const std::string& module : modules) {
      const std::string own = path_join(site, module + ".abi3.so");
      for (const std::string& path :
           shadowing_files(*request_.disk, inspection_.environment, module, own)) {
        const std::string refusal = refusal_for(path);
        if (!refusal.empty()) {
          plan_.refusals.push_back(refusal);
          continue;
        }
        FileChange change;
        change.kind = FileChange::Kind::kMoveAside;
        change.path = path;
        const int owner = owner_of(inspection_.environment, path);
        if (owner >= 0) {
          const auto& distribution =
              inspection_.environment.distributions[static_cast<size_t>(owner)];
          change.only_with = path_join(distribution.metadata_directory, "RECORD");
        }
        names.emplace_back(base_name(path));
        action.changes.push_back(std::move(change));
      }
    }
    action.title = join(names, ", ");
    action.summary = count_of(action.changes.size(), "file");
    return action;
  }

  // `all_rules`: also where no finding calls for a rule.
  Result<void> plan_sources(bool all_rules = false) {
    Inspection before;
    const Inspection* now = &inspection_;
    if (!plan_.actions.empty()) {
      Result<Inspection> simulated = request_.inspect(overlay_);
      if (!simulated.ok()) return std::move(simulated).error();
      before = std::move(simulated).value();
      now = &before;
    }
    CodesBy codes_by_file, codes_by_rule;
    for (const Finding& finding : now->findings) {
      if (!is_broken(finding) || !is_one_of(kSourceCodes, finding.code)) continue;
      if (!is_wanted(request_.only, finding.code)) continue;
      if (finding.code != "python-module-missing") {
        add_once(codes_by_file[finding.location.path], finding.code);
        continue;
      }
      for (const RuleSet& rules : request_.rules) {
        if (does_without(rules, finding.subject)) add_once(codes_by_rule[rules.id], finding.code);
      }
    }
    if (codes_by_file.empty() && codes_by_rule.empty() && !all_rules) return {};
    const std::vector<std::string>& sites = now->environment.site_directories;
    const EnvironmentFiles files(overlay_, sites);
    PatchFacts facts = patch_facts_of(*now);
    facts.files = &files;
    for (const auto& [module, contract] : now->contracts) {
      if (!contract.accepts_every_contract) continue;
      // Any contract is right for it; the newest is what the rules lead to.
      const std::optional<PatchFacts> newest = facts_of_contract(request_.rules, "F");
      if (newest && newest->binaries.count(module) != 0) {
        facts.binaries[module] = newest->binaries.at(module);
      }
    }
    plan_.patches = plan_patches(overlay_, request_.rules, facts,
                                 environment_targets(overlay_, request_.rules, sites));
    start_from_originals(overlay_, now->environment, request_.rules, facts, plan_.patches,
                         plan_.refusals);
    for (const FilePatch& patch : plan_.patches) {
      if (patch.state == PatchState::kApplied) add_patch(patch, codes_by_file, codes_by_rule);
    }
    return {};
  }

  // Whether the rules take effect where that Python module is absent.
  static bool does_without(const RuleSet& rules, const std::string& module) {
    const std::string file = module + "/__init__.py";
    return std::any_of(rules.when.begin(), rules.when.end(), [&](const RuleCondition& condition) {
      return condition.file == file && condition.exists == 0;
    });
  }

  void add_patch(const FilePatch& patch, const CodesBy& codes_by_file,
                 const CodesBy& codes_by_rule) {
    std::vector<std::string> codes;
    const auto take = [&](const CodesBy& answers, const std::string& key) {
      const auto found = answers.find(key);
      if (found == answers.end()) return;
      for (const std::string& code : found->second) add_once(codes, code);
    };
    take(codes_by_file, patch.relative);
    take(codes_by_file, patch.path);
    for (const std::string& rule : patch.rules) take(codes_by_rule, rule);
    // With --only, a file that no chosen finding calls for is left alone.
    if (codes.empty() && !request_.only.empty()) return;
    if (const std::string refusal = refusal_for(patch.path); !refusal.empty()) {
      plan_.refusals.push_back(refusal);
      return;
    }
    Action action;
    action.kind = Action::Kind::kPatch;
    action.title = patch.relative;
    action.summary = count_of(patch.edits.size(), "edit");
    action.for_findings = std::move(codes);
    action.rules = patch.rules;
    action.question = question_of(inspection_.environment, patch.path);
    FileChange change;
    change.path = patch.path;
    change.content = patch.after;
    overlay_.add(change);
    action.changes.push_back(std::move(change));
    plan_.actions.push_back(std::move(action));
  }

  // By the first expected cause that an action answers; what a file moves aside for stays before
  // it.
  void order_actions() {
    const auto place = [&](const Action& action) {
      size_t first = request_.expected.size();
      for (const std::string& code : action.for_findings) {
        const auto found = std::find(request_.expected.begin(), request_.expected.end(), code);
        first = std::min(first, static_cast<size_t>(found - request_.expected.begin()));
      }
      return first;
    };
    std::stable_sort(plan_.actions.begin(), plan_.actions.end(),
                     [&](const Action& a, const Action& b) { return place(a) < place(b); });
  }

  Result<Plan> finish() {
    if (plan_.actions.empty()) {
      for (const Finding& finding : inspection_.findings) {
        if (is_broken(finding)) plan_.remaining.push_back(finding);
      }
      return std::move(plan_);
    }
    order_actions();
    plan_.bookkeeping = record_changes(*request_.disk, inspection_.environment, plan_);
    for (const FileChange& change : plan_.bookkeeping) overlay_.add(change);
    for (const Action& action : plan_.actions) {
      for (const FileChange& change : action.changes) {
        if (change.kind != FileChange::Kind::kWrite) continue;
        for (std::string& path : bytecode_of(*request_.disk, change.path)) {
          plan_.stale_pycs.push_back(std::move(path));
        }
      }
    }
    Result<Inspection> after = request_.inspect(overlay_);
    if (!after.ok()) return std::move(after).error();
    return judge(*after);
  }

  // The proof before anything is written: what the plan leaves, and that it breaks nothing new.
  Result<Plan> judge(const Inspection& after) {
    std::set<std::string> known;
    for (const Finding& finding : inspection_.findings)
      known.insert(finding.code + finding.subject);
    for (const Finding& finding : after.findings) {
      if (!is_broken(finding)) continue;
      // What an import meets next, behind the cured error, is no new fault: only a file that the
      // plan itself writes can be at fault.
      if (finding.severity == Severity::kError &&
          known.count(finding.code + finding.subject) == 0 && is_written(finding.subject_path)) {
        return Error("the plan would not work, nothing is changed: " + finding.code + ": " +
                     finding.title);
      }
      plan_.remaining.push_back(finding);
    }
    return std::move(plan_);
  }

  [[nodiscard]] std::string refusal_for(const std::string& path) const {
    const std::string refusal = refusal_of(inspection_.environment, path);
    const int owner = owner_of(inspection_.environment, path);
    if (!refusal.empty() || owner < 0) return refusal;
    const Distribution& distribution =
        inspection_.environment.distributions[static_cast<size_t>(owner)];
    for (const std::string& name : request_.keep) {
      if (normalized_distribution_name(name) == distribution.normalized_name) {
        return printable(path) + ": the recipe keeps " + distribution.name + " as it is";
      }
    }
    return "";
  }

  [[nodiscard]] bool is_written(const std::string& path) const {
    for (const Action& action : plan_.actions) {
      for (const FileChange& change : action.changes) {
        if (!path.empty() && change.path == path) return true;
      }
    }
    return false;
  }

  const PlanRequest& request_;
  const Inspection& inspection_;
  OverlayDisk overlay_;
  Plan plan_;
};

}  // namespace

Result<Plan> make_plan(const PlanRequest& request, const Inspection& inspection) {
  return Planner(request, inspection).for_findings();
}

Result<Plan> make_patch_plan(const PlanRequest& request, const Inspection& inspection) {
  return Planner(request, inspection).for_rules();
}

Result<Plan> make_install_plan(const PlanRequest& request, const Inspection& inspection,
                               const std::vector<std::string>& modules) {
  return Planner(request, inspection).for_modules(modules);
}

}  // namespace ssmend
