#include "cli/plan_text.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "elf/elf_facts.h"
#include "patch/diff.h"

namespace ssmend {

using nlohmann::json;

std::string environment_line(const Environment& environment) {
  std::vector<std::string> facts;
  if (!environment.python.version.empty()) {
    facts.push_back("Python " + environment.python.version);
  }
  if (environment.python.machine != 0) facts.push_back(machine_name(environment.python.machine));
  const HostFacts& host = environment.host;
  std::string chip = host.soc.value;
  if (host.gpu_sm.known()) chip += (chip.empty() ? "sm_" : " sm_") + host.gpu_sm.value;
  if (!chip.empty()) facts.push_back(chip);
  if (host.l4t.known()) facts.push_back("L4T " + host.l4t.value);
  std::string line = printable(environment.name_for_people);
  if (!facts.empty()) line += " (" + printable(join(facts, ", ")) + ")";
  return line;
}

size_t files_changed(const Plan& plan) {
  size_t count = plan.bookkeeping.size();
  for (const Action& action : plan.actions) count += action.changes.size();
  return count;
}

std::string render_plan(const Plan& plan, const Environment& environment, const TextStyle& style) {
  std::string text;
  if (!plan.actions.empty()) text += "Plan for " + environment_line(environment) + "\n";
  size_t width = 0;
  size_t counts = 0;
  for (const Action& action : plan.actions) {
    if (action.title.size() <= 60) width = std::max(width, action.title.size());
    counts = std::max(counts, action.summary.size());
  }
  int number = 0;
  for (const Action& action : plan.actions) {
    std::string line =
        fmt::format("{:>2} {:<10} {:<{}}  {:<{}}", ++number, action_kind_name(action.kind),
                    printable(action.title), width, action.summary, counts);
    if (!action.for_findings.empty()) {
      line += "   for " + join(action.for_findings, ", ");
    } else if (!action.rules.empty()) {
      line += "   by " + join(action.rules, ", ");
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += fold(line, style.columns, 0, 14) + "\n";
    if (!action.question.empty()) {
      text += fold("   asks: " + action.question, style.columns, 0, 9) + "\n";
    }
  }
  for (const std::string& refusal : plan.refusals) {
    text += fold("not planned: " + refusal, style.columns, 0, 4) + "\n";
  }
  for (const FilePatch& patch : plan.patches) {
    if (patch.state != PatchState::kRefused && patch.state != PatchState::kPartlyByHand &&
        patch.state != PatchState::kFailed) {
      continue;
    }
    text += fold(fmt::format("not patched: {}: {}: {}", printable(patch.relative),
                             patch_state_name(patch.state), printable(patch.reason)),
                 style.columns, 0, 4) +
            "\n";
  }
  if (!plan.actions.empty()) {
    for (const Finding& finding : plan.remaining) {
      text += fold(fmt::format("stays: {}[{}]: {}", severity_name(finding.severity), finding.code,
                               printable(finding.title)),
                   style.columns, 0, 4) +
              "\n";
    }
  }
  return text;
}

std::string render_diffs(const Disk& disk, const Plan& plan) {
  std::string text;
  const auto show = [&](const FileChange& change) {
    const Result<std::string> before = disk.read(change.path);
    if (change.kind != FileChange::Kind::kWrite) {
      text += "removed, kept in the journal: " + printable(change.path) + "\n";
    } else if (change.content.find('\0') != std::string::npos ||
               (before.ok() && before->find('\0') != std::string::npos)) {
      text += fmt::format("{}: {} ({} bytes)\n", before.ok() ? "replaced" : "new file",
                          printable(change.path), change.content.size());
    } else {
      text += unified_diff(before.ok() ? *before : "", change.content,
                           before.ok() ? change.path : "/dev/null", change.path);
    }
  };
  for (const Action& action : plan.actions) {
    for (const FileChange& change : action.changes) show(change);
  }
  for (const FileChange& change : plan.bookkeeping) show(change);
  return text;
}

json finding_line(const Finding& finding) {
  return json{{"code", finding.code},
              {"severity", severity_name(finding.severity)},
              {"subject", finding.subject},
              {"title", finding.title}};
}

json plan_to_json(const Plan& plan) {
  json actions = json::array();
  for (const Action& action : plan.actions) {
    json files = json::array();
    for (const FileChange& change : action.changes) {
      files.push_back(
          json{{"path", change.path},
               {"change", change.kind == FileChange::Kind::kWrite ? "write" : "move-aside"}});
    }
    actions.push_back(json{{"kind", action_kind_name(action.kind)},
                           {"title", action.title},
                           {"summary", action.summary},
                           {"for", action.for_findings},
                           {"rules", action.rules},
                           {"files", files}});
  }
  json remaining = json::array();
  for (const Finding& finding : plan.remaining) remaining.push_back(finding_line(finding));
  json patches = json::array();
  for (const FilePatch& patch : plan.patches) {
    patches.push_back(json{{"path", patch.relative},
                           {"state", patch_state_name(patch.state)},
                           {"reason", patch.reason}});
  }
  return json{{"actions", actions},      {"files", files_changed(plan)},
              {"remaining", remaining},  {"not_planned", plan.refusals},
              {"source_files", patches}, {"environment", plan.environment_prefix}};
}

std::string to_text(const json& value) {
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace ssmend
