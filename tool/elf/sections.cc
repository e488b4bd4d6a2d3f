#include "elf/sections.h"

#include <gelf.h>
#include <libelf.h>

namespace ssmend {

std::vector<ElfSection> read_sections(const ReadFile& file) {
  std::vector<ElfSection> sections;
  static const bool ready = elf_version(EV_CURRENT) != EV_NONE;
  if (!ready) return sections;
  // ELF_C_READ, not _MMAP: a file truncated meanwhile must be an error and not a SIGBUS.
  Elf* elf = elf_begin(file.descriptor(), ELF_C_READ, nullptr);
  if (elf == nullptr) return sections;
  size_t names = 0;
  size_t count = 0;
  if (elf_kind(elf) == ELF_K_ELF && elf_getshdrnum(elf, &count) == 0 && count != 0 &&
      elf_getshdrstrndx(elf, &names) == 0) {
    for (size_t i = 0; i < count; ++i) {
      ElfSection section;
      GElf_Shdr header;
      Elf_Scn* raw = elf_getscn(elf, i);
      if (raw != nullptr && gelf_getshdr(raw, &header) != nullptr) {
        const char* name = elf_strptr(elf, names, header.sh_name);
        if (name != nullptr) section.name = name;
        section.type = header.sh_type;
        section.address = header.sh_addr;
        section.offset = header.sh_offset;
        section.size_bytes = header.sh_type == SHT_NOBITS ? 0 : header.sh_size;
        section.link = header.sh_link;
      }
      sections.push_back(std::move(section));
    }
  }
  elf_end(elf);
  return sections;
}

bool is_fatbin_section(std::string_view name) {
  return name == ".nv_fatbin" || name == "__nv_relfatbin" || name == ".nvFatBinSegment";
}

}  // namespace ssmend
