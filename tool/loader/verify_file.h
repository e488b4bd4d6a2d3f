// What ld.so does with a file that it has found: takes it, goes on searching, or gives up the whole
// load (glibc elf/dl-load.c open_verify and _dl_map_object_from_fd). Inside tool/loader only.
#pragma once

#include <string>

#include "elf/elf_facts.h"
#include "loader/process.h"

namespace ssmend {

enum class FileVerdict { kTake, kSkip, kStop };

struct FileCheck {
  FileVerdict verdict = FileVerdict::kTake;
  std::string reason;    // for people: "other machine: aarch64"; for kStop the loader's words
  int error_number = 0;  // errno after a kSkip
  bool other_class = false;
};

// open_verify: is this a file for this loader at all?
FileCheck check_header(const ElfFacts& facts, const SystemLoader& system);

// _dl_map_object_from_fd: can it be mapped? Empty, or the loader's words. `opened`: by dlopen or as
// a dependency of what is dlopened, so after the program has started.
std::string check_mapping(const ElfFacts& facts, const ProcessState& state, bool opened);

}  // namespace ssmend
