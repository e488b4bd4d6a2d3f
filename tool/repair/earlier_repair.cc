#include "repair/earlier_repair.h"

#include <algorithm>
#include <optional>

#include "base/sha256.h"
#include "base/text.h"
#include "repair/ownership.h"
#include "repair/record.h"

namespace ssmend {
namespace {

struct Original {
  std::string path;  // of the copy
  std::string content;
};

// What RECORD says of `path`; empty where it says nothing.
std::string recorded_hash(const Environment& environment, const std::string& path) {
  const int owner = owner_of(environment, path);
  if (owner < 0) return "";
  for (const RecordEntry& entry : environment.distributions[static_cast<size_t>(owner)].files) {
    if (entry.path == path) return entry.sha256;
  }
  return "";
}

// Files that may be a copy of `path` from before a change: beside it under a longer name, and at
// the same place of a folder beside its package ("mamba_ssm.bak/ops/x.py").
std::vector<std::string> possible_copies(const Disk& disk, const Environment& environment,
                                         const std::string& path) {
  std::vector<std::string> copies;
  const auto beside = [&](const std::string& folder, const std::string& name, FileStat::Kind kind,
                          const std::string& rest) {
    const std::string stem = name.substr(0, name.rfind('.'));
    const Result<std::vector<DirectoryEntry>> entries = disk.list(folder);
    if (!entries.ok()) return;
    for (const DirectoryEntry& entry : *entries) {
      const bool copy = entry.kind == kind && entry.name != name && entry.name.starts_with(stem);
      if (copy) copies.push_back(path_join(folder, entry.name) + rest);
    }
  };
  beside(std::string(directory_name(path)), std::string(base_name(path)), FileStat::Kind::kRegular,
         "");
  for (const std::string& site : environment.site_directories) {
    if (!is_inside(path, site) || path.size() <= site.size() + 1) continue;
    const std::string relative = path.substr(site.size() + 1);
    const size_t slash = relative.find('/');
    if (slash == std::string::npos) continue;
    beside(site, relative.substr(0, slash), FileStat::Kind::kDirectory, relative.substr(slash));
  }
  return copies;
}

std::optional<Original> find_original(const Disk& disk, const Environment& environment,
                                      const std::vector<RuleSet>& rules, const std::string& path) {
  const std::string wanted = recorded_hash(environment, path);
  for (const std::string& copy : possible_copies(disk, environment, path)) {
    Result<std::string> content = disk.read(copy, 16 << 20);
    if (!content.ok()) continue;
    const bool known =
        wanted.empty() && std::any_of(rules.begin(), rules.end(), [&](const RuleSet& one) {
          return one.expect.count(sha256_hex(*content)) != 0;
        });
    if (known || (!wanted.empty() && sha256_record(*content) == wanted)) {
      return Original{copy, std::move(content).value()};
    }
  }
  return std::nullopt;
}

// A state that an unchanged release never has.
bool is_somebodys_work(const FilePatch& patch) {
  return patch.state == PatchState::kPartlyByHand || patch.state == PatchState::kRefused ||
         patch.state == PatchState::kFailed;
}

std::string what_to_reinstall(const Environment& environment, const std::string& path) {
  const int owner = owner_of(environment, path);
  if (owner < 0) return "reinstall its package, then repair";
  const Distribution& owning = environment.distributions[static_cast<size_t>(owner)];
  return "no copy of the original is beside it: reinstall " + owning.name + " " + owning.version +
         " (`pip install --force-reinstall --no-deps " + owning.name + "==" + owning.version +
         "`), then repair";
}

}  // namespace

Action move_earlier_repairs(const Inspection& inspection, std::vector<std::string>& refusals) {
  Action action;
  action.kind = Action::Kind::kMoveAside;
  action.for_findings = {"earlier-repair"};
  std::vector<std::string> names;
  for (const Finding& finding : inspection.findings) {
    const std::string kind = finding.detail("kind");
    if (finding.code != "earlier-repair" || (kind != "start-up" && kind != "stub")) continue;
    const std::string path = finding.detail("path");
    if (path.empty()) continue;
    if (const std::string refusal = refusal_of(inspection.environment, path); !refusal.empty()) {
      refusals.push_back(refusal);
      continue;
    }
    FileChange change;
    change.kind = FileChange::Kind::kMoveAside;
    change.path = path;
    names.emplace_back(base_name(path));
    action.changes.push_back(std::move(change));
  }
  action.title = join(names, ", ");
  action.summary = count_of(action.changes.size(), "file");
  return action;
}

void start_from_originals(const Disk& disk, const Environment& environment,
                          const std::vector<RuleSet>& rules, const PatchFacts& facts,
                          std::vector<FilePatch>& patches, std::vector<std::string>& refusals) {
  for (FilePatch& patch : patches) {
    if (!is_somebodys_work(patch)) continue;
    const Result<std::string> now = disk.read(patch.path, 16 << 20);
    const std::string recorded = recorded_hash(environment, patch.path);
    const bool as_installed = now.ok() && !recorded.empty() && sha256_record(*now) == recorded;
    std::optional<Original> original;
    if (!as_installed) original = find_original(disk, environment, rules, patch.path);
    std::optional<FilePatch> again;
    if (original) again = patch_content(rules, facts, patch.relative, original->content);
    if (!original || (again && is_somebodys_work(*again))) {
      const bool changed = !recorded.empty() && !as_installed;
      if (patch.state == PatchState::kPartlyByHand || changed) {
        refusals.push_back(patch.relative + ": " + patch.reason + "; " +
                           what_to_reinstall(environment, patch.path));
      }
      continue;
    }
    const std::string path = patch.path;
    const std::string relative = patch.relative;
    if (again && again->state == PatchState::kApplied) {
      patch = std::move(*again);
    } else {  // the original needs no rule
      patch = FilePatch();
      patch.state = PatchState::kApplied;
      patch.rules = {"earlier-repair"};
      patch.after = original->content;
    }
    patch.path = path;
    patch.relative = relative;
    patch.before = now.ok() ? *now : "";
    patch.reason = "from its original, " + std::string(base_name(original->path));
  }
}

}  // namespace ssmend
