// The two views that scan_gradient.cu and scan_both_ends.cu have of a tile of 32 steps.
//
// In the recurrences a warp has 16 channels of one group and one batch. 4 lanes share two channels,
// 8 places apart; a lane has kLaneStates states of both, so that B and C are read, and dB and dC
// exchanged between lanes, once for two channels.
//
// What is done once per step and channel (loads, softplus, the gate, stores) is done four steps at
// a time: in each of 4 rounds a lane has four neighbouring steps of one channel. Where rows
// begin on four elements and the length is a number of fours (rows_aligned), every load and store
// is one of four elements, which exist or do not exist together.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace gradient {

constexpr int kStateLanes = 4;
constexpr int kLaneChannels = 2;
constexpr int kBetween = kLanes / kStateLanes;  // places between a lane's channels
constexpr int kWarpChannels = kLaneChannels * kBetween;
constexpr int kBlockWarps = 2;
constexpr int kThreads = kBlockWarps * kLanes;
constexpr int kSteps = 32;          // of a tile
constexpr int kPitch = kSteps + 4;  // no bank conflicts in 16-byte reads
constexpr int kAreaFloats = kWarpChannels * kPitch;
constexpr int kRounds = kWarpChannels * kSteps / 4 / kLanes;
constexpr int kQuarter = 4;  // steps whose decays are in registers
constexpr int kQuarters = kSteps / kQuarter;
constexpr int kShareFloats = kWarpChannels * kQuarter + 8;  // of a lane of four, no bank conflicts

__device__ __forceinline__ float4 make_quad(const float (&from)[4]) {
  float4 quad;
  quad.x = from[0];
  quad.y = from[1];
  quad.z = from[2];
  quad.w = from[3];
  return quad;
}
__device__ __forceinline__ void write(float* to, const float (&from)[4]) {
  *reinterpret_cast<float4*>(to) = make_quad(from);
}
__device__ __forceinline__ void read(const float* from, float (&to)[4]) {
  const float4 quad = *reinterpret_cast<const float4*>(from);
  to[0] = quad.x;
  to[1] = quad.y;
  to[2] = quad.z;
  to[3] = quad.w;
}

__device__ __forceinline__ void fetch_ahead(const void* address) {
#ifdef SSM_EMULATED
  static_cast<void>(address);
#else
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

__device__ __forceinline__ void write(float* to, const float (&from)[2]) {
  *reinterpret_cast<float2*>(to) = make_pair(from[0], from[1]);
}
__device__ __forceinline__ void read(const float* from, float (&to)[2]) {
  const float2 pair = *reinterpret_cast<const float2*>(from);
  to[0] = pair.x;
  to[1] = pair.y;
}

// A lane's states in memory: four of them lie together, and the same four of all lanes.
template <int kLaneStates>
__device__ __forceinline__ void keep(float* to, int lane,
                                     const float (&h)[kLaneChannels][kLaneStates]) {
  constexpr int kCount = kLaneChannels * kLaneStates;
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    float quad[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int one = i + k < kCount ? i + k : 0;
      quad[k] = h[one / kLaneStates][one % kLaneStates];
    }
    write(to + i * kLanes + lane * 4, quad);
  }
}
template <int kLaneStates>
__device__ __forceinline__ void recall(const float* from, int lane,
                                       float (&h)[kLaneChannels][kLaneStates]) {
  constexpr int kCount = kLaneChannels * kLaneStates;
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    float quad[4];
    read(from + i * kLanes + lane * 4, quad);
#pragma unroll
    for (int k = 0; k < 4 && i + k < kCount; ++k) {
      h[(i + k) / kLaneStates][(i + k) % kLaneStates] = quad[k];
    }
  }
}

// A warp's channels, and a lane's place in both views.
struct Place {
  int lane, warp;
  int c_lane, p_lane;  // recurrences: channels c_lane and c_lane + kBetween
  int group, count;    // channels that exist
  int first;           // of the block's channels
  long long batch, block_first;

