// Sections of an ELF file: needed only for what the loader itself never looks at (CUDA fat
// binaries, the full symbol table). The one user of libelf; a file whose section headers libelf
// refuses has none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"

namespace ssmend {

struct ElfSection {
  std::string name;
  uint32_t type = 0;  // SHT_*
  uint64_t address = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;  // in the file; 0 for SHT_NOBITS
  uint32_t link = 0;        // number of the string table of a symbol table
};

// By section number. Empty where there are none or they cannot be read.
std::vector<ElfSection> read_sections(const ReadFile& file);

// .nv_fatbin and its companions (CUDA's fatbinary_section.h).
bool is_fatbin_section(std::string_view name);

}  // namespace ssmend
