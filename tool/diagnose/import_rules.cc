// Modules that installed code imports and that are not there: module-missing (native ones),
// python-module-missing (packages on the way from `import PACKAGE`).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

struct ImportSite {
  const SourceFile* source = nullptr;
  int line = 0;
  bool fatal = false;  // runs at the package's import, with no guard around it
};

bool has_any_file(const DiagnoseContext& context, const std::string& name) {
  if (!context.environment().find_module(context.disk, name).empty()) return true;
  // One with a wrong suffix is a finding of its own.
  return std::any_of(context.modules.begin(), context.modules.end(),
                     [&](const ModuleState& module) { return module.name == name; });
}

std::string top_of(const std::string& module) { return module.substr(0, module.find('.')); }

bool builtin(const std::string& name) {
  const std::vector<std::string>& names = knowledge().builtin_modules;
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string site_text(const ImportSite& site) {
  return fmt::format("{}:{}{}", site.source->relative, site.line,
                     site.fatal ? "" : " (inside a guard or a function)");
}

// `from x import a, b` is one place.
void add_place(const ImportSite& site, std::vector<std::string>* places) {
  std::string text = site_text(site);
  if (std::find(places->begin(), places->end(), text) == places->end()) {
    places->push_back(std::move(text));
  }
}

std::map<std::string, std::vector<ImportSite>> imports_of(const DiagnoseContext& context) {
  std::map<std::string, std::vector<ImportSite>> sites;
  for (const SourceFile& source : context.sources) {
    for (const PythonImport& import : source.python.imports) {
      if (import.level != 0) continue;
      const PythonStatement& statement = source.python.statements[import.statement];
      ImportSite site;
      site.source = &source;
      site.line = import.line;
      site.fatal = source.imported_at_start && source.python.at_import(statement) &&
                   !source.python.conditional(statement) &&
                   source.python.guarding_try(statement) < 0;
      sites[top_of(import.module)].push_back(site);
    }
  }
  for (auto& entry : sites) {
    std::stable_sort(entry.second.begin(), entry.second.end(),
                     [](const ImportSite& a, const ImportSite& b) { return a.fatal > b.fatal; });
  }
  return sites;
}

void locate(const ImportSite& site, Finding* finding) {
  finding->location.path = site.source->relative;
  finding->location.line = site.line;
}

// `imported`: the module's own name, or that of the Python package over it, missing likewise.
void report_native(DiagnoseContext& context, const NativeModuleInfo& module,
                   const std::string& imported, const std::vector<ImportSite>& sites) {
  const ImportSite& first = sites.front();
  Finding finding = make_finding("module-missing");
  finding.subject = module.name;
  locate(first, &finding);
  const std::string package = top_of(first.source->module);
  // A package whose own distribution brings the module is broken without it even where it guards
  // the import; another package only does without an option.
  finding.severity = first.fatal ? Severity::kError : Severity::kNote;
  finding.title = fmt::format("`{}` imports {}, which is not there", package, imported);
  if (imported != module.name) finding.title += fmt::format("; nor is {}", module.name);
  std::vector<std::string> places;
  for (const ImportSite& site : sites) add_place(site, &places);
  finding.evidence.push_back({"imports", list_some(places, 4)});
  if (first.fatal) finding.evidence.push_back({"way", first.source->import_chain});
  std::vector<std::string> looked;
  for (const std::string& suffix : context.environment().python.extension_suffixes) {
    looked.push_back(module.name + suffix);
  }
  finding.evidence.push_back(
      {"looked for",
       join(looked, ", ") + " in " + list_some(context.environment().site_directories, 4)});
  const Distribution* owner = context.environment().find_distribution(module.distribution);
  if (owner != nullptr) {
    const bool recorded =
        std::any_of(owner->files.begin(), owner->files.end(), [&](const RecordEntry& entry) {
          return base_name(entry.path).rfind(module.name + ".", 0) == 0;
        });
    finding.evidence.push_back(
        {"installed", fmt::format("{} {}, {}", owner->name, owner->version,
                                  recorded ? "whose RECORD lists it: the file was removed"
                                           : "without its native part")});
  }
  finding.meaning = first.fatal
                        ? fmt::format("ModuleNotFoundError: No module named '{}' at `import {}`",
                                      module.name, package)
                        : fmt::format("`{}` goes on without it", package);
  if (module.in_kernel_library) {
    finding.remedies.push_back({"`ssmend kernels install` provides it", "one module file"});
  }
  finding.remedies.push_back(
      {fmt::format("or build {} with its CUDA part", module.distribution), module.distribution});
  finding.details.emplace_back("module", module.name);
  finding.details.emplace_back("imported_by", package);
  context.add(std::move(finding));
}

void report_python(DiagnoseContext& context, const std::string& name,
                   const std::vector<ImportSite>& sites) {
  const ImportSite& first = sites.front();
  const std::string package = top_of(first.source->module);
  Finding finding = make_finding("python-module-missing");
  finding.subject = name;
  locate(first, &finding);
  finding.title = fmt::format("`{}` imports {}, which is not installed", package, name);
  std::vector<std::string> places;
  for (const ImportSite& site : sites) {
    if (site.fatal) add_place(site, &places);
  }
  finding.evidence.push_back({"imports", list_some(places, 4)});
  finding.evidence.push_back({"way", first.source->import_chain});
  finding.evidence.push_back({"searched", list_some(context.environment().site_directories, 4)});
  finding.meaning =
      fmt::format("ModuleNotFoundError: No module named '{}' at `import {}`", name, package);
  finding.remedies.push_back({fmt::format("`pip install {}` in this environment", name), name});
  finding.details.emplace_back("module", name);
  finding.details.emplace_back("imported_by", package);
  context.add(std::move(finding));
}

// A package that sources only do better with, over a native module that they never name themselves
// (mamba_ssm from 2.2.5 on and causal_conv1d).
void judge_optional_packages(DiagnoseContext& context,
                             const std::map<std::string, std::vector<ImportSite>>& imports) {
  for (const NativeModuleInfo& native : knowledge().native_modules) {
    const auto sites = imports.find(native.package);
    if (native.package.empty() || sites == imports.end() || sites->second.front().fatal) continue;
    if (imports.count(native.name) != 0 || has_any_file(context, native.package) ||
        has_any_file(context, native.name)) {
      continue;
    }
    report_native(context, native, native.package, sites->second);
  }
}

}  // namespace

void judge_imports(DiagnoseContext& context) {
  const bool standard_library = !context.environment().python.standard_library.empty();
  if (!standard_library && !context.sources.empty()) {
    context.inspection.not_checked.emplace_back(
        "imports of Python modules: no standard library found, so its modules are not known");
  }
  const std::map<std::string, std::vector<ImportSite>> imports = imports_of(context);
  judge_optional_packages(context, imports);
  for (const auto& [name, sites] : imports) {
    if (name.empty()) continue;
    if (const NativeModuleInfo* native = knowledge().native_module(name)) {
      if (!has_any_file(context, name)) report_native(context, *native, name, sites);
      continue;
    }
    if (!standard_library || !sites.front().fatal || builtin(name)) continue;
    // A torch that is not there is torch-replaced.
    if (name == "torch" || has_any_file(context, name)) continue;
    report_python(context, name, sites);
  }
  judge_names(context);
}

}  // namespace ssmend
