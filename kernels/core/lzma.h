// Unpacks an LZMA stream (Igor Pavlov's "LZMA specification", 2015: range coder, 12 states, four
// last distances) without a header, with an end marker, and with lc = 0, lp = 4, pb = 4: what comes
// at which of 16 bytes says most about GPU code, of which an instruction has 16.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssm {

// False where `stored` is no such stream of exactly `size` bytes, or where memory ran out; nothing
// is read or written outside of either.
bool unpack_lzma(const uint8_t* stored, size_t stored_size, uint8_t* image, size_t size);

}  // namespace ssm
