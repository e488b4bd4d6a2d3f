// Faults that a file shows by itself: truncated-file, wrong-machine, python-abi, static-tls,
// exec-stack.
#include <elf.h>
#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "base/version.h"
#include "diagnose/context.h"
#include "environment/elf_identity.h"

namespace ssmend {
namespace {

std::optional<uint64_t> recorded_size(const DiagnoseContext& context, const NativeFile& file) {
  if (file.owner < 0) return std::nullopt;
  const Distribution& owner = context.environment().distributions[static_cast<size_t>(file.owner)];
  for (const RecordEntry& entry : owner.files) {
    if (entry.path == file.path) return entry.size_bytes;
  }
  return std::nullopt;
}

// An empty file, or the beginning of an ELF file; false for a text.
bool begins_like_elf(const DiagnoseContext& context, const std::string& path) {
  const Result<ReadFile> file = context.disk.open(path);
  if (!file.ok()) return false;
  const std::string head = file->read_at(0, SELFMAG).value_or("");
  return head == std::string(ELFMAG, head.size());
}

// What makes a file shorter than it should be; empty for a whole one.
std::string truncation(const DiagnoseContext& context, const ElfFacts& facts,
                       const NativeFile& file) {
  if (facts.state == ElfState::kUnreadable) return {};  // nothing is known of its size
  const bool short_of_header = facts.state == ElfState::kTooShort ||
                               (facts.state == ElfState::kNotElf && facts.size_bytes < EI_NIDENT);
  if (short_of_header) return begins_like_elf(context, file.path) ? facts.problem : "";
  for (const ElfLoadSegment& load : facts.loads) {
    const uint64_t end = load.offset + load.file_size_bytes;
    if (end >= load.offset && end <= facts.size_bytes) continue;
    return fmt::format("a segment ends at {:#x}, the file has {:#x} bytes", end, facts.size_bytes);
  }
  if (facts.state == ElfState::kOk) {
    const Result<ElfIdentity> identity = read_elf_identity(context.disk, file.path);
    if (identity.ok() && identity->section_table_end > facts.size_bytes) {
      return fmt::format("the section table ends at {:#x}, the file has {:#x} bytes",
                         identity->section_table_end, facts.size_bytes);
    }
    // A linker writes the section table last: where it is there, a file that is shorter than its
    // RECORD was stripped (Debian's packages are) and lacks nothing.
    if (identity.ok() && identity->section_table_end != 0) return {};
  }
  const std::optional<uint64_t> recorded = recorded_size(context, file);
  if (recorded && facts.size_bytes < *recorded) {
    return fmt::format("{} bytes, RECORD says {}", facts.size_bytes, *recorded);
  }
  return {};
}

void judge_truncated(DiagnoseContext& context) {
  std::map<std::string, ModuleState*> by_path;
  for (ModuleState& module : context.modules) by_path[module.file->path] = &module;
  for (const NativeFile& file : context.environment().native_files) {
    const std::shared_ptr<const ElfFacts> facts = context.cache.get(file.path);
    const auto found = by_path.find(file.path);
    ModuleState* module = found == by_path.end() ? nullptr : found->second;
    const bool unreadable = facts->state == ElfState::kUnreadable;
    // The title names the file already.
    const std::string what =
        replace_all(truncation(context, *facts, file), printable(file.path) + ": ", "");
    const bool broken = facts->state != ElfState::kOk;
    // A text file that is a linker script, an empty placeholder of another package: told only
    // where it is a module, or a library that torch has.
    const bool torch_library = directory_name(file.path) == context.torch.library_directory;
    if (module == nullptr && !torch_library && what.empty()) continue;
    if (what.empty() && !broken) continue;
    Finding finding = make_finding(what.empty() ? "bad-file-in-path" : "truncated-file");
    const std::string name(base_name(file.path));
    if (module != nullptr) {
      describe_module(context, *module, &finding);
      module->explained = broken;
    } else {
      finding.subject = name;
      finding.subject_path = file.path;
      finding.location.path = context.shown(file.path);
      if (!torch_library) finding.severity = Severity::kWarning;
    }
    if (!what.empty()) {
      finding.title = fmt::format("`{}` is not whole: {}", name, what);
      finding.evidence.push_back({"file", what});
    } else {
      finding.title = fmt::format("`{}` cannot be loaded: {}", name,
                                  unreadable ? "it cannot be read" : "it is no ELF file");
      finding.evidence.push_back({"file", facts->problem});
      finding.meaning = "The loader stops at this file; it does not look for another one.";
    }
    const std::optional<uint64_t> recorded = recorded_size(context, file);
    if (recorded) {
      finding.evidence.push_back(
          {"record", fmt::format("{} bytes, the file has {}", *recorded, facts->size_bytes)});
    }
    if (!broken && !what.empty() && module != nullptr && module->loads()) {
      finding.severity = Severity::kWarning;
      finding.meaning = "The part that the loader needs is there; the file is still not whole.";
    }
    if (file.owner >= 0) {
      const Distribution& owner =
          context.environment().distributions[static_cast<size_t>(file.owner)];
      finding.remedies.push_back({fmt::format("`pip install --force-reinstall --no-deps {}=={}`",
                                              owner.name, owner.version),
                                  owner.name});
    }
    context.add(std::move(finding));
  }
}

void judge_machine(DiagnoseContext& context, ModuleState& module) {
  const uint16_t wanted = context.environment().python.machine;
  if (wanted == 0 || module.facts->state != ElfState::kOk || module.facts->machine == wanted) {
    return;
  }
  Finding finding = make_finding("wrong-machine");
  describe_module(context, module, &finding);
  module.explained = true;
  const std::string have = machine_name(module.facts->machine);
  finding.title = fmt::format("`{}` is code for {}, this Python is {}", module.subject(), have,
                              machine_name(wanted));
  finding.evidence.push_back(
      {"file", fmt::format("{}: ELF machine {}", base_name(module.file->path), have)});
  finding.evidence.push_back(
      {"python", fmt::format("{}: ELF machine {}", context.environment().python.real_executable,
                             machine_name(wanted))});
  if (module.owner != nullptr) {
    finding.remedies.push_back(
        {fmt::format("install a build of {} for {}", module.owner->name, machine_name(wanted)),
         module.owner->name});
  }
  const NativeModuleInfo* known = knowledge().native_module(module.name);
  if (known != nullptr && known->in_kernel_library) {
    finding.remedies.push_back(
        {"`ssmend kernels install` provides the module for this machine", "one module file"});
  }
  finding.ruled_out.emplace_back("the file is there and can be read");
  context.add(std::move(finding));
}

// Files under a suffix that this Python's importer does not take.
void judge_suffix(DiagnoseContext& context, ModuleState& module) {
  if (module.importable || context.environment().python.soabi.empty()) return;
  if (context.importable_module(module.name) != nullptr) return;  // one for every Python
  const std::string winner = context.environment().find_module(context.disk, module.name);
  if (!winner.empty()) return;
  module.explained = true;
  const PythonInterpreter& python = context.environment().python;
  Finding finding = make_finding("python-abi");
  describe_module(context, module, &finding);
  finding.title = fmt::format("`{}` is built for another Python: {}, this one is {}",
                              module.subject(), module.file->suffix.substr(1), python.version);
  finding.meaning = "ModuleNotFoundError: the importer does not look at files with this suffix.";
  finding.evidence.push_back({"file", std::string(base_name(module.file->path))});
  finding.evidence.push_back({"looks for", join(python.extension_suffixes, ", ")});
  finding.remedies.push_back(
      {fmt::format("install {} with this environment's own pip",
                   module.owner == nullptr ? module.subject() : module.owner->name),
       "one distribution"});
  const NativeModuleInfo* known = knowledge().native_module(module.name);
  if (known != nullptr && known->in_kernel_library) {
    finding.remedies.push_back(
        {"`ssmend kernels install` provides the module for every Python 3", "one module file"});
  }
  context.add(std::move(finding));
}

void judge_stack(DiagnoseContext& context, const ModuleState& module) {
  const ElfFacts& facts = *module.facts;
  if (!module.ours || facts.state != ElfState::kOk) return;
  // Without the header an architecture's default counts: executable on x86, not on aarch64.
  if (!facts.has_gnu_stack || (facts.gnu_stack_flags & PF_X) == 0) return;
  const Probe& glibc = context.environment().host.glibc;
  const std::string& limit = knowledge().exec_stack_refused_from_glibc;
  Finding finding = make_finding("exec-stack");
  describe_module(context, module, &finding);
  const bool refused = glibc.known() && compare_dotted(glibc.value, limit) >= 0;
  finding.severity = refused ? Severity::kError : Severity::kNote;
  finding.title = fmt::format("`{}` asks for an executable stack", module.subject());
  finding.evidence.push_back({"file", "PT_GNU_STACK with the execute flag"});
  finding.evidence.push_back(
      {"glibc", glibc.known() ? glibc.value + (refused ? ", refuses it" : ", allows it")
                              : "not known: " + glibc.source});
  finding.remedies.push_back(
      {"`patchelf --clear-execstack " + module.file->path + "`", "one file"});
  context.add(std::move(finding));
}

// A module that loads alone and not after torch: the room for static TLS is used up by then.
void judge_static_tls(DiagnoseContext& context, const ModuleState& module) {
  if (!module.resolved || !module.alone.loads || !module.order_failure) return;
  Finding finding = make_finding("static-tls");
  describe_module(context, module, &finding);
  finding.severity = Severity::kError;
  finding.title = fmt::format("`{}` loads alone and not after `import torch`: {}", module.subject(),
                              *module.order_failure);
  std::vector<std::string> users;
  for (const std::shared_ptr<const ElfFacts>& facts : module.alone.files) {
    if (!facts->has_static_tls_flag || facts->tls_size_bytes == 0) continue;
    users.push_back(fmt::format("{} {} bytes", base_name(facts->path), facts->tls_size_bytes));
  }
  finding.evidence.push_back({"static tls", list_some(users, 6)});
  finding.remedies.push_back({"import " + module.subject() + " before torch", ""});
  context.add(std::move(finding));
}

}  // namespace

void judge_files(DiagnoseContext& context) {
  judge_truncated(context);
  for (ModuleState& module : context.modules) {
    judge_machine(context, module);
    judge_suffix(context, module);
    judge_stack(context, module);
    judge_static_tls(context, module);
  }
  for (const std::shared_ptr<const ElfFacts>& library : context.torch.libraries) {
    const uint16_t wanted = context.environment().python.machine;
    if (wanted == 0 || library->machine == wanted) continue;
    Finding finding = make_finding("wrong-machine");
    finding.subject = "torch";
    finding.subject_path = library->path;
    finding.location.path = context.shown(library->path);
    finding.title =
        fmt::format("`{}` of torch is code for {}, this Python is {}", base_name(library->path),
                    machine_name(library->machine), machine_name(wanted));
    finding.remedies.push_back({"install a torch for " + machine_name(wanted), "torch"});
    context.add(std::move(finding));
  }
}

}  // namespace ssmend
