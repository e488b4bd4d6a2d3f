// The dynamic symbol table as the loader uses it: what a file takes from others and what others can
// find in it. The table has no length of its own; it is counted through DT_GNU_HASH or DT_HASH.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "elf/elf_facts.h"
#include "elf/elf_image.h"

namespace ssmend {

// Version index -> name, from DT_VERNEED and DT_VERDEF.
class VersionNames {
 public:
  void set(uint16_t index, std::string_view name) {
    if (index >= names_.size()) names_.resize(index + size_t{1});
    names_[index] = name;
  }
  [[nodiscard]] std::string_view name(uint16_t index) const {
    return index < names_.size() ? names_[index] : std::string_view();
  }

 private:
  std::vector<std::string_view> names_;
};

constexpr int64_t kDynamicTagRelr = 36;  // DT_RELR; not in the elf.h of glibc before 2.36

// `names` is the string table, which facts.symbol_names keeps alive.
void read_symbols(const ElfImage& image, ByteView names, const VersionNames& versions,
                  ElfFacts& facts);

struct RelocationFacts {
  // Which entries of the symbol table some relocation names. The loader looks up nothing else: an
  // undefined name without a relocation never stops a load.
  std::vector<bool> symbols;
  // Initial-exec access to thread-local variables. DF_STATIC_TLS should say so, but GNU ld does not
  // set it for aarch64.
  bool static_tls = false;
};
RelocationFacts read_relocations(const Disk& disk, const std::string& path);

uint32_t gnu_hash_of(std::string_view name);

}  // namespace ssmend
