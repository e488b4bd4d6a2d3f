// Device code shared by the scan kernels: per-element arithmetic, loads of a few steps of a row.
#pragma once

#ifndef SSM_EMULATED  // the tests run these kernels on the CPU, with their own device.cuh
#include "core/device.cuh"
#endif
#include "scan/scan_params.h"

namespace ssm {

constexpr int kLanes = 32;
constexpr unsigned kFullWarp = 0xffffffffu;

// log1p(e) for e in [0, 1], relative error 2e-7: e times a polynomial fitted to the relative error.
// On the FMA pipe, because the special-function unit is what bounds the scan, and because the way
// over log2(1 + e) loses the digits of small e, which are the usual step sizes.
__device__ __forceinline__ float log1p_unit(float e) {
  float p = 0.005232624f;
  p = fmaf(p, e, -0.029504957f);
  p = fmaf(p, e, 0.07822549f);
  p = fmaf(p, e, -0.13663207f);
  p = fmaf(p, e, 0.19105989f);
  p = fmaf(p, e, -0.24842978f);
  p = fmaf(p, e, 0.33319095f);
  p = fmaf(p, e, -0.49999493f);
  p = fmaf(p, e, 0.99999994f);
  return e * p;
}

// softplus(x) = max(x, 0) + log1p(exp(-|x|)), good to float32 for every x.
__device__ __forceinline__ float softplus(float x) {
  return fmaxf(x, 0.0f) + log1p_unit(exp2_approx(-kLog2E * fabsf(x)));
}

// `kCount` steps of a row as the words that were loaded. They are taken apart only where they are
// used: taking them apart at once would wait for the load.
template <typename T, int kCount>
struct Steps {
  static constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
  static constexpr int kWords = (kBytes + 3) / 4;
  uint32 word[kWords];

  __device__ __forceinline__ float at(int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(word[i]);
    } else {
      T value;
      value.bits = static_cast<uint16>(word[i / 2] >> (i % 2 * 16));
      return to_float(value);
    }
  }
  __device__ __forceinline__ void set(int i, T value) {
    if constexpr (sizeof(T) == 4) {
      word[i] = __float_as_uint(value);
    } else if (i % 2 == 0) {
      word[i / 2] = value.bits;
    } else {
      word[i / 2] |= static_cast<uint32>(value.bits) << 16;
    }
  }
};

// One 16-bit element as a word. Written so, the word needs no masking, which would wait for the
// load.
template <typename T>
__device__ __forceinline__ uint32 load_bits(const T* address) {
#ifdef SSM_EMULATED
  return address->bits;
#else
  uint32 word;
  asm volatile("ld.global.u16 %0, [%1];" : "=r"(word) : "l"(address));
  return word;
#endif
}

// A word of the size of a whole group of steps, up to 16 bytes.
template <int kBytes>
struct Word {
  using Type = uint4;
};
template <>
struct Word<4> {
  using Type = uint32;
};
template <>
struct Word<8> {
  using Type = uint2;
};

template <typename T, int kCount>
__device__ __forceinline__ Steps<T, kCount> load_whole(const T* row) {
  Steps<T, kCount> steps;
  constexpr int kBytes = Steps<T, kCount>::kBytes;
  using Type = typename Word<(kBytes < 16 ? kBytes : 16)>::Type;
  if constexpr (kBytes == 2) {
    steps.word[0] = load_bits(row);
  } else {
#pragma unroll
    for (int i = 0; i < (kBytes + 15) / 16; ++i) {
      reinterpret_cast<Type*>(steps.word)[i] = reinterpret_cast<const Type*>(row)[i];
    }
  }
  return steps;
}

// Loads up to `available` steps from `row`; the others are zero. `aligned` promises that `row` lies
// on a boundary of the group's size (or of 16 bytes).
template <typename T, int kCount>
__device__ __forceinline__ Steps<T, kCount> load_steps(const T* row, int available, bool aligned) {
  if (available >= kCount && (kCount == 1 || aligned)) return load_whole<T, kCount>(row);
  Steps<T, kCount> steps;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    steps.set(i, i < available ? row[i] : from_float<T>(0.0f));
  }
  return steps;
}

