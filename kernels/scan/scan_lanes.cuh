// Scans in which a lane holds several states of a channel (scan_lanes.cu), B and C in shared
// memory.
//
// A warp takes 32 / kStateLanes channels; a lane holds kLaneStates states of one. B and C of a step
// are the same for all channels, so they lie in shared memory as float32, [step][B, C][state],
// where lanes that read the same 16 bytes are served together, and are converted once a block.
//
// What is done once per step and channel (loads, softplus, delta * u, D, the gate, stores) is done
// in tiles of 32 steps, of which a lane prepares kOwn neighbours of one channel. The two views meet
// in shared memory: step sizes and inputs on the way in, the lanes' shares of y on the way out. All
// tiles are whole (scan_plan.cc takes other shapes elsewhere), so that nothing is tested and the
// loads of a tile stand together: the compiler waits for earlier loads at every branch.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace lanes {

constexpr int kTile = 32;
constexpr int kPitch = kTile + 4;  // no bank conflicts in 16-byte reads

template <int kStateLanes>
struct View {
  static constexpr int kChannels = kLanes / kStateLanes;
  static constexpr int kOwn = kTile / kStateLanes;
  static constexpr int kArea = kChannels * kPitch;

  // What a lane prepares: one channel's steps from `step` on. Neighbouring lanes have neighbouring
  // steps, so that a load meets few rows at a time.
  static __device__ __forceinline__ int channel(int lane) { return lane / kStateLanes; }
  static __device__ __forceinline__ int step(int lane) { return lane % kStateLanes * kOwn; }
};

// A thread's share of a tile of B and C: 16 bytes of one state's steps. Shares count along the
// states of B, then those of C, then the steps: stores to shared memory then meet no bank twice.
template <typename T, int kStates, bool kWithC>
struct Share {
  static constexpr int kSteps = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRow = (kWithC ? 2 : 1) * kStates;  // floats of a step
  static constexpr int kCount = kRow * kTile / kSteps;     // of a tile
  Steps<T, kSteps> raw;

  __device__ __forceinline__ void load(const ScanParams& p, long long batch, int group, int index,
                                       int step) {
    const int row = index % kRow;
    const ScanFactor& factor = row >= kStates ? p.C : p.B;
    raw = load_whole<T, kSteps>(static_cast<const T*>(factor.data) + batch * factor.batch_stride +
                                group * factor.row_stride +
                                smaller(row % kStates, p.states - 1) * factor.state_stride +
                                (step + index / kRow * kSteps));
  }
  // States that do not exist are zero: their h stays zero.
  __device__ __forceinline__ void store(float* tile, int index, int states) const {
    const bool exists = index % kStates < states;
    float* to = tile + index / kRow * kSteps * kRow + index % kRow;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) to[i * kRow] = exists ? raw.at(i) : 0.0f;
  }
};

}  // namespace lanes
}  // namespace ssm
