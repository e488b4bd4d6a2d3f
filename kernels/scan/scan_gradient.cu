// Backward scan over tiles of 32 steps, of which the state before each has been left: by
// scan_lanes.cu where a block takes the whole length, from its last tile to its first, or by
// scan_ends.cu where blocks do not wait for one another, together with the adjoint that enters each
// tile on the right.
//   g_t = dy_t C_t + back,  back = a_t g_t                dC_t = sum over channels of dy_t h_t
//   dB_t = sum over channels of g_t dt_t u_t              d(dt u)_t = sum over states of g_t B_t
//   dA = sum over t of dt_t e_t, d(dt)_t += A e_t, with e_t = back_t h_{t-1}
//
// A warp walks its 8 channels forward through the tile and keeps the state before every fourth step
// (`kept`), then goes back, four steps at a time, with their decays and states in registers. dB and
// dC are summed over the warp's channels by shuffles without selecting: register s of a lane holds
// state s ^ (bits of the channel's place), so what a lane passes on is in a register known at
// compile time. What four steps leave, one row of dB or dC a lane, takes the place of the kept
// state; the block's warps are then added up, and one value per (block, state, step) leaves the
// block. du and ddelta are summed over the channel's lanes and take the places of dt and u.
//
// More than 16 states are taken 16 at a time within a tile.
#include "scan/scan_gradient_lanes.cuh"

namespace ssm {
namespace tile {

template <typename T, int kLaneStates>
struct Gradient {
  static constexpr int kPassStates = kStateLanes * kLaneStates;
  static constexpr int kFactorFloats = kPassStates * kPitch;
  static constexpr int kThreads = kBlockWarps * kLanes;
  static constexpr int kShares = (2 * kPassStates * (kSteps / 4) + kThreads - 1) / kThreads;

  const ScanBackwardParams& q;
  const ScanParams& p;
  const Place at;
  int pass, passes, end, length;
  float *factors, *warps, *dts, *us, *dys, *slopes, *kept, *dA, *entering, *sums;
  int row[kLaneStates];  // of this lane's states in a tile of B or C
  float skip, dD = 0.0f, dbias = 0.0f;

  __device__ __forceinline__ explicit Gradient(const ScanBackwardParams& parameters)
      : q(parameters), p(parameters.scan), at(parameters.scan) {}

  __device__ __forceinline__ int warp_floats() const {
    return 4 * kAreaFloats + kQuarters * kKeptFloats + passes * kLaneStates * kLanes +
           (passes > 1 ? 2 * kAreaFloats : kLaneStates * kLanes);
  }

  __device__ __forceinline__ void place(float* shared) {
    factors = shared;
    warps = shared + 2 * kFactorFloats;
    dts = warps + at.warp * warp_floats();
    us = dts + kAreaFloats;
    dys = us + kAreaFloats;
    slopes = dys + kAreaFloats;
    kept = slopes + kAreaFloats;
    dA = kept + kQuarters * kKeptFloats;        // [pass][s][lane]
    sums = dA + passes * kLaneStates * kLanes;  // over earlier passes: [B, A][channel][step]
    entering = sums;  // of the tile before, [s][lane]; only with one pass, which has no such sums
    skip = p.D ? p.D[at.channel] : 0.0f;
    for (int i = at.lane; i < passes * kLaneStates * kLanes; i += kLanes) dA[i] = 0.0f;
    for (int i = at.lane; i < kLaneStates * kLanes && passes == 1; i += kLanes) entering[i] = 0.0f;
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      row[s] = (s ^ (at.c_lane % kLaneStates)) * kStateLanes + at.p_lane;
    }
  }

