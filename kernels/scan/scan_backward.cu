// Backward scan. A pass of the forward kernels has left the state before every tile in tile_states;
// this kernel walks the tiles from the last to the first, redoing each tile's states and running
// the adjoint g of the state backwards:
//   g_t = dy_t C_t + a_{t+1} g_{t+1}          dC_t = sum over channels of dy_t h_t
//   dB_t = sum over channels of g_t dt_t u_t  d(dt u)_t = sum over states of g_t B_t
//   dA = sum over t of dt_t e_t, d(dt)_t += A e_t, with e_t = a_t g_t h_{t-1}
// Lanes are laid out as in scan_split.cu: a warp takes one channel's tile at a time, each lane a
// stretch of steps and a few states; both directions are shuffle scans over the stretches. A warp
// goes through channels_per_warp channels of the tile before the next tile, so that the sums over
// channels in dB and dC grow in registers; the block's warps are then added up through shared
// memory, and one value per (block, state, step) leaves the block. Sums over steps (dA, dD,
// ddelta_bias, dB and dC where they are fixed) stay in shared memory to the end.
//
// With time_warps > 1 consecutive warps take consecutive tiles of the same channels.
#include "scan/scan_backward_tile.cuh"

namespace ssm {

template <typename T, int kStateLanes, int kLaneStates, int kSteps>
struct Backward : BackwardTile<T, kStateLanes, kLaneStates, kSteps> {
  using Tile = BackwardTile<T, kStateLanes, kLaneStates, kSteps>;
  using Tile::batch;
  using Tile::before;
  using Tile::carry;
  using Tile::channel_warp;
  using Tile::count;
  using Tile::dA;
  using Tile::dB;
  using Tile::dbias;
  using Tile::dC;
  using Tile::dD;
  using Tile::decay;
  using Tile::end;
  using Tile::exchange;
  using Tile::factors;
  using Tile::finish;
  using Tile::first;
  using Tile::group;
  using Tile::kDt;
  using Tile::kDtU;
  using Tile::kDy;
  using Tile::kFactorFloats;
  using Tile::kOwn;
  using Tile::kPassStates;
  using Tile::kPitch;
  using Tile::kStretches;
  using Tile::kSumA;
  using Tile::kSumB;
  using Tile::kTile;
  using Tile::lane;
  using Tile::lane_steps;
  using Tile::p;
  using Tile::p_lane;
  using Tile::padded;
  using Tile::pairs;
  using Tile::place;
  using Tile::prepare_channels;
  using Tile::put_steps;
  using Tile::q;
  using Tile::reduction;
  using Tile::row;
  using Tile::stage;
  using Tile::stretch;
  using Tile::Tile;
  using Tile::time_warp;
  using Tile::time_warps;
  using Tile::warp;
  using Tile::warps;
  using Tile::write_row_sums;
  using Tile::write_sums;

  __device__ __forceinline__ void factor_steps(const ScanFactor& factor, int which, int slot,
                                               long long channel, int n,
                                               float (&value)[kSteps]) const {
    if (factor.variable) {
      lane_steps(factors + (time_warp * 2 + which) * kFactorFloats + slot * kPitch, value);
    } else {
      const float same =
          n < p.states ? static_cast<const float*>(
                             factor.data)[channel * factor.row_stride + n * factor.state_stride]
                       : 0.0f;
#pragma unroll
      for (int k = 0; k < kSteps; ++k) value[k] = same;
    }
  }

  // One state of one channel over this lane's stretch. db and dc grow over the channels.
  __device__ __forceinline__ void one_state(int c, int pass, int s, int& parity,
                                            const float (&dt)[kSteps], const float (&dtu)[kSteps],
                                            const float (&dy)[kSteps], float dt_total,
                                            float (&sum_b)[kSteps], float (&sum_a)[kSteps],
                                            float (&db)[kSteps], float (&dc)[kSteps]) {
    const int slot = s * kStateLanes + p_lane;
    const int n = pass + slot;
    const long long channel = first + c;
    const bool exists = n < p.states && c < count;
    const float A = decay[c * padded + n];
    const float log2_decay = A * kLog2E;
    float B[kSteps], C[kSteps], a[kSteps], h[kSteps];
    factor_steps(p.B, 0, slot, exists ? channel : 0, exists ? n : p.states, B);
    factor_steps(p.C, 1, slot, exists ? channel : 0, exists ? n : p.states, C);

    float local = 0.0f;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      a[k] = exp2_approx(log2_decay * dt[k]);
      h[k] = dtu[k] * B[k];
      local = fmaf(a[k], local, h[k]);
    }
    const float a_own = exp2_approx(log2_decay * dt_total);
    float a_sum = a_own, h_sum = local;
#pragma unroll
    for (int distance = 1; distance < kStretches; distance *= 2) {
      const float a_left = __shfl_up_sync(kFullWarp, a_sum, distance * kStateLanes);
      const float h_left = __shfl_up_sync(kFullWarp, h_sum, distance * kStateLanes);
      if (stretch >= distance) {
        h_sum = fmaf(a_sum, h_left, h_sum);
        a_sum *= a_left;
      }
    }
    const float a_before = __shfl_up_sync(kFullWarp, a_sum, kStateLanes);
    const float h_before = __shfl_up_sync(kFullWarp, h_sum, kStateLanes);
    const float h_tile = exists ? before[c * padded + n] : 0.0f;
    const float h_first = stretch == 0 ? h_tile : fmaf(a_before, h_tile, h_before);
    float state = h_first;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      state = fmaf(a[k], state, h[k]);
      h[k] = state;
    }