  __device__ __forceinline__ explicit Place(const ScanParams& p) {
    warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    c_lane = lane / kStateLanes;
    p_lane = lane % kStateLanes;
    constexpr int kBlockChannels = kWarpChannels * kBlockWarps;
    const int group_channels = static_cast<int>(p.dim / p.groups);
    const int group_blocks = (group_channels + kBlockChannels - 1) / kBlockChannels;
    group = static_cast<int>(blockIdx.x) / group_blocks;
    const int block_within = static_cast<int>(blockIdx.x) % group_blocks * kBlockChannels;
    const int left = group_channels - block_within;
    block_first = group * group_channels + block_within;
    first = smaller(warp * kWarpChannels, left - 1);
    count = warp * kWarpChannels < left ? smaller(kWarpChannels, left - warp * kWarpChannels) : 0;
    batch = blockIdx.y;
  }

  // Of the block's: one that exists, to be read in place of one that does not.
  __device__ __forceinline__ int existing(int c) const {
    return first + smaller(c, count > 0 ? count - 1 : 0);
  }
  // Of a round: the channel and the first of the four steps.
  __device__ __forceinline__ int channel(int round) const {
    return round * (kWarpChannels / kRounds) + lane / (kSteps / 4);
  }
  __device__ __forceinline__ int step() const { return lane % (kSteps / 4) * 4; }
};

// First elements of the block in every tensor, in shared memory: in registers there is no room, and
// working them out takes longer than reading them.
enum Row { kU, kDelta, kZ, kDout, kB, kC, kOut, kOutZ, kDu, kDdelta, kDz };
constexpr int kBaseFloats = 24;
struct Bases {
  long long* first;

  __device__ __forceinline__ void set(Row which, const ScanRows& rows, const Place& at) const {
    first[which] = at.batch * rows.batch_stride + at.block_first * rows.row_stride;
  }
  __device__ __forceinline__ void set(Row which, const ScanFactor& factor, const Place& at) const {
    first[which] = at.batch * factor.batch_stride + at.group * factor.row_stride;
  }
  // Of what both kernels read; a barrier (`ready`) goes between setting and reading.
  __device__ __forceinline__ void place(float* shared, const ScanParams& p, const ScanRows& dout,
                                        const Place& at) {
    first = reinterpret_cast<long long*>(shared);
    if (threadIdx.x != 0) return;
    set(kU, p.u, at);
    set(kDelta, p.delta, at);
    set(kZ, p.z, at);
    set(kDout, dout, at);
    set(kB, p.B, at);
    set(kC, p.C, at);
  }
  __device__ __forceinline__ void ready() const { __syncthreads(); }
  template <typename U>
  __device__ __forceinline__ U* at(Row which, void* data) const {
    return static_cast<U*>(data) + first[which];
  }
};

// A thread's shares of a tile of B and C on their way to shared memory, [B, C][state][step].
template <typename T, int kPassStates>
struct Shares {
  static constexpr int kRows = kThreads / (kSteps / 4);  // taken at once
  static constexpr int kCount = (2 * kPassStates + kRows - 1) / kRows;
  Steps<T, 4> quad[kCount];

  static __device__ __forceinline__ int row(int i) {
    return static_cast<int>(threadIdx.x) / (kSteps / 4) + i * kRows;
  }
  __device__ __forceinline__ void load(const ScanParams& p, const Bases& bases, const Place& at,
                                       int pass, int tile) {
    const int length = static_cast<int>(p.length);
    const int t = tile + at.step();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool is_c = kPassStates % kRows == 0 ? i * kRows >= kPassStates : row(i) >= kPassStates;
      const ScanFactor& factor = is_c ? p.C : p.B;
      const int n = smaller(pass * kPassStates + row(i) % kPassStates, p.states - 1);
      const T* from = static_cast<const T*>(factor.data) + bases.first[is_c ? kC : kB] +
                      n * factor.state_stride;
      if (p.rows_aligned) {
        quad[i] = load_whole<T, 4>(from + smaller(t, length - 4));
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k) quad[i].set(k, from[smaller(t + k, length - 1)]);
      }
    }
  }
  // Missing states and steps are zero.
  __device__ __forceinline__ void store(float* tile_of_factors, const ScanParams& p,
                                        const Place& at, int pass, int tile, int end) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool exists = pass * kPassStates + row(i) % kPassStates < p.states;
      float value[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        value[k] = exists && tile + at.step() + k < end ? quad[i].at(k) : 0.0f;
      }
      if (row(i) < 2 * kPassStates) write(tile_of_factors + row(i) * kPitch + at.step(), value);
    }
  }
};

