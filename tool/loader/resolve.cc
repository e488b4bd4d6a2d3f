// The stage: a session sets up the process, a resolution opens one file in it.
#include "loader/resolve.h"

#include <elf.h>

#include <algorithm>

#include "base/text.h"
#include "elf/read_symbols.h"
#include "fmt/format.h"
#include "loader/bind.h"
#include "loader/indexed_file.h"
#include "loader/load.h"
#include "loader/verify_file.h"

namespace ssmend {

ElfCache::ElfCache(const Disk& disk, ReadElfOptions options) : disk_(disk), options_(options) {}
ElfCache::~ElfCache() = default;

std::shared_ptr<const IndexedFile> ElfCache::get_indexed(const std::string& path) {
  std::shared_ptr<const IndexedFile>& slot = files_[path];
  if (slot == nullptr) {
    auto file = std::make_shared<IndexedFile>();
    file->facts = read_elf(disk_, path, options_);
    file->build_index();
    slot = std::move(file);
  }
  return slot;
}

std::shared_ptr<const ElfFacts> ElfCache::get(const std::string& path) {
  const std::shared_ptr<const IndexedFile> file = get_indexed(path);
  return {file, &file->facts};
}

const RelocationFacts& ElfCache::relocations(const std::string& path) {
  std::unique_ptr<RelocationFacts>& slot = relocations_[path];
  if (slot == nullptr) slot = std::make_unique<RelocationFacts>(read_relocations(disk_, path));
  return *slot;
}

bool ElfCache::is_directory(const std::string& path) {
  const auto known = directories_.find(path);
  if (known != directories_.end()) return known->second;
  return directories_[path] = disk_.is_directory(path);
}

const SystemLoader& ElfCache::system_loader(const std::string& interpreter, int elf_class,
                                            uint16_t machine) {
  std::unique_ptr<SystemLoader>& slot =
      loaders_[fmt::format("{}:{}:{}", interpreter, elf_class, machine)];
  if (slot == nullptr) {
    slot =
        std::make_unique<SystemLoader>(read_system_loader(disk_, interpreter, elf_class, machine));
  }
  return *slot;
}

namespace {

std::string own_words(const MissingLibrary& missing) {
  // A file that ends the load is named by the path it was found under.
  const bool by_path = missing.fatal_file && !missing.tried.empty();
  return (by_path ? missing.tried.back().path : missing.name) + ": " + missing.reason;
}

void describe_libraries(const ProcessState& state, const LoadOutcome& outcome, Resolution& result) {
  for (const int index : outcome.scope) {
    const LoadedObject& object = state.objects[static_cast<size_t>(index)];
    LoadedLibrary library;
    library.name = object.names.empty() ? object.facts().path : object.names.front();
    library.path = object.path.empty() ? object.facts().path : object.path;
    library.needed_by = object.needed_by;
    const bool fresh =
        std::find(outcome.fresh.begin(), outcome.fresh.end(), index) != outcome.fresh.end();
    library.rule =
        fresh || object.is_system_loader ? object.rule : "already loaded (" + object.rule + ")";
    library.facts = static_cast<int>(result.files.size());
    result.files.emplace_back(object.file, &object.file->facts);
    result.libraries.push_back(std::move(library));
  }
}

// The loader complains of the first thing in this order and stops there; the lists have all.
void conclude(const std::string& abort_text, const std::string& tls_text, Resolution& result) {
  if (!result.missing.empty()) {
    result.reason = own_words(result.missing.front());
  } else if (!result.versions.empty()) {
    const VersionProblem& first = result.versions.front();
    result.reason = fmt::format("{}: version `{}' not found (required by {})", first.provider,
                                first.version, first.needed_by);
  } else if (!abort_text.empty()) {
    result.reason = abort_text;
  } else if (!result.undefined.empty()) {
    const UndefinedSymbol& first = result.undefined.front();
    result.reason = fmt::format("{}: undefined symbol: {}", first.needed_by, first.symbol);
    if (!first.version.empty()) result.reason += ", version " + first.version;
  } else {
    result.reason = tls_text;
  }
  result.loads = result.reason.empty();
}

Resolution judge(ElfCache& cache, ProcessState& state, const LoadOutcome& outcome, bool opened) {
  Resolution result;
  result.missing = outcome.missing;
  describe_libraries(state, outcome, result);
  std::string abort_text;
  std::string tls_text;
  check_versions(state, outcome.fresh, result.versions, abort_text);
  if (state.context.bind_symbols) {
    bind_symbols(cache, state, outcome.fresh, {&state.global_scope, &outcome.scope},
                 result.undefined, abort_text);
  }
  if (opened) {
    tls_text = take_static_tls(cache, state, outcome.fresh);
  } else {
    reserve_static_tls(state, outcome.scope);
  }
  const SystemLoader& system = *state.system;
  if (!system.found) {
    result.warnings.push_back(fmt::format("no loader at {}: usual directories were assumed",
                                          system.path.empty() ? "a known place" : system.path));
  }
  if (!system.cache.problem.empty()) result.warnings.push_back(system.cache.problem);
  if (system.cache.found && system.cache.problem.empty() &&
      count_ld_cache_entries(system.cache, ld_cache_flags(system.elf_class, system.machine)) == 0) {
    result.warnings.push_back("/etc/ld.so.cache has no entry for " + machine_name(system.machine) +
                              ": written by another machine's ldconfig");
  }
  conclude(abort_text, tls_text, result);
  return result;
}

Resolution refuse(std::string reason) {
  Resolution result;
  result.reason = std::move(reason);
  return result;
}

// Empty, or why the file cannot be the program of a process.
std::string program_problem(const ElfFacts& facts) {
  const std::string path = printable(facts.path);
  if (facts.state == ElfState::kUnreadable) return facts.problem;
  if (facts.state != ElfState::kOk) return facts.problem;
  if (facts.type != ET_EXEC && facts.type != ET_DYN) return path + ": no executable";
  return {};
}

bool is_program(const ElfFacts& facts) {
  return facts.type == ET_EXEC || !facts.interpreter.empty() || (facts.dt_flags_1 & DF_1_PIE) != 0;
}

Resolution start_program(ElfCache& cache, const LoaderContext& context, const std::string& path) {
  const std::shared_ptr<const ElfFacts> facts =
      cache.get(path_join(context.working_directory, path));
  const std::string problem = program_problem(*facts);
  if (!problem.empty()) return refuse(problem);
  ProcessState state =
      start_process(cache, context, facts->interpreter, facts->elf_class, facts->machine);
  const LoadOutcome outcome = load_program(cache, state, path);
  Resolution result = judge(cache, state, outcome, false);
  if (!facts->interpreter.empty() && !state.system->found) {
    result.loads = false;
    result.reason = fmt::format("{}: its loader {} is not there: No such file or directory",
                                facts->path, facts->interpreter);
  }
  return result;
}

}  // namespace

struct LoaderSession::State {
  ElfCache& cache;
  LoaderContext context;
  bool ready = false;  // false: without a program, the first file decides on the loader
  ProcessState process;
  std::vector<std::string> problems;
  std::string program_reason;  // why the program does not start: then nothing is ever opened in it

