// Scans of chunks that do not wait for one another: scan_ends runs every chunk from the state zero
// and leaves the state it ends with and the sum of its step sizes; scan_carry goes over a channel's
// chunks and replaces each end by the state before its chunk.
//
// With the adjoint, the same for the backward direction. The adjoint g of the state leaves a chunk
// on the left as  r = sum over t of (product of the decays up to t) * dy_t * C_t,  which a forward
// walk adds up as well; scan_carry replaces it by the adjoint that enters on the right.
#include "scan/scan_tile.cuh"

namespace ssm {
namespace tile {

template <typename T, int kLaneStates, bool kAdjoint>
__device__ __forceinline__ void scan_ends(const ScanEndsParams& q) {
  const ScanParams& p = q.scan;
  const ScanChunks& chunks = q.chunks;
  constexpr int kPassStates = kStateLanes * kLaneStates;
  constexpr int kFactorFloats = kPassStates * kPitch;
  constexpr int kRows = kAdjoint ? 3 : 2;
  constexpr int kSlots = (kAdjoint ? 2 : 1) * kPassStates * (kSteps / 4);
  constexpr int kThreads = kBlockWarps * kLanes;
  constexpr int kShares = (kSlots + kThreads - 1) / kThreads;
  const Place at(p);
  // Shared: factors [parity][B, C][state][step]; per warp [dt, dt * u, dy][channel][step].
  float* factors = reinterpret_cast<float*>(shared_words);
  float* rows = factors + 4 * kFactorFloats + at.warp * kRows * kAreaFloats;
  float* biases = factors + 4 * kFactorFloats + kBlockWarps * kRows * kAreaFloats +
                  at.warp * kWarpChannels;
  if (at.lane < kWarpChannels) {
    biases[at.lane] = at.lane < at.count && p.delta_bias ? p.delta_bias[at.first + at.lane] : 0.0f;
  }
  const int length = static_cast<int>(p.length);
  const int pass = static_cast<int>(blockIdx.z) / chunks.runs;
  const int run_steps = chunks.run * chunks.steps;
  const int begin = static_cast<int>(blockIdx.z) % chunks.runs * run_steps;
  const int end = smaller(length, begin + run_steps);

  float decay[kLaneStates], h[kLaneStates], passed[kLaneStates], r[kLaneStates];
  int state[kLaneStates];
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    state[s] = pass * kPassStates + s * kStateLanes + at.p_lane;
    decay[s] = at.has_channel && state[s] < p.states
                   ? p.A[at.channel * p.A_row_stride + state[s] * p.A_state_stride] * kLog2E
                   : 0.0f;
    h[s] = r[s] = 0.0f;
    passed[s] = 1.0f;
  }
  float dt_sum = 0.0f;

  const bool gated = kAdjoint && p.z.data;
  const bool wide = p.out_is_float;
  LaneColumn<T> u, delta, z;
  GradientColumn<T> dout;
  Stager<T, kPassStates, kSteps> shares[kShares];
#pragma unroll
  for (int i = 0; i < kShares; ++i) {
    shares[i].place(p, at.batch, at.group, kAdjoint, static_cast<int>(threadIdx.x) + i * kThreads);
  }
  const auto load = [&](int step) {
    const int t = smaller(step + at.lane, length - 1);
    u.load(p.u, at, t);
    delta.load(p.delta, at, t);
    if (kAdjoint) dout.load(q.dout, wide, at, t);
    if (gated) z.load(p.z, at, t);
#pragma unroll
    for (int i = 0; i < kShares; ++i) shares[i].load(p, pass, step, length);
  };
  // The next tile's loads are issued a tile ahead, except with the adjoint, which has no registers
  // left for them.
  if (!kAdjoint) load(begin);
  __syncwarp();

