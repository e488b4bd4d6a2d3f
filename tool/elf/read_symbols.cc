#include "elf/read_symbols.h"

#include <elf.h>

#include <algorithm>

#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr uint64_t kSymbolBytes32 = 16;
constexpr uint64_t kSymbolBytes64 = 24;
constexpr uint32_t kAarch64ThreadOffset = 1030;  // R_AARCH64_TLS_TPREL
constexpr uint64_t kRelocationLimitBytes = uint64_t{1} << 30;

struct SymbolCount {
  uint64_t all = 0;          // entries in the table, number 0 included
  uint64_t first_found = 0;  // entries below are in no hash chain: nobody can find them
};

// DT_GNU_HASH: bucket count, number of the first hashed symbol, bloom words, shift; then the bloom
// filter, the buckets, and one chain word a symbol whose lowest bit ends a chain.
SymbolCount count_by_gnu_hash(const ElfImage& image) {
  const uint64_t address = image.tag(DT_GNU_HASH);
  const std::string header_bytes = image.read_address(address, 16);
  ByteView header = image.view(header_bytes);
  const uint64_t buckets = header.u32(0);
  const uint64_t first = header.u32(4);
  const uint64_t bloom_bytes = uint64_t{header.u32(8)} * (image.wide() ? 8 : 4);
  if (header.bad()) return {};
  const uint64_t buckets_at = address + 16 + bloom_bytes;
  const std::string bucket_bytes = image.read_address(buckets_at, buckets * 4);
  ByteView bucket_table = image.view(bucket_bytes);
  uint64_t last = 0;
  for (uint64_t at = 0; bucket_table.has(at, 4); at += 4) {
    last = std::max<uint64_t>(last, bucket_table.u32(at));
  }
  if (last < first) return {0, first};
  constexpr uint64_t kChunk = 4096;
  for (;;) {
    const std::string chunk =
        image.read_address(buckets_at + buckets * 4 + (last - first) * 4, kChunk);
    ByteView chain = image.view(chunk);
    if (chunk.size() < 4) return {last, first};
    for (uint64_t at = 0; chain.has(at, 4); at += 4, ++last) {
      if ((chain.u32(at) & 1) != 0) return {last + 1, first};
    }
  }
}

// A table whose hash is empty exports nothing and may still need names: it ends at the latest where
// the next thing that the dynamic section points to begins.
uint64_t count_by_next_table(const ElfImage& image, uint64_t entry_bytes) {
  const uint64_t begin = image.tag(DT_SYMTAB);
  uint64_t end = UINT64_MAX;
  for (const int64_t tag :
       {int64_t{DT_STRTAB}, int64_t{DT_HASH}, int64_t{DT_GNU_HASH}, int64_t{DT_VERSYM},
        int64_t{DT_VERNEED}, int64_t{DT_VERDEF}, int64_t{DT_RELA}, int64_t{DT_REL},
        int64_t{DT_JMPREL}, int64_t{DT_INIT}, int64_t{DT_FINI}}) {
    const uint64_t address = image.tag(tag);
    if (address > begin) end = std::min(end, address);
  }
  return end == UINT64_MAX ? 0 : (end - begin) / entry_bytes;
}

SymbolCount count_symbols(const ElfImage& image, uint64_t entry_bytes) {
  SymbolCount count;
  if (image.has_tag(DT_GNU_HASH)) {
    count = count_by_gnu_hash(image);
  } else if (image.has_tag(DT_HASH)) {
    const std::string bytes = image.read_address(image.tag(DT_HASH), 8);
    ByteView header = image.view(bytes);
    count.all = header.u32(4);
  } else {
    count.first_found = UINT64_MAX;
  }
  if (count.all == 0) {
    count.all = count_by_next_table(image, entry_bytes);
    count.first_found = UINT64_MAX;
  }
  return count;
}

bool is_findable_type(unsigned type) {
  return type == STT_NOTYPE || type == STT_OBJECT || type == STT_FUNC || type == STT_COMMON ||
         type == STT_TLS || type == STT_GNU_IFUNC;
}

}  // namespace

uint32_t gnu_hash_of(std::string_view name) {
  uint32_t hash = 5381;
  for (const char c : name) hash = hash * 33 + static_cast<unsigned char>(c);
  return hash;
}

