// Backward scan over tiles of 32 steps, of which the state before each has been left: by
// scan_lanes.cu where a block takes the whole length, from its last tile to its first, or by
// scan_ends.cu where blocks do not wait for one another, together with the adjoint that enters each
// tile on the right.
//   g_t = dy_t C_t + back,  back = a_t g_t                dC_t = sum over channels of dy_t h_t
//   dB_t = sum over channels of g_t dt_t u_t              d(dt u)_t = sum over states of g_t B_t
//   dA = sum over t of dt_t e_t, d(dt)_t += A e_t, with e_t = back_t h_{t-1}
//
// A warp walks its 16 channels forward through the tile and keeps the state before every fourth
// step (`kept`), then goes back, four steps at a time, with their decays and states in registers.
// dB and dC are summed over the warp's channels by shuffles without selecting: register s of a lane
// holds state s ^ (bits of the channel's place), so what a lane passes on is in a register known at
// compile time. What four steps leave, one row of dB or dC a lane, takes the place of the kept
// state; the block's warps are then added up, and one value per (block, state, step) leaves the
// block. The sums over a channel's lanes meet in shared memory; du and ddelta take the places of
// the step sizes and of u.
//
// More than 16 states are taken 16 at a time within a tile.
#include "scan/scan_gradient_rows.cuh"

namespace ssm {
namespace gradient {

template <typename T, int kLaneStates>
struct Gradient : Tiles<T, ScanBackwardParams, true> {
  static constexpr int kPassStates = kStateLanes * kLaneStates;
  static constexpr int kFactorFloats = kPassStates * kPitch;
  static constexpr int kEarlierFloats = kWarpChannels * kSteps;
  // Of a quarter; padded: four steps of all rows are read across.
  static constexpr int kKeptFloats = (kLaneStates == 4 ? 8 : 4) * kLanes + 4;
  using States = float[kLaneChannels][kLaneStates];

  using Base = Tiles<T, ScanBackwardParams, true>;
  using Base::at;
  using Base::bases;
  using Base::begin;
  using Base::channel;
  using Base::dts;
  using Base::dus;
  using Base::dys;
  using Base::end;
  using Base::entry;
  using Base::length;
  using Base::p;
  using Base::q;
  using Base::read_rows;
  using Base::slopes;
  using Base::us;

  int pass, passes;
  float *factors, *warps, *kept, *shares, *earlier;
  int row[kLaneStates];  // of this lane's states in a tile of B or C
  States decay, h, back, dA;
  float skip, dbias = 0.0f;

  __device__ __forceinline__ explicit Gradient(const ScanBackwardParams& parameters)
      : Base(parameters, static_cast<int>(blockIdx.z)) {}

  __device__ __forceinline__ int warp_floats() const {
    return Base::kAreas * kAreaFloats + kQuarters * kKeptFloats + 2 * kStateLanes * kShareFloats +
           (passes > 1 ? 2 * kEarlierFloats : 0);
  }

  __device__ __forceinline__ void place(float* shared) {
    bases.place(shared, p, q.dout, at);
    if (threadIdx.x == 0) {
      bases.set(kDu, q.du, at);
      bases.set(kDdelta, q.ddelta, at);
      bases.set(kDz, q.dz, at);
      bases.set(kOut, p.out, at);
      bases.set(kOutZ, p.out_z, at);
    }
    bases.ready();
    factors = shared + kBaseFloats;
    warps = factors + 2 * kFactorFloats;
    this->place_areas(warps + at.warp * warp_floats());
    kept = slopes + kAreaFloats;
    shares = kept + kQuarters * kKeptFloats;  // [b, a][p_lane][channel][4 steps]
    earlier = shares + 2 * kStateLanes *
                           kShareFloats;  // passes' sums: [b, a][channel][step], without padding
    skip = p.D ? p.D[at.block_first + at.existing(at.lane / 2)] : 0.0f;
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      row[s] = (s ^ (at.c_lane % kLaneStates)) * kStateLanes + at.p_lane;
    }
  }

