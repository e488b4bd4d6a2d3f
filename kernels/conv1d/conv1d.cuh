// What forward and backward share: the extended input (initial states before position 0) and the
// weights of one channel.
#pragma once

#include "core/device.cuh"

namespace ssm {

// The input at any position: initial_states for -(W-1) .. -1, 0 further left and from `length` on.
template <typename T>
struct InputRow {
  const T* x;             // position 0 of one batch entry and channel
  const T* initial;       // state 0 of the same, or null
  int64 stride;           // along the length
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

template <int W, typename Params>
__device__ __forceinline__ void load_weights(const Params& p, int64 channel, float (&weight)[W]) {
  const int64 start = channel * p.weight_stride[0];
  if (p.weight_dtype == kFloat32) {
#pragma unroll
    for (int j = 0; j < W; ++j) {
      weight[j] = static_cast<const float*>(p.weight)[start + j * p.weight_stride[1]];
    }
  } else {
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const uint16 bits = static_cast<const uint16*>(p.weight)[start + j * p.weight_stride[1]];
      weight[j] = p.weight_dtype == kFloat16 ? to_float(F16{bits}) : to_float(BF16{bits});
    }
  }
}

template <typename Params>
__device__ __forceinline__ float load_bias(const Params& p, int64 channel) {
  return p.bias == nullptr ? 0.0f : load_as_float(p.bias, p.weight_dtype, channel * p.bias_stride);
}

// 16 bytes of a row: kCount elements in four words.
template <typename T>
struct Chunk {
  static constexpr int kCount = 16 / sizeof(T);
  static constexpr int kPerWord = Packed<T>::kPerWord;
  uint32 word[4];

  __device__ __forceinline__ void load(const T* address) {
    const uint4 value = *reinterpret_cast<const uint4*>(address);
    word[0] = value.x;
    word[1] = value.y;
    word[2] = value.z;
    word[3] = value.w;
  }
  __device__ __forceinline__ void store(T* address) const {
    *reinterpret_cast<uint4*>(address) = make_uint4(word[0], word[1], word[2], word[3]);
  }
  __device__ __forceinline__ void clear() { word[0] = word[1] = word[2] = word[3] = 0; }
  __device__ __forceinline__ void unpack(float* out) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) Packed<T>::unpack(word[i], out + i * kPerWord);
  }
  __device__ __forceinline__ void pack(const float* in) {
#pragma unroll
    for (int i = 0; i < 4; ++i) word[i] = Packed<T>::pack(in + i * kPerWord);
  }
};

// A chunk that the row's start or end cuts, element by element, from a row of unit stride; `before`
// is set where it reaches below position 0.
template <typename T>
__device__ __forceinline__ Chunk<T> load_cut_chunk(const InputRow<T>& row, int position,
                                                   bool before) {
  T values[Chunk<T>::kCount];
#pragma unroll
  for (int i = 0; i < Chunk<T>::kCount; ++i) {
    const int at = position + i;
    values[i] = from_float<T>(0.0f);
    if (at >= 0 && at < row.length) values[i] = row.x[at];
  }
  if (before && row.initial != nullptr) {
#pragma unroll
    for (int i = 0; i < Chunk<T>::kCount; ++i) {
      const int state = position + i + row.taps;
      if (state >= 0 && state < row.taps) values[i] = row.initial[state * row.initial_stride];
    }
  }
  Chunk<T> chunk;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float pair[Chunk<T>::kPerWord];
#pragma unroll
    for (int k = 0; k < Chunk<T>::kPerWord; ++k) {
      pair[k] = to_float(values[i * Chunk<T>::kPerWord + k]);
    }
    chunk.word[i] = Packed<T>::pack(pair);
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

// The W - 1 inputs before `position` of a row of unit stride, where `wanted`.
template <typename T, int W>
__device__ __forceinline__ void load_halo(const InputRow<T>& row, int position, bool wanted,
                                          float (&halo)[W - 1]) {
#pragma unroll
  for (int j = 0; j < W - 1; ++j) {
    const int at = position - (W - 1) + j;
    T value = from_float<T>(0.0f);
    if (wanted && at >= 0) value = row.x[at];
    if (wanted && at < 0 && at >= -(W - 1) && row.initial != nullptr) {
      value = row.initial[(at + W - 1) * row.initial_stride];
    }
    halo[j] = to_float(value);
  }
}

// Elements between an address and the 16-byte boundary below it.
template <typename T>
__device__ __forceinline__ int misalignment(const T* address) {
  return static_cast<int>((reinterpret_cast<uint64>(address) & 15) / sizeof(T));
}

// The last W - 1 elements of each lane's predecessor in a row that runs through the lanes and then
// through the chunks v = 0, 1, ... of each lane. Lane 0 takes them from lane 31's chunk before, and
// for v = 0 from `halo`, the W - 1 elements before the tile.
template <typename T, int W>
__device__ __forceinline__ void elements_before(const Chunk<T>& chunk, const Chunk<T>* before,
                                                const float* halo, int lane, float* out) {
  constexpr int kPerWord = Packed<T>::kPerWord;
  constexpr int kWords = (W - 1 + kPerWord - 1) / kPerWord;
  float values[kWords * kPerWord];
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    const int index = 4 - kWords + i;
    uint32 word = chunk.word[index];
    if (before != nullptr && lane == 31) word = before->word[index];
    word = __shfl_sync(0xffffffffu, word, (lane + 31) & 31);
    Packed<T>::unpack(word, values + i * kPerWord);
  }
#pragma unroll
  for (int j = 0; j < W - 1; ++j) {
    out[j] = values[kWords * kPerWord - (W - 1) + j];
    if (before == nullptr && lane == 0) out[j] = halo[j];
  }
}

}  // namespace ssm
