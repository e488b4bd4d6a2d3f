#include "elf/elf_image.h"

#include <elf.h>

#include <algorithm>

#include "base/text.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

// One read brings header, program headers, notes and, in most files, the dynamic symbol table's
// beginning: system calls are what costs time over thousands of files.
constexpr uint64_t kHeadBytes = 16384;
constexpr uint64_t kHeaderBytes32 = 52;
constexpr uint64_t kHeaderBytes64 = 64;
constexpr uint64_t kProgramHeaderBytes32 = 32;
constexpr uint64_t kProgramHeaderBytes64 = 56;

}  // namespace

std::string elf_problem(const ElfFacts& facts, const std::string& text) {
  return printable(facts.path) + ": " + text;
}

bool ElfImage::read_headers(ElfFacts& facts) {
  Result<std::string> head = file_.read_at(0, kHeadBytes);
  if (!head.ok()) {
    facts.state = ElfState::kUnreadable;
    facts.system_errno = head.error().system_errno;
    facts.problem = head.error().message;
    return false;
  }
  head_ = std::move(head).value();
  ByteView ident(head_);
  if (head_.compare(0, SELFMAG, ELFMAG, std::min<size_t>(head_.size(), SELFMAG)) != 0 ||
      head_.empty()) {
    facts.state = head_.size() < kHeaderBytes64 ? ElfState::kTooShort : ElfState::kNotElf;
    facts.problem = elf_problem(
        facts, head_.empty() ? "0 bytes, no ELF file" : "no ELF file: wrong magic number");
    return false;
  }
  if (head_.size() < kHeaderBytes32) {
    facts.state = ElfState::kTooShort;
    facts.problem = elf_problem(facts, fmt::format("{} bytes, an ELF header has 64", head_.size()));
    return false;
  }
  facts.elf_class = ident.u8(EI_CLASS) == ELFCLASS64   ? 64
                    : ident.u8(EI_CLASS) == ELFCLASS32 ? 32
                                                       : 0;
  facts.big_endian = ident.u8(EI_DATA) == ELFDATA2MSB;
  facts.ident_data = ident.u8(EI_DATA);
  facts.ident_version = ident.u8(EI_VERSION);
  facts.os_abi = ident.u8(EI_OSABI);
  facts.abi_version = ident.u8(EI_ABIVERSION);
  facts.ident_padding_clear = std::string_view(head_).substr(EI_PAD, EI_NIDENT - EI_PAD) ==
                              std::string_view("\0\0\0\0\0\0\0", EI_NIDENT - EI_PAD);
  if (facts.elf_class == 0 || (facts.ident_data != ELFDATA2LSB && !facts.big_endian)) {
    facts.state = ElfState::kMalformed;
    facts.problem = elf_problem(facts, fmt::format("ELF class {} with data encoding {} is unknown",
                                                   ident.u8(EI_CLASS), facts.ident_data));
    return false;
  }
  wide_ = facts.elf_class == 64;
  big_endian_ = facts.big_endian;
  if (wide_ && head_.size() < kHeaderBytes64) {
    facts.state = ElfState::kTooShort;
    facts.problem = elf_problem(facts, fmt::format("{} bytes, an ELF header has 64", head_.size()));
    return false;
  }
  ByteView header = view(head_);
  facts.type = header.u16(16);
  facts.machine = header.u16(18);
  facts.file_version = header.u32(20);
  facts.flags = header.u32(wide_ ? 48 : 36);
  facts.program_header_size_bytes = header.u16(wide_ ? 54 : 42);
  const unsigned count = header.u16(wide_ ? 56 : 44);
  facts.state = ElfState::kOk;
  return read_program_headers(facts, wide_ ? header.u64(32) : header.u32(28), count);
}

