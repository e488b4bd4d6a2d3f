// Why a module does not load for want of a library: load-order, missing-library,
// cuda-runtime-missing, bad-file-in-path.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "diagnose/context.h"
#include "loader/ld_cache.h"

namespace ssmend {
namespace {

const ElfFacts* facts_of(const Resolution& run, const std::string& path) {
  for (const std::shared_ptr<const ElfFacts>& facts : run.files) {
    if (facts->path == path) return facts.get();
  }
  return nullptr;
}

struct RuleFolders {
  std::string rule;
  std::vector<std::string> folders;  // without those for CPU features
  size_t paths = 0;                  // all
};

// What was tried by each rule, in the loader's order.
std::vector<RuleFolders> folders_by_rule(const MissingLibrary& missing) {
  std::vector<RuleFolders> rules;
  for (const TriedPath& tried : missing.tried) {
    if (rules.empty() || rules.back().rule != tried.rule) rules.push_back({tried.rule, {}, 0});
    ++rules.back().paths;
    if (!tried.subdirectory) rules.back().folders.emplace_back(directory_name(tried.path));
  }
  return rules;
}

// The loader's steps for one name, as one line: where it looked, and where there was nothing to
// look at.
std::string search_steps(const DiagnoseContext& context, const Resolution& run,
                         const MissingLibrary& missing) {
  const ElfFacts* by = facts_of(run, missing.needed_by);
  std::vector<std::string> folders;  // of the default directories
  for (const TriedPath& tried : missing.tried) {
    const bool by_default = tried.rule.find("default") != std::string::npos;
    if (by_default && !tried.subdirectory) folders.emplace_back(directory_name(tried.path));
  }
  const auto raw = [](bool has, const std::string& value) {
    return !has ? std::string("none") : value.empty() ? std::string("empty") : value;
  };
  std::string text = "1. RPATH: " + (by == nullptr ? "none" : raw(by->has_rpath, by->rpath));
  text += "  2. LD_LIBRARY_PATH: " +
          (context.options.library_path.empty() ? "not set" : context.options.library_path);
  text += "  3. RUNPATH: " + (by == nullptr ? "none" : raw(by->has_runpath, by->runpath));
  text += "  4. ld.so.cache";
  text += "  5. " + (folders.empty() ? "no default folder" : join(folders, ":"));
  return text;
}

void add_search(const DiagnoseContext& context, const Resolution& run,
                const MissingLibrary& missing, bool every_path, Finding* finding) {
  finding->evidence.push_back({"searched", search_steps(context, run, missing)});
  // Files that are there and were refused are news; the rest is a list of folders.
  for (const TriedPath& tried : missing.tried) {
    if (tried.refused.empty() || tried.refused.rfind("no such ", 0) == 0) continue;
    finding->evidence.push_back({"refused", fmt::format("{}: {}", tried.path, tried.refused)});
  }
  if (!every_path) return;
  for (const RuleFolders& rule : folders_by_rule(missing)) {
    finding->evidence.push_back(
        {"tried", fmt::format("by {}: {} in {}{}", rule.rule, missing.name, join(rule.folders, ":"),
                              rule.paths == rule.folders.size()
                                  ? ""
                                  : fmt::format(" ({} with the subfolders for CPU features)",
                                                count_of(rule.paths, "path")))});
  }
}

void judge_load_order(DiagnoseContext& context, const ModuleState& module) {
  if (!module.after_torch || module.alone.missing.empty()) return;
  // Provided after torch: named among the libraries of that run, and not missing there.
  for (const MissingLibrary& missing : module.alone.missing) {
    const auto still =
        std::find_if(module.after_torch->missing.begin(), module.after_torch->missing.end(),
                     [&](const MissingLibrary& other) { return other.name == missing.name; });
    if (still != module.after_torch->missing.end()) continue;
    std::string provider;
    for (const LoadedLibrary& library : module.after_torch->libraries) {
      if (library.name == missing.name) provider = library.path;
    }
    Finding finding = make_finding("load-order");
    describe_module(context, module, &finding);
    const std::string place =
        provider.empty() ? "torch's libraries" : context.shown(directory_name(provider));
    finding.title =
        fmt::format("`{}` needs {}, found only in {}", module.subject(), missing.name, place);
    finding.severity = Severity::kNote;
    add_search(context, module.alone, missing, false, &finding);
    finding.evidence.push_back({"alone", "does not load: " + module.alone.reason});
    finding.evidence.push_back(
        {"torch",
         module.after_torch->loads
             ? fmt::format("loads after `import torch`: {} is there by its soname", missing.name)
             : fmt::format("{} is there after `import torch`, and the module fails for "
                           "another reason: {}",
                           missing.name, module.after_torch->reason)});
    finding.meaning = fmt::format(
        "\"{}: cannot open shared object file\" if it is imported before torch; not a missing file",
        missing.name);
    finding.ruled_out.push_back(
        fmt::format("missing: {}", provider.empty() ? missing.name : provider));
    finding.remedies.push_back({"`import torch` first", ""});
    finding.details.emplace_back("soname", missing.name);
    finding.details.emplace_back("provider", provider);
    finding.details.emplace_back("after_torch",
                                 module.after_torch->loads ? "loads" : module.after_torch->reason);
    context.add(std::move(finding));
    return;  // the other names of torch come from the same place
  }
}

// Which of the symbols that `by` needs from this torch library other torch libraries define.
struct Elsewhere {
  size_t wanted = 0;
  size_t found = 0;
  std::string library;  // that defines most of them
};

Elsewhere symbols_elsewhere(const DiagnoseContext& context, const ElfFacts& by,
                            const std::string& soname) {
  // "libc10.so" stands for namespace c10; the others define at:: and torch::.
  const bool c10 = soname.rfind("libc10", 0) == 0;
  const std::vector<std::string> marks =
      c10 ? std::vector<std::string>{"3c10"} : std::vector<std::string>{"2at", "5torch"};
  std::set<std::string_view> wanted;
  for (const ElfSymbol& symbol : by.undefined) {
    if (symbol.name.rfind("_Z", 0) != 0) continue;
    for (const std::string& mark : marks) {
      if (symbol.name.find(mark) != std::string::npos) wanted.insert(symbol.name);
    }
  }
  Elsewhere answer;
  answer.wanted = wanted.size();
  std::set<std::string_view> all;
  size_t most = 0;
  for (const std::shared_ptr<const ElfFacts>& library : context.torch.libraries) {
    size_t here = 0;
    for (const ElfSymbol& symbol : library->defined) {
      if (wanted.count(symbol.name) == 0) continue;
      ++here;
      all.insert(symbol.name);
    }
    if (here > most) {
      most = here;
      answer.library = library->path;
    }
  }
  answer.found = all.size();
  return answer;
}

// Installed libraries of the same family with another version: "libcudart.so.13 in nvidia/...".
std::vector<std::string> same_family(const DiagnoseContext& context, const std::string& soname) {
  const std::string family = soname.substr(0, soname.find(".so")) + ".so";
  std::vector<std::string> found;
  for (const NativeFile& file : context.environment().native_files) {
    const std::string_view name = base_name(file.path);
    if (name.substr(0, family.size()) == family) found.push_back(context.shown(file.path));
  }
  for (const char* folder : {"/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib",
                             "/usr/local/cuda/targets/aarch64-linux/lib"}) {
    const Result<std::vector<DirectoryEntry>> entries = context.disk.list(folder);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : *entries) {
      if (entry.name.rfind(family + ".", 0) == 0) found.push_back(path_join(folder, entry.name));
    }
  }
  return found;
}

void explain_torch_library(DiagnoseContext& context, const Resolution& run,
                           const MissingLibrary& missing, Finding* finding) {
  const ElfFacts* by = facts_of(run, missing.needed_by);
  if (!context.torch.there()) {
    finding->evidence.push_back({"torch", "not installed in this environment"});
    finding->remedies.push_back({"install torch, then inspect once more", "torch"});
    return;
  }
  const std::string path = path_join(context.torch.library_directory, missing.name);
  finding->evidence.push_back(
      {"torch", fmt::format("{} {}; {} is {}", context.shown(context.torch.library_directory),
                            context.torch.version.empty() ? "of an unknown torch"
                                                          : "of torch " + context.torch.version,
                            missing.name, context.disk.exists(path) ? "there" : "not in it")});
  if (by == nullptr) return;
  const Elsewhere elsewhere = symbols_elsewhere(context, *by, missing.name);
  if (elsewhere.wanted != 0 && elsewhere.found == elsewhere.wanted) {
    finding->evidence.push_back(
        {"symbols", fmt::format("all {} that are needed of it are defined in {}", elsewhere.wanted,
                                context.shown(elsewhere.library))});
    finding->details.emplace_back("symbols_elsewhere", elsewhere.library);
    // It helps only where the loader looks into a folder of the environment for this module.
    for (const TriedPath& tried : missing.tried) {
      const std::string folder(directory_name(normal_path(tried.path)));
      if (tried.subdirectory || !is_inside(folder, context.environment().prefix) ||
          context.environment().kind == EnvironmentKind::kSystem) {
        continue;
      }
      finding->remedies.push_back({fmt::format("a library named {} whose only need is {}",
                                               missing.name, base_name(elsewhere.library)),
                                   "one new file in " + context.shown(folder)});
      break;
    }
  } else {
    finding->evidence.push_back(
        {"symbols", fmt::format("of the {} that are needed of it, {} are defined in another "
                                "library of torch",
                                elsewhere.wanted, elsewhere.found)});
    finding->ruled_out.emplace_back("the import order: no torch library brings it");
  }
  if (context.torch.distribution != nullptr) {
    finding->remedies.push_back(
        {fmt::format("`pip install --force-reinstall --no-deps torch=={}`", context.torch.version),
         "torch"});
  }
}

// torch's own library that lies in torch/lib and would be there after `import torch`: what keeps it
// away is told of torch.
bool waits_for_torch(const DiagnoseContext& context, const MissingLibrary& missing) {
  return library_source(missing.name).kind == LibraryKind::kTorch && context.torch.there() &&
         context.disk.exists(path_join(context.torch.library_directory, missing.name));
}

// `others`: further names that are missing for the same reason.
void judge_missing(DiagnoseContext& context, ModuleState& module, const MissingLibrary& missing,
                   const std::vector<std::string>& others) {
  const Resolution& run = module.best();
  const LibrarySource source = library_source(missing.name);
  // A mounted root without a system in it says nothing about the system's libraries.
  const bool system_unknown = !context.environment().host.loader.known();
  if (system_unknown &&
      (source.kind == LibraryKind::kSystem || source.kind == LibraryKind::kDriver ||
       source.kind == LibraryKind::kUnknown)) {
    return;
  }
  const char* code = "missing-library";
  if (missing.fatal_file) code = "bad-file-in-path";
  if (!missing.fatal_file && source.kind == LibraryKind::kCuda) code = "cuda-runtime-missing";
  if (!missing.fatal_file && source.kind == LibraryKind::kPython) code = "python-abi";
  Finding finding = make_finding(code);
  describe_module(context, module, &finding);
  module.explained = true;
  finding.details.emplace_back("soname", missing.name);
  const bool direct = missing.needed_by == module.file->path;
  finding.title = fmt::format("`{}` needs {}, which is not found", module.subject(), missing.name);
  finding.meaning = fmt::format("ImportError: {}: cannot open shared object file", missing.name);
  if (!others.empty()) {
    finding.title = fmt::format("`{}` needs {} and {}, which are not found", module.subject(),
                                missing.name, list_some(others, 3));
    finding.evidence.push_back({"also", join(others, ", ") + ": searched in the same places"});
  }
  if (missing.fatal_file && !missing.tried.empty()) {
    const TriedPath& last = missing.tried.back();
    finding.title = fmt::format("`{}` needs {}, and the loader stops at {}: {}", module.subject(),
                                missing.name, context.shown(last.path), last.refused);
    finding.meaning = "The load ends there; files in later places are not looked at.";
    finding.remedies.push_back({"remove or replace " + last.path, "one file"});
  }
  if (!direct) finding.evidence.push_back({"needed by", context.shown(missing.needed_by)});
  add_search(context, run, missing, true, &finding);
  if (source.kind == LibraryKind::kTorch) explain_torch_library(context, run, missing, &finding);
  if (source.kind == LibraryKind::kCuda) {
    const std::string major = soname_major(missing.name);
    const std::vector<std::string> have = same_family(context, missing.name);
    finding.title = fmt::format("`{}` needs {} of CUDA {}, which is not found", module.subject(),
                                missing.name, major.empty() ? "?" : major);
    finding.evidence.push_back(
        {"installed", have.empty() ? "no version of this library" : list_some(have, 4)});
    finding.details.emplace_back("cuda_major", major);
  }
  if (source.kind == LibraryKind::kDriver && !context.environment().host.driver.known()) {
    // Building an image or looking at a machine without its GPU: not a fault of the environment.
    finding.severity = Severity::kWarning;
    finding.evidence.push_back({"driver", context.environment().host.driver.source});
  }
  if (source.kind != LibraryKind::kTorch && !source.source.empty()) {
    finding.remedies.push_back({"it comes with: " + source.source, "one package"});
  }
  const NativeModuleInfo* known = knowledge().native_module(module.name);
  if (known != nullptr && known->in_kernel_library) {
    finding.remedies.push_back(
        {"`ssmend kernels install` provides the module without this library", "one module file"});
  }
  context.add(std::move(finding));
}

void judge_all_missing(DiagnoseContext& context, ModuleState& module) {
  std::vector<const MissingLibrary*> torch;
  std::vector<std::string> torch_names;
  std::set<std::string> told;
  bool waits = false;
  for (const MissingLibrary& missing : module.best().missing) {
    if (!told.insert(missing.name).second) continue;
    if (waits_for_torch(context, missing) && !missing.fatal_file) {
      waits = true;
      continue;
    }
    const bool of_torch = library_source(missing.name).kind == LibraryKind::kTorch;
    if (of_torch && !missing.fatal_file) {
      torch.push_back(&missing);
      if (torch.size() > 1) torch_names.push_back(missing.name);
    } else {
      judge_missing(context, module, missing, {});
    }
  }
  if (!torch.empty()) judge_missing(context, module, *torch.front(), torch_names);
  if (!waits) return;
  const bool told_already = module.explained;
  module.explained = true;
  // Where the system's own libraries are not known, neither is what keeps torch from loading.
  const bool system_unknown = !context.environment().host.loader.known();
  if (told_already || context.torch.loads || system_unknown) return;
  // Everything it needs is in torch/lib, and torch does not come up: one sentence that links both.
  for (const MissingLibrary& missing : module.best().missing) {
    if (!waits_for_torch(context, missing)) continue;
    Finding finding = make_finding("load-order");
    describe_module(context, module, &finding);
    finding.title = fmt::format("`{}` needs {} of torch, and torch itself does not load",
                                module.subject(), missing.name);
    finding.evidence.push_back(
        {"library", path_join(context.torch.library_directory, missing.name)});
    finding.meaning = "It may load once torch does; what keeps torch from loading is told above.";
    finding.details.emplace_back("soname", missing.name);
    context.add(std::move(finding));
    return;
  }
}

// The cache names a file for a missing library that is not there any more, or has no entry that
// this system's loader takes.
void judge_cache(DiagnoseContext& context) {
  const std::string interpreter = context.environment().host.loader.value;
  const PythonInterpreter& python = context.environment().python;
  if (interpreter.empty() || python.machine == 0) return;
  const SystemLoader& loader = context.cache.system_loader(interpreter, 64, python.machine);
  const LdCache& cache = loader.cache;
  if (loader.musl || !cache.found) return;
  std::vector<std::string> gone;
  for (const ModuleState& module : context.modules) {
    if (!module.resolved || module.loads()) continue;
    for (const MissingLibrary& missing : module.best().missing) {
      for (const TriedPath& tried : missing.tried) {
        const bool stale = tried.rule == "ld.so.cache" && tried.refused == "no such file";
        if (stale && std::find(gone.begin(), gone.end(), tried.path) == gone.end()) {
          gone.push_back(tried.path);
        }
      }
    }
  }
  const size_t usable =
      count_ld_cache_entries(cache, ld_cache_flags(loader.elf_class, python.machine));
  if (usable != 0 && gone.empty() && cache.problem.empty()) return;
  Finding finding = make_finding("stale-ld-cache");
  finding.subject = "ld.so.cache";
  finding.subject_path = "/etc/ld.so.cache";
  finding.location.path = "/etc/ld.so.cache";
  if (!gone.empty()) {
    finding.title = fmt::format("/etc/ld.so.cache names {}, which {} gone",
                                count_of(gone.size(), "file"), gone.size() == 1 ? "is" : "are");
    finding.evidence.push_back({"gone", list_some(gone, 4)});
  } else {
    finding.title =
        fmt::format("/etc/ld.so.cache has no entry for {}", machine_name(python.machine));
    finding.evidence.push_back(
        {"entries", fmt::format("{} in all, {} for this machine", cache.entries.size(), usable)});
  }
  if (!cache.problem.empty()) finding.evidence.push_back({"problem", cache.problem});
  if (!cache.generator.empty()) finding.evidence.push_back({"written by", cache.generator});
  for (const std::string& remedy : find_code("stale-ld-cache")->remedies) {
    finding.remedies.push_back({remedy, "/etc/ld.so.cache"});
  }
  context.add(std::move(finding));
}

}  // namespace

void judge_loading(DiagnoseContext& context) {
  judge_cache(context);
  for (ModuleState& module : context.modules) {
    if (!module.resolved || module.alone.loads || module.shadowed) continue;
    if (module.ours) judge_load_order(context, module);
    if (module.loads()) continue;
    judge_all_missing(context, module);
  }
}

}  // namespace ssmend