    // The adjoint as it leaves a step to the left: back = a * (dy * C + back).
    float back = 0.0f;
#pragma unroll
    for (int k = kSteps - 1; k >= 0; --k) back = a[k] * fmaf(dy[k], C[k], back);
    float a_back = a_own, back_sum = back;
#pragma unroll
    for (int distance = 1; distance < kStretches; distance *= 2) {
      const float a_right = __shfl_down_sync(kFullWarp, a_back, distance * kStateLanes);
      const float back_right = __shfl_down_sync(kFullWarp, back_sum, distance * kStateLanes);
      if (stretch + distance < kStretches) {
        back_sum = fmaf(a_back, back_right, back_sum);
        a_back *= a_right;
      }
    }
    const float a_after = __shfl_down_sync(kFullWarp, a_back, kStateLanes);
    const float back_after = __shfl_down_sync(kFullWarp, back_sum, kStateLanes);
    float* carried = carry + c * padded + n;
    const float round_back = *carried;
    float tile_back = round_back;
    if (time_warps > 1) {
      float2* slots = pairs + parity * warps * kPassStates;
      if (stretch == 0) {
        float2 pair;
        pair.x = a_back;
        pair.y = back_sum;
        slots[warp * kPassStates + slot] = pair;
      }
      __syncthreads();
      parity ^= 1;
      float leaving = round_back;
      for (int other = time_warps - 1; other >= 0; --other) {
        if (other == time_warp) tile_back = leaving;
        const float2 pair = slots[(warp - time_warp + other) * kPassStates + slot];
        leaving = fmaf(pair.x, leaving, pair.y);
      }
      __syncwarp();
      if (stretch == 0) *carried = leaving;
    } else {
      __syncwarp();
      if (stretch == 0) *carried = fmaf(a_back, round_back, back_sum);
    }
    back = stretch == kStretches - 1 ? tile_back : fmaf(a_after, tile_back, back_after);