  int parity = 0;
  for (int step = begin; step < end; step += kSteps) {
    if (kAdjoint) load(step);
    const bool inside = step + at.lane < end;
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      float dt = delta.at(c) + biases[c];
      if (p.softplus) dt = softplus(dt);
      if (!inside) dt = 0.0f;  // a step that changes nothing
      float* to = rows + c * kPitch + at.lane;
      to[0] = dt;
      to[kAreaFloats] = dt * u.at(c);
      if (kAdjoint) {
        float dy = dout.at(c, wide);
        if (gated) {
          const float gate = z.at(c);
          dy *= gate * sigmoid(gate);
        }
        to[2 * kAreaFloats] = inside ? dy : 0.0f;
      }
    }
    float* staged = factors + parity * 2 * kFactorFloats;
#pragma unroll
    for (int i = 0; i < kShares; ++i) shares[i].store(staged, kPitch);
    parity ^= 1;
    __syncthreads();
    if (!kAdjoint) load(step + kSteps < end ? step + kSteps : step);

    const float* row = rows + at.c_lane * kPitch;
    const float* b_rows = staged + at.p_lane * kPitch;
#pragma unroll 1
    for (int j = 0; j < kSteps; j += 4) {
      const float4 dt = *reinterpret_cast<const float4*>(row + j);
      const float4 du = *reinterpret_cast<const float4*>(row + kAreaFloats + j);
      float4 dy;
      if (kAdjoint) dy = *reinterpret_cast<const float4*>(row + 2 * kAreaFloats + j);
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
        if (kAdjoint) {
          const float4 c = *reinterpret_cast<const float4*>(from + kFactorFloats);
          passed[s] *= a.x;
          r[s] = fmaf(passed[s], dy.x * c.x, r[s]);
          passed[s] *= a.y;
          r[s] = fmaf(passed[s], dy.y * c.y, r[s]);
          passed[s] *= a.z;
          r[s] = fmaf(passed[s], dy.z * c.z, r[s]);
          passed[s] *= a.w;
          r[s] = fmaf(passed[s], dy.w * c.w, r[s]);
        }
      }
    }

    const int next = step + kSteps;
    if (next % chunks.steps == 0 || next >= end) {
      const long long chunk =
          (at.batch * p.dim + at.channel) * chunks.count + step / chunks.steps;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        if (at.has_channel && state[s] < p.states) {
          chunks.states[chunk * p.states + state[s]] = h[s];
          if (kAdjoint) chunks.adjoints[chunk * p.states + state[s]] = r[s];
        }
        h[s] = r[s] = 0.0f;
        passed[s] = 1.0f;
      }
      if (at.has_channel && at.p_lane == 0 && pass == 0) chunks.dt_sums[chunk] = dt_sum;
      dt_sum = 0.0f;
    }
    __syncwarp();  // the rows are free for the next tile
  }
}

}  // namespace tile

