#include "core/lzma.h"

#include <cstdlib>

namespace ssm {
namespace {

using Chance = uint16_t;  // of a 0, in 2048ths

constexpr int kStates = 12;
constexpr int kPlaces = 16;  // 1 << pb = 1 << lp
constexpr uint32_t kEndMarker = 0xFFFFFFFFu;

struct LengthChances {
  Chance is_longer, is_longest;
  Chance low[kPlaces][8], middle[kPlaces][8], high[256];
};

struct Chances {
  Chance is_match[kStates][kPlaces];
  Chance is_repeat[kStates], is_repeat_0[kStates], is_repeat_1[kStates], is_repeat_2[kStates];
  Chance is_long_repeat_0[kStates][kPlaces];
  Chance slot[4][64], special[128], aligned[16];
  LengthChances match_length, repeat_length;
  Chance literal[kPlaces][0x300];
};

class RangeReader {
 public:
  RangeReader(const uint8_t* at, const uint8_t* end) : at_(at), end_(end) {
    failed_ = next() != 0;
    for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
  }

  unsigned bit(Chance& chance) {
    normalize();
    const uint32_t bound = (range_ >> 11) * chance;
    if (code_ < bound) {
      range_ = bound;
      chance = static_cast<Chance>(chance + ((2048 - chance) >> 5));
      return 0;
    }
    range_ -= bound;
    code_ -= bound;
    chance = static_cast<Chance>(chance - (chance >> 5));
    return 1;
  }

  // `bits` bits, the highest first; chances[1] is the first bit's.
  unsigned tree(Chance* chances, int bits) {
    unsigned node = 1;
    for (int i = 0; i < bits; ++i) node = node << 1 | bit(chances[node]);
    return node - (1u << bits);
  }
  // Likewise, the lowest first.
  unsigned reverse_tree(Chance* chances, int bits) {
    unsigned node = 1;
    unsigned value = 0;
    for (int i = 0; i < bits; ++i) {
      const unsigned one = bit(chances[node]);
      node = node << 1 | one;
      value |= one << i;
    }
    return value;
  }
  // Bits of even chance.
  unsigned direct(int bits) {
    unsigned value = 0;
    for (int i = 0; i < bits; ++i) {
      normalize();
      range_ >>= 1;
      const unsigned one = code_ >= range_ ? 1 : 0;
      if (one) code_ -= range_;
      value = value << 1 | one;
    }
    return value;
  }

  unsigned length(LengthChances& chances, unsigned place) {
    if (bit(chances.is_longer) == 0) return tree(chances.low[place], 3);
    if (bit(chances.is_longest) == 0) return 8 + tree(chances.middle[place], 3);
    return 16 + tree(chances.high, 8);
  }

  bool failed() const { return failed_; }

 private:
  uint8_t next() {
    if (at_ != end_) return *at_++;
    failed_ = true;
    return 0;
  }
  void normalize() {
    if (range_ >= 1u << 24) return;
    range_ <<= 8;
    code_ = code_ << 8 | next();
  }

  const uint8_t* at_;
  const uint8_t* end_;
  uint32_t range_ = 0xFFFFFFFFu;
  uint32_t code_ = 0;
  bool failed_ = false;
};

uint32_t read_distance(RangeReader& reader, Chances& chances, unsigned length) {
  const uint32_t slot = reader.tree(chances.slot[length < 3 ? length : 3], 6);
  if (slot < 4) return slot;
  const int bits = static_cast<int>(slot >> 1) - 1;
  const uint32_t start = (2u | (slot & 1)) << bits;
  if (slot < 14) return start + reader.reverse_tree(chances.special + start - slot, bits);
  return start + (reader.direct(bits - 4) << 4) + reader.reverse_tree(chances.aligned, 4);
}

uint8_t read_literal(RangeReader& reader, Chance* chances, bool after_match, unsigned likely) {
  unsigned symbol = 1;
  if (after_match) {
    // While its bits agree with those of the byte at the last distance, those choose the chances.
    while (symbol < 0x100) {
      const unsigned expected = likely >> 7 & 1;
      likely <<= 1;
      const unsigned one = reader.bit(chances[((1 + expected) << 8) + symbol]);
      symbol = symbol << 1 | one;
      if (one != expected) break;
    }
  }
  while (symbol < 0x100) symbol = symbol << 1 | reader.bit(chances[symbol]);
  return static_cast<uint8_t>(symbol);
}

bool unpack(RangeReader& reader, Chances& chances, uint8_t* image, size_t size) {
  size_t made = 0;
  unsigned state = 0;
  uint32_t last[4] = {0, 0, 0, 0};  // distances less 1, the latest first
  while (!reader.failed()) {
    const unsigned place = static_cast<unsigned>(made) % kPlaces;
    if (reader.bit(chances.is_match[state][place]) == 0) {
      if (made == size || (state >= 7 && last[0] >= made)) return false;
      const unsigned likely = state >= 7 ? image[made - last[0] - 1] : 0;
      image[made++] = read_literal(reader, chances.literal[place], state >= 7, likely);
      state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
      continue;
    }
    size_t length = 1;
    if (reader.bit(chances.is_repeat[state]) == 0) {
      length = reader.length(chances.match_length, place);
      for (int i = 3; i > 0; --i) last[i] = last[i - 1];
      last[0] = read_distance(reader, chances, static_cast<unsigned>(length));
      if (last[0] == kEndMarker) return made == size && !reader.failed();
      length += 2;
      state = state < 7 ? 7 : 10;
    } else if (reader.bit(chances.is_repeat_0[state]) == 0) {
      if (reader.bit(chances.is_long_repeat_0[state][place]) == 0) {
        state = state < 7 ? 9 : 11;  // one byte
      } else {
        length = 2 + reader.length(chances.repeat_length, place);
        state = state < 7 ? 8 : 11;
      }
    } else {
      const int which = reader.bit(chances.is_repeat_1[state]) == 0   ? 1
                        : reader.bit(chances.is_repeat_2[state]) == 0 ? 2
                                                                      : 3;
      const uint32_t distance = last[which];
      for (int i = which; i > 0; --i) last[i] = last[i - 1];
      last[0] = distance;
      length = 2 + reader.length(chances.repeat_length, place);
      state = state < 7 ? 8 : 11;
    }
    if (last[0] >= made || length > size - made) return false;
    for (size_t i = 0; i < length; ++i, ++made) image[made] = image[made - last[0] - 1];
  }
  return false;
}

}  // namespace

bool unpack_lzma(const uint8_t* stored, size_t stored_size, uint8_t* image, size_t size) {
  auto* chances = static_cast<Chances*>(std::malloc(sizeof(Chances)));
  if (chances == nullptr) return false;
  static_assert(sizeof(Chances) % sizeof(Chance) == 0, "chances only");
  auto* each = reinterpret_cast<Chance*>(chances);
  for (size_t i = 0; i < sizeof(Chances) / sizeof(Chance); ++i) each[i] = 1024;
  RangeReader reader(stored, stored + stored_size);
  const bool ok = unpack(reader, *chances, image, size);
  std::free(chances);
  return ok;
}

}  // namespace ssm