  // Once per element: the step size and its slope, dy behind the gate, dz, out_z.
  __device__ __forceinline__ void prepare(int step) {
    const int t = smaller(step + at.lane, length - 1);
    const bool inside = step + at.lane < end;
    const bool wide = p.out_is_float;
    const bool gated = p.z.data;
    LaneColumn<T> u, delta, z, out;
    GradientColumn<T> dout;
    LaneBiases bias(p, at);
    u.load(p.u, at, t);
    delta.load(p.delta, at, t);
    dout.load(q.dout, wide, at, t);
    T *dz = nullptr, *out_z = nullptr;
    if (gated) {
      z.load(p.z, at, t);
      out.load(p.out, at, t);
      dz = lane_column<T>(q.dz, at, t);
      out_z = lane_column<T>(p.out_z, at, t);
    }
    const int dz_stride = static_cast<int>(q.dz.row_stride);
    const int out_z_stride = static_cast<int>(p.out_z.row_stride);
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      float dy = dout.at(c, wide);
      if (gated) {
        const float value = z.at(c);
        const float gate = sigmoid(value);
        const float y = out.at(c);
        const float slope = gate * (1.0f + value * (1.0f - gate));
        store_element(dz, dz_stride, c, at, inside, dy * y * slope);
        store_element(out_z, out_z_stride, c, at, inside && p.out_z.data, y * value * gate);
        dy *= value * gate;
      }
      float dt = delta.at(c) + bias.at(c);
      float slope = 1.0f;
      if (p.softplus) {
        const float e = exp2_approx(-kLog2E * fabsf(dt));
        slope = (dt >= 0.0f ? 1.0f : e) * reciprocal_approx(1.0f + e);
        dt = fmaxf(dt, 0.0f) + log1p_unit(e);
      }
      const bool counts = inside && c < at.count;
      const int to = c * kPitch + at.lane;
      dts[to] = counts ? dt : 0.0f;  // a step of size 0 changes nothing
      us[to] = u.at(c);
      dys[to] = counts ? dy : 0.0f;
      slopes[to] = slope;
    }
  }

  __device__ __forceinline__ void read_factor(int which, int j, Quads<kLaneStates>& to) const {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      read(factors + which * kFactorFloats + row[s] * kPitch + j, to.value[s]);
    }
  }

  __device__ __forceinline__ void keep(int quarter, const float (&h)[kLaneStates]) const {
    float* to = kept + quarter * kKeptFloats + at.lane * 4;
    if constexpr (kLaneStates == 4) {
      float4 quad;
      quad.x = h[0];
      quad.y = h[1];
      quad.z = h[2];
      quad.w = h[3];
      *reinterpret_cast<float4*>(to) = quad;
    } else if constexpr (kLaneStates == 2) {
      *reinterpret_cast<float2*>(to) = make_pair(h[0], h[1]);
    } else {
      to[0] = h[0];
    }
  }
  __device__ __forceinline__ void recall(int quarter, float (&h)[kLaneStates]) const {
    const float* from = kept + quarter * kKeptFloats + at.lane * 4;
    if constexpr (kLaneStates == 1) {
      h[0] = from[0];
    } else {
#pragma unroll
      for (int s = 0; s < kLaneStates; s += 2) {
        const float2 pair = *reinterpret_cast<const float2*>(from + s);
        h[s] = pair.x;
        h[s + 1] = pair.y;
      }
    }
  }

  __device__ __forceinline__ void walk(int tile_index) {
    float A[kLaneStates], decay[kLaneStates], h[kLaneStates], back[kLaneStates],
        dA_sum[kLaneStates];
    const long long chunk = (at.batch * p.dim + at.channel) * p.chunks.count + tile_index;
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const int n = pass * kPassStates + row[s];
      const bool exists = at.has_channel && n < p.states;
      A[s] = exists ? p.A[at.channel * p.A_row_stride + n * p.A_state_stride] : 0.0f;
      h[s] = exists && p.chunks.states ? p.chunks.states[chunk * p.states + n] : 0.0f;
      back[s] = !exists || !p.chunks.states ? 0.0f
                : p.chunks.adjoints         ? p.chunks.adjoints[chunk * p.states + n]
                                            : entering[s * kLanes + at.lane];
      decay[s] = A[s] * kLog2E;
      dA_sum[s] = 0.0f;
    }
    const int base = at.c_lane * kPitch;
#pragma unroll 1
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      keep(quarter, h);
      if (quarter + 1 == kQuarters) break;
      const int j = quarter * kQuarter;
      float dt[kQuarter], u[kQuarter];
      Quads<kLaneStates> B;
      read(dts + base + j, dt);
      read(us + base + j, u);
      read_factor(0, j, B);
#pragma unroll
      for (int k = 0; k < kQuarter; ++k) {
        const float du = dt[k] * u[k];
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          h[s] = fmaf(exp2_approx(decay[s] * dt[k]), h[s], du * B.value[s][k]);
        }
      }
    }

