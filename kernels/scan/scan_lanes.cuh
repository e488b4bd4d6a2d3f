// Scans in which a lane holds several states of a channel (scan_lanes.cu), B and C in shared
// memory.
//
// A lane holds kLaneStates states of each of kLaneChannels channels; a warp takes
// kLaneChannels * 32 / kStateLanes channels. B and C of a step
// are the same for all channels, so they lie in shared memory as float32, [B, C][state][step], and
// are converted once a block.
//
// What is done once per step and channel (loads, softplus, delta * u, D, the gate, stores) is done
// in tiles of kTile steps, of which a lane prepares kOwn neighbours of one channel. The two views
// meet in shared memory: step sizes and inputs on the way in, the lanes' shares of y on the way
// out. All tiles are whole (scan_plan.cc takes other shapes elsewhere), so that nothing is tested
// and the loads of a tile stand together: the compiler waits for earlier loads at every branch.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace lanes {

template <int kStateLanes, int kLaneChannels, int kTile>
struct View {
  static constexpr int kApart = kLanes / kStateLanes;  // channels between two of a lane
  static constexpr int kChannels = kApart * kLaneChannels;
  static constexpr int kPitch = kTile + 4;  // no bank conflicts in 16-byte reads
  static constexpr int kOwn = kChannels * kTile > kLanes ? kChannels* kTile / kLanes : 1;
  static constexpr int kRowLanes = kTile / kOwn;
  // The lanes' shares of y are stored 16 bytes at a time by 4 channels of 2 state lanes together.
  static constexpr int kArea = kChannels * kPitch + (kApart >= 8 ? 16 : 0);

  // What a lane prepares: one channel's steps from `step` on. Neighbouring lanes have neighbouring
  // steps, so that a load meets few rows at a time.
  static __device__ __forceinline__ int channel(int lane) { return lane / kRowLanes % kChannels; }
  static __device__ __forceinline__ int step(int lane) { return lane % kRowLanes * kOwn; }

  // What a lane scans. A 16-byte read by a warp is served in half as many turns where lanes that
  // differ in their lowest bit, or in the one above, read the same; so one is the channel's and one
  // the state lane's.
  static __device__ __forceinline__ int scanned(int lane) {
    if constexpr (kApart == 1) {
      return 0;
    } else {
      return lane % 2 + lane / 4 % (kApart / 2) * 2;
    }
  }
  static __device__ __forceinline__ int state_lane(int lane) {
    if constexpr (kApart == 1) {
      return lane;
    } else {
      return lane / 2 % 2 + lane / (2 * kApart) * 2;
    }
  }
};

// Neighbouring floats in shared memory.
template <int kCount>
__device__ __forceinline__ void read(const float* from, float (&to)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const float4 quad = *reinterpret_cast<const float4*>(from + i);
      to[i] = quad.x;
      to[i + 1] = quad.y;
      to[i + 2] = quad.z;
      to[i + 3] = quad.w;
    }
  } else if constexpr (kCount == 2) {
    const float2 pair = *reinterpret_cast<const float2*>(from);
    to[0] = pair.x;
    to[1] = pair.y;
  } else {
    to[0] = from[0];
  }
}
template <int kCount>
__device__ __forceinline__ void write(float* to, const float (&from)[kCount]) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      float4 quad;
      quad.x = from[i];
      quad.y = from[i + 1];
      quad.z = from[i + 2];
      quad.w = from[i + 3];
      *reinterpret_cast<float4*>(to + i) = quad;
    }
  } else if constexpr (kCount == 2) {
    *reinterpret_cast<float2*>(to) = make_pair(from[0], from[1]);
  } else {
    to[0] = from[0];
  }
}

// A thread's share of a tile of B and C: 16 bytes of one state's steps. Shares count along the
// steps, then the states of B, then those of C.
template <typename T, int kStates, int kTile, bool kWithC>
struct Share {
  static constexpr int kSteps = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPerRow = kTile / kSteps;
  static constexpr int kCount = (kWithC ? 2 : 1) * kStates * kPerRow;  // of a tile
  const T* at;
  Steps<T, kSteps> raw;

  // A state that does not exist reads the last one's and stores zeros.
  __device__ __forceinline__ void place(const ScanParams& p, long long batch, int group, int index,
                                        int step) {
    const int row = index / kPerRow;
    const ScanFactor& factor = row >= kStates ? p.C : p.B;
    at = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
         group * factor.row_stride + smaller(row % kStates, p.states - 1) * factor.state_stride +
         (step + index % kPerRow * kSteps);
  }
  __device__ __forceinline__ void load() { raw = load_whole<T, kSteps>(at); }
  __device__ __forceinline__ void store(float* tile, int index, int states) const {
    const int row = index / kPerRow;
    const bool exists = row % kStates < states;
    float value[kSteps];
#pragma unroll
    for (int i = 0; i < kSteps; ++i) value[i] = exists ? raw.at(i) : 0.0f;
    write(tile + row * (kTile + 4) + index % kPerRow * kSteps, value);
  }
};

}  // namespace lanes
}  // namespace ssm
