#include "environment/elf_identity.h"

#include <elf.h>

#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace ssmend {
namespace {

constexpr uint64_t kHeadBytes = 4096;  // holds the headers of every linked program seen
constexpr int kMaxProgramHeaders = 64;

struct MachineName {
  uint16_t machine;
  std::string_view name;
};

// First name of a machine: as in platform triplets.
constexpr std::array<MachineName, 11> kMachines = {{{EM_X86_64, "x86_64"},
                                                    {EM_X86_64, "amd64"},
                                                    {EM_AARCH64, "aarch64"},
                                                    {EM_AARCH64, "arm64"},
                                                    {EM_ARM, "arm"},
                                                    {EM_ARM, "armv7l"},
                                                    {EM_386, "i386"},
                                                    {EM_386, "i686"},
                                                    {EM_PPC64, "powerpc64le"},
                                                    {EM_S390, "s390x"},
                                                    {EM_RISCV, "riscv64"}}};

}  // namespace

Result<ElfIdentity> read_elf_identity(const Disk& disk, const std::string& path) {
  Result<ReadFile> file = disk.open(path);
  if (!file.ok()) return std::move(file).error();
  Result<std::string> head = file->read_at(0, kHeadBytes);
  if (!head.ok()) return std::move(head).error();
  if (head->size() < EI_NIDENT || head->compare(0, SELFMAG, ELFMAG) != 0) {
    return Error(printable(path) + ": not an ELF file");
  }
  ElfIdentity identity;
  identity.elf_class = (*head)[EI_CLASS] == ELFCLASS32 ? 32 : 64;
  ByteView view(*head, (*head)[EI_DATA] == ELFDATA2MSB);
  identity.machine = view.u16(18);
  const bool wide = identity.elf_class == 64;
  const uint64_t table = wide ? view.u64(32) : view.u32(28);
  const uint64_t entry_size = view.u16(wide ? 54 : 42);
  const int count = view.u16(wide ? 56 : 44);
  const uint64_t sections = wide ? view.u64(40) : view.u32(32);
  const uint64_t section_bytes =
      uint64_t{view.u16(wide ? 58 : 46)} * uint64_t{view.u16(wide ? 60 : 48)};
  if (sections != 0 && sections + section_bytes >= sections) {
    identity.section_table_end = sections + section_bytes;
  }
  for (int i = 0; i < count && i < kMaxProgramHeaders; ++i) {
    const uint64_t at = table + static_cast<uint64_t>(i) * entry_size;
    if (!view.has(at, wide ? 56 : 32)) break;
    if (view.u32(at) != PT_INTERP) continue;
    const uint64_t offset = wide ? view.u64(at + 8) : view.u32(at + 4);
    const uint64_t size = wide ? view.u64(at + 32) : view.u32(at + 16);
    if (size == 0 || size > kHeadBytes) break;
    const Result<std::string> name = file->read_at(offset, size);
    if (name.ok()) identity.loader = name->substr(0, name->find('\0'));
    break;
  }
  return identity;
}

std::string machine_architecture(uint16_t machine) {
  for (const MachineName& row : kMachines) {
    if (row.machine == machine) return std::string(row.name);
  }
  return {};
}

uint16_t architecture_machine(std::string_view architecture) {
  for (const MachineName& row : kMachines) {
    if (row.name == architecture) return row.machine;
  }
  return 0;
}

}  // namespace ssmend