  // What the walk over a tile begins with. Of one pass, what goes back from tile to tile stays in
  // registers; of several, the sums of dA wait in global memory. Channels and states that do not
  // exist read others' (branches would make each load wait for the one before), and their states
  // need not be zero: without B, C, u and dy they are in no sum.
  __device__ __forceinline__ void enter(int tile) {
    const bool first = tile + kSteps >= end;
    int n[kLaneStates];
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) n[s] = smaller(pass * kPassStates + row[s], p.states - 1);
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      const long long at_tile = entry(c, tile);
      if (first || passes > 1) {
        const bool has_channel = at.c_lane + c * kBetween < at.count;
        const float* A = p.A + channel(c) * p.A_row_stride;
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          decay[c][s] = A[n[s] * p.A_state_stride] * kLog2E;
          back[c][s] = dA[c][s] = 0.0f;
        }
        if (p.chunks.adjoints && p.chunks.states) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            back[c][s] = p.chunks.adjoints[at_tile + n[s]];
          }
        }
        if (!first) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) dA[c][s] = sums_of_A(c)[n[s]];
        }
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          if (has_channel && pass * kPassStates + row[s] < p.states) continue;
          decay[c][s] = back[c][s] = 0.0f;
        }
      }
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) h[c][s] = 0.0f;
      if (p.chunks.states) {
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) h[c][s] = p.chunks.states[at_tile + n[s]];
      }
    }
  }
  __device__ __forceinline__ float* sums_of_A(int c) const {
    return q.dA + (part() * p.dim + channel(c)) * p.states;
  }
  __device__ __forceinline__ long long part() const {
    return at.batch * p.chunks.runs + static_cast<int>(blockIdx.z);
  }
  __device__ __forceinline__ void leave(int tile) const {
    if (tile > begin && passes == 1) return;
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      if (at.c_lane + c * kBetween >= at.count) continue;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = pass * kPassStates + row[s];
        if (n < p.states) sums_of_A(c)[n] = dA[c][s];
      }
    }
  }

  __device__ __forceinline__ void read_factor(int which, int j,
                                              float (&to)[kLaneStates][kQuarter]) const {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      read(factors + which * kFactorFloats + row[s] * kPitch + j, to[s]);
    }
  }

  __device__ __forceinline__ void walk() {
#pragma unroll 1
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      keep(kept + quarter * kKeptFloats, at.lane, h);
      if (quarter + 1 == kQuarters) break;
      const int j = quarter * kQuarter;
      float dt[kLaneChannels][kQuarter], du[kLaneChannels][kQuarter], B[kLaneStates][kQuarter];
      read_rows(dts, j, dt);
      read_rows(dus, j, du);
      read_factor(0, j, B);
#pragma unroll
      for (int k = 0; k < kQuarter; ++k) {
#pragma unroll
        for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            h[c][s] = fmaf(exp2_approx(decay[c][s] * dt[c][k]), h[c][s], du[c][k] * B[s][k]);
          }
        }
      }
    }
#pragma unroll 1
    for (int quarter = kQuarters - 1; quarter >= 0; --quarter) go_back(quarter);
  }

  __device__ __forceinline__ void go_back(int quarter) {
    const int j = quarter * kQuarter;
    float dt[kLaneChannels][kQuarter], du[kLaneChannels][kQuarter], dy[kLaneChannels][kQuarter];
    float B[kLaneStates][kQuarter], C[kLaneStates][kQuarter];
    read_rows(dts, j, dt);
    read_rows(dus, j, du);
    read_rows(dys, j, dy);
    read_factor(0, j, B);
    read_factor(1, j, C);
    States before[kQuarter + 1], a[kQuarter];  // the state before each step
    recall(kept + quarter * kKeptFloats, at.lane, before[0]);
#pragma unroll
    for (int k = 0; k < kQuarter; ++k) {
#pragma unroll
      for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          a[k][c][s] = exp2_approx(decay[c][s] * dt[c][k]);
          before[k + 1][c][s] = fmaf(a[k][c][s], before[k][c][s], du[c][k] * B[s][k]);
        }
      }
    }
    float sum_b[kLaneChannels][kQuarter], sum_a[kLaneChannels][kQuarter], result[kQuarter];
