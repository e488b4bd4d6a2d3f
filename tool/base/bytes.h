// The only way untrusted bytes are read: a view with bounds-checked little- or big-endian access.
// A read outside the view gives the fallback (0) and marks the reader as bad; nothing ever faults.
#pragma once

#include <cstdint>
#include <string_view>

namespace ssmend {

class ByteView {
 public:
  ByteView() = default;
  explicit ByteView(std::string_view bytes, bool big_endian = false)
      : bytes_(bytes), big_endian_(big_endian) {}

  [[nodiscard]] uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  [[nodiscard]] bool has(uint64_t offset, uint64_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }

  uint8_t u8(uint64_t offset) { return static_cast<uint8_t>(number(offset, 1)); }
  uint16_t u16(uint64_t offset) { return static_cast<uint16_t>(number(offset, 2)); }
  uint32_t u32(uint64_t offset) { return static_cast<uint32_t>(number(offset, 4)); }
  uint64_t u64(uint64_t offset) { return number(offset, 8); }

  // Empty, and bad, where the range does not lie inside.
  std::string_view slice(uint64_t offset, uint64_t count);
  // The bytes up to the next NUL; empty, and bad, where there is no NUL inside the view.
  std::string_view c_string(uint64_t offset);

  [[nodiscard]] bool bad() const { return bad_; }  // some read fell outside since construction

 private:
  uint64_t number(uint64_t offset, unsigned width);

  std::string_view bytes_;
  bool big_endian_ = false;
  bool bad_ = false;
};

}  // namespace ssmend
