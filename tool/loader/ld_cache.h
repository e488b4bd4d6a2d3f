// /etc/ld.so.cache: name -> path, as ldconfig wrote it (glibc sysdeps/generic/dl-cache.h).
//
// New format: "glibc-ld.so.cache" "1.1", u32 count at 20, u32 text bytes at 24, u8 flags at 28,
// u32 extension offset at 32, entries of 24 bytes at 48: i32 flags, u32 name, u32 path, u32 unused,
// u64 hwcap; offsets count from the header. It may follow a table of the old format, aligned to 8.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

struct LdCacheEntry {
  std::string_view name;
  std::string_view path;
  uint32_t flags = 0;
  uint64_t hwcap = 0;
  std::string_view hwcap_name;  // of a glibc-hwcaps entry
};

struct LdCache {
  bool found = false;
  std::string problem;                       // why an existing file is not used
  std::shared_ptr<const std::string> bytes;  // the entries' texts point into it
  std::vector<LdCacheEntry> entries;
  std::string generator;  // "ldconfig (Debian GLIBC ...) stable release version 2.36"
};

LdCache parse_ld_cache(std::string bytes);

// Flags of the entries that a loader of this kind takes: 0x303 x86-64, 0xa03 aarch64.
uint32_t ld_cache_flags(int elf_class, uint16_t machine);

// How many entries are for that kind; 0 in a cache that another machine's ldconfig wrote.
size_t count_ld_cache_entries(const LdCache& cache, uint32_t flags);

// The path the loader would take, empty where it has none. `hwcaps`: active names, best first;
// `legacy_hwcaps`: entries with old hwcap bits count (glibc before 2.37).
std::string look_up_ld_cache(const LdCache& cache, std::string_view name, uint32_t flags,
                             const std::vector<std::string>& hwcaps, bool legacy_hwcaps);

}  // namespace ssmend