    float dA_sum = 0.0f;
#pragma unroll
    for (int k = kSteps - 1; k >= 0; --k) {
      const float g = fmaf(dy[k], C[k], back);
      dc[k] = fmaf(dy[k], h[k], dc[k]);
      db[k] = fmaf(g, dtu[k], db[k]);
      sum_b[k] = fmaf(g, B[k], sum_b[k]);
      back = a[k] * g;
      const float e = back * (k > 0 ? h[k > 0 ? k - 1 : 0] : h_first);
      dA_sum = fmaf(e, dt[k], dA_sum);
      sum_a[k] = fmaf(e, A, sum_a[k]);
    }
    dA[(c * padded + n) * kStretches + stretch] += dA_sum;
  }

  // A fixed factor's gradient is a sum over this channel's steps.
  __device__ __forceinline__ void fold(bool variable, float* sums, int c, int n,
                                       float (&grown)[kSteps]) {
    if (variable) return;
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      total += grown[k];
      grown[k] = 0.0f;
    }
    sums[(c * padded + n) * kStretches + stretch] += total;
  }

  // Sums over a channel's state lanes: afterwards each lane adds its own elements to `to`.
  __device__ __forceinline__ void gather(float* to, const float (&value)[kSteps]) {
    put_steps(exchange + p_lane * kPitch, value);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int at = lane * kOwn + i;
      float sum = to[at];
#pragma unroll
      for (int r = 0; r < kStateLanes; ++r) sum += exchange[r * kPitch + at];
      to[at] = sum;
    }
    __syncwarp();
  }

  // dB or dC of the block's channels at this round's tiles.
  __device__ __forceinline__ void reduce(float* out, int pass, int round_step, int slot_index,
                                         const float (&value)[kLaneStates][kSteps]) {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      put_steps(reduction + warp * kFactorFloats + (s * kStateLanes + p_lane) * kPitch, value[s]);
    }
    __syncthreads();
    float* rows_out =
        out + ((slot_index * p.batch + batch) * p.groups + group) * p.states * p.length;
    constexpr int kQuads = kTile / 4;
    for (int i = static_cast<int>(threadIdx.x); i < time_warps * kPassStates * kQuads;
         i += static_cast<int>(blockDim.x)) {
      const int state = i / kQuads % kPassStates;
      const int tw = i / (kQuads * kPassStates);
      const float* from = reduction + state * kPitch + i % kQuads * 4;
      float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
      for (int w = tw; w < warps; w += time_warps) {
        const float4 quad = *reinterpret_cast<const float4*>(from + w * kFactorFloats);
        sum[0] += quad.x;
        sum[1] += quad.y;
        sum[2] += quad.z;
        sum[3] += quad.w;
      }
      const int t = round_step + tw * kTile + i % kQuads * 4;
      const int n = pass + state;
      if (n >= p.states) continue;
      float* place = rows_out + (n * p.length + t);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (t + j >= end) continue;
        if (q.atomic) {
          atomicAdd(place + j, sum[j]);
        } else {
          place[j] = sum[j];
        }
      }
    }
    __syncthreads();
  }

  __device__ __forceinline__ void run() {
    extern __shared__ float4 shared_words[];
    warps = static_cast<int>(blockDim.x) / kLanes;
    warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    stretch = lane / kStateLanes;
    p_lane = lane % kStateLanes;
    time_warps = p.time_warps;
    time_warp = warp % time_warps;
    channel_warp = warp / time_warps;
    end = static_cast<int>(p.length);
    padded = (p.states + kPassStates - 1) / kPassStates * kPassStates;
    batch = blockIdx.y;
    const int cw = p.channels_per_warp;
    const int group_channels = static_cast<int>(p.dim / p.groups);
    const int block_channels = warps / time_warps * cw;
    const int group_blocks = (group_channels + block_channels - 1) / block_channels;
    group = blockIdx.x / group_blocks;
    const int block = static_cast<int>(blockIdx.x) % group_blocks;
    const int within = smaller(block * block_channels + channel_warp * cw, group_channels);
    first = group * group_channels + smaller(within, group_channels - 1);
    count = smaller(cw, group_channels - within);
    place(reinterpret_cast<float*>(shared_words));

    const int round = kTile * time_warps;
    int parity = 0;
    for (int round_step = (end - 1) / round * round; round_step >= 0; round_step -= round) {
      const int tile = round_step + time_warp * kTile;
      prepare_channels(tile);
      for (int pass = 0; pass < p.states; pass += kPassStates) {
        stage(pass, tile);
        __syncthreads();
        float db[kLaneStates][kSteps], dc[kLaneStates][kSteps];
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
#pragma unroll
          for (int k = 0; k < kSteps; ++k) db[s][k] = dc[s][k] = 0.0f;
        }
        // Time warps meet at barriers, so all go through cw channels there, existing or not.
        const int turns = time_warps > 1 ? cw : count;
#pragma unroll 1
        for (int c = 0; c < turns; ++c) {
          float dt[kSteps], dtu[kSteps], dy[kSteps], sum_b[kSteps], sum_a[kSteps];
          lane_steps(row(kDt, c), dt);
          lane_steps(row(kDtU, c), dtu);
          lane_steps(row(kDy, c), dy);
          if (c >= count) {
#pragma unroll
            for (int k = 0; k < kSteps; ++k) dt[k] = dtu[k] = dy[k] = 0.0f;
          }
          float dt_total = 0.0f;
#pragma unroll
          for (int k = 0; k < kSteps; ++k) {
            dt_total += dt[k];
            sum_b[k] = sum_a[k] = 0.0f;
          }
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            one_state(c, pass, s, parity, dt, dtu, dy, dt_total, sum_b, sum_a, db[s], dc[s]);
            const int n = pass + s * kStateLanes + p_lane;
            fold(p.B.variable, dB, c, n, db[s]);
            fold(p.C.variable, dC, c, n, dc[s]);
          }
          gather(row(kSumB, c), sum_b);
          gather(row(kSumA, c), sum_a);
        }
        const int slot_index = block % q.slots;
        if (p.B.variable) reduce(q.dB, pass, round_step, slot_index, db);
        if (p.C.variable) reduce(q.dC, pass, round_step, slot_index, dc);
        if (!p.B.variable && !p.C.variable) __syncthreads();
      }
      __syncwarp();
      for (int c = 0; c < count; ++c) finish(c, tile);
      __syncwarp();
    }
    __syncthreads();
    if (time_warp != 0) return;
    write_sums(q.dA, dA);
    if (!p.B.variable) write_sums(q.dB, dB);
    if (!p.C.variable) write_sums(q.dC, dC);
    write_row_sums(q.dD, dD);
    write_row_sums(q.ddelta_bias, dbias);
  }
};

}  // namespace ssm

#define SSM_BACKWARD(name, type, state_lanes, lane_states, steps)                        \
  extern "C" __global__ void __launch_bounds__(128, 3) name(ssm::ScanBackwardParams q) { \
    ssm::Backward<type, state_lanes, lane_states, steps> backward(q);                    \
    backward.run();                                                                      \
  }
SSM_BACKWARD(scan_backward_f32, float, 8, 2, 8)
SSM_BACKWARD(scan_backward_f16, ssm::F16, 8, 2, 8)
SSM_BACKWARD(scan_backward_bf16, ssm::BF16, 8, 2, 8)
