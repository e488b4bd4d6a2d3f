// What the planner reads out of an inspection.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "repair/planner.h"

namespace ssmend {
namespace {

// Codes that a module of the kernel library answers: it needs neither libtorch nor the CUDA
// runtime, and has code for every GPU that torch supports there.
constexpr std::array kDropInCodes = {
    "missing-library", "wrong-machine",        "python-abi",     "undefined-symbol",
    "torch-mismatch",  "module-missing",       "glibc-too-old",  "libstdcxx-too-old",
    "no-gpu-code",     "cuda-runtime-missing", "truncated-file", "static-tls",
    "exec-stack",      "bad-file-in-path",
};
std::string module_of(const Inspection& inspection, const Finding& finding) {
  if (std::string module = finding.detail("module"); !module.empty()) return module;
  for (const NativeFile& file : inspection.environment.native_files) {
    if (!finding.subject_path.empty() && file.path == finding.subject_path) {
      return file.module_name;
    }
  }
  return "";
}

}  // namespace

bool is_answered_by_drop_in(std::string_view code) {
  return std::find(kDropInCodes.begin(), kDropInCodes.end(), code) != kDropInCodes.end();
}

std::vector<std::pair<std::string, std::vector<std::string>>> modules_to_install(
    const Inspection& inspection, const std::vector<std::string>& only) {
  std::vector<std::pair<std::string, std::vector<std::string>>> modules;
  bool reason = false;
  for (const Finding& finding : inspection.findings) {
    if (!is_answered_by_drop_in(finding.code)) continue;
    if (!only.empty() && std::find(only.begin(), only.end(), finding.code) == only.end()) {
      continue;
    }
    const std::string module = module_of(inspection, finding);
    if (module.empty()) continue;
    // What is only noted (an optional module is not there) comes along with what is broken, and is
    // no reason for a change by itself; a warning about a file that nobody needs is none at all.
    if (finding.severity != Severity::kError && finding.code != "module-missing") continue;
    reason = reason || finding.severity != Severity::kNote;
    auto known = std::find_if(modules.begin(), modules.end(),
                              [&](const auto& each) { return each.first == module; });
    if (known == modules.end()) known = modules.insert(modules.end(), {module, {}});
    known->second.push_back(finding.code);
  }
  if (!reason) modules.clear();
  return modules;
}

PatchFacts patch_facts_of(const Inspection& inspection) {
  PatchFacts facts;
  for (const auto& [module, contract] : inspection.contracts) {
    auto& functions = facts.binaries[module];
    for (const BoundFunction& function : contract.functions) {
      if (!function.arity_known) continue;
      functions[function.name] = {static_cast<int>(function.arity()),
                                  function.return_type == "void" || function.return_type == "None"};
    }
  }
  for (const Distribution& distribution : inspection.environment.distributions) {
    if (!distribution.shadowed) {
      facts.distributions[distribution.normalized_name] = distribution.version;
    }
  }
  facts.python_version = inspection.environment.python.version;
  for (const Finding& finding : inspection.findings) {
    if (finding.code == "distributed-missing") facts.features["torch.distributed"] = false;
  }
  return facts;
}

std::optional<std::string> EnvironmentFiles::read(const std::string& relative_path) const {
  for (const std::string& site : site_directories_) {
    Result<std::string> content = disk_.read(path_join(site, relative_path));
    if (content.ok()) return std::move(content).value();
  }
  return std::nullopt;
}

}  // namespace ssmend
