// The rows of scan_rows.cu as a lane sees them: two neighbouring steps of each of its channels.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kStateLanes = 4;
constexpr int kWarpChannels = kLanes / kStateLanes;
constexpr int kTile = 32;
constexpr int kPitch = kTile + 4;  // rows 9 x 16 bytes apart: no bank conflicts in 16-byte reads
constexpr int kQuads = kTile / 4;
constexpr int kAreaFloats = kWarpChannels * kPitch;
constexpr int kScalarFloats = 4 * kWarpChannels;  // D, delta_bias, sums of step sizes, zeros

// Two neighbouring steps of a channel are one lane's; 16 lanes cover a tile, so a warp takes two
// channels at a time and goes through its 8 in four turns.
constexpr int kTurns = kWarpChannels / 2;

// One lane's two steps of a channel: in 16-bit types either one word, or two loads of one step each
// where rows are not aligned. Taken apart where they are used, not where they are loaded.
template <typename T>
struct Pair {
  uint32 first, second;

  __device__ __forceinline__ float at(int k, bool paired) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(k == 0 ? first : second);
    } else {
      T value;
      value.bits = static_cast<uint16>(k == 0 ? first : paired ? first >> 16 : second);
      return to_float(value);
    }
  }
};

__device__ __forceinline__ uint32 load_bits(const float* address) {
  return __float_as_uint(*address);
}

// One tensor's rows as a lane sees them: 32-bit offsets from the warp's first row (the launcher
// takes this kernel only where 8 rows lie within 2^31 elements).
template <typename T>
struct LaneRows {
  const T* base;
  int row_stride;

  __device__ __forceinline__ LaneRows(const ScanRows& rows, long long batch, int first)
      : base(rows.data ? static_cast<const T*>(rows.data) + batch * rows.batch_stride +
                             first * rows.row_stride
                       : nullptr),
        row_stride(static_cast<int>(rows.row_stride)) {}
  // Steps past the end and missing channels read their neighbours: loads need no predicate, and the
  // step size of such a step is set to 0.
  __device__ __forceinline__ void load_pairs(const int (&channel)[kTurns], int step, int end,
                                             Pair<T> (&out)[kTurns]) const {
    const int t = smaller(step, end - 2);
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const Steps<T, 2> pair = load_whole<T, 2>(base + (channel[i] * row_stride + t));
      out[i].first = pair.word[0];
      if constexpr (sizeof(T) == 4) out[i].second = pair.word[1];
    }
  }
  __device__ __forceinline__ void load_singles(const int (&channel)[kTurns], int step, int end,
                                               Pair<T> (&out)[kTurns]) const {
    const int t = smaller(step, end - 1);
    const int beside = smaller(step + 1, end - 1) - t;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const T* at = base + (channel[i] * row_stride + t);
      out[i].first = load_bits(at);
      out[i].second = load_bits(at + beside);
    }
  }
};

}  // namespace ssm
