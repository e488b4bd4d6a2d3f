// What scan_ends.cu has of a tile: which channels a warp has, and its view along the steps, in
// which every element is loaded and prepared.
//
// A block is 4 warps; a warp has 8 channels of one group and one batch; a tile is 32 steps. Along
// the steps a lane holds one step of each of the 8 channels, so a load is one element wide and
// needs no alignment. In the recurrences a channel has 4 lanes and a lane kLaneStates states.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace tile {

constexpr int kStateLanes = 4;
constexpr int kWarpChannels = kLanes / kStateLanes;
constexpr int kBlockWarps = 4;
constexpr int kSteps = 32;          // of a tile
constexpr int kPitch = kSteps + 4;  // rows 9 x 16 bytes apart: no bank conflicts
constexpr int kAreaFloats = kWarpChannels * kPitch;

// One element as the word that was loaded, taken apart where it is used.
template <typename T>
__device__ __forceinline__ uint32 load_element(const T* address) {
  if constexpr (sizeof(T) == 4) {
    return __float_as_uint(*address);
  } else {
    return load_bits(address);
  }
}
template <typename T>
__device__ __forceinline__ float element_value(uint32 word) {
  if constexpr (sizeof(T) == 4) {
    return __uint_as_float(word);
  } else {
    T value;
    value.bits = static_cast<uint16>(word);
    return to_float(value);
  }
}

// A warp's channels.
struct Place {
  int lane, warp, c_lane, p_lane;
  int group, count;  // channels that exist
  long long batch, first, channel;
  bool has_channel;

  __device__ __forceinline__ explicit Place(const ScanParams& p) {
    warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    c_lane = lane / kStateLanes;
    p_lane = lane % kStateLanes;
    constexpr int kBlockChannels = kWarpChannels * kBlockWarps;
    const int group_channels = static_cast<int>(p.dim / p.groups);
    const int group_blocks = (group_channels + kBlockChannels - 1) / kBlockChannels;
    group = static_cast<int>(blockIdx.x) / group_blocks;
    const int within =
        static_cast<int>(blockIdx.x) % group_blocks * kBlockChannels + warp * kWarpChannels;
    first = group * group_channels + smaller(within, group_channels - 1);
    count = within < group_channels ? smaller(kWarpChannels, group_channels - within) : 0;
    batch = blockIdx.y;
    has_channel = c_lane < count;
    channel = first + (has_channel ? c_lane : 0);
  }
};

template <typename T>
__device__ __forceinline__ T* lane_column(const ScanRows& rows, const Place& at, int t) {
  return static_cast<T*>(rows.data) + at.batch * rows.batch_stride + at.first * rows.row_stride + t;
}

// A lane's elements of 8 rows at one step. Missing channels and steps past the end read an element
// that exists; whoever uses them makes the step size 0.
template <typename T>
struct LaneColumn {
  uint32 word[kWarpChannels];

  __device__ __forceinline__ void load(const ScanRows& rows, const Place& at, int t) {
    const int stride = static_cast<int>(rows.row_stride);
    const T* base = lane_column<const T>(rows, at, t);
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      word[c] = load_element(base + smaller(c, at.count > 0 ? at.count - 1 : 0) * stride);
    }
  }
  __device__ __forceinline__ float at(int c) const { return element_value<T>(word[c]); }
};

}  // namespace tile
}  // namespace ssm
