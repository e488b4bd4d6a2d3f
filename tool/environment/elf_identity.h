// The first facts of an ELF file: which machine it is for, and which loader starts it. The few
// header fields this layer needs to name an interpreter; everything else is read in tool/elf.
// Format: System V gABI, ELF header and program headers.
#pragma once

#include <cstdint>
#include <string>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

struct ElfIdentity {
  int elf_class = 0;               // 32 or 64
  uint16_t machine = 0;            // EM_*
  std::string loader;              // PT_INTERP, empty for a library
  uint64_t section_table_end = 0;  // 0 without a section table
};

// An error for what is no ELF file.
Result<ElfIdentity> read_elf_identity(const Disk& disk, const std::string& path);

// The spelling of platform triplets and `uname -m`: "x86_64", "aarch64"; empty for others.
std::string machine_architecture(uint16_t machine);
// The reverse; 0 for an unknown name. Takes "arm64" and "amd64" too.
uint16_t architecture_machine(std::string_view architecture);

}  // namespace ssmend
