// Scans of chunks that do not wait for one another: scan_ends runs every chunk from the state zero
// and leaves the state it ends with and the sum of its step sizes; scan_carry goes over a channel's
// chunks and replaces each end by the state before its chunk.
//
// The same for the backward direction, with the adjoint, begins in scan_both_ends.cu; scan_carry
// then replaces what each chunk adds to the adjoint by the adjoint that enters it on the right.
#include "scan/scan_tile.cuh"

namespace ssm {
namespace tile {

template <typename T, int kLaneStates>
__device__ __forceinline__ void scan_ends(const ScanEndsParams& q) {
  const ScanParams& p = q.scan;
  const ScanChunks& chunks = p.chunks;
  constexpr int kPassStates = kStateLanes * kLaneStates;
  constexpr int kFactorFloats = kPassStates * kPitch;
  constexpr int kRows = 2;
  constexpr int kSlots = kPassStates * (kSteps / 4);
  constexpr int kThreads = kBlockWarps * kLanes;
  constexpr int kShares = (kSlots + kThreads - 1) / kThreads;
  const Place at(p);
  // Shared: factors [parity][B][state][step]; per warp [dt, dt * u][channel][step].
  float* factors = reinterpret_cast<float*>(shared_words);
  float* rows = factors + 2 * kFactorFloats + at.warp * kRows * kAreaFloats;
  float* biases =
      factors + 2 * kFactorFloats + kBlockWarps * kRows * kAreaFloats + at.warp * kWarpChannels;
  if (at.lane < kWarpChannels) {
    biases[at.lane] = at.lane < at.count && p.delta_bias ? p.delta_bias[at.first + at.lane] : 0.0f;
  }
  const int length = static_cast<int>(p.length);
  const int pass = static_cast<int>(blockIdx.z) / chunks.runs;
  const int run_steps = chunks.run * chunks.steps;
  const int begin = static_cast<int>(blockIdx.z) % chunks.runs * run_steps;
  const int end = smaller(length, begin + run_steps);

  float decay[kLaneStates], h[kLaneStates];
  int state[kLaneStates];
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    state[s] = pass * kPassStates + s * kStateLanes + at.p_lane;
    decay[s] = at.has_channel && state[s] < p.states
                   ? p.A[at.channel * p.A_row_stride + state[s] * p.A_state_stride] * kLog2E
                   : 0.0f;
    h[s] = 0.0f;
  }
  float dt_sum = 0.0f;

  LaneColumn<T> u, delta;
  Stager<T, kPassStates, kSteps> shares[kShares];
#pragma unroll
  for (int i = 0; i < kShares; ++i) {
    shares[i].place(p, at.batch, at.group, false, static_cast<int>(threadIdx.x) + i * kThreads);
  }
  const auto load = [&](int step) {
    const int t = smaller(step + at.lane, length - 1);
    u.load(p.u, at, t);
    delta.load(p.delta, at, t);
#pragma unroll
    for (int i = 0; i < kShares; ++i) shares[i].load(p, pass, step, length);
  };
  load(begin);  // the next tile's loads are issued a tile ahead
  __syncwarp();

  int parity = 0;
  for (int step = begin; step < end; step += kSteps) {
    const bool inside = step + at.lane < end;
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      float dt = delta.at(c) + biases[c];
      if (p.softplus) dt = softplus(dt);
      if (!inside) dt = 0.0f;  // a step that changes nothing
      float* to = rows + c * kPitch + at.lane;
      to[0] = dt;
      to[kAreaFloats] = dt * u.at(c);
    }
    float* staged = factors + parity * kFactorFloats;
#pragma unroll
    for (int i = 0; i < kShares; ++i) shares[i].store(staged, kPitch);
    parity ^= 1;
    __syncthreads();
    load(step + kSteps < end ? step + kSteps : step);

