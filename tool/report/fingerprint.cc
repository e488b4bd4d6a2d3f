#include "report/fingerprint.h"

#include <map>

#include "base/sha256.h"
#include "base/text.h"

namespace ssmend {
namespace {

// The part of `path` below the import directory that holds it; the path itself elsewhere.
std::string below_site(const Environment& environment, const std::string& path) {
  for (const std::string& site : environment.site_directories) {
    if (path != site && is_inside(path, site)) {
      return path.substr(site == "/" ? 1 : site.size() + 1);
    }
  }
  return path;
}

bool ends_with_path(const std::string& path, const std::string& tail) {
  return path.size() > tail.size() && path[path.size() - tail.size() - 1] == '/' &&
         path.compare(path.size() - tail.size(), tail.size(), tail) == 0;
}

}  // namespace

Place place_of(const Inspection& inspection, const Finding& finding) {
  Place place;
  const Environment& environment = inspection.environment;
  place.line = finding.location.line;
  const std::string& path =
      finding.location.path.empty() ? finding.subject_path : finding.location.path;
  if (path.empty()) return place;
  if (path.front() == '/') {
    place.absolute = path;
    place.relative = below_site(environment, path);
    return place;
  }
  place.relative = path;
  if (ends_with_path(finding.subject_path, path)) {
    place.absolute = finding.subject_path;
  } else if (!environment.site_directories.empty()) {
    place.absolute = path_join(environment.site_directories.front(), path);
  }
  return place;
}

std::vector<std::string> finding_fingerprints(const Inspection& inspection) {
  std::vector<std::string> prints;
  std::map<std::string, size_t> seen;
  for (const Finding& finding : inspection.findings) {
    std::string text = finding.code + '\0' + finding.subject + '\0' +
                       place_of(inspection, finding).relative + '\0' + finding.detail("module");
    const size_t rank = seen[text]++;
    if (rank != 0) text += '\0' + std::to_string(rank);
    prints.push_back(sha256_hex(text).substr(0, 32));
  }
  return prints;
}

}  // namespace ssmend
