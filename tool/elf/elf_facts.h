// ElfFacts: everything later stages want to know of one ELF file, read once, through program
// headers (a library without section headers loads like any other; sections are looked at only for
// CUDA fat binaries). Format: System V gABI, GNU extensions as in glibc's elf.h. libelf is used
// behind elf/read_elf.cc alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

// One reference to, or definition of, a versioned name. The two texts point into
// ElfFacts::symbol_names, which lives as long as any copy of the facts.
struct ElfSymbol {
  std::string_view name;
  std::string_view version;     // "GLIBC_2.17", empty where unversioned
  uint32_t index = 0;           // in the dynamic symbol table
  uint32_t gnu_hash = 0;        // of the name, as in DT_GNU_HASH
  uint16_t version_index = 1;   // versym without the hidden bit; 1 (global) where there is no table
  bool version_hidden = false;  // definition: not the default version (name@VERSION)
  bool weak = false;
  bool function = false;  // STT_FUNC or STT_GNU_IFUNC
  bool tls = false;
  uint8_t visibility = 0;  // STV_*
  uint64_t value = 0;      // st_value
};

struct ElfVersionNeed {
  std::string file;  // soname that is to define them
  struct Item {
    std::string version;
    bool weak = false;  // VER_FLG_WEAK
  };
  std::vector<Item> items;
};

struct ElfLoadSegment {
  uint64_t offset = 0;
  uint64_t file_size_bytes = 0;
  uint64_t virtual_address = 0;
  uint64_t memory_size_bytes = 0;
  uint64_t alignment = 0;
  uint32_t flags = 0;  // PF_*
};

// Why a file is not an ELF file that can be described; kOk for all others.
enum class ElfState {
  kOk,
  kNotElf,      // no magic
  kTooShort,    // shorter than its own headers say; `loads` is filled where those were there
  kUnreadable,  // open or read failed; `problem` has the system's words
  kMalformed,   // headers contradict each other
};

struct ElfFacts {
  std::string path;  // of the target
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;

  ElfState state = ElfState::kNotElf;
  int system_errno = 0;  // with kUnreadable
  std::string problem;   // the error text of style.md, 4, where state is not kOk; may be set with
                         // kOk for a damaged part (say, a symbol table that ends early)

  int elf_class = 0;  // 32 or 64
  bool big_endian = false;
  uint8_t ident_data = 0;     // EI_DATA
  uint8_t ident_version = 0;  // EI_VERSION
  uint8_t os_abi = 0;
  uint8_t abi_version = 0;
  bool ident_padding_clear = true;         // the bytes from EI_PAD on are 0, as ld.so demands
  uint32_t file_version = 0;               // e_version
  uint16_t program_header_size_bytes = 0;  // e_phentsize
  uint16_t type = 0;                       // ET_*
  uint16_t machine = 0;                    // EM_*
  uint32_t flags = 0;
  std::string interpreter;  // PT_INTERP
  std::string build_id;     // hex, from PT_NOTE

  bool has_dynamic = false;
  std::string soname;
  std::vector<std::string> needed;  // DT_NEEDED in file order
  std::string rpath;                // DT_RPATH, raw
  std::string runpath;              // DT_RUNPATH, raw
  bool has_rpath = false;           // an empty RPATH differs from none
  bool has_runpath = false;
  uint64_t dt_flags = 0;    // DT_FLAGS
  uint64_t dt_flags_1 = 0;  // DT_FLAGS_1
  bool has_dt_flags_1 = false;
  bool has_relr = false;
  bool has_static_tls_flag = false;

  std::vector<ElfLoadSegment> loads;
  bool has_gnu_stack = false;
  uint32_t gnu_stack_flags = 0;
  uint64_t tls_size_bytes = 0;
  uint64_t tls_alignment = 0;

  std::vector<ElfVersionNeed> version_needs;
  std::vector<std::string> version_definitions;  // without the base entry
  bool has_version_definitions = false;

  // Filled only where asked for (ReadElfOptions); sorted as in the file.
  bool symbols_read = false;
  bool has_symbol_versions = false;  // DT_VERSYM
  std::shared_ptr<const std::vector<std::string>> symbol_names;
  std::vector<ElfSymbol> undefined;
  std::vector<ElfSymbol> defined;  // exported: global or weak, default or protected visibility

  bool has_nv_fatbin = false;  // a section .nv_fatbin, __nv_relfatbin or .nvFatBinSegment exists
};

struct ReadElfOptions {
  bool symbols = false;
  bool sections = true;  // has_nv_fatbin
};

// Never fails: what is wrong with the file is in `state` and `problem`.
ElfFacts read_elf(const Disk& disk, const std::string& path, const ReadElfOptions& options = {});

// "x86-64", "aarch64", "arm", ...; "machine 1234" for others.
std::string machine_name(uint16_t machine);

}  // namespace ssmend
