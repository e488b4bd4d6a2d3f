// The image pack: a sequence of records, each a 128-byte little-endian header and the image's
// stored bytes, padded with zeros to 16. Images are stored compressed, which makes the library a
// sixth of its size (LZMA, by the build) or a third (the LZ4 block format, where an image is made
// without liblzma); one is unpacked when it is first wanted. Packs may be
// joined with `cat`. Written by kernels/compile, embedded in libssm_kernels.so at build time, or
// laid beside it as local_images.pack by `ssmend kernels build`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm {

inline constexpr char kPackMagic[8] = {'S', 'S', 'M', 'I', 'M', 'G', '1', '\n'};
inline constexpr size_t kPackHeaderBytes = 128;
inline constexpr size_t kPackUnitBytes = 40;

enum PackMethod : uint32_t { kPackLz4 = 0, kPackLzma = 1 };  // core/lzma.h

struct PackHeader {
  char magic[8];
  char unit[kPackUnitBytes];  // NUL-terminated
  uint32_t kind;              // ssm_image_kind
  uint32_t sm;
  uint32_t compiler;      // 11080
  uint32_t ptx_isa;       // 78; 0 for a cubin
  uint64_t size_bytes;    // of the image itself
  uint64_t source_hash;   // FNV-1a over the unit's sources: parameters of another version differ
  uint64_t stored_bytes;  // of the compressed image; size_bytes where it is not compressed
  uint32_t method;        // PackMethod
  uint8_t reserved[36];
};
static_assert(sizeof(PackHeader) == kPackHeaderBytes, "the pack format");

// Reads the record at *offset of a pack of `size` bytes and moves *offset past it. False, and an
// unchanged offset, at the end and at a record that is cut short or malformed. *stored: its bytes.
bool next_record(const uint8_t* pack, size_t size, size_t* offset, PackHeader* header,
                 const uint8_t** stored);

// Unpacks a record's stored bytes into `image`, of header.size_bytes. False where they are no block
// of exactly that size; nothing is read or written outside of either.
bool unpack_image(const PackHeader& header, const uint8_t* stored, uint8_t* image);

}  // namespace ssm
