// Any bytes as /etc/ld.so.cache.
#include <string>

#include "loader/ld_cache.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  const ssmend::LdCache cache =
      ssmend::parse_ld_cache(std::string(reinterpret_cast<const char*>(data), size));
  for (const ssmend::LdCacheEntry& entry : cache.entries) {
    (void)ssmend::look_up_ld_cache(cache, entry.name, entry.flags, {"x86-64-v2"}, true);
    if (cache.entries.size() > 64) break;
  }
  return 0;
}
