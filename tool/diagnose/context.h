// What the rules of this stage share: the environment, the ELF facts of its native files, what the
// loader would do for each module, alone and after `import torch`. Filled once by collect_modules,
// then only read; rules add findings and nothing else.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "diagnose/codes.h"
#include "diagnose/diagnose.h"
#include "diagnose/knowledge.h"
#include "diagnose/python_scan.h"

namespace ssmend {

// The torch that `import torch` gives.
struct TorchFacts {
  const Distribution* distribution = nullptr;  // nullptr: no metadata
  std::string package;                         // .../site-packages/torch; empty: no torch
  std::string library_directory;               // .../torch/lib
  std::string version;
  std::vector<std::shared_ptr<const ElfFacts>> libraries;  // of torch/lib, readable ones
  std::string core_module;                                 // torch/_C....so
  bool loads = false;                                      // torch._C, as the loader sees it
  bool has_cuda = false;                                   // libtorch_cuda.so is there
  std::optional<bool> has_distributed;                     // unset: cannot be told

  [[nodiscard]] bool there() const { return !package.empty(); }
};

struct ModuleState {
  const NativeFile* file = nullptr;
  const Distribution* owner = nullptr;
  std::shared_ptr<const ElfFacts> facts;
  std::string name;         // import name; of lib*.so files with an init function too
  bool importable = false;  // this interpreter's finder takes the suffix
  bool shadowed = false;    // another file comes first under the same name
  bool ours = false;        // what this program is about: a module of the tables, torch, or a user
                            // of torch's libraries; faults of others are warnings
  bool resolved = false;
  Resolution alone;
  std::optional<Resolution> after_torch;  // only where the module does not load alone
  // The loader's words where the module loads alone and fails after torch (static TLS).
  std::optional<std::string> order_failure;
  bool explained = false;  // a rule has said why it does not load

  [[nodiscard]] bool loads() const {
    return resolved && (alone.loads || (after_torch && after_torch->loads));
  }
  // The run whose failures count: after torch where there is one.
  [[nodiscard]] const Resolution& best() const { return after_torch ? *after_torch : alone; }
  [[nodiscard]] std::string subject() const;  // "causal_conv1d_cuda", else the file name
};

// A Python file of a package that uses native modules.
struct SourceFile {
  std::string path;
  std::string relative;  // "mamba_ssm/ops/selective_scan_interface.py"
  std::string module;    // "mamba_ssm.ops.selective_scan_interface"
  std::string package;   // what relative imports start from
  const Distribution* owner = nullptr;
  bool imported_at_start = false;  // reached from the package's __init__ by unguarded imports
  std::string import_chain;        // "mamba_ssm -> mamba_ssm.ops.x"; of the first way found
  PythonFile python;
};

// "mamba_ssm.ops.x" for `from .x import y` in mamba_ssm/ops/__init__.py.
std::string absolute_module(const SourceFile& source, const PythonImport& import);

struct DiagnoseContext {
  const Disk& disk;
  const DiagnoseOptions& options;
  Inspection& inspection;
  ElfCache& cache;
  TorchFacts torch;
  std::vector<ModuleState> modules;
  std::vector<SourceFile> sources;

  [[nodiscard]] const Environment& environment() const { return inspection.environment; }
  // The file that would be imported under the name; nullptr where there is none.
  [[nodiscard]] ModuleState* importable_module(std::string_view name);
  // "mamba_ssm/ops/x.py" for files in an import directory, else the path.
  [[nodiscard]] std::string shown(std::string_view path) const;
  void add(Finding finding) { inspection.findings.push_back(std::move(finding)); }
};

// Subject, location and details of a finding about a module; milder where the module is not ours.
void describe_module(const DiagnoseContext& context, const ModuleState& module, Finding* finding);

// "a, b, c and 12 more"
std::string list_some(const std::vector<std::string>& names, size_t limit);

// --- stages, in the order of diagnose.cc ---
void collect_modules(DiagnoseContext& context);    // modules.cc: torch, ELF facts, resolutions
void collect_sources(DiagnoseContext& context);    // sources.cc: Python files and the import walk
void judge_environment(DiagnoseContext& context);  // environment_rules.cc: interpreter, packages
void judge_files(DiagnoseContext& context);        // file_rules.cc: truncated, machine, ABI, stack
void judge_torch(DiagnoseContext& context);        // torch_rules.cc: torch-replaced, distributed
void judge_loading(DiagnoseContext& context);      // loading_rules.cc: libraries, load order
void judge_symbols(DiagnoseContext& context);      // symbol_rules.cc: symbols and versions
void judge_imports(DiagnoseContext& context);      // import_rules.cc: missing modules and names
void judge_names(DiagnoseContext& context);        // name_rules.cc: removed names, distributed
void judge_contracts(DiagnoseContext& context);    // contract_rules.cc: call sites, guards
void judge_gpu_code(DiagnoseContext& context);     // gpu_rules.cc: images and driver
void judge_repairs(DiagnoseContext& context);      // repair_rules.cc: what others have left

}  // namespace ssmend
