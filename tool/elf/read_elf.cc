// ElfFacts from a file: headers, dynamic section, version tables. Symbols are in read_symbols.cc.
#include <elf.h>

#include <algorithm>

#include "base/text.h"
#include "elf/elf_facts.h"
#include "elf/elf_image.h"
#include "elf/read_symbols.h"
#include "elf/sections.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

// Longest accepted texts: enough for every RPATH seen, small enough for a hostile file.
constexpr uint64_t kStringTableLimit = uint64_t{256} << 20;
constexpr uint64_t kInterpreterLimit = 4096;
constexpr uint64_t kNoteLimit = 65536;
// Steps in one chain of the version tables. The largest real file seen (libc.so.6) has 43.
constexpr unsigned kChainLimit = 4096;

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

void read_notes(const ElfImage& image, const ProgramHeader& segment, ElfFacts& facts) {
  const std::string bytes =
      image.read_offset(segment.offset, std::min(segment.file_size_bytes, kNoteLimit));
  ByteView notes = image.view(bytes);
  const uint64_t align = segment.alignment == 8 ? 8 : 4;
  const auto up = [align](uint64_t value) { return (value + align - 1) & ~(align - 1); };
  for (uint64_t at = 0; notes.has(at, 12);) {
    const uint64_t name_bytes = notes.u32(at);
    const uint64_t value_bytes = notes.u32(at + 4);
    const uint64_t value_at = at + up(12 + name_bytes);
    if (!notes.has(value_at, value_bytes)) return;
    if (notes.u32(at + 8) == NT_GNU_BUILD_ID && name_bytes == 4 &&
        notes.slice(at + 12, 4) == std::string_view("GNU\0", 4)) {
      facts.build_id = to_hex(notes.slice(value_at, value_bytes));
      return;
    }
    at = value_at + up(value_bytes);
  }
}

void read_segments(const ElfImage& image, ElfFacts& facts) {
  for (const ProgramHeader& segment : image.segments()) {
    if (segment.type == PT_LOAD) {
      facts.loads.push_back({segment.offset, segment.file_size_bytes, segment.virtual_address,
                             segment.memory_size_bytes, segment.alignment, segment.flags});
      if (segment.offset > image.size_bytes() ||
          segment.file_size_bytes > image.size_bytes() - segment.offset) {
        facts.state = ElfState::kTooShort;
        facts.problem = elf_problem(
            facts, fmt::format("segment ends at {:#x}, file has {:#x} bytes",
                               segment.offset + segment.file_size_bytes, image.size_bytes()));
      }
    } else if (segment.type == PT_INTERP) {
      const std::string bytes =
          image.read_offset(segment.offset, std::min(segment.file_size_bytes, kInterpreterLimit));
      facts.interpreter = bytes.substr(0, bytes.find('\0'));
    } else if (segment.type == PT_NOTE && facts.build_id.empty()) {
      read_notes(image, segment, facts);
    } else if (segment.type == PT_GNU_STACK) {
      facts.has_gnu_stack = true;
      facts.gnu_stack_flags = segment.flags;
    } else if (segment.type == PT_TLS) {
      facts.tls_size_bytes = segment.memory_size_bytes;
      facts.tls_alignment = segment.alignment;
    }
  }
}

// Both version tables have entries of fixed size joined by relative offsets, which a hostile file
// may bend into a ring: every chain has a step limit and only goes forward.
void read_version_needs(const ElfImage& image, ByteView names, ElfFacts& facts, VersionNames& out) {
  const std::string bytes =
      image.read_address(image.tag(DT_VERNEED), std::min<uint64_t>(image.size_bytes(), 1 << 20));
  ByteView table = image.view(bytes);
  const uint64_t limit = std::min<uint64_t>(image.tag(DT_VERNEEDNUM), kChainLimit);
  uint64_t at = 0;
  for (uint64_t i = 0; i < limit && table.has(at, 16); ++i) {
    ElfVersionNeed need;
    need.file = names.c_string(table.u32(at + 4));
    uint64_t item_at = at + table.u32(at + 8);
    for (unsigned j = 0; j < table.u16(at + 2) && j < kChainLimit && table.has(item_at, 16); ++j) {
      ElfVersionNeed::Item item;
      const std::string_view version = names.c_string(table.u32(item_at + 8));
      item.version = version;
      item.weak = (table.u16(item_at + 4) & VER_FLG_WEAK) != 0;
      out.set(table.u16(item_at + 6) & 0x7fff, version);
      need.items.push_back(std::move(item));
      const uint32_t next = table.u32(item_at + 12);
      if (next == 0) break;
      item_at += next;
    }
    facts.version_needs.push_back(std::move(need));
    const uint32_t next = table.u32(at + 12);
    if (next == 0) break;
    at += next;
  }
}

