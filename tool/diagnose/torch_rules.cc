// The torch that everything stands on: torch-replaced, and whether it has torch.distributed.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

// torch.distributed.is_available() is hasattr(torch._C, "_c10d_init"); libtorch_python defines it.
// Its symbol table tells a build that has it at no cost; that it has not is told by its bytes.
void probe_distributed(DiagnoseContext& context) {
  for (const std::shared_ptr<const ElfFacts>& library : context.torch.libraries) {
    if (base_name(library->path) != "libtorch_python.so") continue;
    const auto is_distributed = [](const ElfSymbol& symbol) {
      return symbol.name.find("5torch11distributed3rpc") != std::string::npos ||
             symbol.name.find("4c10d12ProcessGroup") != std::string::npos;
    };
    if (std::any_of(library->defined.begin(), library->defined.end(), is_distributed)) {
      context.torch.has_distributed = true;
      return;
    }
    const Result<std::string> bytes = context.disk.read(library->path, uint64_t{512} << 20);
    if (!bytes.ok()) return;
    context.torch.has_distributed = bytes->find("_c10d_init") != std::string::npos;
  }
}

bool wants_torch(const DiagnoseContext& context) {
  return std::any_of(context.modules.begin(), context.modules.end(), [](const ModuleState& module) {
    return module.ours && module.importable &&
           std::any_of(module.facts->needed.begin(), module.facts->needed.end(),
                       [](const std::string& name) {
                         return library_source(name).kind == LibraryKind::kTorch;
                       });
  });
}

// Extensions that need CUDA libraries of torch beside a torch that has none.
std::vector<std::string> cuda_users(const DiagnoseContext& context) {
  std::vector<std::string> users;
  for (const ModuleState& module : context.modules) {
    if (!module.ours || !module.importable) continue;
    if (is_inside(module.file->path, context.torch.package)) continue;
    for (const std::string& name : module.facts->needed) {
      if (name != "libc10_cuda.so" && name != "libtorch_cuda.so") continue;
      users.push_back(fmt::format("{} needs {}", module.subject(), name));
      break;
    }
  }
  return users;
}

void judge_absent(DiagnoseContext& context) {
  if (context.torch.there()) return;
  const bool consumers =
      std::any_of(context.sources.begin(), context.sources.end(), [](const SourceFile& source) {
        return source.imported_at_start &&
               std::any_of(source.python.imports.begin(), source.python.imports.end(),
                           [](const PythonImport& import) {
                             return import.level == 0 && (import.module == "torch" ||
                                                          import.module.rfind("torch.", 0) == 0);
                           });
      });
  if (!consumers && !wants_torch(context)) return;
  Finding finding = make_finding("torch-replaced");
  finding.subject = "torch";
  if (context.torch.distribution != nullptr) {
    finding.title = fmt::format("torch {} is recorded as installed, but there is no torch package",
                                context.torch.version);
    finding.evidence.push_back({"metadata", context.torch.distribution->metadata_directory});
  } else {
    finding.title = "torch is not installed in this environment";
  }
  finding.evidence.push_back({"searched", list_some(context.environment().site_directories, 6)});
  finding.meaning = "ModuleNotFoundError: No module named 'torch'";
  finding.remedies.push_back({"install torch (Jetson: NVIDIA's wheel of this JetPack)", "torch"});
  context.add(std::move(finding));
}

void judge_cpu_build(DiagnoseContext& context) {
  if (!context.torch.there() || context.torch.has_cuda) return;
  const std::vector<std::string> users = cuda_users(context);
  const bool cpu_tag = context.torch.version.find("+cpu") != std::string::npos;
  const bool jetson = context.environment().host.l4t.known();
  if (users.empty() && !jetson) return;
  Finding finding = make_finding("torch-replaced");
  finding.subject = "torch";
  finding.subject_path = context.torch.package;
  finding.location.path = "torch";
  finding.title =
      fmt::format("torch {} has no CUDA, {}", context.torch.version,
                  users.empty() ? "and this is a Jetson"
                                : "and installed extensions were built for one that has");
  finding.evidence.push_back({"torch", fmt::format("no libtorch_cuda.so in {}{}",
                                                   context.shown(context.torch.library_directory),
                                                   cpu_tag ? "; the version says +cpu" : "")});
  if (!users.empty()) finding.evidence.push_back({"built for", list_some(users, 4)});
  if (context.torch.distribution != nullptr && !context.torch.distribution->installer.empty()) {
    finding.evidence.push_back({"installer", context.torch.distribution->installer});
  }
  for (const std::string& remedy : find_code("torch-replaced")->remedies) {
    finding.remedies.push_back({remedy, "torch"});
  }
  context.add(std::move(finding));
}

// Two sets of metadata in one folder: the trace of an installation over another.
void judge_twice(DiagnoseContext& context) {
  std::vector<std::string> versions;
  const Distribution* winner = context.torch.distribution;
  if (winner == nullptr) return;
  for (const Distribution& other : context.environment().distributions) {
    if (other.normalized_name == "torch" && other.site_directory == winner->site_directory) {
      versions.push_back(other.version);
    }
  }
  if (versions.size() < 2) return;
  Finding finding = make_finding("torch-replaced");
  finding.severity = Severity::kWarning;
  finding.subject = "torch";
  finding.subject_path = winner->metadata_directory;
  finding.title = fmt::format("torch is recorded {} times in one folder: {}", versions.size(),
                              join(versions, ", "));
  finding.evidence.push_back({"folder", winner->site_directory});
  finding.meaning = "One was installed over the other; files of both may be mixed.";
  finding.remedies.push_back(
      {"uninstall torch until none is left, then install the right one", "torch"});
  context.add(std::move(finding));
}

}  // namespace

void judge_torch(DiagnoseContext& context) {
  probe_distributed(context);
  judge_absent(context);
  judge_cpu_build(context);
  judge_twice(context);
}

}  // namespace ssmend
