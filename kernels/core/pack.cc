#include "core/pack.h"

#include <cstring>

#include "core/lzma.h"

namespace ssm {

bool next_record(const uint8_t* pack, size_t size, size_t* offset, PackHeader* header,
                 const uint8_t** stored) {
  if (*offset > size || size - *offset < kPackHeaderBytes) return false;
  memcpy(header, pack + *offset, kPackHeaderBytes);
  if (memcmp(header->magic, kPackMagic, sizeof kPackMagic) != 0) return false;
  if (memchr(header->unit, '\0', kPackUnitBytes) == nullptr) return false;
  if (header->kind > 1 || header->method > kPackLzma) return false;
  // An image larger than this is no image of ours, and would only make somebody allocate.
  constexpr uint64_t kMostBytes = uint64_t{1} << 28;
  if (header->size_bytes == 0 || header->size_bytes > kMostBytes) return false;
  const size_t start = *offset + kPackHeaderBytes;
  if (header->stored_bytes == 0 || header->stored_bytes > size - start) return false;
  const size_t padded = (static_cast<size_t>(header->stored_bytes) + 15) & ~size_t{15};
  if (padded > size - start) return false;
  *stored = pack + start;
  *offset = start + padded;
  return true;
}

namespace {

// A length whose first part was 15: more bytes follow, the last below 255.
bool read_length(const uint8_t*& at, const uint8_t* end, size_t* length) {
  if (*length != 15) return true;
  uint8_t more = 255;
  while (more == 255) {
    if (at == end) return false;
    more = *at++;
    *length += more;
  }
  return true;
}

}  // namespace

bool unpack_image(const PackHeader& header, const uint8_t* stored, uint8_t* image) {
  const auto size = static_cast<size_t>(header.size_bytes);
  if (header.stored_bytes == header.size_bytes) {
    memcpy(image, stored, size);
    return true;
  }
  if (header.method == kPackLzma) return unpack_lzma(stored, header.stored_bytes, image, size);
  const uint8_t* at = stored;
  const uint8_t* const end = stored + header.stored_bytes;
  size_t made = 0;
  while (at != end) {
    const uint8_t token = *at++;
    size_t literals = token >> 4;
    if (!read_length(at, end, &literals)) return false;
    if (literals > static_cast<size_t>(end - at) || literals > size - made) return false;
    memcpy(image + made, at, literals);
    at += literals;
    made += literals;
    if (at == end) break;  // the last sequence has literals only
    if (end - at < 2) return false;
    const size_t distance = at[0] | static_cast<size_t>(at[1]) << 8;
    at += 2;
    size_t length = token & 15;
    if (!read_length(at, end, &length)) return false;
    length += 4;
    if (distance == 0 || distance > made || length > size - made) return false;
    for (size_t i = 0; i < length; ++i, ++made) image[made] = image[made - distance];
  }
  return made == size;
}

}  // namespace ssm