void read_version_definitions(const ElfImage& image, ByteView names, ElfFacts& facts,
                              VersionNames& out) {
  const std::string bytes =
      image.read_address(image.tag(DT_VERDEF), std::min<uint64_t>(image.size_bytes(), 1 << 20));
  ByteView table = image.view(bytes);
  facts.has_version_definitions = table.has(0, 20);
  const uint64_t limit = std::min<uint64_t>(image.tag(DT_VERDEFNUM), kChainLimit);
  uint64_t at = 0;
  for (uint64_t i = 0; i < limit && table.has(at, 20); ++i) {
    const uint64_t name_at = at + table.u32(at + 12);
    if ((table.u16(at + 2) & VER_FLG_BASE) == 0 && table.has(name_at, 8)) {
      const std::string_view version = names.c_string(table.u32(name_at));
      facts.version_definitions.emplace_back(version);
      out.set(table.u16(at + 4) & 0x7fff, version);
    }
    const uint32_t next = table.u32(at + 16);
    if (next == 0) break;
    at += next;
  }
}

void read_dynamic_facts(ElfImage& image, const ReadElfOptions& options, ElfFacts& facts) {
  facts.has_dynamic = image.read_dynamic();
  if (!facts.has_dynamic) return;
  const uint64_t names_bytes = std::min(image.tag(DT_STRSZ), kStringTableLimit);
  auto names_text = std::make_shared<std::vector<std::string>>();
  names_text->push_back(image.read_address(image.tag(DT_STRTAB), names_bytes));
  if (names_text->front().size() < names_bytes && facts.problem.empty()) {
    facts.problem = elf_problem(facts, fmt::format("string table of {} bytes, {} are in the file",
                                                   names_bytes, names_text->front().size()));
  }
  ByteView names = image.view(names_text->front());
  for (const uint64_t name : image.needed()) facts.needed.emplace_back(names.c_string(name));
  facts.has_rpath = image.has_tag(DT_RPATH);
  facts.has_runpath = image.has_tag(DT_RUNPATH);
  if (image.has_tag(DT_SONAME)) facts.soname = names.c_string(image.tag(DT_SONAME));
  if (facts.has_rpath) facts.rpath = names.c_string(image.tag(DT_RPATH));
  if (facts.has_runpath) facts.runpath = names.c_string(image.tag(DT_RUNPATH));
  facts.dt_flags = image.tag(DT_FLAGS);
  facts.has_dt_flags_1 = image.has_tag(DT_FLAGS_1);
  facts.dt_flags_1 = image.tag(DT_FLAGS_1);
  facts.has_static_tls_flag = (facts.dt_flags & DF_STATIC_TLS) != 0;
  facts.has_relr = image.has_tag(kDynamicTagRelr);
  VersionNames versions;
  if (image.has_tag(DT_VERNEED)) read_version_needs(image, names, facts, versions);
  if (image.has_tag(DT_VERDEF)) read_version_definitions(image, names, facts, versions);
  if (options.symbols) {
    facts.symbol_names = names_text;
    read_symbols(image, names, versions, facts);
  }
}

}  // namespace

ElfFacts read_elf(const Disk& disk, const std::string& path, const ReadElfOptions& options) {
  ElfFacts facts;
  facts.path = path;
  const auto unreadable = [&facts](const Error& error) {
    facts.state = ElfState::kUnreadable;
    facts.system_errno = error.system_errno;
    facts.problem = error.message;
    return facts;
  };
  const Result<ReadFile> file = disk.open(path);
  if (!file.ok()) return unreadable(file.error());
  const Result<FileStat> stat = file->stat();
  if (!stat.ok()) return unreadable(stat.error());
  facts.device = stat->device;
  facts.inode = stat->inode;
  facts.size_bytes = stat->size_bytes;
  ElfImage image(*file, facts.size_bytes);
  if (!image.read_headers(facts)) return facts;
  read_segments(image, facts);
  read_dynamic_facts(image, options, facts);
  if (options.sections) {
    for (const ElfSection& section : read_sections(*file)) {
      facts.has_nv_fatbin = facts.has_nv_fatbin || is_fatbin_section(section.name);
    }
  }
  return facts;
}

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "aarch64";
    case EM_386:
      return "x86";
    case EM_ARM:
      return "arm";
    case EM_PPC64:
      return "ppc64";
    case EM_S390:
      return "s390";
    case EM_RISCV:
      return "riscv";
    case EM_MIPS:
      return "mips";
    case EM_CUDA:
      return "cuda";
    default:
      return "machine " + std::to_string(machine);
  }
}

}  // namespace ssmend
