#include "diagnose/wheel_modules.h"

#include <set>

#include "base/text.h"
#include "base/version.h"
#include "elf/fatbin.h"

namespace ssmend {
namespace {

std::string torch_requirement(const Environment& environment, const NativeFile& file) {
  if (file.owner < 0) return {};
  const Distribution& owner = environment.distributions[static_cast<size_t>(file.owner)];
  for (const std::string& requirement : owner.requires_dist) {
    const size_t end = requirement.find_first_of(" ([;<>=!~");
    if (normalized_distribution_name(requirement.substr(0, end)) == "torch") {
      return std::string(trim(requirement.substr(0, requirement.find(';'))));
    }
  }
  return {};
}

std::string loads_text(const Inspection& inspection, const std::string& path) {
  const Finding* worst = nullptr;
  for (const Finding& finding : inspection.findings) {
    if (finding.subject_path != path) continue;
    if (finding.code == "static-tls") return "no, unless it is imported before torch";
    if (finding.code == "python-abi" || finding.code == "wrong-machine" ||
        finding.code == "truncated-file") {
      return "no: " + finding.title;
    }
    if (finding.severity == Severity::kError && worst == nullptr) worst = &finding;
    if (finding.code != "load-order") continue;
    for (const auto& [name, value] : finding.details) {
      if (name != "after_torch") continue;
      return value == "loads" ? "only after import torch" : "no: " + value;
    }
  }
  const auto alone = inspection.resolutions.find(path);
  if (alone != inspection.resolutions.end()) {
    return alone->second.loads ? "yes" : "no: " + alone->second.reason;
  }
  return worst != nullptr ? "no: " + worst->title : "not known";
}

std::vector<std::string> gpu_code(const Disk& disk, const std::string& path) {
  std::set<std::string> names;
  const Result<FatBinary> binary = read_fat_binary(disk, path);
  if (!binary.ok()) return {};
  for (const GpuImage& image : binary->images) {
    if (image.kernels == 0) continue;  // device-link leftovers
    const bool ptx = image.kind == GpuImageKind::kPtx;
    names.insert(gpu_image_name(image) + (ptx ? " (PTX)" : ""));
  }
  return {names.begin(), names.end()};
}

}  // namespace

std::vector<WheelModule> list_wheel_modules(const Disk& disk, const Inspection& inspection,
                                            const std::string& directory) {
  std::vector<WheelModule> modules;
  for (const NativeFile& file : inspection.environment.native_files) {
    if (file.module_name.empty() || !is_inside(file.path, directory)) continue;
    // The folder that it was unpacked to is nobody's business.
    modules.push_back({file.module_name,
                       replace_all(loads_text(inspection, file.path), directory + "/", ""),
                       gpu_code(disk, file.path), torch_requirement(inspection.environment, file)});
  }
  return modules;
}

}  // namespace ssmend
