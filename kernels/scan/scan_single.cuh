// What the scans of one state share (scan_single.cu, scan_single_backward.cu).
//
// With one state a step costs one exponential, so bytes are the limit, and all lanes lie along the
// length: a lane takes kRun steps in a row. A channel that ends within a warp's tile of 256 steps
// gets a segment of the warp, the fewest lanes (a power of two, at least 4) that hold it; a longer
// one gets whole warps, time_warps of them side by side. That is a team. A block's teams take a
// channel each, then the next ones, with B and C of their steps in registers all the while.
//
// Every lane runs its steps from the state zero; the pairs (product of decays, end state) compose
// by shuffles within a segment and, between the warps of a team, through shared memory.
//
// Rows are read 16 bytes a lane where all of them allow it. Else a segment reads single elements
// side by side and turns them into runs through shared memory.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace single {

constexpr int kRun = 8;
constexpr int kTile = kLanes * kRun;
constexpr int kLeastSegment = 4;
// A warp's own shared memory: its elements with kRun more after each segment (which keeps the
// segments on different banks), or the sums of dB and dC.
constexpr int kArea = 2 * kTile;

// An element as a word, or 0 where it does not exist, without a branch: the compiler waits for
// earlier loads at each.
__device__ __forceinline__ uint32 load_element(const float* address, bool exists) {
  return exists ? __float_as_uint(*address) : 0;
}
template <typename T>
__device__ __forceinline__ uint32 load_element(const T* address, bool exists) {
#ifdef SSM_EMULATED
  return exists ? address->bits : 0;
#else
  uint32 word = 0;
  asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\n@p ld.global.u16 %0, [%1];\n}"
               : "+r"(word)
               : "l"(address), "r"(static_cast<int>(exists)));
  return word;
#endif
}

template <typename T>
struct Team {
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements of a whole load

  const ScanParams& p;
  int lane, warp, place, segment, segment_lanes, segments;
  int time_warp, time_warps, channel_warp, channel_warps;
  int teams, team, rounds, length, block, group_channels;
  long long batch, group;
  float* area;

  __device__ __forceinline__ explicit Team(const ScanParams& parameters, float* areas)
      : p(parameters) {
    const int warps = static_cast<int>(blockDim.x) / kLanes;
    warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    segments = p.channels_per_warp;
    segment_lanes = kLanes / segments;
    segment = lane / segment_lanes;
    place = lane % segment_lanes;
    time_warps = p.time_warps;
    time_warp = warp % time_warps;
    channel_warp = warp / time_warps;
    channel_warps = warps / time_warps;
    teams = channel_warps * segments;
    team = channel_warp * segments + segment;
    group_channels = static_cast<int>(p.dim) / p.groups;
    const int group_blocks = static_cast<int>(gridDim.x) / p.groups;
    const int block_channels = (group_channels + group_blocks - 1) / group_blocks;
    rounds = (block_channels + teams - 1) / teams;
    group = blockIdx.x / group_blocks;
    block = static_cast<int>(blockIdx.x) % group_blocks;
    batch = blockIdx.y;
    length = static_cast<int>(p.length);
    area = areas + warp * kArea;
  }

  // The channel of this team's round, and whether there is one: else a row that exists is read and
  // nothing is written.
  __device__ __forceinline__ bool channel_of(int round, int* channel) const {
    const int within = (block * rounds + round) * teams + team;
    *channel = static_cast<int>(group) * group_channels + smaller(within, group_channels - 1);
    return within < group_channels;
  }

  template <typename E>
  __device__ __forceinline__ E* row(const ScanRows& rows, int channel) const {
    return static_cast<E*>(rows.data) + (batch * rows.batch_stride + channel * rows.row_stride);
  }