    const float* row = rows + at.c_lane * kPitch;
    const float* b_rows = staged + at.p_lane * kPitch;
#pragma unroll 1
    for (int j = 0; j < kSteps; j += 4) {
      const float4 dt = *reinterpret_cast<const float4*>(row + j);
      const float4 du = *reinterpret_cast<const float4*>(row + kAreaFloats + j);
      dt_sum += (dt.x + dt.y) + (dt.z + dt.w);
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const float* from = b_rows + s * kStateLanes * kPitch + j;
        const float4 b = *reinterpret_cast<const float4*>(from);
        float4 a;
        a.x = exp2_approx(decay[s] * dt.x);
        a.y = exp2_approx(decay[s] * dt.y);
        a.z = exp2_approx(decay[s] * dt.z);
        a.w = exp2_approx(decay[s] * dt.w);
        h[s] = fmaf(a.x, h[s], du.x * b.x);
        h[s] = fmaf(a.y, h[s], du.y * b.y);
        h[s] = fmaf(a.z, h[s], du.z * b.z);
        h[s] = fmaf(a.w, h[s], du.w * b.w);
      }
    }

    const int next = step + kSteps;
    if (next % chunks.steps == 0 || next >= end) {
      const long long chunk = (at.batch * p.dim + at.channel) * chunks.count + step / chunks.steps;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        if (at.has_channel && state[s] < p.states) {
          chunks.states[chunk * p.states + state[s]] = h[s];
        }
        h[s] = 0.0f;
      }
      if (at.has_channel && at.p_lane == 0 && pass == 0) chunks.dt_sums[chunk] = dt_sum;
      dt_sum = 0.0f;
    }
    __syncwarp();  // the rows are free for the next tile
  }
}

}  // namespace tile

// The states of a channel side by side, 8 or 16, and `segments` (up to 16) stretches of its chunks,
// which meet in shared memory. A thread keeps its stretch in registers; where more than kTogether
// chunks fall to it, it takes them in several rounds, which carry the state from the first to the
// last and, afterwards, the adjoint from the last to the first.
struct Carry {
  static constexpr int kTogether = 16;

  const ScanEndsParams& q;
  const ScanParams& p;
  int lanes, n_lane, place, segment, n;
  long long row, channel;
  bool has;
  float decay;
  const float* dts;
  float *sums, *ends;  // [segment of a channel], [segment][state]

  __device__ __forceinline__ explicit Carry(const ScanEndsParams& parameters)
      : q(parameters), p(parameters.scan) {
    sums = reinterpret_cast<float*>(shared_words);
    ends = sums + 32;
    const int thread = static_cast<int>(threadIdx.x);
    lanes = p.states <= 8 ? 8 : 16;
    n_lane = thread % lanes;
    place = thread / lanes;
    segment = place % q.segments;
    const int rows = static_cast<int>(blockDim.x) / (lanes * q.segments);
    row = static_cast<long long>(blockIdx.x) * rows + place / q.segments;
    const bool exists = row < p.batch * p.dim;
    if (!exists) row = 0;
    channel = row % p.dim;
    dts = p.chunks.dt_sums + row * p.chunks.count;
    has = exists;
  }

