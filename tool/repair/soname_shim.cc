#include "repair/soname_shim.h"

#include <elf.h>

#include <cstring>
#include <vector>

namespace ssmend {
namespace {

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Page sizes up to 64 KiB (aarch64) divide it.
constexpr uint64_t kAlignment = 0x10000;

}  // namespace

Result<std::string> soname_shim_bytes(const SonameShim& shim) {
  if (shim.machine != EM_X86_64 && shim.machine != EM_AARCH64) {
    return Error(shim.soname + ": no shim is made for ELF machine " + std::to_string(shim.machine));
  }
  std::string strings(1, '\0');
  const auto add = [&](const std::string& text) {
    const uint64_t at = strings.size();
    strings += text;
    strings += '\0';
    return at;
  };
  const uint64_t soname = add(shim.soname);
  const uint64_t needed = add(shim.needed);
  const uint64_t runpath = shim.runpath.empty() ? 0 : add(shim.runpath);
  while (strings.size() % 8 != 0) strings += '\0';

  constexpr uint64_t kSymbols = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
  constexpr uint64_t kHash = kSymbols + sizeof(Elf64_Sym);
  constexpr uint64_t kStrings = kHash + 4 * sizeof(uint32_t);
  static_assert(kStrings % 8 == 0);
  const uint64_t dynamic = kStrings + strings.size();

  std::vector<Elf64_Dyn> entries;
  const auto tag = [&](int64_t name, uint64_t value) {
    Elf64_Dyn entry{};
    entry.d_tag = name;
    entry.d_un.d_val = value;
    entries.push_back(entry);
  };
  tag(DT_SONAME, soname);
  tag(DT_NEEDED, needed);
  if (runpath != 0) tag(DT_RUNPATH, runpath);
  tag(DT_HASH, kHash);
  tag(DT_STRTAB, kStrings);
  tag(DT_SYMTAB, kSymbols);
  tag(DT_STRSZ, strings.size());
  tag(DT_SYMENT, sizeof(Elf64_Sym));
  tag(DT_NULL, 0);
  const uint64_t dynamic_size = entries.size() * sizeof(Elf64_Dyn);
  const uint64_t size = dynamic + dynamic_size;

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_DYN;
  header.e_machine = shim.machine;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  header.e_shentsize = sizeof(Elf64_Shdr);

  // Writable: the loader relocates the dynamic section in place.
  Elf64_Phdr load{};
  load.p_type = PT_LOAD;
  load.p_flags = PF_R | PF_W;
  load.p_filesz = load.p_memsz = size;
  load.p_align = kAlignment;
  Elf64_Phdr dynamic_header{};
  dynamic_header.p_type = PT_DYNAMIC;
  dynamic_header.p_flags = PF_R | PF_W;
  dynamic_header.p_offset = dynamic_header.p_vaddr = dynamic_header.p_paddr = dynamic;
  dynamic_header.p_filesz = dynamic_header.p_memsz = dynamic_size;
  dynamic_header.p_align = 8;
  Elf64_Phdr stack{};  // without this header the loader would ask for an executable stack
  stack.p_type = PT_GNU_STACK;
  stack.p_flags = PF_R | PF_W;
  stack.p_align = 16;

  std::string bytes;
  append(bytes, header);
  append(bytes, load);
  append(bytes, dynamic_header);
  append(bytes, stack);
  append(bytes, Elf64_Sym{});
  for (const uint32_t word : {1u, 1u, 0u, 0u}) append(bytes, word);  // one bucket, no symbol
  bytes += strings;
  for (const Elf64_Dyn& entry : entries) append(bytes, entry);
  return bytes;
}

}  // namespace ssmend
