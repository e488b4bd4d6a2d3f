// What forward and backward share: the extended input (initial states before position 0) and the
// weights of one channel.
#pragma once

#include "core/device.cuh"

namespace ssm {

// The input at any position: initial_states for -(W-1) .. -1, 0 further left and from `length` on.
template <typename T>
struct InputRow {
  const T* x;        // position 0 of one batch entry and channel
  const T* initial;  // state 0 of the same, or null
  int64 stride;      // along the length
  int64 initial_stride;
  int length;
  int taps;  // W - 1

  __device__ __forceinline__ T at(int position) const {
    T value = from_float<T>(0.0f);
    if (position >= 0) {
      if (position < length) value = x[position * stride];
    } else if (initial != nullptr && position >= -taps) {
      value = initial[(position + taps) * initial_stride];
    }
    return value;
  }
};

template <typename T, typename Params>
__device__ __forceinline__ InputRow<T> input_row(const Params& p, int64 batch, int64 channel) {
  InputRow<T> row;
  row.x = static_cast<const T*>(p.x) + batch * p.x_stride[0] + channel * p.x_stride[1];
  row.initial = p.initial_states == nullptr
                    ? nullptr
                    : static_cast<const T*>(p.initial_states) + batch * p.initial_stride[0] +
                          channel * p.initial_stride[1];
  row.stride = p.x_stride[2];
  row.initial_stride = p.initial_stride[2];
  row.length = p.length;
  row.taps = p.width - 1;
  return row;
}

// Weights and biases of K neighbouring channels. All loads leave before the first is converted.
template <int W, int K, typename Params>
__device__ __forceinline__ void load_weights(const Params& p, int64 channel, float (&weight)[W][K],
                                             float (&bias)[K]) {
  const int64 start = channel * p.weight_stride[0];
  const int64 bias_start = channel * p.bias_stride;
  uint32 bits[W][K];
  uint32 bias_bits[K];
#pragma unroll
  for (int k = 0; k < K; ++k) bias_bits[k] = 0;
  if (p.weight_dtype == kFloat32) {
    const uint32* const from = static_cast<const uint32*>(p.weight) + start;
    const uint32* const bias_from = static_cast<const uint32*>(p.bias) + bias_start;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j < W; ++j)
        bits[j][k] = from[k * p.weight_stride[0] + j * p.weight_stride[1]];
      if (p.bias != nullptr) bias_bits[k] = bias_from[k * p.bias_stride];
    }
  } else {
    const uint16* const from = static_cast<const uint16*>(p.weight) + start;
    const uint16* const bias_from = static_cast<const uint16*>(p.bias) + bias_start;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j < W; ++j)
        bits[j][k] = from[k * p.weight_stride[0] + j * p.weight_stride[1]];
      if (p.bias != nullptr) bias_bits[k] = bias_from[k * p.bias_stride];
    }
  }
  // One branch for all of them: a branch a value was most of the kernel's code.
  if (p.weight_dtype == kFloat16) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j < W; ++j) weight[j][k] = to_float(F16{static_cast<uint16>(bits[j][k])});
      bias[k] = to_float(F16{static_cast<uint16>(bias_bits[k])});
    }
  } else {
    const int left = p.weight_dtype == kBFloat16 ? 16 : 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j < W; ++j) weight[j][k] = __uint_as_float(bits[j][k] << left);
      bias[k] = __uint_as_float(bias_bits[k] << left);
    }
  }
}

template <typename Params>
__device__ __forceinline__ float load_bias(const Params& p, int64 channel) {
  return p.bias == nullptr ? 0.0f : load_as_float(p.bias, p.weight_dtype, channel * p.bias_stride);
}

__device__ __forceinline__ uint32 bits_of(float value) { return __float_as_uint(value); }
__device__ __forceinline__ uint32 bits_of(F16 value) { return value.bits; }
__device__ __forceinline__ uint32 bits_of(BF16 value) { return value.bits; }

// Some words of a row or of neighbouring channels: kCount elements.
template <typename T, int kWords>
struct Vector {
  static constexpr int kPerWord = Packed<T>::kPerWord;
  static constexpr int kCount = kWords * kPerWord;
  uint32 word[kWords];

  __device__ __forceinline__ void load(const T* address) { load_words(address, word); }
  __device__ __forceinline__ void store(T* address) const { store_words(address, word); }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = 0;
  }
  __device__ __forceinline__ void unpack(float* out) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) Packed<T>::unpack(word[i], out + i * kPerWord);
  }
  __device__ __forceinline__ void pack(const float* in) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = Packed<T>::pack(in + i * kPerWord);
  }
};

// 16 bytes of a row.
template <typename T>
using Chunk = Vector<T, 4>;

// A chunk that the row's start or end cuts, element by element, from a row of unit stride; below
// position 0 it holds the states. Rolled up: it is rare, and would else be most of a kernel.
template <typename T>
__device__ __forceinline__ Chunk<T> load_cut_chunk(const InputRow<T>& row, int position) {
  constexpr int kBits = 8 * sizeof(T);
  Chunk<T> chunk;
  chunk.clear();
#pragma unroll 1
  for (int i = Chunk<T>::kCount - 1; i >= 0; --i) {
    const int at = position + i;
    uint32 bits = 0;
    if (at >= 0) {
      if (at < row.length) bits = bits_of(row.x[at]);
    } else if (row.initial != nullptr && at >= -row.taps) {
      bits = bits_of(row.initial[(at + row.taps) * row.initial_stride]);
    }
#pragma unroll
    for (int w = 3; w >= 0; --w) {
      const uint32 below = w > 0 ? chunk.word[w > 0 ? w - 1 : 0] : bits << (32 - kBits);
      chunk.word[w] = kBits == 32 ? below : (chunk.word[w] << 16) | (below >> 16);
    }
  }
  return chunk;
}

