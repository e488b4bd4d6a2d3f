// ElfImage: an open ELF file seen through its program headers, as the loader sees it: header,
// segments, the dynamic section, and bytes by virtual address. Inside tool/elf only.
//
// Read with pread and bounds-checked views rather than through libelf: ld.so loads files whose
// section headers libelf refuses (stripped or damaged tables), and the answer here has to be
// ld.so's. libelf is used where sections matter (elf/sections.cc).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/disk.h"
#include "elf/elf_facts.h"

namespace ssmend {

struct ProgramHeader {
  uint32_t type = 0;
  uint32_t flags = 0;
  uint64_t offset = 0;
  uint64_t virtual_address = 0;
  uint64_t file_size_bytes = 0;
  uint64_t memory_size_bytes = 0;
  uint64_t alignment = 0;
};

class ElfImage {
 public:
  // `size_bytes` of the file as fstat has it.
  ElfImage(const ReadFile& file, uint64_t size_bytes) : file_(file), size_bytes_(size_bytes) {}

  // Reads the file header and the program headers into `facts` (state, problem and all fields of
  // the header) and into this object. False where the file cannot be described any further.
  bool read_headers(ElfFacts& facts);
  // Tag -> value of PT_DYNAMIC, for tags that occur once; `needed` in file order. The last of
  // several equal tags wins, as in ld.so. False where there is no dynamic section.
  bool read_dynamic();

  [[nodiscard]] const std::vector<ProgramHeader>& segments() const { return segments_; }
  [[nodiscard]] bool wide() const { return wide_; }  // ELFCLASS64
  [[nodiscard]] bool big_endian() const { return big_endian_; }
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] const std::vector<uint64_t>& needed() const { return needed_; }
  [[nodiscard]] bool has_tag(int64_t tag) const { return dynamic_.count(tag) != 0; }
  [[nodiscard]] uint64_t tag(int64_t tag) const;  // 0 where it is not there
  [[nodiscard]] const std::map<int64_t, uint64_t>& tags() const { return dynamic_; }

  // Up to `count` bytes at a file offset or a virtual address; fewer where the segment or the file
  // ends before; empty where nothing lies there.
  [[nodiscard]] std::string read_offset(uint64_t offset, uint64_t count) const;
  [[nodiscard]] std::string read_address(uint64_t address, uint64_t count) const;
  [[nodiscard]] ByteView view(std::string_view bytes) const { return ByteView(bytes, big_endian_); }

 private:
  bool read_program_headers(ElfFacts& facts, uint64_t offset, unsigned count);

  const ReadFile& file_;
  uint64_t size_bytes_;
  std::string head_;  // the first bytes of the file: most small tables lie there
  bool wide_ = true;
  bool big_endian_ = false;
  std::vector<ProgramHeader> segments_;
  std::map<int64_t, uint64_t> dynamic_;
  std::vector<uint64_t> needed_;
};

// "libx.so: 12 bytes, an ELF header has 64"
std::string elf_problem(const ElfFacts& facts, const std::string& text);

}  // namespace ssmend