  // This lane's steps from t on. What lies past the end is a copy of something that exists: no
  // branch here either.
  template <typename E>
  __device__ __forceinline__ void load_run(const E* from, int t, Steps<E, kRun>& steps) const {
    constexpr int kElements = 16 / static_cast<int>(sizeof(E));
#pragma unroll
    for (int i = 0; i < kRun / kElements; ++i) {
      const uint4 words =
          *reinterpret_cast<const uint4*>(from + smaller(t + i * kElements, length - kElements));
      steps.word[4 * i] = words.x;
      steps.word[4 * i + 1] = words.y;
      steps.word[4 * i + 2] = words.z;
      steps.word[4 * i + 3] = words.w;
    }
  }
  // The same steps element by element, a segment's lanes side by side: element i of this lane is
  // step t0 + i * segment_lanes + place, where t0 is the segment's first.
  template <typename E>
  __device__ __forceinline__ void load_spread(const E* from, int t0, uint32 (&word)[kRun]) const {
    const E* at = from + (t0 + place);
    int left = length - t0 - place;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      word[i] = load_element(at, left > 0);
      at += segment_lanes;
      left -= segment_lanes;
    }
  }
  template <typename E>
  __device__ __forceinline__ E* own_area() const {
    return reinterpret_cast<E*>(area) + segment * (segment_lanes + 1) * kRun;
  }
  template <typename E>
  __device__ __forceinline__ void gather(const uint32 (&word)[kRun], Steps<E, kRun>& steps) const {
    E* elements = own_area<E>();
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      E* to = elements + i * segment_lanes + place;
      if constexpr (sizeof(E) == 4) {
        *to = __uint_as_float(word[i]);
      } else {
        to->bits = static_cast<uint16>(word[i]);
      }
    }
    __syncwarp();
    steps = load_whole<E, kRun>(elements + place * kRun);
    __syncwarp();
  }

  template <typename E>
  __device__ __forceinline__ void store_run(E* to, int t, const float (&value)[kRun], int end,
                                            bool whole) const {
    if (whole) {
      constexpr int kElements = 16 / static_cast<int>(sizeof(E));
#pragma unroll
      for (int i = 0; i < kRun; i += kElements) {
        float part[kElements];
#pragma unroll
        for (int k = 0; k < kElements; ++k) part[k] = value[i + k];
        if (t + i < end) store_typed<E, kElements>(to + t + i, part, kElements, true);
      }
      return;
    }
    E* elements = own_area<E>();
    store_typed<E, kRun>(elements + place * kRun, value, kRun, true);
    __syncwarp();
    const int first = t - place * kRun + place;
    E* at = to + first;
    int left = end - first;
    const E* element = elements + place;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (left > 0) *at = *element;
      at += segment_lanes;
      element += segment_lanes;
      left -= segment_lanes;
    }
    __syncwarp();
  }
  __device__ __forceinline__ void store_rows(const ScanRows& rows, int channel, int t,
                                             const float (&value)[kRun], int end,
                                             bool as_float) const {
    if (as_float && sizeof(T) != 4) {
      store_run<float>(row<float>(rows, channel), t, value, end, p.rows_aligned);
    } else {
      store_run<T>(row<T>(rows, channel), t, value, end, p.rows_aligned);
    }
  }

  // B or C of this lane's steps.
  __device__ __forceinline__ void load_factor(const ScanFactor& factor, int t,
                                              Steps<T, kRun>& steps) const {
    const T* from = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
                    group * factor.row_stride;
    if (p.rows_aligned) {
      load_run(from, t, steps);
    } else {
      uint32 word[kRun];
      load_spread(from, t - place * kRun, word);
      gather(word, steps);
    }
  }
};

// h_end = decay * h_begin + state over a stretch.
struct Pair {
  float decay, state;
};

// Over the lanes of a segment up to and with this one, and before it.
__device__ __forceinline__ void scan_up(Pair own, int place, Pair* upto, Pair* before) {
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) {
    const float decay = __shfl_up_sync(kFullWarp, own.decay, distance);
    const float state = __shfl_up_sync(kFullWarp, own.state, distance);
    if (place >= distance) {
      own.state = fmaf(own.decay, state, own.state);
      own.decay *= decay;
    }
  }
  *upto = own;
  before->decay = __shfl_up_sync(kFullWarp, own.decay, 1);
  before->state = __shfl_up_sync(kFullWarp, own.state, 1);
  if (place == 0) *before = Pair{1.0f, 0.0f};
}

// The same from the right.
__device__ __forceinline__ void scan_down(Pair own, int place, int lanes, Pair* from, Pair* after) {
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) {
    const float decay = __shfl_down_sync(kFullWarp, own.decay, distance);
    const float state = __shfl_down_sync(kFullWarp, own.state, distance);
    if (place + distance < lanes) {
      own.state = fmaf(own.decay, state, own.state);
      own.decay *= decay;
    }
  }
  *from = own;
  after->decay = __shfl_down_sync(kFullWarp, own.decay, 1);
  after->state = __shfl_down_sync(kFullWarp, own.state, 1);
  if (place == lanes - 1) *after = Pair{1.0f, 0.0f};
}

}  // namespace single
}  // namespace ssm
