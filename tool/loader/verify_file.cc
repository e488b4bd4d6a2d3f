#include "loader/verify_file.h"

#include <elf.h>

#include <cerrno>
#include <cstring>

#include "base/version.h"
#include "fmt/format.h"
#include "loader/indexed_file.h"

namespace ssmend {
namespace {

FileCheck skip(std::string reason, int error_number) {
  return {FileVerdict::kSkip, std::move(reason), error_number, false};
}
FileCheck stop(std::string reason) { return {FileVerdict::kStop, std::move(reason), 0, false}; }

FileCheck check_open(const ElfFacts& facts) {
  switch (facts.system_errno) {
    case EISDIR:
      return stop("cannot read file data: Is a directory");
    case EINVAL:
      return stop("not a regular file");
    case EIO:
      return stop("cannot read file data: Input/output error");
    case ENOENT:
      return skip("no such file", ENOENT);
    case EACCES:
      return skip("permission denied", EACCES);
    case ELOOP:
      return skip("too many levels of symbolic links", ELOOP);
    default:
      return skip(std::strerror(facts.system_errno), facts.system_errno);
  }
}

// glibc accepts ABI versions up to the highest feature of its libc-abis for the GNU OS/ABI.
constexpr int kMostAbiVersion = 3;

// The order is open_verify's: the first complaint is what people read.
FileCheck check_ident(const ElfFacts& facts, const SystemLoader& system) {
  if (facts.elf_class != system.elf_class) {
    FileCheck check = skip(fmt::format("other ELF class: {}-bit", facts.elf_class), ENOENT);
    check.other_class = true;
    return check;
  }
  if (facts.ident_data != ELFDATA2LSB) return stop("ELF file data encoding not little-endian");
  if (facts.ident_version != EV_CURRENT) {
    return stop("ELF file version ident does not match current one");
  }
  if (facts.os_abi != ELFOSABI_SYSV && facts.os_abi != ELFOSABI_GNU) {
    return stop("ELF file OS ABI invalid");
  }
  if (facts.abi_version != 0 &&
      (facts.os_abi != ELFOSABI_GNU || facts.abi_version > kMostAbiVersion)) {
    return stop("ELF file ABI version invalid");
  }
  if (!facts.ident_padding_clear) return stop("nonzero padding in e_ident");
  return {};
}

bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

std::string check_segments(const ElfFacts& facts, uint64_t page_bytes, bool new_rules) {
  for (const ElfLoadSegment& segment : facts.loads) {
    if ((segment.alignment & (page_bytes - 1)) != 0) {
      return "ELF load command alignment not page-aligned";
    }
    const uint64_t unit = new_rules ? page_bytes : segment.alignment;
    if (unit != 0 && ((segment.virtual_address - segment.offset) & (unit - 1)) != 0) {
      return new_rules ? "ELF load command address/offset not page-aligned"
                       : "ELF load command address/offset not properly aligned";
    }
    if (new_rules && segment.alignment != 0 && !is_power_of_two(segment.alignment)) {
      return "ELF load command alignment not power-of-2";
    }
  }
  return {};
}

bool lacks_relr_version(const ElfFacts& facts) {
  for (const ElfVersionNeed& need : facts.version_needs) {
    if (need.file.rfind("libc.so", 0) != 0) continue;
    for (const ElfVersionNeed::Item& item : need.items) {
      if (item.version == "GLIBC_ABI_DT_RELR") return false;
    }
    return true;
  }
  return false;  // nothing of libc is versioned: the loader does not complain
}

}  // namespace

FileCheck check_header(const ElfFacts& facts, const SystemLoader& system) {
  if (facts.state == ElfState::kUnreadable) return check_open(facts);
  if (facts.state == ElfState::kTooShort && facts.elf_class == 0) return stop("file too short");
  if (facts.state == ElfState::kNotElf) return stop("invalid ELF header");
  if (facts.elf_class == 0) return stop("invalid ELF header");
  FileCheck ident = check_ident(facts, system);
  if (ident.verdict != FileVerdict::kTake) return ident;
  if (facts.file_version != EV_CURRENT) return stop("ELF file version does not match current one");
  if (facts.machine != system.machine) {
    return skip("other machine: " + machine_name(facts.machine), ENOENT);
  }
  if (facts.type != ET_DYN && facts.type != ET_EXEC) {
    return stop("only ET_DYN and ET_EXEC can be loaded");
  }
  const unsigned expected = facts.elf_class == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
  if (facts.program_header_size_bytes != expected) {
    return stop("ELF file's phentsize not the expected size");
  }
  if (facts.state == ElfState::kTooShort && facts.loads.empty())
    return stop("cannot read file data");
  return {};
}

std::string check_mapping(const ElfFacts& facts, const ProcessState& state, bool opened) {
  const std::string version = state.system->version.empty() ? "2.36" : state.system->version;
  if (facts.type == ET_EXEC) return "cannot dynamically load executable";
  if (facts.loads.empty()) return "object file has no loadable segments";
  std::string problem =
      check_segments(facts, state.context.page_size_bytes, compare_dotted(version, "2.35") >= 0);
  if (!problem.empty()) return problem;
  if (!facts.has_dynamic) return "object file has no dynamic section";
  if ((facts.dt_flags_1 & DF_1_PIE) != 0) {
    return "cannot dynamically load position-independent executable";
  }
  if (opened && (facts.dt_flags_1 & DF_1_NOOPEN) != 0) return "shared object cannot be dlopen()ed";
  if (opened && facts.has_gnu_stack && (facts.gnu_stack_flags & PF_X) != 0 &&
      compare_dotted(version, "2.41") >= 0) {
    return "cannot enable executable stack as shared object requires: Invalid argument";
  }
  if (facts.state == ElfState::kTooShort) {
    return "truncated: the process ends with SIGBUS (" + facts.problem + ")";
  }
  if (facts.has_relr) {
    if (compare_dotted(version, "2.36") < 0)
      return "DT_RELR relocations, which glibc knows from 2.36";
    if (lacks_relr_version(facts)) return "DT_RELR without GLIBC_ABI_DT_RELR dependency";
  }
  return {};
}

}  // namespace ssmend
