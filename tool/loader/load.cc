#include "loader/load.h"

#include <elf.h>

#include <algorithm>

#include "base/text.h"
#include "elf/read_symbols.h"
#include "fmt/format.h"
#include "loader/indexed_file.h"
#include "loader/verify_file.h"

namespace ssmend {
namespace {

// Chains of this length come only from files made to exhaust the tool.
constexpr size_t kMostObjects = 4096;

size_t at(int index) { return static_cast<size_t>(index); }

// _dl_name_match_p over all objects, then by DT_SONAME, which from then on is one of the names.
int find_loaded_glibc(ProcessState& state, const std::string& name, std::string& how) {
  for (size_t i = 0; i < state.objects.size(); ++i) {
    LoadedObject& object = state.objects[i];
    if (object.path == name ||
        std::find(object.names.begin(), object.names.end(), name) != object.names.end()) {
      how = "already loaded";
      return static_cast<int>(i);
    }
    if (object.soname_added || object.facts().soname.empty() || object.facts().soname != name) {
      continue;
    }
    object.names.push_back(name);
    object.soname_added = true;
    how = "already loaded (soname)";
    return static_cast<int>(i);
  }
  return -1;
}

// "libc.musl-x86_64.so.1", "libm.so.6", "libpthread.so.0": musl has all of it in its loader and
// never looks for a file (ldso/dynlink.c load_library).
bool is_musl_itself(std::string_view name) {
  if (name.substr(0, 3) != "lib") return false;
  for (const char* reserved : {"c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."}) {
    if (name.substr(3, std::string_view(reserved).size()) == reserved) return true;
  }
  return false;
}

// musl knows a library by the file name it was found under, whatever its DT_SONAME says.
int find_loaded_musl(const ProcessState& state, const std::string& name, std::string& how) {
  const bool is_path = name.find('/') != std::string::npos;
  for (size_t i = 0; i < state.objects.size(); ++i) {
    const LoadedObject& object = state.objects[i];
    const auto& names = object.names;
    if ((!is_path && std::find(names.begin(), names.end(), name) != names.end()) ||
        (object.is_system_loader && is_musl_itself(name))) {
      how = "already loaded";
      return static_cast<int>(i);
    }
  }
  return -1;
}

int find_same_file(const ProcessState& state, const ElfFacts& facts) {
  for (size_t i = 0; i < state.objects.size(); ++i) {
    const ElfFacts& known = state.objects[i].facts();
    if (known.inode == facts.inode && known.device == facts.device && known.inode != 0) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

struct Mapped {
  int object = -1;
  bool fresh = false;
  MissingLibrary missing;  // where object is -1
};

// _dl_map_object. `opened`: the process has started.
Mapped map_object(ElfCache& cache, ProcessState& state, const std::string& name, int loader,
                  bool opened) {
  Mapped mapped;
  std::string how;
  const bool musl = state.system->musl;
  mapped.object = musl ? find_loaded_musl(state, name, how) : find_loaded_glibc(state, name, how);
  if (mapped.object >= 0) return mapped;
  SearchResult found =
      musl ? search_musl(cache, state, name, loader) : search_glibc(cache, state, name, loader);
  mapped.missing.name = name;
  mapped.missing.needed_by =
      loader >= 0 ? state.objects[at(loader)].facts().path : state.context.program;
  mapped.missing.tried = std::move(found.tried);
  mapped.missing.reason = found.reason;
  mapped.missing.fatal_file = found.fatal;
  if (!found.found) return mapped;
  mapped.object = find_same_file(state, found.file->facts);
  if (mapped.object >= 0) {
    if (!musl) state.objects[at(mapped.object)].names.push_back(name);
    return mapped;
  }
  mapped.missing.reason = check_mapping(found.file->facts, state, opened);
  if (!mapped.missing.reason.empty() || state.objects.size() >= kMostObjects) {
    mapped.missing.fatal_file = true;
    if (!mapped.missing.tried.empty()) mapped.missing.tried.back().refused = mapped.missing.reason;
    return mapped;
  }
  LoadedObject object;
  object.path = found.path;
  if (!musl || name.find('/') == std::string::npos) object.names.push_back(name);
  object.origin = origin_of(state, found.path);
  object.file = std::move(found.file);
  object.loader = loader;
  object.rule = found.rule;
  object.needed_by = mapped.missing.needed_by;
  state.objects.push_back(std::move(object));
  mapped.object = static_cast<int>(state.objects.size()) - 1;
  mapped.fresh = true;
  return mapped;
}

// All NEEDED of the root are mapped before any grandchild is looked for.
void load_needed(ElfCache& cache, ProcessState& state, bool opened, LoadOutcome& outcome) {
  outcome.scope.push_back(outcome.root);
  for (size_t i = 0; i < outcome.scope.size(); ++i) {
    const int index = outcome.scope[i];
    const bool fresh =
        std::find(outcome.fresh.begin(), outcome.fresh.end(), index) != outcome.fresh.end();
    std::vector<int> needed;
    if (!fresh) {
      needed = state.objects[at(index)].needed;  // resolved when it was loaded
    } else {
      const std::shared_ptr<const IndexedFile> file = state.objects[at(index)].file;
      for (const std::string& name : file->facts.needed) {
        Mapped mapped = map_object(cache, state, name, index, opened);
        if (mapped.object < 0) {
          outcome.missing.push_back(std::move(mapped.missing));
          continue;
        }
        if (mapped.fresh) outcome.fresh.push_back(mapped.object);
        needed.push_back(mapped.object);
      }
      state.objects[at(index)].needed = needed;
    }
    for (const int object : needed) {
      if (std::find(outcome.scope.begin(), outcome.scope.end(), object) == outcome.scope.end()) {
        outcome.scope.push_back(object);
      }
    }
  }
}

}  // namespace

ProcessState start_process(ElfCache& cache, const LoaderContext& context,
                           const std::string& interpreter, int elf_class, uint16_t machine) {
  ProcessState state;
  state.context = context;
  state.system = &cache.system_loader(interpreter, elf_class, machine);
  return state;
}

static void add_system_loader(ElfCache& cache, ProcessState& state) {
  if (!state.system->found) return;
  LoadedObject loader;
  loader.path = state.system->path;
  loader.names.push_back(state.system->musl ? "libc.so" : state.system->soname);
  loader.file = cache.get_indexed(state.system->path);
  loader.origin = origin_of(state, loader.path);
  loader.rule = "the loader itself";
  loader.is_system_loader = true;
  loader.soname_added = true;
  loader.relocated = true;
  state.objects.push_back(std::move(loader));
}

LoadOutcome load_program(ElfCache& cache, ProcessState& state, const std::string& path) {
  LoadOutcome outcome;
  LoadedObject program;
  program.path = "";  // l_name of the main program
  program.file = cache.get_indexed(disk_path(state, path));
  // The kernel names the program by its resolved path, and that is what $ORIGIN follows.
  const Result<std::string> real = cache.disk().real_path(disk_path(state, path));
  program.origin = origin_of(state, real.ok() ? *real : path);
  program.rule = "itself";
  state.objects.push_back(std::move(program));
  state.program = static_cast<int>(state.objects.size()) - 1;
  outcome.root = state.program;
  outcome.fresh.push_back(state.program);
  add_system_loader(cache, state);
  split_library_path(state);
  load_needed(cache, state, false, outcome);
  state.global_scope = outcome.scope;
  return outcome;
}

LoadOutcome open_object(ElfCache& cache, ProcessState& state, const std::string& path) {
  LoadOutcome outcome;
  if (state.objects.empty()) {
    add_system_loader(cache, state);
    split_library_path(state);
  }
  Mapped mapped = map_object(cache, state, path, -1, true);
  if (mapped.object < 0) {
    outcome.missing.push_back(std::move(mapped.missing));
    return outcome;
  }
  outcome.root = mapped.object;
  if (mapped.fresh) {
    state.objects[at(mapped.object)].rule = "itself";
    state.objects[at(mapped.object)].needed_by.clear();
    outcome.fresh.push_back(mapped.object);
  }
  load_needed(cache, state, true, outcome);
  return outcome;
}

// glibc reserves 1664 bytes above what the program's own libraries use (csu/libc-tls.c and the
// tunables rtld.nns and rtld.optional_static_tls at their defaults), rounded up to 64.
constexpr uint64_t kStaticTlsSurplus = 1664;
constexpr uint64_t kTlsBlock = 64;

void reserve_static_tls(ProcessState& state, const std::vector<int>& startup) {
  uint64_t used = 0;
  for (const int index : startup) {
    const ElfFacts& facts = state.objects[at(index)].facts();
    if (facts.tls_size_bytes == 0) continue;
    const uint64_t alignment = std::clamp<uint64_t>(facts.tls_alignment, 1, uint64_t{1} << 20);
    used = (used + facts.tls_size_bytes + alignment - 1) / alignment * alignment;
  }
  const uint64_t whole = (used + kStaticTlsSurplus + kTlsBlock - 1) / kTlsBlock * kTlsBlock;
  state.static_tls_free_bytes = whole - used;
}

std::string take_static_tls(ElfCache& cache, ProcessState& state, const std::vector<int>& fresh) {
  for (const int index : fresh) {
    const ElfFacts& facts = state.objects[at(index)].facts();
    if (facts.tls_size_bytes == 0) continue;
    // The flag is enough but on aarch64, where GNU ld leaves it out.
    if (!facts.has_static_tls_flag &&
        (facts.machine != EM_AARCH64 || !cache.relocations(facts.path).static_tls)) {
      continue;
    }
    if (facts.tls_size_bytes > state.static_tls_free_bytes) {
      return fmt::format("{}: cannot allocate memory in static TLS block",
                         state.objects[at(index)].path);
    }
    const uint64_t alignment = std::clamp<uint64_t>(facts.tls_alignment, 1, uint64_t{1} << 20);
    const uint64_t left = state.static_tls_free_bytes - facts.tls_size_bytes;
    state.static_tls_free_bytes = left / alignment * alignment;
  }
  return {};
}

}  // namespace ssmend
