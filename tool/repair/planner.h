// From findings to a plan. Nothing is written and nothing of the target is run: every intermediate
// state is a simulated tree (repair/overlay_disk.h), judged by the same diagnosis as the real one.
//
// The order of remedies: nothing where nothing is broken; the kernel library's module where a
// native module cannot load, is not there or has no code for the GPU; then source rules for what is
// still wrong on the tree with those modules; and what is left is said.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "patch/rules.h"
#include "repair/payload.h"
#include "repair/plan.h"
#include "repair/state.h"

namespace ssmend {

struct PlanRequest {
  const Disk* disk = nullptr;       // of the target
  const Disk* data_disk = nullptr;  // where ssmend's own data lies
  RepairScope scope;
  std::vector<RuleSet> rules;
  std::vector<Payload> payloads;
  std::vector<std::string> only;  // codes; empty: all
  std::vector<std::string> keep;  // distributions that are never changed: the recipe's
  // Codes in the order of causes that the recipe knows; actions are listed and applied in it.
  std::vector<std::string> expected;
  std::string ssmend_version;
  // The environment as it would be on this disk: discover and diagnose once more.
  std::function<Result<Inspection>(const Disk&)> inspect;
};

Result<Plan> make_plan(const PlanRequest& request, const Inspection& inspection);

// The plan of `ssmend patch`: source rules only, and every one whose conditions hold.
Result<Plan> make_patch_plan(const PlanRequest& request, const Inspection& inspection);

// The plan of `ssmend kernels install`: these modules, whatever the findings are.
Result<Plan> make_install_plan(const PlanRequest& request, const Inspection& inspection,
                               const std::vector<std::string>& modules);

// The modules that a drop-in of the kernel library would cure, with the codes that call for it.
std::vector<std::pair<std::string, std::vector<std::string>>> modules_to_install(
    const Inspection& inspection, const std::vector<std::string>& only);

// Whether a module of the kernel library can cure it: it needs neither libtorch nor the CUDA
// runtime, and has code for every GPU that torch supports.
bool is_answered_by_drop_in(std::string_view code);

// Facts that the preconditions of source rules ask for. `files` is not set.
PatchFacts patch_facts_of(const Inspection& inspection);

// Python files below the import directories, for preconditions.
class EnvironmentFiles : public PythonFiles {
 public:
  EnvironmentFiles(const Disk& disk, std::vector<std::string> site_directories)
      : disk_(disk), site_directories_(std::move(site_directories)) {}
  [[nodiscard]] std::optional<std::string> read(const std::string& relative_path) const override;

 private:
  const Disk& disk_;
  std::vector<std::string> site_directories_;
};

}  // namespace ssmend
