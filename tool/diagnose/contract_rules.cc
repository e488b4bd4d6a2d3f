// Calls of native functions against the binary that would be imported (call-contract), and try
// blocks that lose more than the name that fails (import-guard).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

// A call that is reached only where another function could not be imported:
// `f(...) if f is not None else native.g(...)`.
bool is_fallback(const PythonFile& file, const PythonCall& call) {
  const PythonStatement& statement = file.statements[call.statement];
  for (size_t i = statement.begin + 4; i < call.token; ++i) {
    if (file.tokens[i].text != "else" || file.tokens[i - 1].text != "None" ||
        file.tokens[i - 2].text != "not" || file.tokens[i - 3].text != "is") {
      continue;
    }
    const std::string_view other = file.tokens[i - 4].text;
    for (const PythonImport& import : file.imports) {
      if (import.bound_as == other) return true;
    }
  }
  return false;
}

void read_contracts(DiagnoseContext& context) {
  for (const NativeModuleInfo& native : knowledge().native_modules) {
    const ModuleState* module = context.importable_module(native.name);
    if (module == nullptr || module->facts->state != ElfState::kOk) continue;
    Result<ModuleContract> contract = read_contract(context.disk, module->file->path);
    if (!contract.ok()) {
      context.inspection.not_checked.push_back(contract.error().message);
      continue;
    }
    context.inspection.contracts[native.name] = std::move(contract).value();
  }
}

void add_calls(DiagnoseContext& context, const SourceFile& source, const std::string& module,
               const std::string& spelled, const std::string& function) {
  for (const PythonCall& call : find_calls(source.python, spelled)) {
    CallSite site;
    site.path = source.path;
    site.relative = source.relative;
    site.line = call.line;
    site.module = module;
    site.function = function;
    site.arguments = call.arguments;
    site.star = call.star;
    site.text = call.text;
    site.fallback = is_fallback(source.python, call);
    context.inspection.call_sites.push_back(std::move(site));
  }
}

// Names of functions called on `bound`: bound.NAME(
std::set<std::string> functions_on(const PythonFile& file, const std::string& bound) {
  std::set<std::string> names;
  for (size_t i = 0; i + 3 < file.tokens.size(); ++i) {
    if (file.tokens[i].kind != PythonToken::Kind::kName || file.tokens[i].text != bound) continue;
    if (i > 0 && file.tokens[i - 1].text == ".") continue;
    if (file.tokens[i + 1].text != "." || file.tokens[i + 3].text != "(") continue;
    names.insert(std::string(file.tokens[i + 2].text));
  }
  return names;
}

void collect_call_sites(DiagnoseContext& context) {
  for (const SourceFile& source : context.sources) {
    std::set<std::pair<std::string, std::string>> done;  // module, spelled
    for (const PythonImport& import : source.python.imports) {
      const NativeModuleInfo* native = knowledge().native_module(import.module);
      if (native == nullptr || import.level != 0 || import.name == "*") continue;
      if (!import.name.empty()) {
        if (done.insert({native->name, import.bound_as}).second) {
          add_calls(context, source, native->name, import.bound_as, import.name);
        }
        continue;
      }
      for (const std::string& function : functions_on(source.python, import.bound_as)) {
        const std::string spelled = import.bound_as + "." + function;
        if (done.insert({native->name, spelled}).second) {
          add_calls(context, source, native->name, spelled, function);
        }
      }
    }
  }
  std::stable_sort(context.inspection.call_sites.begin(), context.inspection.call_sites.end(),
                   [](const CallSite& a, const CallSite& b) {
                     return a.path != b.path ? a.path < b.path : a.line < b.line;
                   });
}

