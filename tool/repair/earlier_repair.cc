#include "repair/earlier_repair.h"

#include <algorithm>

#include "base/sha256.h"
#include "base/text.h"
#include "repair/ownership.h"
#include "repair/record.h"

namespace ssmend {

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

std::optional<Original> find_original(const Disk& disk, const Environment& environment,
                                      const std::string& path) {
  const int owner = owner_of(environment, path);
  if (owner < 0) return std::nullopt;
  std::string wanted;
  for (const RecordEntry& entry : environment.distributions[static_cast<size_t>(owner)].files) {
    if (entry.path == path) wanted = entry.sha256;
  }
  if (wanted.empty()) return std::nullopt;
  const std::string folder(directory_name(path));
  const std::string name(base_name(path));
  const std::string stem = name.substr(0, name.rfind('.'));
  Result<std::vector<DirectoryEntry>> entries = disk.list(folder);
  if (!entries.ok()) return std::nullopt;
  for (const DirectoryEntry& entry : *entries) {
    const bool beside = entry.name != name && entry.name.starts_with(stem) &&
                        entry.kind == FileStat::Kind::kRegular;
    if (!beside) continue;
    Result<std::string> content = disk.read(path_join(folder, entry.name), 16 << 20);
    if (content.ok() && sha256_record(*content) == wanted) {
      return Original{path_join(folder, entry.name), std::move(content).value()};
    }
  }
  return std::nullopt;
}

}  // namespace ssmend
