// Any bytes as an ELF file: facts, relocations, contract. Must answer, never fault, never hang.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "elf/contract.h"
#include "elf/elf_facts.h"
#include "elf/fatbin.h"
#include "elf/read_symbols.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  static const std::unique_ptr<ssmend::Disk> disk = ssmend::open_system_disk();
  static const int descriptor = ::memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, data, size, 0) != static_cast<ssize_t>(size)) {
    return 0;
  }
  (void)ssmend::read_elf(*disk, path, {.symbols = true, .sections = true});
  (void)ssmend::read_relocations(*disk, path);
  (void)ssmend::read_contract(*disk, path);
  (void)ssmend::read_fat_binary(*disk, path);
  return 0;
}