  void open_before(std::string path, bool global) {
    constexpr std::string_view kGlobalMark = "global:";
    if (path.compare(0, kGlobalMark.size(), kGlobalMark) == 0) {
      path.erase(0, kGlobalMark.size());
      global = true;
    }
    ProcessState attempt = process;
    const LoadOutcome outcome = open_object(cache, attempt, path);
    const Resolution result = judge(cache, attempt, outcome, true);
    if (!result.loads) {
      // The objects are gone again; what was learnt of directories stays.
      process.directories = std::move(attempt.directories);
      problems.push_back(path + " does not load: " + result.reason);
      return;
    }
    process = std::move(attempt);
    if (!global) return;
    std::vector<int>& scope = process.global_scope;
    for (const int index : outcome.scope) {
      if (std::find(scope.begin(), scope.end(), index) == scope.end()) scope.push_back(index);
    }
  }

  void open_all_before() {
    for (const std::string& path : context.loaded_global) open_before(path, true);
    for (const std::string& path : context.loaded) open_before(path, false);
  }

  void set_up() {
    const std::shared_ptr<const ElfFacts> facts =
        cache.get(path_join(context.working_directory, context.program));
    const std::string problem = program_problem(*facts);
    if (!problem.empty()) {
      problems.push_back(problem);
      return;
    }
    process = start_process(cache, context, facts->interpreter, facts->elf_class, facts->machine);
    const LoadOutcome outcome = load_program(cache, process, context.program);
    const Resolution result = judge(cache, process, outcome, false);
    program_reason = result.reason;
    if (!result.loads) problems.push_back(context.program + " does not start: " + result.reason);
    ready = true;
    open_all_before();
  }
};

LoaderSession::LoaderSession(ElfCache& cache, LoaderContext context)
    : state_(new State{cache, std::move(context), false, {}, {}, {}}) {
  if (!state_->context.program.empty()) state_->set_up();
}
LoaderSession::~LoaderSession() = default;

const std::vector<std::string>& LoaderSession::problems() const { return state_->problems; }

Resolution LoaderSession::open(const std::string& path) const {
  State& session = *state_;
  ProcessState attempt;
  if (session.ready) {
    attempt = session.process;
  } else {
    const std::shared_ptr<const ElfFacts> facts =
        session.cache.get(path_join(session.context.working_directory, path));
    if (facts->elf_class == 0) return refuse(facts->problem);
    attempt = start_process(session.cache, session.context, "", facts->elf_class, facts->machine);
    State alone{session.cache, session.context, true, std::move(attempt), {}, {}};
    alone.open_all_before();
    attempt = std::move(alone.process);
    reserve_static_tls(attempt, {});
  }
  const LoadOutcome outcome = open_object(session.cache, attempt, path);
  Resolution result = judge(session.cache, attempt, outcome, true);
  for (const std::string& problem : session.problems) result.warnings.push_back(problem);
  if (!session.program_reason.empty()) {
    result.loads = false;
    result.reason = session.program_reason;
  }
  return result;
}

Resolution resolve(ElfCache& cache, const LoaderContext& context, const std::string& path) {
  if (context.program.empty()) {
    const std::shared_ptr<const ElfFacts> facts =
        cache.get(path_join(context.working_directory, path));
    if (facts->state == ElfState::kOk && is_program(*facts)) {
      return start_program(cache, context, path);
    }
  }
  return LoaderSession(cache, context).open(path);
}

}  // namespace ssmend
