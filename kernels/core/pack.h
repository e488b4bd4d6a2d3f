// The image pack: a sequence of records, each a 128-byte little-endian header and the image's bytes
// padded with zeros to 16. Packs may be joined with `cat`. Written by kernels/compile, embedded in
// libssm_kernels.so at build time, or laid beside it as local_images.pack by `ssmend kernels
// build`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm {

inline constexpr char kPackMagic[8] = {'S', 'S', 'M', 'I', 'M', 'G', '1', '\n'};
inline constexpr size_t kPackHeaderBytes = 128;
inline constexpr size_t kPackUnitBytes = 40;

struct PackHeader {
  char magic[8];
  char unit[kPackUnitBytes];  // NUL-terminated
  uint32_t kind;              // ssm_image_kind
  uint32_t sm;
  uint32_t compiler;  // 11080
  uint32_t ptx_isa;   // 78; 0 for a cubin
  uint64_t size_bytes;
  uint64_t source_hash;  // FNV-1a over the unit's sources: parameters of another version differ
  uint8_t reserved[48];
};
static_assert(sizeof(PackHeader) == kPackHeaderBytes, "the pack format");

// Reads the record at *offset of a pack of `size` bytes and moves *offset past it. False, and an
// unchanged offset, at the end and at a record that is cut short or malformed.
bool next_record(const uint8_t* pack, size_t size, size_t* offset, PackHeader* header,
                 const uint8_t** image);

}  // namespace ssm