  // This thread's chunks of the round that begins at `first`, in the order of the walk; missing
  // ones change nothing.
  template <bool kBackwards>
  __device__ __forceinline__ void walk(float* values, int first, float& carried, float& seen) {
    const int count = smaller(p.chunks.count - first, q.segments * kTogether);
    const int per = (count + q.segments - 1) / q.segments;
    const int begin = segment * per;
    const int mine = has ? smaller(per, count - begin) : 0;  // may be negative
    const int chunk = first + begin + (kBackwards ? mine - 1 : 0);
    const int step = kBackwards ? -p.states : p.states;
    float* own_values = values + static_cast<long long>(chunk) * p.states;
    const float* own_dts = dts + chunk;
    float end[kTogether], dt[kTogether], a[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      end[i] = i < mine ? own_values[i * step] : 0.0f;
      dt[i] = i < mine ? own_dts[kBackwards ? -i : i] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) a[i] = exp2_approx(decay * dt[i]);
    float value = carried;
    float own_seen = seen;
    if (q.segments > 1) {
      float sum = 0.0f, own = 0.0f;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        own = fmaf(a[i], own, end[i]);
        sum += dt[i];
      }
      __syncthreads();                     // the last round's values have been read
      if (n_lane == 0) sums[place] = sum;  // the others may have no state
      ends[static_cast<int>(threadIdx.x)] = own;
      __syncthreads();
      const int base = place - segment;
      for (int k = 0; k < q.segments; ++k) {
        const int other = base + (kBackwards ? q.segments - 1 - k : k);
        if (other == place) {
          value = carried;
          own_seen = seen;
        }
        carried = fmaf(exp2_approx(decay * sums[other]), carried, ends[other * lanes + n_lane]);
        seen += sums[other];
      }
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (i < mine) own_values[i * step] = value;
      value = fmaf(a[i], value, end[i]);
      end[i] = value;
    }
    if (!kBackwards && p.x) save(first + begin, mine, own_seen, end, dt);
    if (q.segments == 1) {
      carried = value;
      seen = own_seen;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) seen += dt[i];
    }
  }

  // Of the states after this thread's chunks those that x keeps.
  __device__ __forceinline__ void save(int begin, int mine, float seen,
                                       const float (&state)[kTogether],
                                       const float (&dt)[kTogether]) const {
    // Chunks between two states in x; chunks of other lengths are planned only where x has one.
    const int per_saved = p.length > kScanChunk ? kScanChunk / p.chunks.steps : 0;
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      seen += dt[i];
      const int next = begin + i + 1;
      const bool last = next == p.chunks.count;
      if (i < mine && (last || (per_saved > 0 && next % per_saved == 0))) {
        *saved_state(p, row / p.dim, channel,
                     last ? (static_cast<int>(p.length) - 1) / kScanChunk : (next - 1) / per_saved,
                     n) = make_pair(exp2_approx(decay * seen), state[i]);
      }
    }
  }

  __device__ __forceinline__ void run() {
    const bool exists = has;
    const int round = q.segments * kTogether;
    for (int n0 = 0; n0 < p.states; n0 += lanes) {
      n = n0 + n_lane;
      has = exists && n < p.states;
      decay = has ? p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E : 0.0f;
      const long long at = row * p.chunks.count * p.states + (has ? n : 0);
      float carried = 0.0f, seen = 0.0f;
      for (int first = 0; first < p.chunks.count; first += round) {
        walk<false>(p.chunks.states + at, first, carried, seen);
      }
      if (!p.chunks.adjoints) continue;
      carried = seen = 0.0f;
      for (int first = (p.chunks.count - 1) / round * round; first >= 0; first -= round) {
        walk<true>(p.chunks.adjoints + at, first, carried, seen);
      }
    }
  }
};

}  // namespace ssm

// Up to 4 states, up to 8, or 16 at a time.
#define SSM_ENDS(name, type, lane_states)                                            \
  extern "C" __global__ void __launch_bounds__(128, 4) name(ssm::ScanEndsParams q) { \
    ssm::tile::scan_ends<type, lane_states>(q);                                      \
  }
#define SSM_ENDS_OF(type, suffix)        \
  SSM_ENDS(scan_ends4_##suffix, type, 1) \
  SSM_ENDS(scan_ends8_##suffix, type, 2) \
  SSM_ENDS(scan_ends16_##suffix, type, 4)
SSM_ENDS_OF(float, f32)
SSM_ENDS_OF(ssm::F16, f16)
SSM_ENDS_OF(ssm::BF16, bf16)

extern "C" __global__ void __launch_bounds__(256, 2) scan_carry(ssm::ScanEndsParams q) {
  ssm::Carry carry(q);
  carry.run();
}