const BoundFunction* bound_function(const ModuleContract& contract, const std::string& name) {
  for (const BoundFunction& function : contract.functions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

// CPython's own calling convention (self, args): says nothing of the arguments in Python.
bool takes_python_objects(const BoundFunction& function) {
  return !function.parameters.empty() &&
         std::all_of(function.parameters.begin(), function.parameters.end(),
                     [](const std::string& type) {
                       return type == "_object*" || type.rfind("_object* const*", 0) == 0 ||
                              type == "long";
                     }) &&
         function.parameters.front() == "_object*";
}

// What is wrong with one call; empty where nothing is, or where it cannot be told.
std::string fault_of(const CallSite& site, const ModuleContract& contract) {
  if (contract.accepts_every_contract || contract.functions.empty() || site.fallback) return {};
  const BoundFunction* function = bound_function(contract, site.function);
  if (function == nullptr) return "there is no such function in the binary";
  if (!function->arity_known || site.star || takes_python_objects(*function)) return {};
  if (static_cast<size_t>(site.arguments) == function->arity()) return {};
  return fmt::format("{} for {}", site.arguments, function->arity());
}

const SourceFile* source_of(const DiagnoseContext& context, const std::string& path) {
  for (const SourceFile& source : context.sources) {
    if (source.path == path) return &source;
  }
  return nullptr;
}

std::string returns_text(const BoundFunction& function) {
  if (function.return_type.empty()) return "";
  return function.return_type == "void" ? ", returns None" : ", returns " + function.return_type;
}

// "2 in this file, 2 in mamba_ssm/ops/triton/ssd_combined.py"
std::string places(const std::vector<const CallSite*>& calls) {
  std::vector<std::pair<std::string, int>> counts;
  for (const CallSite* call : calls) {
    if (counts.empty() || counts.back().first != call->relative) {
      counts.emplace_back(call->relative, 0);
    }
    ++counts.back().second;
  }
  std::vector<std::string> texts;
  for (const auto& [file, count] : counts) {
    texts.push_back(file == calls.front()->relative ? fmt::format("{} in this file", count)
                                                    : fmt::format("{} in {}", count, file));
  }
  return join(texts, ", ");
}

using CallsByFunction = std::map<std::string, std::vector<const CallSite*>>;

void report_contract(DiagnoseContext& context, const std::string& package,
                     const std::string& module, const CallsByFunction& functions) {
  const ModuleContract& contract = context.inspection.contracts.at(module);
  // The earliest call is the one people meet first.
  const CallSite* first = nullptr;
  size_t calls = 0;
  std::set<std::string> files;
  for (const auto& entry : functions) {
    for (const CallSite* call : entry.second) {
      if (first == nullptr ||
          std::pair(call->path, call->line) < std::pair(first->path, first->line)) {
        first = call;
      }
      ++calls;
      files.insert(call->path);
    }
  }
  const SourceFile* source = source_of(context, first->path);
  const Distribution* owner = source == nullptr ? nullptr : source->owner;
  const std::string name =
      owner == nullptr ? "`" + package + "`" : fmt::format("`{}` {}", package, owner->version);
  Finding finding = make_finding("call-contract");
  finding.subject = package;
  finding.subject_path = first->path;
  finding.location = {first->relative, first->line};
  const BoundFunction* function = bound_function(contract, first->function);
  if (function == nullptr) {
    finding.title = fmt::format("{} calls {}.{}, which the installed binary does not have", name,
                                module, first->function);
    finding.meaning =
        fmt::format("AttributeError: module '{}' has no attribute '{}'", module, first->function);
  } else {
    finding.title = fmt::format("{} calls {} with {} arguments, the installed binary takes {}",
                                name, first->function, first->arguments, function->arity());
  }
  // The function of the title first.
  std::vector<std::string> order = {first->function};
  for (const auto& entry : functions) {
    if (entry.first != first->function) order.push_back(entry.first);
  }
  for (const std::string& called : order) {
    const std::vector<const CallSite*>& sites = functions.at(called);
    finding.evidence.push_back(
        {"calls", fmt::format("{}{}, {}", called, sites.front()->text, places(sites))});
    const BoundFunction* bound = bound_function(contract, called);
    const std::string file(base_name(contract.module_path));
    finding.evidence.push_back(
        {"binary", bound == nullptr
                       ? fmt::format("{}: no function {}", file, called)
                       : fmt::format("{}: {} takes {} parameters{} (read from {})", file, called,
                                     bound->arity(), returns_text(*bound), bound->witness)});
    finding.details.emplace_back("function", called);
    finding.details.emplace_back(
        "calls", fmt::format("{} {} {}", called, sites.front()->arguments,
                             bound == nullptr ? -1 : static_cast<int>(bound->arity())));
  }
  finding.remedies.push_back(
      {fmt::format("`ssmend repair` rewrites the {}", count_of(calls, "call")),
       fmt::format("{} of {}", count_of(files.size(), "file"), package)});
  finding.details.emplace_back("module", module);
  for (const std::string& path : files) finding.details.emplace_back("path", path);
  context.add(std::move(finding));
}

// Whether any call of the module in this package does not fit.
std::set<std::string> judge_calls(DiagnoseContext& context) {
  std::map<std::pair<std::string, std::string>, CallsByFunction> wrong;  // package, module
  for (const CallSite& site : context.inspection.call_sites) {
    const auto contract = context.inspection.contracts.find(site.module);
    if (contract == context.inspection.contracts.end()) continue;
    if (fault_of(site, contract->second).empty()) continue;
    const SourceFile* source = source_of(context, site.path);
    const std::string package = source == nullptr
                                    ? std::string(base_name(site.path))
                                    : source->module.substr(0, source->module.find('.'));
    wrong[{package, site.module}][site.function].push_back(&site);
  }
  std::set<std::string> modules;
  for (const auto& [key, functions] : wrong) {
    report_contract(context, key.first, key.second, functions);
    modules.insert(key.second);
  }
  return modules;
}

// One try that binds a native module and something else.
void judge_guards(DiagnoseContext& context, const std::set<std::string>& wrong_modules) {
  std::map<std::string, std::vector<std::string>> told;  // package + module -> places
  std::map<std::string, Finding> findings;
  for (const SourceFile& source : context.sources) {
    std::map<int, std::vector<const PythonImport*>> by_try;
    for (const PythonImport& import : source.python.imports) {
      const int guard = source.python.guarding_try(source.python.statements[import.statement]);
      if (guard >= 0) by_try[guard].push_back(&import);
    }
    for (const auto& [guard, imports] : by_try) {
      const PythonImport* native = nullptr;
      std::vector<std::string> others;
      for (const PythonImport* import : imports) {
        if (import->level == 0 && import->name.empty() &&
            knowledge().native_module(import->module) != nullptr) {
          native = import;
        } else {
          others.push_back(import->bound_as);
        }
      }
      if (native == nullptr || others.empty()) continue;
      ModuleState* module = context.importable_module(native->module);
      const bool fails = module == nullptr || !module->loads();
      if (!fails && wrong_modules.count(native->module) == 0) continue;
      const std::string package = source.module.substr(0, source.module.find('.'));
      const std::string key = package + " " + native->module;
      told[key].push_back(fmt::format("{}:{}", source.relative,
                                      source.python.statements[static_cast<size_t>(guard)].line));
      if (findings.count(key) != 0) continue;
      Finding finding = make_finding("import-guard");
      finding.severity = fails ? Severity::kWarning : Severity::kNote;
      finding.subject = package;
      finding.subject_path = source.path;
      finding.location = {source.relative,
                          source.python.statements[static_cast<size_t>(guard)].line};
      finding.title = fmt::format("`{}` imports {} and {} in one try: losing one loses both",
                                  package, native->module, join(others, ", "));
      finding.meaning =
          fails ? fmt::format("{} cannot be imported, so {} {} None as well", native->module,
                              join(others, ", "), others.size() == 1 ? "is" : "are")
                : fmt::format("nothing is lost as long as {} can be imported", native->module);
      finding.remedies.push_back({"`ssmend repair` splits the guard", "files of " + package});
      finding.details.emplace_back("module", native->module);
      findings.emplace(key, std::move(finding));
    }
  }
  for (auto& [key, finding] : findings) {
    finding.evidence.push_back({"guards", list_some(told[key], 4)});
    context.add(std::move(finding));
  }
}

}  // namespace

void judge_contracts(DiagnoseContext& context) {
  read_contracts(context);
  collect_call_sites(context);
  judge_guards(context, judge_calls(context));
}

}  // namespace ssmend
