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
// Rows are read 16 bytes a lane at a time where all of them allow it, those of 16-bit elements 8
// where they allow only that. Else a segment reads single elements side by side and turns them into
// runs through shared memory.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace single {

constexpr int kRun = 8;
constexpr int kTile = kLanes * kRun;
// A warp's own shared memory: its elements with kRun more after each segment (which keeps the
// segments on different banks), or the sums of dB and dC.
constexpr int kArea = 2 * kTile;

// An element as a word, or 0 where it does not exist, without a branch: the compiler waits for
// earlier loads at each.
template <typename T>
__device__ __forceinline__ uint32 load_element(const T* address, bool exists) {
#ifdef SSM_EMULATED
  if (!exists) return 0;
  if constexpr (sizeof(T) == 4) {
    return __float_as_uint(*address);
  } else {
    return address->bits;
  }
#else
  uint32 word = 0;
  if constexpr (sizeof(T) == 4) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\n@p ld.global.u32 %0, [%1];\n}"
                 : "+r"(word)
                 : "l"(address), "r"(static_cast<int>(exists)));
  } else {
    asm volatile("{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\n@p ld.global.u16 %0, [%1];\n}"
                 : "+r"(word)
                 : "l"(address), "r"(static_cast<int>(exists)));
  }
  return word;
#endif
}

// kRun steps as loaded: in runs, or an element a word until they are gathered, whose runs then take
// the first words.
template <typename T>
struct Run {
  uint32 word[kRun];

  __device__ __forceinline__ float at(int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(word[i]);
    } else {
      T value;
      value.bits = static_cast<uint16>(word[i / 2] >> (i % 2 * 16));
      return to_float(value);
    }
  }
};

// How rows are read and written: 16 or 8 bytes of a lane's own run at a time, or elements.
template <int kBytes>
struct Access {
  static constexpr int bytes = kBytes;
};

template <typename T>
struct Team {
  const ScanParams& p;
  int lane, warp, place, segment, segment_lanes, segments;
  int time_warp, time_warps, channel_warp, channel_warps;
  int teams, team, rounds, length, block, group_channels;
  long long batch, group;
  float* area;

  __device__ __forceinline__ explicit Team(const ScanParams& parameters, float* areas)
      : p(parameters) {
    const ScanTeams& way = p.teams;
    warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    segment_lanes = 1 << way.segment_bits;
    segments = kLanes >> way.segment_bits;
    segment = lane >> way.segment_bits;
    place = lane & (segment_lanes - 1);
    time_warps = way.time_warps;
    channel_warps = 1 << way.channel_bits;
    channel_warp = warp & (channel_warps - 1);
    time_warp = warp >> way.channel_bits;
    teams = channel_warps * segments;
    team = channel_warp * segments + segment;
    group_channels = way.group_channels;
    rounds = way.rounds;
    block = static_cast<int>(blockIdx.x);
    batch = blockIdx.y;
    group = blockIdx.z;
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
  __device__ __forceinline__ int delta_row_of(int channel) const {
    return p.delta_ratio == 1 ? channel : channel / p.delta_ratio;
  }

  template <typename E>
  __device__ __forceinline__ E* row(const ScanRows& rows, int channel) const {
    return static_cast<E*>(rows.data) + (batch * rows.batch_stride + channel * rows.row_stride);
  }

  // Calls loads with the Access that this call's rows allow. One branch around all loads: the
  // compiler waits for earlier ones at each.
  template <typename Loads>
  __device__ __forceinline__ void with_access(Loads loads) const {
    if (p.teams.access_bytes == 16) {
      loads(Access<16>());
    } else if (sizeof(T) == 2 && p.teams.access_bytes == 8) {
      loads(Access<8>());
    } else {
      loads(Access<0>());
    }
  }

  // This lane's steps from t on. What lies past the end is a copy of something that exists.
  template <int kBytes, typename E>
  __device__ __forceinline__ void load(Access<kBytes>, const E* from, int t, Run<E>& run) const {
    constexpr int kWords = kBytes / 4;
    constexpr int kElements = kBytes / static_cast<int>(sizeof(E));
    using Type = typename Word<kBytes>::Type;
#pragma unroll
    for (int i = 0; i < kRun / kElements; ++i) {
      const Type words =
          *reinterpret_cast<const Type*>(from + smaller(t + i * kElements, length - kElements));
      run.word[kWords * i] = words.x;
      run.word[kWords * i + 1] = words.y;
      if constexpr (kWords == 4) {
        run.word[4 * i + 2] = words.z;
        run.word[4 * i + 3] = words.w;
      }
    }
  }
  // The same steps element by element, a segment's lanes side by side: element i of this lane is
  // step i * segment_lanes + place of the segment's. Then gather() has to follow.
  template <typename E>
  __device__ __forceinline__ void load(Access<0>, const E* from, int t, Run<E>& run) const {
    const int first = t - place * kRun + place;
    const E* at = from + first;
    int left = length - first;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      run.word[i] = load_element(at, left > 0);
      at += segment_lanes;
      left -= segment_lanes;
    }
  }
  template <typename E>
  __device__ __forceinline__ E* own_area() const {
    return reinterpret_cast<E*>(area) + segment * (segment_lanes + 1) * kRun;
  }
  template <typename E>
  __device__ __forceinline__ void gather(Run<E>& run) const {
    E* elements = own_area<E>();
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      E* to = elements + i * segment_lanes + place;
      if constexpr (sizeof(E) == 4) {
        *to = __uint_as_float(run.word[i]);
      } else {
        to->bits = static_cast<uint16>(run.word[i]);
      }
    }
    __syncwarp();
    const Steps<E, kRun> steps = load_whole<E, kRun>(elements + place * kRun);
#pragma unroll
    for (int i = 0; i < Steps<E, kRun>::kWords; ++i) run.word[i] = steps.word[i];
    __syncwarp();
  }

  template <int kBytes, typename E>
  __device__ __forceinline__ void store_words_of(E* to, int t, const float (&value)[kRun],
                                                 int end) const {
    constexpr int kElements = kBytes / static_cast<int>(sizeof(E));
#pragma unroll
    for (int i = 0; i < kRun; i += kElements) {
      float part[kElements];
#pragma unroll
      for (int k = 0; k < kElements; ++k) part[k] = value[i + k];
      if (t + i < end) store_typed<E, kElements>(to + t + i, part, kElements, true);
    }
  }
  template <typename E>
  __device__ __forceinline__ void store_run(E* to, int t, const float (&value)[kRun],
                                            int end) const {
    if (p.teams.access_bytes == 16) {
      store_words_of<16>(to, t, value, end);
      return;
    }
    if (sizeof(T) == 2 && p.teams.access_bytes == 8) {
      store_words_of<8>(to, t, value, end);
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
      store_run<float>(row<float>(rows, channel), t, value, end);
    } else {
      store_run<T>(row<T>(rows, channel), t, value, end);
    }
  }

  // One branch, so that the steps' chains of instructions run side by side.
  __device__ __forceinline__ void step_sizes(const Run<T>& delta, float bias,
                                             float (&size)[kRun]) const {
#pragma unroll
    for (int k = 0; k < kRun; ++k) size[k] = delta.at(k) + bias;
    if (p.softplus) {
#pragma unroll
      for (int k = 0; k < kRun; ++k) size[k] = softplus(size[k]);
    }
  }

  // B or C of this group.
  __device__ __forceinline__ const T* factor(const ScanFactor& of) const {
    return static_cast<const T*>(of.data) + batch * of.batch_stride + group * of.row_stride;
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
