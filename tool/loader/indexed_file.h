// ElfFacts with a hash table over what the file defines: symbol binding asks each file of a scope
// for each name, so the question must cost a few nanoseconds. Inside tool/loader only.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "elf/elf_facts.h"

namespace ssmend {

struct IndexedFile {
  ElfFacts facts;

  // What a symbol needs of its definition.
  struct Wanted {
    std::string_view name;
    std::string_view version;  // empty: unversioned
    uint32_t gnu_hash = 0;
    std::string_view version_file;  // VERNEED's file for that version
  };
  enum class Match { kNone, kYes, kAbort };
  // glibc's check_match (elf/dl-lookup.c). kAbort: a versioned reference into the library that was
  // to have the version and has none at all, which ends the process up to glibc 2.40.
  [[nodiscard]] Match find(const Wanted& wanted, bool named_by_version_file) const;

  void build_index();

 private:
  // Open addressing by hash. The hash lies beside the number, so that a question for a name that is
  // not here, which is what most are, touches one cache line and no symbol.
  struct Slot {
    uint32_t gnu_hash = 0;
    uint32_t number = 0;  // of the symbol, plus one; 0: empty
  };
  std::vector<Slot> table_;
  uint32_t mask_ = 0;
};

}  // namespace ssmend
