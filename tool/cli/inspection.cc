#include "cli/inspection.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/text.h"
#include "environment/wheel.h"

namespace ssmend {
namespace {

// A folder of ours that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "ssmend-XXXXXX").string();
    if (!error && ::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool is_about_wheel(const Finding& finding, const Inspection& inspection,
                    const std::string& directory) {
  if (is_inside(finding.subject_path, directory) || finding.subject == "torch") return true;
  for (const auto& [name, value] : finding.details) {
    if (name == "path" && is_inside(value, directory)) return true;
  }
  for (const Distribution& distribution : inspection.environment.distributions) {
    if (distribution.site_directory != directory) continue;
    for (const RecordEntry& entry : distribution.files) {
      if (entry.raw == finding.location.path) return true;
    }
  }
  return false;
}

}  // namespace

Result<std::vector<Inspection>> inspect_environments(const TargetOptions& options,
                                                     const std::string& gpu, bool show_progress) {
  Result<Target> target = open_target(options);
  if (!target.ok()) return std::move(target).error();
  DiagnoseOptions diagnose_options;
  diagnose_options.library_path = target->library_path;
  diagnose_options.gpu = gpu;
  std::vector<Inspection> inspections;
  for (Environment& environment : target->environments) {
    if (show_progress) print_progress("\r\x1b[Kreading " + printable(environment.prefix));
    inspections.push_back(diagnose(*target->disk, std::move(environment), diagnose_options));
  }
  if (show_progress) print_progress("\r\x1b[K");
  return inspections;
}

Result<std::vector<Inspection>> inspect_wheel(const TargetOptions& options,
                                              const std::string& wheel_path, const std::string& gpu,
                                              std::vector<std::vector<WheelModule>>* modules) {
  if (!options.root.empty()) {
    return Error("a wheel is judged against an environment of this system, not under --root");
  }
  Result<Target> target = open_target(options);
  if (!target.ok()) return std::move(target).error();
  const TemporaryFolder folder;
  if (folder.path().empty()) return Error("no temporary folder can be made");
  const Result<UnpackedWheel> wheel = unpack_wheel(wheel_path, folder.path());
  if (!wheel.ok()) return wheel.error();
  DiagnoseOptions diagnose_options;
  diagnose_options.library_path = target->library_path;
  diagnose_options.gpu = gpu;
  std::vector<Inspection> inspections;
  for (Environment& environment : target->environments) {
    Inspection inspection = diagnose(
        *target->disk, with_wheel(*target->disk, std::move(environment), *wheel, wheel_path),
        diagnose_options);
    modules->push_back(list_wheel_modules(*target->disk, inspection, wheel->directory));
    std::vector<Finding>& findings = inspection.findings;
    findings.erase(std::remove_if(findings.begin(), findings.end(),
                                  [&](const Finding& finding) {
                                    return !is_about_wheel(finding, inspection, wheel->directory);
                                  }),
                   findings.end());
    inspections.push_back(std::move(inspection));
  }
  return inspections;
}

}  // namespace ssmend
