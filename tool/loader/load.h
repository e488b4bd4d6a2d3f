// Mapping objects into the simulated process, breadth-first as ld.so does it. Inside tool/loader
// only.
#pragma once

#include <string>
#include <vector>

#include "loader/process.h"
#include "loader/resolve.h"

namespace ssmend {

// What loading one file gave. Objects stay in the state even where something is missing: the report
// goes on to the next missing library, as LD_TRACE_LOADED_OBJECTS does.
struct LoadOutcome {
  int root = -1;           // the file's object
  std::vector<int> scope;  // root and what it needs, breadth-first: its local search scope
  std::vector<int> fresh;  // objects mapped now, in load order
  std::vector<MissingLibrary> missing;
};

// The state of a process before its program is mapped.
ProcessState start_process(ElfCache& cache, const LoaderContext& context,
                           const std::string& interpreter, int elf_class, uint16_t machine);

// Maps the program; its scope becomes the global one.
LoadOutcome load_program(ElfCache& cache, ProcessState& state, const std::string& path);
// dlopen(path): nobody's RPATH but the program's, no loader above it.
LoadOutcome open_object(ElfCache& cache, ProcessState& state, const std::string& path);

// Static TLS: space for initial-exec variables of libraries that come after the start is fixed when
// the program starts. Takes what `fresh` needs; a sentence where it does not fit.
std::string take_static_tls(ElfCache& cache, ProcessState& state, const std::vector<int>& fresh);
void reserve_static_tls(ProcessState& state, const std::vector<int>& startup);

}  // namespace ssmend