#pragma unroll 1
    for (int quarter = kQuarters - 1; quarter >= 0; --quarter) {
      const int j = quarter * kQuarter;
      float dt[kQuarter], u[kQuarter], dy[kQuarter];
      Quads<kLaneStates> B, C;
      read(dts + base + j, dt);
      read(us + base + j, u);
      read(dys + base + j, dy);
      read_factor(0, j, B);
      read_factor(1, j, C);
      float before[kLaneStates], a[kQuarter][kLaneStates], state[kQuarter][kLaneStates];
      recall(quarter, before);
#pragma unroll
      for (int k = 0; k < kQuarter; ++k) {
        const float du = dt[k] * u[k];
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          a[k][s] = exp2_approx(decay[s] * dt[k]);
          state[k][s] =
              fmaf(a[k][s], k > 0 ? state[k > 0 ? k - 1 : 0][s] : before[s], du * B.value[s][k]);
        }
      }
      float sum_b[kQuarter], sum_a[kQuarter], result[kQuarter];
#pragma unroll
      for (int k = kQuarter - 1; k >= 0; --k) {
        const float du = dt[k] * u[k];
        float db[kLaneStates], dc[kLaneStates];
        sum_b[k] = sum_a[k] = 0.0f;
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const float g = fmaf(dy[k], C.value[s][k], back[s]);
          dc[s] = dy[k] * state[k][s];
          db[s] = g * du;
          sum_b[k] = fmaf(g, B.value[s][k], sum_b[k]);
          back[s] = a[k][s] * g;
          const float e = back[s] * (k > 0 ? state[k > 0 ? k - 1 : 0][s] : before[s]);
          dA_sum[s] = fmaf(e, dt[k], dA_sum[s]);
          sum_a[k] = fmaf(e, A[s], sum_a[k]);
        }
        result[k] = over_channels(at.lane, db, dc);
        if (pass == 0) dD = fmaf(dy[k], u[k], dD);
      }
      float4 quad;
      quad.x = result[0];
      quad.y = result[1];
      quad.z = result[2];
      quad.w = result[3];
      *reinterpret_cast<float4*>(kept + quarter * kKeptFloats + at.lane * 4) = quad;
      finish(base + j + at.p_lane, over_states(at.p_lane, sum_b), over_states(at.p_lane, sum_a));
    }
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const int own = (pass * kLaneStates + s) * kLanes + at.lane;
      dA[own] += dA_sum[s];
      if (p.chunks.states && !p.chunks.adjoints) entering[s * kLanes + at.lane] = back[s];
    }
  }

  // One element's sums over the states of this pass; after the last pass its du and ddelta.
  __device__ __forceinline__ void finish(int element, float sum_b, float sum_a) {
    if (pass > 0) {
      sum_b += sums[element];
      sum_a += sums[element + kAreaFloats];
    }
    if (pass + 1 < passes) {
      sums[element] = sum_b;
      sums[element + kAreaFloats] = sum_a;
      return;
    }
    const float dt = dts[element];
    const float u = us[element];
    const float ddelta = fmaf(u, sum_b, sum_a) * slopes[element];
    const float du = fmaf(dt, sum_b, skip * dys[element]);
    dbias += ddelta;
    __syncwarp();  // every lane has read the steps of this quarter
    dts[element] = du;
    us[element] = ddelta;
  }

  // dB and dC of the block's channels.
  __device__ __forceinline__ void reduce(int step, int slot) {
    const int t = step + at.lane;
    const int pitch = warp_floats();
    const float* from = warps + 4 * kAreaFloats + at.lane / 4 * kKeptFloats + at.lane % 4;
    const long long rows = ((slot * p.batch + at.batch) * p.groups + at.group) * p.states;
#pragma unroll 2
    for (int i = at.warp; i < 2 * kPassStates; i += kBlockWarps) {
      const int kind = i / kPassStates;
      const int n = i % kPassStates;
      const float* one = from + (kind * 16 + n) * 4;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < kBlockWarps; ++w) sum += one[w * pitch];
      if (pass * kPassStates + n >= p.states || t >= end) continue;
      float* to = (kind ? q.dC : q.dB) + (rows + pass * kPassStates + n) * p.length + t;
      if (q.atomic) {
        atomicAdd(to, sum);
      } else {
        *to = sum;
      }
    }
  }

  __device__ __forceinline__ void run() {
    passes = (p.states + kPassStates - 1) / kPassStates;
    length = static_cast<int>(p.length);
    place(reinterpret_cast<float*>(shared_words));
    const int run = static_cast<int>(blockIdx.z);
    const int begin = run * p.chunks.run * kSteps;
    end = smaller(length, begin + p.chunks.run * kSteps);
    const int group_blocks = static_cast<int>(gridDim.x) / p.groups;
    const int slot = static_cast<int>(blockIdx.x) % group_blocks % q.slots;
    __syncwarp();

    // Last to first, so that the adjoint can be carried over.
    for (int step = begin + (end - 1 - begin) / kSteps * kSteps; step >= begin; step -= kSteps) {
      for (pass = 0; pass < passes; ++pass) {
        Stager<T, kPassStates, kSteps> shares[kShares];
#pragma unroll
        for (int i = 0; i < kShares; ++i) {
          shares[i].place(p, at.batch, at.group, true,
                          static_cast<int>(threadIdx.x) + i * kThreads);
          shares[i].load(p, pass, step, length);
        }
        if (pass == 0) prepare(step);
        __syncthreads();  // nobody reads the last factors or kept rows any more
#pragma unroll
        for (int i = 0; i < kShares; ++i) shares[i].store(factors, kPitch);
        __syncthreads();
        walk(step / kSteps);
        __syncthreads();
        reduce(step, slot);
      }
      const int t = step + at.lane;
      T* du = lane_column<T>(q.du, at, t);
      T* ddelta = lane_column<T>(q.ddelta, at, t);
      const int du_stride = static_cast<int>(q.du.row_stride);
      const int ddelta_stride = static_cast<int>(q.ddelta.row_stride);
#pragma unroll
      for (int c = 0; c < kWarpChannels; ++c) {
        store_element(du, du_stride, c, at, t < end, dts[c * kPitch + at.lane]);
        store_element(ddelta, ddelta_stride, c, at, t < end, us[c * kPitch + at.lane]);
      }
      __syncwarp();
    }
    write_sums(static_cast<long long>(at.batch) * p.chunks.runs + run);
  }

  __device__ __forceinline__ void write_sums(long long part) {
    dbias += __shfl_xor_sync(kFullWarp, dbias, 1);
    dbias += __shfl_xor_sync(kFullWarp, dbias, 2);
    if (!at.has_channel) return;
    const long long channel = part * p.dim + at.channel;
    for (int i = 0; i < passes; ++i) {
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = i * kPassStates + row[s];
        if (n < p.states) {
          q.dA[channel * p.states + n] = dA[(i * kLaneStates + s) * kLanes + at.lane];
        }
      }
    }
    if (at.p_lane != 0) return;
    if (q.dD) q.dD[channel] = dD;
    if (q.ddelta_bias) q.ddelta_bias[channel] = dbias;
  }
};

}  // namespace tile
}  // namespace ssm

// Up to 4 states, up to 8, or 16 at a time.
#define SSM_GRADIENT(name, type, lane_states)                                            \
  extern "C" __global__ void __launch_bounds__(128, 4) name(ssm::ScanBackwardParams q) { \
    ssm::tile::Gradient<type, lane_states> gradient(q);                                  \
    gradient.run();                                                                      \
  }
SSM_GRADIENT(scan_gradient4_f32, float, 1)
SSM_GRADIENT(scan_gradient4_f16, ssm::F16, 1)
SSM_GRADIENT(scan_gradient4_bf16, ssm::BF16, 1)
SSM_GRADIENT(scan_gradient8_f32, float, 2)
SSM_GRADIENT(scan_gradient8_f16, ssm::F16, 2)
SSM_GRADIENT(scan_gradient8_bf16, ssm::BF16, 2)
SSM_GRADIENT(scan_gradient16_f32, float, 4)
SSM_GRADIENT(scan_gradient16_f16, ssm::F16, 4)
SSM_GRADIENT(scan_gradient16_bf16, ssm::BF16, 4)
