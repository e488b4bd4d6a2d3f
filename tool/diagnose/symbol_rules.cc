// Symbols and versions that would not bind: undefined-symbol, torch-mismatch, python-abi (symbols
// of the interpreter), glibc-too-old, libstdcxx-too-old.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "base/version.h"
#include "diagnose/context.h"
#include "elf/demangle.h"

namespace ssmend {
namespace {

constexpr size_t kShownSymbols = 5;
constexpr size_t kComparedSymbols = 40;  // each costs a walk over torch's symbol tables

enum class SymbolFault { kAbsent, kOtherSignature, kOtherAbi };

struct SymbolVerdict {
  SymbolFault fault = SymbolFault::kAbsent;
  std::string has;  // what torch exports under the name, demangled
};

std::string without_abi_tags(const std::string& text) {
  std::string plain = replace_all(text, "std::__cxx11::", "std::");
  plain = replace_all(plain, "[abi:cxx11]", "");
  // The old ABI's string has no namespace tag and another spelling after demangling.
  return replace_all(plain, "basic_string<char, std::char_traits<char>, std::allocator<char> >",
                     "string");
}

bool is_torch_symbol(const std::string& name) {
  for (const char* mark : {"3c10", "2at", "5torch", "6caffe2"}) {
    if (name.rfind("_Z", 0) == 0 && name.find(mark) != std::string::npos) return true;
  }
  return false;
}

bool is_python_symbol(const std::string& name) {
  return name.rfind("Py", 0) == 0 || name.rfind("_Py", 0) == 0;
}

// Looks for the same function (namespace and name) among what torch's libraries export.
SymbolVerdict compare_with_torch(const DiagnoseContext& context, const std::string& symbol) {
  SymbolVerdict verdict;
  const FunctionName wanted = parse_function_name(symbol);
  if (!wanted.valid || wanted.base.empty()) return verdict;
  const std::string mangled_base = std::to_string(wanted.base.size()) + wanted.base;
  const std::string wanted_text = without_abi_tags(demangle(symbol));
  for (const std::shared_ptr<const ElfFacts>& library : context.torch.libraries) {
    for (const ElfSymbol& candidate : library->defined) {
      if (candidate.name.find(mangled_base) == std::string::npos) continue;
      const FunctionName found = parse_function_name(candidate.name);
      if (!found.valid || found.base != wanted.base || found.context != wanted.context) continue;
      const std::string text = demangle(candidate.name);
      if (without_abi_tags(text) == wanted_text && text != demangle(symbol)) {
        return {SymbolFault::kOtherAbi, text};
      }
      if (verdict.fault == SymbolFault::kAbsent) verdict = {SymbolFault::kOtherSignature, text};
    }
  }
  return verdict;
}

struct Bucket {
  std::vector<std::string> wanted;  // demangled
  std::vector<std::string> symbols;
  std::vector<std::string> pairs;  // "needs X, torch has Y"
};

void add_names(const Bucket& bucket, Finding* finding) {
  finding->evidence.push_back({"symbols", list_some(bucket.wanted, kShownSymbols)});
  for (size_t i = 0; i < bucket.pairs.size() && i < 3; ++i) {
    finding->evidence.push_back({"torch has", bucket.pairs[i]});
  }
  finding->details.emplace_back("symbol", bucket.symbols.front());
  finding->details.emplace_back("count", std::to_string(bucket.symbols.size()));
}

void add_scope(const DiagnoseContext& context, const ModuleState& module, Finding* finding) {
  const Resolution& run = module.best();
  finding->evidence.push_back(
      {"scope", fmt::format("{}, {}{} of the module's own",
                            base_name(context.environment().python.real_executable),
                            module.after_torch ? "torch's libraries after `import torch`, " : "",
                            count_of(run.libraries.size(), "library", "libraries"))});
  if (module.after_torch && !module.alone.missing.empty()) {
    finding->ruled_out.push_back(
        fmt::format("the import order alone: it fails after `import torch` too, where "
                    "imported first {} hides this",
                    module.alone.missing.front().name));
  }
}

void report_torch_mismatch(DiagnoseContext& context, const ModuleState& module,
                           const Bucket& bucket, bool abi) {
  Finding finding = make_finding("torch-mismatch");
  describe_module(context, module, &finding);
  const std::string torch =
      context.torch.version.empty() ? "the installed torch" : "torch " + context.torch.version;
  finding.title =
      abi ? fmt::format("`{}` was built with the other C++ ABI (_GLIBCXX_USE_CXX11_ABI) than {}",
                        module.subject(), torch)
          : fmt::format("`{}` was built against another release than {}", module.subject(), torch);
  add_names(bucket, &finding);
  add_scope(context, module, &finding);
  finding.meaning = fmt::format("ImportError: undefined symbol: {}", bucket.symbols.front());
  finding.details.emplace_back("kind", abi ? "cxx11-abi" : "other-release");
  const std::string name = module.owner == nullptr ? module.subject() : module.owner->name;
  finding.remedies.push_back(
      {fmt::format("install the build of {} made for {}", name, torch), name});
  finding.remedies.push_back(
      {fmt::format("or build it here: `pip install --no-build-isolation --no-binary :all: {}`",
                   name),
       name});
  context.add(std::move(finding));
}

void report_absent(DiagnoseContext& context, const ModuleState& module, const Bucket& bucket) {
  Finding finding = make_finding("undefined-symbol");
  describe_module(context, module, &finding);
  finding.title = fmt::format(
      "`{}` needs {}, which nothing defines", module.subject(),
      bucket.wanted.size() == 1 ? bucket.wanted.front() : count_of(bucket.wanted.size(), "symbol"));
  add_names(bucket, &finding);
  add_scope(context, module, &finding);
  finding.meaning = fmt::format("ImportError: undefined symbol: {}", bucket.symbols.front());
  if (context.torch.there() && is_torch_symbol(bucket.symbols.front())) {
    finding.ruled_out.push_back(
        fmt::format("no library of torch {} defines it, under this or another signature",
                    context.torch.version));
  }
  const std::string name = module.owner == nullptr ? module.subject() : module.owner->name;
  finding.remedies.push_back(
      {fmt::format("install a build of {} that fits what is installed", name), name});
  context.add(std::move(finding));
}

void report_python_symbols(DiagnoseContext& context, const ModuleState& module,
                           const Bucket& bucket) {
  Finding finding = make_finding("python-abi");
  describe_module(context, module, &finding);
  finding.title = fmt::format("`{}` needs symbols that Python {} does not export", module.subject(),
                              context.environment().python.version);
  add_names(bucket, &finding);
  finding.meaning = fmt::format("ImportError: undefined symbol: {}", bucket.symbols.front());
  finding.remedies.push_back({"install a build for this Python with the environment's own pip",
                              module.owner == nullptr ? "" : module.owner->name});
  context.add(std::move(finding));
}

void judge_undefined(DiagnoseContext& context, ModuleState& module) {
  const Resolution& run = module.best();
  if (run.undefined.empty()) return;
  Bucket absent;
  Bucket signature;
  Bucket abi;
  Bucket python;
  size_t compared = 0;
  std::set<std::string> seen;
  for (const UndefinedSymbol& symbol : run.undefined) {
    if (!seen.insert(symbol.symbol).second) continue;
    const bool told_as_version =
        std::any_of(run.versions.begin(), run.versions.end(), [&](const VersionProblem& problem) {
          return !symbol.version.empty() && problem.version == symbol.version;
        });
    if (told_as_version) continue;
    Bucket* bucket = &absent;
    SymbolVerdict verdict;
    if (is_python_symbol(symbol.symbol)) {
      bucket = &python;
    } else if (context.torch.there() && symbol.symbol.rfind("_Z", 0) == 0 &&
               compared < kComparedSymbols) {
      ++compared;
      verdict = compare_with_torch(context, symbol.symbol);
      if (verdict.fault == SymbolFault::kOtherAbi) bucket = &abi;
      if (verdict.fault == SymbolFault::kOtherSignature) bucket = &signature;
    }
    bucket->symbols.push_back(symbol.symbol);
    bucket->wanted.push_back(symbol.demangled.empty() ? symbol.symbol : symbol.demangled);
    if (!verdict.has.empty()) bucket->pairs.push_back(verdict.has);
  }
  module.explained = true;
  // Symbols of a library that is missing are missing with it: told there.
  const bool follows = !run.missing.empty();
  const bool torch_broken =
      std::any_of(run.missing.begin(), run.missing.end(), [](const MissingLibrary& missing) {
        return library_source(missing.name).kind == LibraryKind::kTorch;
      });
  if (!python.symbols.empty()) report_python_symbols(context, module, python);
  if (!abi.symbols.empty() && !torch_broken) report_torch_mismatch(context, module, abi, true);
  if (!signature.symbols.empty() && !torch_broken) {
    report_torch_mismatch(context, module, signature, false);
  }
  if (!absent.symbols.empty() && !follows) report_absent(context, module, absent);
}

std::string newest(const std::vector<std::string>& versions, const std::string& prefix) {
  std::string best;
  for (const std::string& version : versions) {
    if (version.rfind(prefix, 0) != 0) continue;
    const std::string number = version.substr(prefix.size());
    if (number.empty() || number.front() < '0' || number.front() > '9') continue;
    if (best.empty() || compare_dotted(number, best) > 0) best = number;
  }
  return best;
}

void judge_versions(DiagnoseContext& context, ModuleState& module) {
  const Resolution& run = module.best();
  std::map<std::string, std::vector<const VersionProblem*>> by_code;
  for (const VersionProblem& problem : run.versions) {
    const bool glibc = problem.version.rfind("GLIBC_", 0) == 0;
    const bool cxx =
        problem.version.rfind("GLIBCXX_", 0) == 0 || problem.version.rfind("CXXABI_", 0) == 0;
    by_code[glibc ? "glibc-too-old"
            : cxx ? "libstdcxx-too-old"
                  : "undefined-symbol"]
        .push_back(&problem);
  }
  for (const auto& [code, problems] : by_code) {
    module.explained = true;
    std::vector<std::string> asked;
    for (const VersionProblem* problem : problems) asked.push_back(problem->version);
    const VersionProblem& first = *problems.front();
    const std::string prefix = first.version.substr(0, first.version.find('_') + 1);
    std::string have;
    for (const std::shared_ptr<const ElfFacts>& facts : run.files) {
      if (facts->path == first.provider) have = newest(facts->version_definitions, prefix);
    }
    if (have.empty() && prefix == "GLIBC_") have = context.environment().host.glibc.value;
    Finding finding = make_finding(code);
    describe_module(context, module, &finding);
    const std::string wanted = newest(asked, prefix);
    finding.title = fmt::format("`{}` asks for {}{}, {} has {}", module.subject(), prefix,
                                wanted.empty() ? first.version.substr(prefix.size()) : wanted,
                                base_name(first.provider),
                                have.empty() ? "no such version" : "up to " + prefix + have);
    finding.evidence.push_back({"asked", list_some(asked, kShownSymbols)});
    finding.evidence.push_back({"by", context.shown(first.needed_by)});
    std::string rule;
    for (const LoadedLibrary& library : run.libraries) {
      if (library.path == first.provider) rule = library.rule;
    }
    finding.evidence.push_back(
        {"had", fmt::format("{}{}{}", first.provider, rule.empty() ? "" : ", found by ", rule)});
    finding.meaning = fmt::format("ImportError: version `{}' not found (required by {})",
                                  first.version, first.needed_by);
    for (const std::string& remedy : find_code(code)->remedies) {
      finding.remedies.push_back({remedy, ""});
    }
    finding.details.emplace_back("asked", first.version);
    finding.details.emplace_back("had", have);
    context.add(std::move(finding));
  }
}

// What the loader refuses for a reason that no other rule tells.
void judge_rest(DiagnoseContext& context, ModuleState& module) {
  if (module.explained) return;
  const std::string& reason = module.best().reason;
  const char* code = "bad-file-in-path";
  if (reason.find("static TLS") != std::string::npos) code = "static-tls";
  if (reason.find("executable stack") != std::string::npos) code = "exec-stack";
  if (reason.find("truncated") != std::string::npos) code = "truncated-file";
  Finding finding = make_finding(code);
  finding.severity = Severity::kError;
  describe_module(context, module, &finding);
  module.explained = true;
  finding.title = fmt::format("`{}` does not load: {}", module.subject(), reason);
  finding.evidence.push_back({"loader", reason});
  for (const std::string& warning : module.best().warnings) {
    finding.evidence.push_back({"loader", warning});
  }
  finding.meaning = "ImportError: " + reason;
  for (const std::string& remedy : find_code(code)->remedies) {
    finding.remedies.push_back({remedy, ""});
  }
  context.add(std::move(finding));
}

}  // namespace

void judge_symbols(DiagnoseContext& context) {
  for (ModuleState& module : context.modules) {
    if (!module.resolved || module.loads() || module.shadowed) continue;
    judge_versions(context, module);
    judge_undefined(context, module);
    const bool unknown_system = !context.environment().host.loader.known();
    if (!unknown_system) judge_rest(context, module);
  }
}

}  // namespace ssmend
