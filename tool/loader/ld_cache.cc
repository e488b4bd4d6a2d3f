#include "loader/ld_cache.h"

#include <elf.h>

#include <algorithm>

#include "base/bytes.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr std::string_view kNewMagic = "glibc-ld.so.cache1.1";
constexpr std::string_view kOldMagic = "ld.so-1.7.0";
constexpr uint64_t kOldHeaderBytes = 16;
constexpr uint64_t kOldEntryBytes = 12;
constexpr uint64_t kHeaderBytes = 48;
constexpr uint64_t kEntryBytes = 24;
constexpr uint32_t kExtensionMagic = 0xeaa42174;
constexpr uint64_t kHwcapExtension = uint64_t{1} << 62;
constexpr unsigned kMostExtensions = 64;

struct Extensions {
  std::vector<std::string_view> hwcap_names;
  std::string generator;
};

Extensions read_extensions(ByteView cache, uint64_t at) {
  Extensions found;
  if (at == 0 || cache.u32(at) != kExtensionMagic) return found;
  const unsigned count = std::min(cache.u32(at + 4), kMostExtensions);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t section = at + 8 + uint64_t{i} * 16;
    if (!cache.has(section, 16)) break;
    const uint64_t offset = cache.u32(section + 8);
    const uint64_t size = cache.u32(section + 12);
    if (!cache.has(offset, size)) continue;
    if (cache.u32(section) == 0) found.generator = cache.slice(offset, size);
    if (cache.u32(section) == 1) {
      for (uint64_t name = offset; name + 4 <= offset + size; name += 4) {
        found.hwcap_names.push_back(cache.c_string(cache.u32(name)));
      }
    }
  }
  return found;
}

// glibc's _dl_cache_libcmp: runs of digits compare as numbers, so "libx.so.01" is "libx.so.1".
bool same_library_name(std::string_view left, std::string_view right) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto number = [&](std::string_view text, size_t& at) {
    while (at < text.size() && text[at] == '0') ++at;
    const size_t begin = at;
    while (at < text.size() && digit(text[at])) ++at;
    return text.substr(begin, at - begin);
  };
  size_t l = 0;
  size_t r = 0;
  while (l < left.size() && r < right.size()) {
    if (digit(left[l]) != digit(right[r])) return false;
    if (digit(left[l])) {
      if (number(left, l) != number(right, r)) return false;
    } else if (left[l++] != right[r++]) {
      return false;
    }
  }
  return l == left.size() && r == right.size();
}

}  // namespace

LdCache parse_ld_cache(std::string bytes) {
  LdCache result;
  result.found = true;
  result.bytes = std::make_shared<const std::string>(std::move(bytes));
  ByteView whole(*result.bytes);
  uint64_t start = 0;
  if (whole.bytes().substr(0, kOldMagic.size()) == kOldMagic) {
    start = kOldHeaderBytes + uint64_t{whole.u32(12)} * kOldEntryBytes;
    start = (start + 7) & ~uint64_t{7};
  }
  if (start > result.bytes->size() || whole.bytes().substr(start, kNewMagic.size()) != kNewMagic) {
    result.problem = "/etc/ld.so.cache: no table of format glibc-ld.so.cache1.1";
    return result;
  }
  ByteView cache(whole.bytes().substr(start));
  if ((cache.u8(28) & 3) == 3) {
    result.problem = "/etc/ld.so.cache: big-endian, expected little-endian";
    return result;
  }
  const uint64_t count = cache.u32(20);
  const Extensions extensions = read_extensions(cache, cache.u32(32));
  result.generator = extensions.generator;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = kHeaderBytes + i * kEntryBytes;
    if (!cache.has(at, kEntryBytes)) {
      result.problem = fmt::format("/etc/ld.so.cache: {} entries, {} are in the file", count, i);
      break;
    }
    LdCacheEntry entry;
    entry.flags = cache.u32(at);
    entry.name = cache.c_string(cache.u32(at + 4));
    entry.path = cache.c_string(cache.u32(at + 8));
    entry.hwcap = cache.u64(at + 16);
    const uint64_t index = entry.hwcap & 0xffffffff;
    if ((entry.hwcap & kHwcapExtension) != 0) {
      if (index >= extensions.hwcap_names.size()) continue;
      entry.hwcap_name = extensions.hwcap_names[index];
    }
    if (!entry.name.empty() && !entry.path.empty()) result.entries.push_back(entry);
  }
  return result;
}

uint32_t ld_cache_flags(int elf_class, uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return elf_class == 32 ? 0x803 : 0x303;
    case EM_AARCH64:
      return 0xa03;
    case EM_ARM:
      return 0x903;  // hard float, which is what Debian's and Ubuntu's armhf is
    case EM_RISCV:
      return 0x1003;
    case EM_S390:
      return elf_class == 64 ? 0x403 : 0x3;
    case EM_PPC64:
      return 0x503;
    default:
      return 0x3;
  }
}

size_t count_ld_cache_entries(const LdCache& cache, uint32_t flags) {
  return static_cast<size_t>(
      std::count_if(cache.entries.begin(), cache.entries.end(),
                    [flags](const LdCacheEntry& entry) { return entry.flags == flags; }));
}

std::string look_up_ld_cache(const LdCache& cache, std::string_view name, uint32_t flags,
                             const std::vector<std::string>& hwcaps, bool legacy_hwcaps) {
  std::string_view plain;
  std::string_view best;
  size_t best_rank = hwcaps.size();
  for (const LdCacheEntry& entry : cache.entries) {
    if (entry.flags != flags || !same_library_name(entry.name, name)) continue;
    if (!entry.hwcap_name.empty()) {
      const auto rank = static_cast<size_t>(
          std::find(hwcaps.begin(), hwcaps.end(), entry.hwcap_name) - hwcaps.begin());
      if (rank < best_rank) {
        best_rank = rank;
        best = entry.path;
      }
    } else if (entry.hwcap == 0 || legacy_hwcaps) {
      if (plain.empty()) plain = entry.path;
    }
  }
  return std::string(best.empty() ? plain : best);
}

}  // namespace ssmend