// Stores up to `available` of kCount values.
template <typename T, int kCount>
__device__ __forceinline__ void store_typed(T* row, const float (&value)[kCount], int available,
                                            bool aligned) {
  if (kCount > 1 && aligned && available >= kCount) {
    Steps<T, kCount> steps;
    constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
    using Type = typename Word<(kBytes < 16 ? kBytes : 16)>::Type;
    constexpr int kPerWord = Packed<T>::kPerWord;
#pragma unroll
    for (int i = 0; i < kCount; i += kPerWord)
      steps.word[i / kPerWord] = Packed<T>::pack(value + i);
#pragma unroll
    for (int i = 0; i < (kBytes + 15) / 16; ++i) {
      reinterpret_cast<Type*>(row)[i] = reinterpret_cast<Type*>(steps.word)[i];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < available) row[i] = from_float<T>(value[i]);
  }
}

// The same to a tensor that is float32 or T.
template <typename T, int kCount>
__device__ __forceinline__ void store_steps(void* data, long long index,
                                            const float (&value)[kCount], int available,
                                            bool as_float, bool aligned) {
  if (as_float && sizeof(T) != 4) {
    store_typed<float, kCount>(static_cast<float*>(data) + index, value, available, aligned);
  } else {
    store_typed<T, kCount>(static_cast<T*>(data) + index, value, available, aligned);
  }
}

// The pair (decay, state) that x keeps for one state of one channel and chunk.
__device__ __forceinline__ float2* saved_state(const ScanParams& p, long long batch,
                                               long long channel, int chunk, int state) {
  const long long chunks = (p.length + kScanChunk - 1) / kScanChunk;
  float2* pairs = reinterpret_cast<float2*>(p.x);
  return pairs + ((batch * p.dim + channel) * chunks + chunk) * p.states + state;
}

__device__ __forceinline__ float2 make_pair(float x, float y) {
  float2 pair;
  pair.x = x;
  pair.y = y;
  return pair;
}

__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }

template <typename T>
__device__ __forceinline__ void store_quad(float* to, const Steps<T, 4>& quad) {
  float4 words;
  words.x = quad.at(0);
  words.y = quad.at(1);
  words.z = quad.at(2);
  words.w = quad.at(3);
  *reinterpret_cast<float4*>(to) = words;
}

// A thread's share of a tile of B and C on its way to shared memory: 4 steps of one state of one
// pass. Slots count along the steps, then the states of B, then those of C.
template <typename T, int kPassStates, int kTile>
struct Stager {
  const T* at;  // at pass 0, step 0
  int row;      // of the tile in shared memory; -1: this slot has nothing to do
  int quad;
  Steps<T, 4> raw;

  __device__ __forceinline__ void place(const ScanParams& p, long long batch, long long group,
                                        bool want_c, int slot) {
    row = slot / (kTile / 4);
    quad = slot % (kTile / 4) * 4;
    const ScanFactor& factor = row >= kPassStates ? p.C : p.B;
    at = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
         group * factor.row_stride + row % kPassStates * factor.state_stride + quad;
    if (row >= (want_c ? 2 : 1) * kPassStates || !factor.variable) row = -1;
  }
  __device__ __forceinline__ void load(const ScanParams& p, int pass, int step, int end) {
    if (row < 0) return;
    const ScanFactor& factor = row >= kPassStates ? p.C : p.B;
    const T* from = at + step;
    if (pass > 0) from += pass * kPassStates * factor.state_stride;
    const bool exists = pass * kPassStates + row % kPassStates < p.states;
    raw = load_steps<T, 4>(from, exists ? end - step - quad : 0, factor.aligned);
  }
  __device__ __forceinline__ void store(float* tile, int pitch) const {
    if (row >= 0) store_quad<T>(tile + row * pitch + quad, raw);
  }
  // As it was loaded, to be taken apart where it is read.
  __device__ __forceinline__ void store_raw(T* tile, int pitch) const {
    if (row < 0) return;
    using Type = typename Word<4 * static_cast<int>(sizeof(T))>::Type;
    *reinterpret_cast<Type*>(tile + row * pitch + quad) = *reinterpret_cast<const Type*>(raw.word);
  }
};

}  // namespace ssm
