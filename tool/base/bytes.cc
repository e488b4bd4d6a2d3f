#include "base/bytes.h"

namespace ssmend {

uint64_t ByteView::number(uint64_t offset, unsigned width) {
  if (!has(offset, width)) {
    bad_ = true;
    return 0;
  }
  uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const unsigned at = big_endian_ ? i : width - 1 - i;
    value = (value << 8) | static_cast<uint8_t>(bytes_[offset + at]);
  }
  return value;
}

std::string_view ByteView::slice(uint64_t offset, uint64_t count) {
  if (!has(offset, count)) {
    bad_ = true;
    return {};
  }
  return bytes_.substr(offset, count);
}

std::string_view ByteView::c_string(uint64_t offset) {
  if (offset >= bytes_.size()) {
    bad_ = true;
    return {};
  }
  const size_t end = bytes_.find('\0', offset);
  if (end == std::string_view::npos) {
    bad_ = true;
    return {};
  }
  return bytes_.substr(offset, end - offset);
}

}  // namespace ssmend