// Four steps of every round, as they were loaded.
template <typename T>
struct Rows {
  using Quad = Steps<T, 4>;
  Quad quad[kRounds];

  __device__ __forceinline__ float at(int r, int i) const { return quad[r].at(i); }

  // Missing channels and steps read others.
  template <bool kQuads>
  __device__ __forceinline__ void load(const T* base, const ScanRows& rows, const Place& at,
                                       int step, int length) {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const unsigned row = row_offset(rows, at.existing(at.channel(r)));
      if constexpr (kQuads) {
        quad[r] = load_whole<T, 4>(base + (row + smaller(step, length - 4)));
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) quad[r].set(i, base[row + smaller(step + i, length - 1)]);
      }
    }
  }
  // Of 32 steps of every channel, into the L2 cache.
  static __device__ __forceinline__ void fetch_ahead(const T* base, const ScanRows& rows,
                                                     const Place& at, int tile) {
    constexpr int kPieces = kLanes / kWarpChannels;  // of a row, taken at once
    constexpr int kPiece = 32 / static_cast<int>(sizeof(T));
    const T* from = base + (row_offset(rows, at.existing(at.lane / kPieces)) + tile);
#pragma unroll
    for (int i = 0; i < kSteps / kPiece; i += kPieces) {
      gradient::fetch_ahead(from + (at.lane % kPieces + i) * kPiece);
    }
  }
  // A block's rows lie within 2^32 bytes.
  static __device__ __forceinline__ unsigned row_offset(const ScanRows& rows, int c) {
    return static_cast<unsigned>(c) * static_cast<unsigned>(rows.row_stride);
  }
  __device__ __forceinline__ void clear(const Place& at, int step, int end) {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const Quad loaded = quad[r];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool exists = at.channel(r) < at.count && step + i < end;
        quad[r].set(i, exists ? element(loaded, i) : from_float<T>(0.0f));
      }
    }
  }
  static __device__ __forceinline__ T element(const Quad& from, int i) {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(from.word[i]);
    } else {
      T value;
      value.bits = static_cast<uint16>(from.word[i / 2] >> (i % 2 * 16));
      return value;
    }
  }

  static __device__ __forceinline__ void store(T* base, const ScanRows& rows, const Place& at,
                                               int step, int end, bool quads,
                                               const float (&value)[kRounds][4]) {
    if (quads) {
#pragma unroll
      for (int r = 0; r < kRounds; ++r) {
        const int c = at.channel(r);
        if (c < at.count && step < end) {
          store_typed<T, 4>(base + (row_offset(rows, at.first + c) + step), value[r], 4, true);
        }
      }
      return;
    }
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const int c = at.channel(r);
      if (c >= at.count) continue;
      store_typed<T, 4>(base + (row_offset(rows, at.first + c) + step), value[r], end - step,
                        false);
    }
  }
};

// The sum over the lanes that have one channel's steps in a round.
__device__ __forceinline__ float over_quads(float value) {
  value += __shfl_xor_sync(kFullWarp, value, 1);
  value += __shfl_xor_sync(kFullWarp, value, 2);
  return value + __shfl_xor_sync(kFullWarp, value, 4);
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

}  // namespace gradient
}  // namespace ssm
