// What the lanes of scan_gradient.cu do with four steps: reading them, and the sums over lanes.
#pragma once

#include "scan/scan_tile.cuh"

namespace ssm {
namespace tile {

constexpr int kQuarter = 4;                   // steps whose decays are in registers
constexpr int kQuarters = kSteps / kQuarter;  // of a tile
constexpr int kKeptFloats = 4 * kLanes + 4;   // padded: four steps of all rows are read across

// Four steps of this lane's states.
template <int kLaneStates>
struct Quads {
  float value[kLaneStates][kQuarter];
};
__device__ __forceinline__ void read(const float* from, float (&to)[kQuarter]) {
  const float4 quad = *reinterpret_cast<const float4*>(from);
  to[0] = quad.x;
  to[1] = quad.y;
  to[2] = quad.z;
  to[3] = quad.w;
}

// Sums over the warp's channels: afterwards the lane has the row of its own number, counting 16
// for dB, then 16 for dC (of fewer states, the first of each).
template <int kLaneStates>
__device__ __forceinline__ float over_channels(int lane, float (&db)[kLaneStates],
                                               float (&dc)[kLaneStates]) {
  constexpr int kBeside = kLaneStates == 1 ? 0 : 1;
#pragma unroll
  for (int s = 0; s < kLaneStates; s += 2) {
    db[s] += __shfl_xor_sync(kFullWarp, db[s + kBeside], 4);
    dc[s] += __shfl_xor_sync(kFullWarp, dc[s + kBeside], 4);
  }
  constexpr int kOther = kLaneStates == 4 ? 2 : 0;
  db[0] += __shfl_xor_sync(kFullWarp, db[kOther], 8);
  dc[0] += __shfl_xor_sync(kFullWarp, dc[kOther], 8);
  const bool upper = lane >= 16;
  return (upper ? dc[0] : db[0]) + __shfl_xor_sync(kFullWarp, upper ? db[0] : dc[0], 16);
}

// Sums over a channel's lanes: afterwards each has that of the step of its own number.
__device__ __forceinline__ float over_states(int p_lane, const float (&value)[kQuarter]) {
  const bool odd = p_lane & 1;
  const bool upper = p_lane & 2;
  const float low =
      (upper ? value[2] : value[0]) + __shfl_xor_sync(kFullWarp, upper ? value[0] : value[2], 2);
  const float high =
      (upper ? value[3] : value[1]) + __shfl_xor_sync(kFullWarp, upper ? value[1] : value[3], 2);
  return (odd ? high : low) + __shfl_xor_sync(kFullWarp, odd ? low : high, 1);
}

}  // namespace tile
}  // namespace ssm