// 16 states of a channel side by side, and `segments` (1 or 16) stretches of its chunks; the
// stretches meet in shared memory.
__device__ __forceinline__ void scan_carry(const ScanEndsParams& q) {
  const ScanParams& p = q.scan;
  const ScanChunks& chunks = q.chunks;
  constexpr int kTogether = 8;  // chunks whose loads wait together
  float* sums = reinterpret_cast<float*>(shared_words);  // [segment of a channel]
  float* ends = sums + 16;                               // [segment][state]
  float* backs = ends + 256;
  const int thread = static_cast<int>(threadIdx.x);
  const int n_lane = thread % 16;
  const int place = thread / 16;
  const int segment = place % q.segments;
  const long long row = static_cast<long long>(blockIdx.x) * (16 / q.segments) + place / q.segments;
  const bool exists = row < p.batch * p.dim;
  const int per = (chunks.count + q.segments - 1) / q.segments;
  const int first = smaller(segment * per, chunks.count);
  const int last = exists ? smaller(first + per, chunks.count) : first;
  const float* dts = chunks.dt_sums + (exists ? row : 0) * chunks.count;
  const long long channel = exists ? row % p.dim : 0;
  const int per_saved = kScanChunk / chunks.steps;  // chunks between two states in x

  for (int n0 = 0; n0 < p.states; n0 += 16) {
    const int n = n0 + n_lane;
    const bool has = exists && n < p.states;
    const float decay =
        has ? p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E : 0.0f;
    const long long at = (exists ? row : 0) * chunks.count * p.states + (has ? n : 0);
    float* states = chunks.states + at;
    float* adjoints = chunks.adjoints ? chunks.adjoints + at : nullptr;
    float h = 0.0f, back = 0.0f, seen = 0.0f;
    if (q.segments > 1) {
      float sum = 0.0f;
      for (int c = first; c < last; ++c) {
        h = fmaf(exp2_approx(decay * dts[c]), h, states[static_cast<long long>(c) * p.states]);
        sum += dts[c];
      }
      for (int c = last - 1; c >= first && adjoints; --c) {
        back = fmaf(exp2_approx(decay * dts[c]), back,
                    adjoints[static_cast<long long>(c) * p.states]);
      }
      __syncthreads();  // the last round's values have been read
      sums[place] = sum;
      ends[thread] = h;
      backs[thread] = back;
      __syncthreads();
      h = back = 0.0f;
      for (int s = 0; s < segment; ++s) {
        const int other = place - segment + s;
        h = fmaf(exp2_approx(decay * sums[other]), h, ends[other * 16 + n_lane]);
        seen += sums[other];
      }
      for (int s = q.segments - 1; s > segment; --s) {
        const int other = place - segment + s;
        back = fmaf(exp2_approx(decay * sums[other]), back, backs[other * 16 + n_lane]);
      }
    }
    if (!has) continue;
    for (int c = first; c < last; c += kTogether) {
      float end[kTogether], dt[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int chunk = smaller(c + i, last - 1);
        end[i] = states[static_cast<long long>(chunk) * p.states];
        dt[i] = dts[chunk];
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        if (c + i >= last) break;
        states[static_cast<long long>(c + i) * p.states] = h;
        h = fmaf(exp2_approx(decay * dt[i]), h, end[i]);
        seen += dt[i];
        const int next = c + i + 1;
        if (p.x && (next % per_saved == 0 || next == chunks.count)) {
          *saved_state(p, row / p.dim, channel, (next - 1) / per_saved, n) =
              make_pair(exp2_approx(decay * seen), h);
        }
      }
    }
    if (!adjoints) continue;
    for (int c = last - 1; c >= first; c -= kTogether) {
      float end[kTogether], dt[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int chunk = c - i > first ? c - i : first;
        end[i] = adjoints[static_cast<long long>(chunk) * p.states];
        dt[i] = dts[chunk];
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        if (c - i < first) break;
        adjoints[static_cast<long long>(c - i) * p.states] = back;
        back = fmaf(exp2_approx(decay * dt[i]), back, end[i]);
      }
    }
  }
}

}  // namespace ssm

// Up to 8 states, or 16 at a time.
#define SSM_ENDS(name, type, lane_states, adjoint)                                   \
  extern "C" __global__ void __launch_bounds__(128, 4) name(ssm::ScanEndsParams q) { \
    ssm::tile::scan_ends<type, lane_states, adjoint>(q);                             \
  }
SSM_ENDS(scan_ends8_f32, float, 2, false)
SSM_ENDS(scan_ends8_f16, ssm::F16, 2, false)
SSM_ENDS(scan_ends8_bf16, ssm::BF16, 2, false)
SSM_ENDS(scan_ends16_f32, float, 4, false)
SSM_ENDS(scan_ends16_f16, ssm::F16, 4, false)
SSM_ENDS(scan_ends16_bf16, ssm::BF16, 4, false)
SSM_ENDS(scan_both_ends8_f32, float, 2, true)
SSM_ENDS(scan_both_ends8_f16, ssm::F16, 2, true)
SSM_ENDS(scan_both_ends8_bf16, ssm::BF16, 2, true)
SSM_ENDS(scan_both_ends16_f32, float, 4, true)
SSM_ENDS(scan_both_ends16_f16, ssm::F16, 4, true)
SSM_ENDS(scan_both_ends16_bf16, ssm::BF16, 4, true)

extern "C" __global__ void __launch_bounds__(256) scan_carry(ssm::ScanEndsParams q) {
  ssm::scan_carry(q);
}
