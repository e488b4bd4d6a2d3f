#include "repair/shim_plan.h"

#include "base/text.h"
#include "repair/soname_shim.h"

namespace ssmend {
namespace {

// "$ORIGIN/../torch/lib" for a shim in `from` and a library in `to`.
std::string origin_relative(const std::string& from, const std::string& to) {
  const std::vector<std::string> left = split(from, '/');
  const std::vector<std::string> right = split(to, '/');
  size_t common = 0;
  while (common < left.size() && common < right.size() && left[common] == right[common]) ++common;
  std::string path = "$ORIGIN";
  for (size_t each = common; each < left.size(); ++each) path += "/..";
  for (size_t each = common; each < right.size(); ++each) path += "/" + right[each];
  return path;
}

const MissingLibrary* find_missing(const Inspection& inspection, const std::string& path,
                                   const std::string& soname) {
  const auto resolution = inspection.resolutions.find(path);
  if (resolution == inspection.resolutions.end()) return nullptr;
  for (const MissingLibrary& missing : resolution->second.missing) {
    if (missing.name == soname) return &missing;
  }
  return nullptr;
}

}  // namespace

std::vector<ShimCandidate> shim_candidates(const Disk& disk, const Inspection& inspection,
                                           const RepairScope& scope) {
  std::vector<ShimCandidate> candidates;
  for (const Finding& finding : inspection.findings) {
    const std::string provider = finding.detail("symbols_elsewhere");
    const std::string soname = finding.detail("soname");
    if (finding.code != "missing-library" || provider.empty() || soname.empty()) continue;
    const MissingLibrary* missing = find_missing(inspection, finding.detail("path"), soname);
    if (missing == nullptr) continue;
    for (const TriedPath& tried : missing->tried) {
      // Only a folder that is there, and a place of this environment that is free.
      const std::string directory(directory_name(tried.path));
      if (tried.subdirectory || !path_in_scope(disk, scope, normal_path(tried.path)).ok() ||
          !disk.is_directory(directory) || disk.lstat(tried.path).ok() ||
          !disk.check_writable(directory).ok()) {
        continue;
      }
      SonameShim shim;
      shim.machine = inspection.environment.python.machine;
      shim.soname = soname;
      shim.needed = std::string(base_name(provider));
      shim.runpath = origin_relative(normal_path(directory), std::string(directory_name(provider)));
      Result<std::string> bytes = soname_shim_bytes(shim);
      if (!bytes.ok()) break;
      ShimCandidate candidate;
      candidate.module = finding.detail("module");
      candidate.soname = soname;
      candidate.action.kind = Action::Kind::kShim;
      candidate.action.title = inspection.environment.relative_path(normal_path(tried.path));
      candidate.action.summary = "needs " + shim.needed;
      candidate.action.for_findings = {finding.code};
      FileChange change;
      change.path = normal_path(tried.path);
      change.content = std::move(bytes).value();
      change.mode = 0755;
      candidate.action.changes.push_back(std::move(change));
      candidates.push_back(std::move(candidate));
      break;
    }
  }
  return candidates;
}

}  // namespace ssmend
