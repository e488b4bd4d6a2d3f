#include "core/pack.h"

#include <cstring>

namespace ssm {

bool next_record(const uint8_t* pack, size_t size, size_t* offset, PackHeader* header,
                 const uint8_t** image) {
  if (*offset > size || size - *offset < kPackHeaderBytes) return false;
  memcpy(header, pack + *offset, kPackHeaderBytes);
  if (memcmp(header->magic, kPackMagic, sizeof kPackMagic) != 0) return false;
  if (memchr(header->unit, '\0', kPackUnitBytes) == nullptr) return false;
  if (header->kind > 1) return false;
  const size_t start = *offset + kPackHeaderBytes;
  if (header->size_bytes == 0 || header->size_bytes > size - start) return false;
  const size_t padded = (static_cast<size_t>(header->size_bytes) + 15) & ~size_t{15};
  if (padded > size - start) return false;
  // PTX is handed to the driver as text.
  if (header->kind == 1 && pack[start + header->size_bytes - 1] != '\0') return false;
  *image = pack + start;
  *offset = start + padded;
  return true;
}

}  // namespace ssm