template <typename T>
__device__ __forceinline__ void store_cut_chunk(const Chunk<T>& chunk, T* out, int position,
                                                int length) {
  float values[Chunk<T>::kCount];
  chunk.unpack(values);
#pragma unroll
  for (int i = 0; i < Chunk<T>::kCount; ++i) {
    const int at = position + i;
    if (at >= 0 && at < length) out[at] = from_float<T>(values[i]);
  }
}

// A chunk with what lies outside of a row of `length` set to 0.
template <typename T>
__device__ __forceinline__ void clear_outside(int position, int length, Chunk<T>* chunk) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32 mask = 0;
#pragma unroll
    for (int k = 0; k < Chunk<T>::kPerWord; ++k) {
      const int at = position + i * Chunk<T>::kPerWord + k;
      if (at >= 0 && at < length) mask |= (0xffffffffu >> (32 - 8 * sizeof(T))) << (k * 16);
    }
    chunk->word[i] &= mask;
  }
}

// SiLU folded into the weights: with weight and bias scaled by kSiluScale the sum is z = -log2(e)
// y, and y / (1 + exp(-y)) = z / (-log2(e) (1 + 2^z)), one instruction fewer an element.
inline constexpr float kSiluScale = -kLog2E;
__device__ __forceinline__ float scaled_silu(float z) {
  return z * reciprocal_approx(fmaf(exp2_approx(z), kSiluScale, kSiluScale));
}

template <int W, int K>
__device__ __forceinline__ void scale_weights(float (&weight)[W][K], float (&bias)[K]) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int j = 0; j < W; ++j) weight[j][k] *= kSiluScale;
    bias[k] *= kSiluScale;
  }
}

// The initial states of K neighbouring channels, 0 without any. Rolled up, through local memory:
// only a row's first tile comes here, and the code would be larger than the rest of the kernel.
template <typename T, int W, int K, typename Params>
__device__ __forceinline__ void load_states(const Params& p, int64 batch, int64 channel,
                                            float (&window)[W - 1][K]) {
  float staged[(W - 1) * K];
#pragma unroll 1
  for (int i = 0; i < (W - 1) * K; ++i) {
    staged[i] = 0.0f;
    if (p.initial_states != nullptr) {
      const T* const states = static_cast<const T*>(p.initial_states) +
                              batch * p.initial_stride[0] +
                              (channel + i % K) * p.initial_stride[1] + i / K * p.initial_stride[2];
      staged[i] = to_float(*states);
    }
  }
#pragma unroll
  for (int j = 0; j < W - 1; ++j) {
#pragma unroll
    for (int k = 0; k < K; ++k) window[j][k] = staged[j * K + k];
  }
}

// Elements between an address and the 16-byte boundary below it.
template <typename T>
__device__ __forceinline__ int misalignment(const T* address) {
  return static_cast<int>((reinterpret_cast<uint64>(address) & 15) / sizeof(T));
}

// The last words of a chunk, of which the chunk after needs W - 1 elements.
template <typename T, int W>
struct Halo {
  static constexpr int kPerWord = Packed<T>::kPerWord;
  static constexpr int kWords = W - 1 > 2 * kPerWord ? 4 : 2;
  uint32 word[kWords];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = 0;
  }
  // Those before an aligned address.
  __device__ __forceinline__ void load(const T* after) {
    load_words(after - kWords * kPerWord, word);
  }
  __device__ __forceinline__ void take(const Chunk<T>& chunk) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = chunk.word[4 - kWords + i];
  }
};

// The last W - 1 elements of each lane's predecessor in a row that runs through the lanes: lane 0
// takes them from `halo`, or where there is none from lane 31's `before`.
template <typename T, int W>
__device__ __forceinline__ void elements_before(const Chunk<T>& chunk, const Halo<T, W>* halo,
                                                const Chunk<T>& before, int lane, float* out) {
  constexpr int kPerWord = Packed<T>::kPerWord;
  constexpr int kWords = (W - 1 + kPerWord - 1) / kPerWord;
  float values[kWords * kPerWord];
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    const int index = 4 - kWords + i;
    uint32 word = halo == nullptr && lane == 31 ? before.word[index] : chunk.word[index];
    word = __shfl_sync(0xffffffffu, word, (lane + 31) & 31);
    if (halo != nullptr && lane == 0) word = halo->word[Halo<T, W>::kWords - kWords + i];
    Packed<T>::unpack(word, values + i * kPerWord);
  }
#pragma unroll
  for (int j = 0; j < W - 1; ++j) out[j] = values[kWords * kPerWord - (W - 1) + j];
}

// How a tile of a row lies in memory. Chunk c holds the positions c * K - shift and on, so that
// every chunk is aligned whatever the row's start.
template <typename T>
struct RowTile {
  static constexpr int K = Chunk<T>::kCount;
  int shift;
  int chunks;  // of the whole row
  int first;   // of the tile
  int count;   // of the tile; 0 or less: nothing to do

  __device__ __forceinline__ RowTile(const T* address, int length, int tile, int tile_size) {
    shift = misalignment(address);
    chunks = (shift + length + K - 1) / K;
    first = tile * tile_size;
    count = min(tile_size, chunks - first);
  }
  __device__ __forceinline__ int position(int index) const { return (first + index) * K - shift; }
  // Whether the row's first chunk (of the first tile) and its last reach beyond the row. Such a
  // chunk is still loaded whole where its bytes lie within the tensor: they are a neighbouring
  // row's.
  __device__ __forceinline__ bool head_cut() const { return first == 0 && shift > 0; }
  __device__ __forceinline__ bool tail_cut(int length) const {
    return (chunks * K - shift) != length;
  }
};

}  // namespace ssm
