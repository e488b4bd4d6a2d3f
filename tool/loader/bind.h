// Symbol and version binding in the simulated process (glibc elf/dl-lookup.c, elf/dl-version.c).
// Inside tool/loader only.
#pragma once

#include <string>
#include <vector>

#include "loader/process.h"

namespace ssmend {

// Version needs of `fresh`. `abort_text`: the loader ends the process with a failed assertion.
void check_versions(const ProcessState& state, const std::vector<int>& fresh,
                    std::vector<VersionProblem>& problems, std::string& abort_text);

// Undefined symbols of `fresh`, each looked for in `scopes`, one after the other.
void bind_symbols(ElfCache& cache, const ProcessState& state, const std::vector<int>& fresh,
                  const std::vector<const std::vector<int>*>& scopes,
                  std::vector<UndefinedSymbol>& undefined, std::string& abort_text);

}  // namespace ssmend
