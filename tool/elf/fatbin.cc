#include "elf/fatbin.h"

#include <algorithm>
#include <functional>

#include "base/bytes.h"
#include "base/text.h"
#include "elf/sections.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr uint32_t kContainerMagic = 0xBA55ED50;
constexpr std::string_view kContainerStart("\x50\xed\x55\xba\x01\x00\x10\x00", 8);
constexpr uint64_t kContainerHeaderBytes = 16;
constexpr uint64_t kCubinHeaderBytes = 64;
constexpr uint64_t kEntryHeaderBytes = 64;  // the smallest seen; up to 128
constexpr size_t kMostImages = 1 << 20;

constexpr uint64_t kFlagDebug = 0x2;
constexpr uint64_t kFlagLz4 = 0x2000;
constexpr uint64_t kFlagZstd = 0x8000;
constexpr uint64_t kFlagSuffixA = 0x100000;
constexpr uint64_t kFlagSuffixF = 0x200000;

// Where the GPU code lies: a file, or bytes already in memory. Only headers are read, so that a
// library with 500 MB of kernels costs a few thousand small reads.
using ReadBytes = std::function<std::string(uint64_t offset, uint64_t count)>;

struct Source {
  ReadBytes read;
  uint64_t size_bytes = 0;
};

// A cubin is an ELF file; each kernel has its own section `.text.<name>`. The device-link stub that
// nvcc adds to every linked file has none, which is how it is told from code.
int count_cubin_kernels(const Source& source, uint64_t at, uint64_t size_bytes) {
  const std::string header_bytes = source.read(at, kCubinHeaderBytes);
  ByteView elf(header_bytes);
  const uint64_t sections_at = elf.u64(40);
  const uint64_t entry_bytes = elf.u16(58);
  const uint64_t count = elf.u16(60);
  if (elf.u32(0) != 0x464C457F || elf.u8(4) != 2 || elf.bad() || entry_bytes < 64 ||
      sections_at > size_bytes || count * entry_bytes > size_bytes - sections_at) {
    return -1;
  }
  const std::string table_bytes = source.read(at + sections_at, count * entry_bytes);
  ByteView table(table_bytes);
  const uint64_t names_entry = elf.u16(62) * entry_bytes;
  const uint64_t names_at = table.u64(names_entry + 24);
  const uint64_t names_size = table.u64(names_entry + 32);
  if (names_at > size_bytes || names_size > size_bytes - names_at) return -1;
  const std::string names_bytes = source.read(at + names_at, names_size);
  ByteView names(names_bytes);
  int kernels = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view name = names.c_string(table.u32(i * entry_bytes));
    if (name.size() > 6 && name.substr(0, 6) == ".text.") ++kernels;
  }
  return table.bad() || names.bad() ? -1 : kernels;
}

int count_ptx_kernels(std::string_view ptx) {
  constexpr std::string_view kEntry = ".entry ";
  int kernels = 0;
  for (size_t at = ptx.find(kEntry); at != std::string_view::npos; at = ptx.find(kEntry, at + 1)) {
    ++kernels;
  }
  return kernels;
}

GpuImage describe(const Source& source, ByteView header, uint64_t payload_at,
                  uint64_t payload_bytes) {
  GpuImage image;
  switch (header.u16(0)) {
    case 1:
      image.kind = GpuImageKind::kPtx;
      break;
    case 2:
      image.kind = GpuImageKind::kCubin;
      break;
    case 8:
      image.kind = GpuImageKind::kLtoIr;
      break;
    default:
      image.kind = GpuImageKind::kOther;
      break;
  }
  image.minor = header.u16(24);
  image.major = header.u16(26);
  image.arch = header.u32(28);
  const uint64_t flags = header.u64(40);
  image.payload_bytes = payload_bytes;
  image.uncompressed_bytes = header.u64(56);
  image.debug = (flags & kFlagDebug) != 0;
  if ((flags & kFlagSuffixA) != 0) image.suffix = 'a';
  if ((flags & kFlagSuffixF) != 0) image.suffix = 'f';
  if ((flags & kFlagZstd) != 0) {
    image.compression = GpuCompression::kZstd;
  } else if ((flags & kFlagLz4) != 0) {
    image.compression = GpuCompression::kLz4;
  } else if (header.u32(16) != 0) {
    image.compression = GpuCompression::kUnknown;
  }
  if (image.compression == GpuCompression::kNone) {
    if (image.kind == GpuImageKind::kCubin) {
      image.kernels = count_cubin_kernels(source, payload_at, payload_bytes);
    } else if (image.kind == GpuImageKind::kPtx) {
      image.kernels = count_ptx_kernels(source.read(payload_at, payload_bytes));
    }
    image.uncompressed_bytes = payload_bytes;
  }
  return image;
}