bool ElfImage::read_program_headers(ElfFacts& facts, uint64_t offset, unsigned count) {
  const uint64_t entry_bytes = wide_ ? kProgramHeaderBytes64 : kProgramHeaderBytes32;
  if (facts.program_header_size_bytes != entry_bytes) {
    if (count == 0) return true;
    facts.state = ElfState::kMalformed;
    facts.problem = elf_problem(facts, fmt::format("program headers of {} bytes, expected {}",
                                                   facts.program_header_size_bytes, entry_bytes));
    return false;
  }
  const std::string bytes = read_offset(offset, count * entry_bytes);
  if (bytes.size() < count * entry_bytes) {
    facts.state = ElfState::kTooShort;
    facts.problem =
        elf_problem(facts, fmt::format("{} program headers end at {:#x}, file has {:#x} bytes",
                                       count, offset + count * entry_bytes, size_bytes_));
    return false;
  }
  ByteView table = view(bytes);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t at = i * entry_bytes;
    ProgramHeader segment;
    segment.type = table.u32(at);
    if (wide_) {
      segment.flags = table.u32(at + 4);
      segment.offset = table.u64(at + 8);
      segment.virtual_address = table.u64(at + 16);
      segment.file_size_bytes = table.u64(at + 32);
      segment.memory_size_bytes = table.u64(at + 40);
      segment.alignment = table.u64(at + 48);
    } else {
      segment.offset = table.u32(at + 4);
      segment.virtual_address = table.u32(at + 8);
      segment.file_size_bytes = table.u32(at + 16);
      segment.memory_size_bytes = table.u32(at + 20);
      segment.flags = table.u32(at + 24);
      segment.alignment = table.u32(at + 28);
    }
    segments_.push_back(segment);
  }
  return true;
}

uint64_t ElfImage::tag(int64_t tag) const {
  const auto found = dynamic_.find(tag);
  return found == dynamic_.end() ? 0 : found->second;
}

bool ElfImage::read_dynamic() {
  const ProgramHeader* dynamic = nullptr;
  for (const ProgramHeader& segment : segments_) {
    if (segment.type == PT_DYNAMIC) dynamic = &segment;  // the last one counts, as in ld.so
  }
  if (dynamic == nullptr) return false;
  // ld.so reads it where it is mapped, so by address; a file without PT_LOAD is read by offset.
  std::string bytes = read_address(dynamic->virtual_address, dynamic->memory_size_bytes);
  if (bytes.empty()) bytes = read_offset(dynamic->offset, dynamic->file_size_bytes);
  ByteView table = view(bytes);
  const uint64_t word = wide_ ? 8 : 4;
  for (uint64_t at = 0; table.has(at, 2 * word); at += 2 * word) {
    const int64_t tag = wide_ ? static_cast<int64_t>(table.u64(at))
                              : static_cast<int64_t>(static_cast<int32_t>(table.u32(at)));
    const uint64_t value = wide_ ? table.u64(at + 8) : table.u32(at + 4);
    if (tag == DT_NULL) break;
    if (tag == DT_NEEDED) {
      needed_.push_back(value);
    } else {
      dynamic_[tag] = value;
    }
  }
  return true;
}

std::string ElfImage::read_offset(uint64_t offset, uint64_t count) const {
  if (offset >= size_bytes_) return {};
  count = std::min(count, size_bytes_ - offset);
  if (offset + count <= head_.size()) return head_.substr(offset, count);
  Result<std::string> bytes = file_.read_at(offset, count);
  return bytes.ok() ? std::move(bytes).value() : std::string();
}

std::string ElfImage::read_address(uint64_t address, uint64_t count) const {
  for (const ProgramHeader& segment : segments_) {
    if (segment.type != PT_LOAD || address < segment.virtual_address) continue;
    const uint64_t within = address - segment.virtual_address;
    if (within >= segment.file_size_bytes || segment.offset > size_bytes_) continue;
    if (within > size_bytes_ - segment.offset) continue;
    return read_offset(segment.offset + within, std::min(count, segment.file_size_bytes - within));
  }
  return {};
}

}  // namespace ssmend
