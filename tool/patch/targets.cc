#include <algorithm>
#include <set>

#include "base/text.h"
#include "patch/conditions.h"
#include "patch/patch.h"
#include "patch/rules.h"

namespace ssmend {
namespace {

bool is_skipped_directory(const std::string& name) {
  return name == "__pycache__" || name == "node_modules" ||
         (name.size() > 1 && name.front() == '.');
}

// Links are not followed: a link inside an environment may lead into another one.
void walk(const Disk& disk, const std::string& directory, const std::string& relative, int depth,
          std::vector<PatchTarget>& targets) {
  if (depth > 32) return;
  Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries) return;
  for (const DirectoryEntry& entry : *entries) {
    std::string path = path_join(directory, entry.name);
    std::string below = relative.empty() ? entry.name : relative + "/" + entry.name;
    if (entry.kind == FileStat::Kind::kDirectory) {
      if (!is_skipped_directory(entry.name)) walk(disk, path, below, depth + 1, targets);
    } else if (entry.kind == FileStat::Kind::kRegular && entry.name.ends_with(".py")) {
      targets.push_back({path, below});
    }
  }
}

}  // namespace

std::vector<PatchTarget> environment_targets(const Disk& disk, const std::vector<RuleSet>& rules,
                                             const std::vector<std::string>& site_directories) {
  std::set<std::string> globs;
  std::set<std::string> packages;
  for (const RuleSet& one : rules) {
    for (const std::string& glob : one.paths) {
      globs.insert(glob);
      packages.insert(glob.substr(0, glob.find('/')));
    }
  }
  std::vector<PatchTarget> targets;
  std::set<std::string> seen;  // the copy in the first import directory wins
  for (const std::string& site : site_directories) {
    std::vector<PatchTarget> found;
    for (const std::string& package : packages) {
      if (package.ends_with(".py")) {
        std::string path = path_join(site, package);
        if (disk.exists(path)) found.push_back({path, package});
      } else if (package.find_first_of("*?") == std::string::npos) {
        walk(disk, path_join(site, package), package, 0, found);
      }
    }
    std::erase_if(found, [&](const PatchTarget& target) {
      bool wanted = std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
        return glob_match(glob, target.relative);
      });
      return !wanted || !seen.insert(target.relative).second;
    });
    targets.insert(targets.end(), found.begin(), found.end());
  }
  return targets;
}

Result<std::vector<PatchTarget>> folder_targets(const Disk& disk, const std::string& path) {
  Result<FileStat> stat = disk.stat(path);
  if (!stat) return std::move(stat).error();
  std::vector<PatchTarget> targets;
  if (stat->is_directory()) {
    walk(disk, path, "", 0, targets);
  } else {
    targets.push_back({path, std::string(base_name(path))});
  }
  return targets;
}

std::optional<PatchFacts> facts_of_contract(const std::vector<RuleSet>& rules,
                                            const std::string& letter) {
  for (const RuleSet& one : rules) {
    for (const RuleVariant& variant : one.variants) {
      if (variant.id != letter) continue;
      PatchFacts facts;
      for (const RuleCondition& condition : variant.when) {
        if (condition.binary.empty() || condition.function.empty()) continue;
        facts.binaries[condition.binary][condition.function] = {condition.parameters, false};
      }
      facts.assumed_files = variant.files;
      return facts;
    }
  }
  return std::nullopt;
}

void assume_release(const std::vector<RuleSet>& rules, PatchFacts& facts) {
  for (const RuleSet& one : rules) {
    std::string reason;
    const RuleVariant* variant = choose_variant(one, facts, reason);
    if (variant != nullptr)
      facts.assumed_files.insert(variant->files.begin(), variant->files.end());
  }
}

}  // namespace ssmend