// One container at `at`; its whole size, or 0 where it does not hold together.
uint64_t parse_container(const Source& source, uint64_t at, FatBinary& result) {
  const std::string start = source.read(at, kContainerHeaderBytes);
  ByteView container(start);
  const uint64_t header_bytes = container.u16(6);
  const uint64_t body_bytes = container.u64(8);
  const uint64_t left = source.size_bytes - at;
  if (container.bad() || header_bytes < kContainerHeaderBytes || header_bytes > left ||
      body_bytes > left - header_bytes) {
    result.problem = fmt::format("{}: container at {:#x} claims {} bytes, {} are there",
                                 printable(result.path), at, body_bytes, left);
    return 0;
  }
  const unsigned number = result.containers++;
  const uint64_t end = at + header_bytes + body_bytes;
  for (uint64_t entry = at + header_bytes; entry < end;) {
    const std::string entry_start = source.read(entry, kEntryHeaderBytes);
    ByteView header(entry_start);
    const uint64_t entry_header_bytes = header.u32(4);
    const uint64_t payload_bytes = header.u64(8);
    if (end - entry < kEntryHeaderBytes || header.size() < kEntryHeaderBytes ||
        entry_header_bytes < kEntryHeaderBytes || entry_header_bytes > end - entry ||
        payload_bytes > end - entry - entry_header_bytes || result.images.size() >= kMostImages) {
      result.problem =
          fmt::format("{}: image at {:#x} leaves its container", printable(result.path), entry);
      return 0;
    }
    result.images.push_back(describe(source, header, entry + entry_header_bytes, payload_bytes));
    result.images.back().container = number;
    entry += entry_header_bytes + payload_bytes;
  }
  return end - at;
}

// The containers of [begin, end) of the source, one after the other.
void parse_containers(const Source& source, uint64_t begin, FatBinary& result) {
  uint64_t at = begin;
  while (at <= source.size_bytes && source.size_bytes - at >= kContainerHeaderBytes) {
    const std::string start = source.read(at, kContainerHeaderBytes);
    ByteView header(start);
    if (header.u32(0) != kContainerMagic) {
      // Padding between containers of different objects; anything else ends the walk.
      if (header.u64(0) != 0) {
        result.problem =
            fmt::format("{}: no container at {:#x} of the GPU code", printable(result.path), at);
        return;
      }
      at += 8;
      continue;
    }
    const uint64_t used = parse_container(source, at, result);
    if (used == 0) return;
    at = (at + used + 7) & ~uint64_t{7};
  }
}

Source source_of(const ReadFile& file, uint64_t size_bytes) {
  return {[&file](uint64_t offset, uint64_t count) {
            Result<std::string> bytes = file.read_at(offset, count);
            return bytes.ok() ? std::move(bytes).value() : std::string();
          },
          size_bytes};
}

constexpr uint64_t kScanChunkBytes = uint64_t{4} << 20;

// Containers anywhere in the file, at multiples of 8.
Result<void> scan_file(const ReadFile& file, uint64_t size_bytes, FatBinary& result) {
  const Source source = source_of(file, size_bytes);
  for (uint64_t base = 0; base < size_bytes;) {
    const Result<std::string> chunk = file.read_at(base, kScanChunkBytes);
    if (!chunk.ok()) return chunk.error();
    uint64_t next = base + kScanChunkBytes - 8;  // a start across the border is seen next time
    for (size_t at = chunk->find(kContainerStart); at != std::string::npos;) {
      uint64_t step = 1;
      if (((base + at) & 7) == 0) {
        step = std::max<uint64_t>(parse_container(source, base + at, result), 8);
      }
      if (step > chunk->size() - at) {
        next = base + at + step;
        break;
      }
      at = chunk->find(kContainerStart, at + step);
    }
    base = std::max(base + 8, next & ~uint64_t{7});
  }
  return {};
}

}  // namespace

void parse_fat_containers(std::string_view text, FatBinary& result) {
  const Source source{[text](uint64_t offset, uint64_t count) {
                        if (offset > text.size()) return std::string();
                        return std::string(text.substr(offset, count));
                      },
                      text.size()};
  parse_containers(source, 0, result);
}

std::string gpu_image_name(const GpuImage& image) {
  const char* prefix = image.kind == GpuImageKind::kCubin   ? "sm_"
                       : image.kind == GpuImageKind::kPtx   ? "compute_"
                       : image.kind == GpuImageKind::kLtoIr ? "lto_"
                                                            : "image_";
  std::string name = prefix + std::to_string(image.arch);
  if (image.suffix != 0) name += image.suffix;
  return name;
}

const char* compression_name(GpuCompression compression) {
  switch (compression) {
    case GpuCompression::kNone:
      return "none";
    case GpuCompression::kLz4:
      return "lz4";
    case GpuCompression::kZstd:
      return "zstd";
    default:
      return "unknown";
  }
}

Result<FatBinary> read_fat_binary(const Disk& disk, const std::string& path,
                                  const ReadFatBinaryOptions& options) {
  FatBinary result;
  result.path = path;
  const Result<ReadFile> file = disk.open(path);
  if (!file.ok()) return file.error();
  const Result<FileStat> stat = file->stat();
  if (!stat.ok()) return stat.error();
  bool has_segment = false;
  const std::vector<ElfSection> sections = read_sections(*file);
  for (const ElfSection& section : sections) {
    has_segment = has_segment || section.name == ".nvFatBinSegment";
    if (section.name != ".nv_fatbin" && section.name != "__nv_relfatbin") continue;
    const uint64_t end = section.offset + section.size_bytes;
    if (end < section.offset) continue;
    parse_containers(source_of(*file, std::min(end, stat->size_bytes)), section.offset, result);
  }
  // libcufft keeps its code in .ldata and one container in the usual place; a file without section
  // headers says nothing about where to look.
  const bool hardly_any =
      result.containers == 1 || (result.containers == 0 && (has_segment || sections.empty()));
  if (options.scan_whole_file && hardly_any) {
    FatBinary scanned;
    scanned.path = path;
    const Result<void> done = scan_file(*file, stat->size_bytes, scanned);
    if (!done.ok()) return done.error();
    if (scanned.containers > result.containers) {
      result = std::move(scanned);
      result.found_by_scan = true;
    }
  }
  return result;
}

}  // namespace ssmend
