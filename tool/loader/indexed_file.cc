#include "loader/indexed_file.h"

namespace ssmend {

void IndexedFile::build_index() {
  const size_t count = facts.defined.size();
  if (count == 0) return;
  uint32_t size = 4;
  while (size < count * 2) size *= 2;
  mask_ = size - 1;
  table_.assign(size, Slot());
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t slot = facts.defined[i].gnu_hash & mask_;
    while (table_[slot].number != 0) slot = (slot + 1) & mask_;
    table_[slot] = {facts.defined[i].gnu_hash, i + 1};
  }
}

IndexedFile::Match IndexedFile::find(const Wanted& wanted, bool named_by_version_file) const {
  if (table_.empty()) return Match::kNone;
  int defaults = 0;
  for (uint32_t slot = wanted.gnu_hash & mask_; table_[slot].number != 0;
       slot = (slot + 1) & mask_) {
    if (table_[slot].gnu_hash != wanted.gnu_hash) continue;
    const ElfSymbol& symbol = facts.defined[table_[slot].number - 1];
    if (symbol.name != wanted.name) continue;
    if (!facts.has_symbol_versions) {
      if (!wanted.version.empty() && named_by_version_file) return Match::kAbort;
      return Match::kYes;
    }
    if (wanted.version.empty()) {
      // Without a version: the base definition, or the only default one.
      if (symbol.version_index < 3) return Match::kYes;
      if (!symbol.version_hidden) ++defaults;
    } else if (symbol.version == wanted.version ||
               (symbol.version.empty() && !symbol.version_hidden)) {
      return Match::kYes;
    }
  }
  return defaults == 1 ? Match::kYes : Match::kNone;
}

}  // namespace ssmend