#pragma unroll
    for (int k = kQuarter - 1; k >= 0; --k) {
      float db[kLaneStates], dc[kLaneStates];
#pragma unroll
      for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const float g = fmaf(dy[c][k], C[s][k], back[c][s]);
          back[c][s] = a[k][c][s] * g;
          const float e = back[c][s] * before[k][c][s];
          dc[s] =
              c == 0 ? dy[c][k] * before[k + 1][c][s] : fmaf(dy[c][k], before[k + 1][c][s], dc[s]);
          db[s] = c == 0 ? g * du[c][k] : fmaf(g, du[c][k], db[s]);
          sum_b[c][k] = s == 0 ? g * B[s][k] : fmaf(g, B[s][k], sum_b[c][k]);
          sum_a[c][k] = s == 0 ? e * decay[c][s] : fmaf(e, decay[c][s], sum_a[c][k]);
          dA[c][s] = fmaf(e, dt[c][k], dA[c][s]);
        }
      }
      result[k] = over_channels(at.lane, db, dc);
    }
    write(kept + quarter * kKeptFloats + at.lane * 4, result);
    float* to = shares + at.p_lane * kShareFloats + at.c_lane * kQuarter;
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      write(to + c * kBetween * kQuarter, sum_b[c]);
      write(to + c * kBetween * kQuarter + kStateLanes * kShareFloats, sum_a[c]);
    }
    __syncwarp();
    finish(j);
    __syncwarp();
  }

  // Two elements' sums over the states of this pass; after the last pass their du and ddelta.
  __device__ __forceinline__ void finish(int j) {
    const float* from = shares + at.lane * 2;
    float sum[2][2];
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
      read(from + kind * kStateLanes * kShareFloats, sum[kind]);
#pragma unroll
      for (int other = 1; other < kStateLanes; ++other) {
        float more[2];
        read(from + (kind * kStateLanes + other) * kShareFloats, more);
#pragma unroll
        for (int i = 0; i < 2; ++i) sum[kind][i] += more[i];
      }
    }
    const int c = at.lane / 2;
    const int half = at.lane % 2 * 2;
    const int element = c * kPitch + j + half;
    const int swizzled = c * kSteps + (j ^ (c % kQuarters * kQuarter)) + half;
    if (passes > 1) {
#pragma unroll
      for (int kind = 0; kind < 2; ++kind) {
        float* before = earlier + kind * kEarlierFloats + swizzled;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (pass > 0) sum[kind][i] += before[i];
          before[i] = sum[kind][i];
        }
      }
      if (pass + 1 < passes) return;
    }
    float dt[2], u[2], dy[2], slope[2];
    read(dts + element, dt);
    read(us + element, u);
    read(dys + element, dy);
    read(slopes + element, slope);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      u[i] = fmaf(u[i], sum[0][i], slope[i] * sum[1][i]);
      dt[i] = fmaf(dt[i], sum[0][i], skip * dy[i]);
      dbias += u[i];
    }
    write(dts + element, dt);
    write(us + element, u);
  }
  // dB and dC of the block's channels.
  __device__ __forceinline__ void reduce(int tile, int slot) const {
    const int t = tile + at.lane;
    const int pitch = warp_floats();
    const float* from =
        warps + Base::kAreas * kAreaFloats + at.lane / 4 * kKeptFloats + at.lane % 4 + at.warp * 4;
    const long long rows = ((slot * p.batch + at.batch) * p.groups + at.group) * p.states;
    const int states = t < end ? smaller(kPassStates, p.states - pass * kPassStates) - at.warp : 0;
    const long long stride = static_cast<long long>(kBlockWarps) * length;
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
      float sum[kPassStates / kBlockWarps];
#pragma unroll
      for (int i = 0; i < kPassStates / kBlockWarps; ++i) {
        sum[i] = 0.0f;
#pragma unroll
        for (int w = 0; w < kBlockWarps; ++w) {
          sum[i] += from[w * pitch + (kind * 16 + i * kBlockWarps) * 4];
        }
      }
      float* to = (kind ? q.dC : q.dB) + (rows + pass * kPassStates + at.warp) * p.length + t;
      if (q.atomic) {
#pragma unroll
        for (int i = 0; i < kPassStates / kBlockWarps; ++i) {
          if (i * kBlockWarps < states) atomicAdd(to + i * stride, sum[i]);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kPassStates / kBlockWarps; ++i) {
          if (i * kBlockWarps < states) to[i * stride] = sum[i];
        }
      }
    }
  }

  __device__ __forceinline__ void run() {
    passes = (p.states + kPassStates - 1) / kPassStates;
    place(reinterpret_cast<float*>(shared_words));
    const int group_blocks = static_cast<int>(gridDim.x) / p.groups;
    const int slot = static_cast<int>(blockIdx.x) % group_blocks % q.slots;

    // Last to first, so that the adjoint can be carried over.
    for (int tile = begin + (end - 1 - begin) / kSteps * kSteps; tile >= begin; tile -= kSteps) {
      for (pass = 0; pass < passes; ++pass) {
        Shares<T, kPassStates> factor;
        factor.load(p, bases, at, pass, tile);
        enter(tile);
        if (pass == 0) {
          this->prepare(tile);
          this->fetch_ahead(tile - kSteps);
        }
        __syncthreads();  // nobody reads the last factors or kept rows any more
        factor.store(factors, p, at, pass, tile, end);
        __syncthreads();
        walk();
        leave(tile);
        __syncthreads();
        reduce(tile, slot);
      }
      float value[kRounds][4];
      this->get(dts, value);
      this->store(kDu, q.du, tile + at.step(), value);
      this->get(us, value);
      this->store(kDdelta, q.ddelta, tile + at.step(), value);
    }
    write_sums();
  }
  __device__ __forceinline__ void write_sums() {
    const long long row = part() * p.dim + at.block_first + at.first;
    dbias += __shfl_xor_sync(kFullWarp, dbias, 1);
    if (q.ddelta_bias && at.lane % 2 == 0 && at.lane / 2 < at.count) {
      q.ddelta_bias[row + at.lane / 2] = dbias;
    }
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const float dD = over_quads(this->sums[r]);
      if (q.dD && at.step() == 0 && at.channel(r) < at.count) q.dD[row + at.channel(r)] = dD;
    }
  }
};

}  // namespace gradient
}  // namespace ssm

// Up to 4 states, up to 8, or 16 at a time.
#define SSM_GRADIENT(name, type, lane_states, blocks)                           \
  extern "C" __global__ void __launch_bounds__(ssm::gradient::kThreads, blocks) \
      name(ssm::ScanBackwardParams q) {                                         \
    ssm::gradient::Gradient<type, lane_states> gradient(q);                     \
    gradient.run();                                                             \
  }
#define SSM_GRADIENTS(type, suffix)                 \
  SSM_GRADIENT(scan_gradient4_##suffix, type, 1, 5) \
  SSM_GRADIENT(scan_gradient8_##suffix, type, 2, 5) \
  SSM_GRADIENT(scan_gradient16_##suffix, type, 4, 4)
SSM_GRADIENTS(float, f32)
SSM_GRADIENTS(ssm::F16, f16)
SSM_GRADIENTS(ssm::BF16, bf16)
