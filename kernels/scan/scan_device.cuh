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

// `kCount` steps of a row as they lie in memory.
template <typename T, int kCount>
struct Steps {
  T value[kCount];
};

// Loads up to `available` steps from `row`; the others are zero. `aligned` promises that whole
// groups of kCount steps lie on a boundary of their size (or of 16 bytes).
template <typename T, int kCount>
__device__ __forceinline__ Steps<T, kCount> load_steps(const T* row, int available, bool aligned) {
  Steps<T, kCount> steps;
  constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
  if (kBytes >= 8 && aligned && available >= kCount) {
    if constexpr (kBytes == 8) {
      *reinterpret_cast<uint2*>(&steps) = *reinterpret_cast<const uint2*>(row);
    } else if constexpr (kBytes >= 16) {
#pragma unroll
      for (int i = 0; i < kBytes / 16; ++i) {
        reinterpret_cast<uint4*>(&steps)[i] = reinterpret_cast<const uint4*>(row)[i];
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      steps.value[i] = i < available ? row[i] : from_float<T>(0.0f);
    }
  }
  return steps;
}

// Stores up to `available` of kCount values, as float32 or as T.
template <typename T, int kCount>
__device__ __forceinline__ void store_steps(void* data, long long index,
                                            const float (&value)[kCount], int available,
                                            bool as_float, bool aligned) {
  if (as_float) {
    float* row = static_cast<float*>(data) + index;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (i < available) row[i] = value[i];
    }
    return;
  }
  T* row = static_cast<T*>(data) + index;
  constexpr int kBytes = kCount * static_cast<int>(sizeof(T));
  if (kBytes >= 8 && aligned && available >= kCount) {
    Steps<T, kCount> steps;
#pragma unroll
    for (int i = 0; i < kCount; ++i) steps.value[i] = from_float<T>(value[i]);
    if constexpr (kBytes == 8) {
      *reinterpret_cast<uint2*>(row) = *reinterpret_cast<uint2*>(&steps);
    } else if constexpr (kBytes >= 16) {
#pragma unroll
      for (int i = 0; i < kBytes / 16; ++i) {
        reinterpret_cast<uint4*>(row)[i] = reinterpret_cast<uint4*>(&steps)[i];
      }
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < available) row[i] = from_float<T>(value[i]);
  }
}

// One value of dout: float32 or T.
template <typename T>
__device__ __forceinline__ float load_value(const void* data, long long index, bool is_float) {
  if (is_float) return static_cast<const float*>(data)[index];
  return to_float(static_cast<const T*>(data)[index]);
}

// The pair (decay, state) that x keeps for one state of one channel and chunk.
__device__ __forceinline__ float2* saved_state(const ScanParams& p, long long batch,
                                               long long channel, int chunk, int state) {
  const long long chunks = (p.length + kScanChunk - 1) / kScanChunk;
  float2* pairs = reinterpret_cast<float2*>(p.x);
  return pairs + ((batch * p.dim + channel) * chunks + chunk) * p.states + state;
}

__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }

}  // namespace ssm