void read_symbols(const ElfImage& image, ByteView names, const VersionNames& versions,
                  ElfFacts& facts) {
  facts.symbols_read = true;
  const uint64_t entry_bytes = image.wide() ? kSymbolBytes64 : kSymbolBytes32;
  const SymbolCount count = count_symbols(image, entry_bytes);
  const uint64_t limit = std::min(count.all, image.size_bytes() / entry_bytes);
  const std::string table_bytes = image.read_address(image.tag(DT_SYMTAB), limit * entry_bytes);
  ByteView table = image.view(table_bytes);
  std::string version_bytes;
  facts.has_symbol_versions = image.has_tag(DT_VERSYM);
  if (facts.has_symbol_versions) {
    version_bytes = image.read_address(image.tag(DT_VERSYM), limit * 2);
  }
  ByteView version_table = image.view(version_bytes);
  facts.undefined.reserve(64);
  for (uint64_t i = 1; table.has(i * entry_bytes, entry_bytes); ++i) {
    const uint64_t at = i * entry_bytes;
    const uint8_t info = table.u8(at + (image.wide() ? 4 : 12));
    const unsigned binding = info >> 4;
    if (binding != STB_GLOBAL && binding != STB_WEAK && binding != STB_GNU_UNIQUE) continue;
    const uint16_t section = table.u16(at + (image.wide() ? 6 : 14));
    ElfSymbol symbol;
    symbol.index = static_cast<uint32_t>(i);
    symbol.value = image.wide() ? table.u64(at + 8) : table.u32(at + 4);
    symbol.visibility = table.u8(at + (image.wide() ? 5 : 13)) & 3;
    symbol.weak = binding == STB_WEAK;
    const unsigned type = info & 15;
    symbol.function = type == STT_FUNC || type == STT_GNU_IFUNC;
    symbol.tls = type == STT_TLS;
    const bool defined = section != SHN_UNDEF;
    if (defined) {
      const bool local = symbol.visibility == STV_HIDDEN || symbol.visibility == STV_INTERNAL;
      const bool empty = symbol.value == 0 && section != SHN_ABS && type != STT_TLS;
      if (local || empty || i < count.first_found || !is_findable_type(type)) continue;
    }
    symbol.name = names.c_string(table.u32(at));
    if (symbol.name.empty()) continue;
    symbol.gnu_hash = gnu_hash_of(symbol.name);
    if (version_table.has(i * 2, 2)) {
      const uint16_t raw = version_table.u16(i * 2);
      symbol.version_index = raw & 0x7fff;
      symbol.version_hidden = (raw & 0x8000) != 0;
      if (symbol.version_index > 1) symbol.version = versions.name(symbol.version_index);
    }
    (defined ? facts.defined : facts.undefined).push_back(symbol);
  }
  if (table.size() < limit * entry_bytes && facts.problem.empty()) {
    facts.problem =
        elf_problem(facts, fmt::format("symbol table has {} entries, {} are in the file", limit,
                                       table.size() / entry_bytes));
  }
}

RelocationFacts read_relocations(const Disk& disk, const std::string& path) {
  RelocationFacts used;
  const Result<ReadFile> file = disk.open(path);
  if (!file.ok()) return used;
  const Result<FileStat> stat = file->stat();
  if (!stat.ok()) return used;
  ElfImage image(*file, stat->size_bytes);
  ElfFacts facts;
  facts.path = path;
  if (!image.read_headers(facts) || !image.read_dynamic()) return used;
  const uint32_t thread_offset = facts.machine == EM_AARCH64  ? kAarch64ThreadOffset
                                 : facts.machine == EM_X86_64 ? R_X86_64_TPOFF64
                                                              : 0;
  const auto scan = [&](int64_t address_tag, int64_t size_tag, bool addend) {
    if (!image.has_tag(address_tag)) return;
    const uint64_t bytes_wanted = std::min(image.tag(size_tag), kRelocationLimitBytes);
    const std::string bytes = image.read_address(image.tag(address_tag), bytes_wanted);
    ByteView table = image.view(bytes);
    const uint64_t entry_bytes = image.wide() ? (addend ? 24 : 16) : (addend ? 12 : 8);
    for (uint64_t at = 0; table.has(at, entry_bytes); at += entry_bytes) {
      const uint64_t info = image.wide() ? table.u64(at + 8) : table.u32(at + 4);
      const uint64_t symbol = image.wide() ? info >> 32 : info >> 8;
      const uint32_t type = static_cast<uint32_t>(image.wide() ? info & 0xffffffff : info & 0xff);
      used.static_tls = used.static_tls || (type == thread_offset && thread_offset != 0);
      if (symbol == 0 || symbol > image.size_bytes() / kSymbolBytes32) continue;
      if (symbol >= used.symbols.size()) used.symbols.resize(symbol + 1);
      used.symbols[symbol] = true;
    }
  };
  scan(DT_RELA, DT_RELASZ, true);
  scan(DT_REL, DT_RELSZ, false);
  scan(DT_JMPREL, DT_PLTRELSZ, image.tag(DT_PLTREL) == DT_RELA);
  return used;
}

}  // namespace ssmend
