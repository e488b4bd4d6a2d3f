// GPU code inside a host file: the images of NVIDIA's fat binaries, read without running anything.
//
// Format (little-endian; measured against nvcc 13.0 and ~10,000 images of NVIDIA's libraries):
// containers `50 ed 55 ba, u16 1, u16 16, u64 size` lie one after the other in .nv_fatbin, each
// holds entries: u16 kind, u16 0x0101, u32 header bytes, u64 payload bytes, u32 compressed bytes,
// u32 options offset, u16 minor, u16 major, u32 architecture, ..., u64 flags at 40, u64
// uncompressed bytes at 56. The next entry follows the payload; there is no terminator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

enum class GpuImageKind { kPtx, kCubin, kLtoIr, kOther };
enum class GpuCompression { kNone, kLz4, kZstd, kUnknown };

struct GpuImage {
  GpuImageKind kind = GpuImageKind::kOther;
  unsigned arch = 0;   // 87 for sm_87 (cubin) or compute_87 (PTX)
  char suffix = 0;     // 'a' (this architecture only), 'f' (its family), 0
  unsigned major = 0;  // PTX: ISA version; cubin: format version
  unsigned minor = 0;
  GpuCompression compression = GpuCompression::kNone;
  bool debug = false;
  uint64_t payload_bytes = 0;
  uint64_t uncompressed_bytes = 0;
  unsigned container = 0;  // number of the container it lies in
  // Entry points. -1: not known (compressed). PTX counts `.entry` directives.
  int kernels = -1;
};

struct FatBinary {
  std::string path;
  unsigned containers = 0;
  bool found_by_scan = false;  // outside .nv_fatbin, found by the magic number
  std::vector<GpuImage> images;
  std::string problem;  // a container that contradicts itself; what came before is kept
};

// "sm_87", "compute_90a", "lto_80"
std::string gpu_image_name(const GpuImage& image);
const char* compression_name(GpuCompression compression);

struct ReadFatBinaryOptions {
  // Look through the whole file where the sections hold no, or hardly any, code (libcufft keeps it
  // elsewhere): about 0.3 s for 100 MB.
  bool scan_whole_file = true;
};

// An error only where the file cannot be read. No images: no GPU code.
Result<FatBinary> read_fat_binary(const Disk& disk, const std::string& path,
                                  const ReadFatBinaryOptions& options = {});

// The containers in `bytes`, one after the other from its beginning (zero padding between them is
// skipped). Used by read_fat_binary and the fuzz target.
void parse_fat_containers(std::string_view bytes, FatBinary& result);

}  // namespace ssmend
