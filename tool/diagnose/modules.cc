// collect_modules: reads every native file once, finds torch, asks the loader stage about each
// extension module.
#include <algorithm>

#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

bool exports_init_function(const ElfFacts& facts, std::string* name) {
  const std::string_view prefix = "PyInit_";
  for (const ElfSymbol& symbol : facts.defined) {
    if (symbol.name.compare(0, prefix.size(), prefix) != 0) continue;
    *name = symbol.name.substr(prefix.size());
    return true;
  }
  return false;
}

// torch's own libraries by soname: what an extension of torch needs.
bool needs_torch(const ElfFacts& facts) {
  return std::any_of(facts.needed.begin(), facts.needed.end(), [](const std::string& name) {
    return library_source(name).kind == LibraryKind::kTorch;
  });
}

bool is_ours(const ModuleState& module) {
  const Knowledge& known = knowledge();
  if (known.native_module(module.name) != nullptr) return true;
  const std::string package = module.name.substr(0, module.name.find('.'));
  if (package == "torch") return true;
  for (const std::string& name : known.torch_extensions) {
    if (package == name) return true;
  }
  return module.facts->state == ElfState::kOk && needs_torch(*module.facts);
}

void find_torch(DiagnoseContext& context) {
  const Environment& environment = context.environment();
  TorchFacts& torch = context.torch;
  torch.distribution = environment.find_distribution("torch");
  if (torch.distribution != nullptr) torch.version = torch.distribution->version;
  const std::string init = environment.find_module(context.disk, "torch");
  if (init.empty() || context.disk.is_directory(init)) return;
  torch.package = std::string(directory_name(init));
  torch.library_directory = path_join(torch.package, "lib");
  torch.core_module = environment.find_module(context.disk, "torch._C");
  for (const NativeFile& file : environment.native_files) {
    if (directory_name(file.path) != torch.library_directory) continue;
    const std::shared_ptr<const ElfFacts> facts = context.cache.get(file.path);
    if (facts->state != ElfState::kOk) continue;
    torch.libraries.push_back(facts);
    torch.has_cuda = torch.has_cuda || base_name(file.path) == "libtorch_cuda.so";
  }
}

// What a running Python has loaded before: torch/__init__.py opens libtorch_global_deps.so with
// RTLD_GLOBAL, then imports torch._C.
LoaderContext after_torch(const DiagnoseContext& context, const LoaderContext& base) {
  LoaderContext loader = base;
  const std::string global = path_join(context.torch.library_directory, "libtorch_global_deps.so");
  if (context.disk.exists(global)) loader.loaded_global.push_back(global);
  if (!context.torch.core_module.empty()) loader.loaded.push_back(context.torch.core_module);
  return loader;
}

bool uses_static_tls(const Resolution& run) {
  return std::any_of(run.files.begin(), run.files.end(), [](const auto& facts) {
    return facts->has_static_tls_flag && facts->tls_size_bytes != 0;
  });
}

void read_modules(DiagnoseContext& context) {
  const Environment& environment = context.environment();
  for (const NativeFile& file : environment.native_files) {
    ModuleState module;
    module.file = &file;
    module.facts = context.cache.get(file.path);
    if (module.facts->state == ElfState::kOk) ++context.inspection.elf_files_checked;
    module.name = file.module_name;
    if (file.owner >= 0) {
      module.owner = &environment.distributions[static_cast<size_t>(file.owner)];
    }
    std::string init;
    if (module.name.empty() && file.suffix == ".so" &&
        exports_init_function(*module.facts, &init)) {
      const std::string relative = environment.relative_path(file.path);
      module.name = replace_all(relative.substr(0, relative.size() - file.suffix.size()), "/", ".");
    }
    if (module.name.empty()) continue;  // a plain library counts where a module needs it
    module.importable = std::find(environment.python.extension_suffixes.begin(),
                                  environment.python.extension_suffixes.end(),
                                  file.suffix) != environment.python.extension_suffixes.end();
    const std::string winner = environment.find_module(context.disk, module.name);
    module.shadowed = module.importable && winner != file.path;
    module.ours = is_ours(module);
    context.modules.push_back(std::move(module));
  }
}

}  // namespace

std::string ModuleState::subject() const {
  return name.empty() ? std::string(base_name(file->path)) : name;
}

ModuleState* DiagnoseContext::importable_module(std::string_view name) {
  for (ModuleState& module : modules) {
    if (module.name == name && module.importable && !module.shadowed) return &module;
  }
  return nullptr;
}

std::string DiagnoseContext::shown(std::string_view path) const {
  return environment().relative_path(path);
}

void describe_module(const DiagnoseContext& context, const ModuleState& module, Finding* finding) {
  finding->subject = module.subject();
  finding->subject_path = module.file->path;
  finding->location.path = context.shown(module.file->path);
  finding->details.emplace_back("module", module.name);
  finding->details.emplace_back("path", module.file->path);
  if (module.owner != nullptr) finding->details.emplace_back("distribution", module.owner->name);
  if (!module.ours && finding->severity == Severity::kError) {
    finding->severity = Severity::kWarning;
  }
  const NativeFile* first = context.environment().find_native_module(module.name);
  if (!module.shadowed || first == nullptr || first->path == module.file->path) return;
  // Nothing imports it as long as the other one is there.
  finding->severity = Severity::kNote;
  finding->evidence.push_back({"not used", first->path + " comes first under this name"});
}

std::string list_some(const std::vector<std::string>& names, size_t limit) {
  if (names.size() <= limit + 1) return join(names, ", ");
  std::vector<std::string> first(names.begin(), names.begin() + static_cast<long>(limit));
  return join(first, ", ") + " and " + std::to_string(names.size() - limit) + " more";
}

void collect_modules(DiagnoseContext& context) {
  find_torch(context);
  read_modules(context);
  const PythonInterpreter& python = context.environment().python;
  LoaderContext loader;
  loader.program = python.real_executable;
  loader.library_path = context.options.library_path;
  loader.bind_symbols = !python.real_executable.empty();
  if (!loader.bind_symbols) {
    context.inspection.not_checked.emplace_back(
        "symbol binding: no interpreter found, so its symbols are not known");
  }
  const LoaderSession alone(context.cache, loader);
  if (!context.torch.core_module.empty()) {
    context.torch.loads = alone.open(context.torch.core_module).loads;
  }
  const LoaderSession with_torch(context.cache, after_torch(context, loader));
  for (ModuleState& module : context.modules) {
    if (!module.importable || module.facts->state != ElfState::kOk) continue;
    if (python.machine != 0 && module.facts->machine != python.machine) continue;
    module.resolved = true;
    module.alone = alone.open(module.file->path);
    const bool is_torch = module.file->path == context.torch.core_module;
    if (!module.alone.loads && context.torch.there() && !is_torch) {
      module.after_torch = with_torch.open(module.file->path);
    }
    if (module.alone.loads && context.torch.there() && !is_torch && uses_static_tls(module.alone)) {
      const Resolution later = with_torch.open(module.file->path);
      if (!later.loads) module.order_failure = later.reason;
    }
    context.inspection.resolutions[module.file->path] = module.alone;
  }
}

}  // namespace ssmend
