// Forward scan with the length split among lanes, and among warps where the channels are few.
//
// A warp takes one channel. kStateLanes lanes share a stretch of kSteps steps, each with
// kLaneStates of the states; 32 / kStateLanes such stretches make a tile. Every lane runs its
// stretch from the state zero and so knows (product of decays, end state) = (a, b), with h_end = a
// * h_begin + b. Those pairs compose; a shuffle scan over the lanes of a warp, and, with time_warps
// > 1, a walk over the warps of the block through shared memory, give each stretch its true first
// state. Then the stretch is run again, with the decays still in registers: one multiply-add more
// per step and state than a sequential scan, no second exponential.
//
// The recurrence's own state between tiles is kept per warp in shared memory (`carry`), so that any
// state count to 256 runs through the same code, kStateLanes * kLaneStates states at a time.
#include "scan/scan_device.cuh"

namespace ssm {

template <int kSteps>
__device__ __forceinline__ void read_steps(const float* row, float (&value)[kSteps]) {
#pragma unroll
  for (int i = 0; i < kSteps / 4; ++i) {
    const float4 quad = reinterpret_cast<const float4*>(row)[i];
    value[4 * i] = quad.x;
    value[4 * i + 1] = quad.y;
    value[4 * i + 2] = quad.z;
    value[4 * i + 3] = quad.w;
  }
}

// B or C of one state over a lane's steps.
template <typename T, int kSteps>
__device__ __forceinline__ void factor_steps(const ScanFactor& factor, long long batch,
                                             long long group, long long channel, int state,
                                             int step, int available, float (&value)[kSteps]) {
  if (factor.variable) {
    const T* row = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
                   group * factor.row_stride + state * factor.state_stride + step;
    const Steps<T, kSteps> raw = load_steps<T, kSteps>(row, available, factor.aligned);
#pragma unroll
    for (int k = 0; k < kSteps; ++k) value[k] = to_float(raw.value[k]);
  } else {
    const float same = static_cast<const float*>(
        factor.data)[channel * factor.row_stride + state * factor.state_stride];
#pragma unroll
    for (int k = 0; k < kSteps; ++k) value[k] = same;
  }
}

template <typename T, int kStateLanes, int kLaneStates, int kSteps>
__device__ __forceinline__ void scan_split(const ScanParams& p) {
  constexpr int kStretches = kLanes / kStateLanes;
  constexpr int kTile = kStretches * kSteps;
  constexpr int kPitch = kTile + 4;
  constexpr int kPassStates = kStateLanes * kLaneStates;
  constexpr int kOwn = kSteps / kStateLanes;  // elements a lane loads, gates and stores
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int stretch = lane / kStateLanes;
  const int p_lane = lane % kStateLanes;
  const int time_warps = p.time_warps;
  const int time_warp = warp % time_warps;
  const int first_warp = warp - time_warp;
  const int padded_states = (p.states + kPassStates - 1) / kPassStates * kPassStates;

  // Shared: pairs of every warp, double-buffered; then per warp carry and product, exchange areas.
  float2* pairs = reinterpret_cast<float2*>(shared);
  constexpr int kExchange = kStateLanes > 1 ? (2 + kStateLanes) * kPitch : 0;
  float* mine = shared + 4 * warps * kPassStates + warp * (2 * padded_states + kExchange);
  float* carry = mine + kExchange;
  float* product = carry + padded_states;
  float* dts = mine;
  float* dus = mine + kPitch;
  float* sums = mine + 2 * kPitch;

  const long long batch = blockIdx.y;
  const long long wanted_channel =
      static_cast<long long>(blockIdx.x) * (warps / time_warps) + warp / time_warps;
  const bool active = wanted_channel < p.dim;  // the others only keep the barriers
  const long long channel = active ? wanted_channel : p.dim - 1;
  const long long group = channel / (p.dim / p.groups);
  const long long delta_row = channel / p.delta_ratio;
  const int length = static_cast<int>(p.length);
  const int chunk = static_cast<int>(blockIdx.z);
  const int begin = p.chunked ? chunk * kScanChunk : 0;
  const int end = p.chunked ? smaller(length, begin + kScanChunk) : length;
  const bool want_out = p.out.data != nullptr;

  const T* u =
      static_cast<const T*>(p.u.data) + batch * p.u.batch_stride + channel * p.u.row_stride;
  const T* delta = static_cast<const T*>(p.delta.data) + batch * p.delta.batch_stride +
                   delta_row * p.delta.row_stride;
  const T* z = p.z.data ? static_cast<const T*>(p.z.data) + batch * p.z.batch_stride +
                              channel * p.z.row_stride
                        : nullptr;
  const float skip = p.D ? p.D[channel] : 0.0f;
  const float bias = p.delta_bias ? p.delta_bias[delta_row] : 0.0f;

  for (int n = lane; n < padded_states; n += kLanes) {
    const bool known = p.chunked && chunk > 0 && n < p.states;
    carry[n] = known ? saved_state(p, batch, channel, chunk - 1, n)->y : 0.0f;
    product[n] = 1.0f;
  }
  __syncwarp();

  const int own = time_warp * kTile + lane * kOwn;  // this lane's elements within a round
  Steps<T, kOwn> u_next = load_steps<T, kOwn>(u + begin + own, end - begin - own, p.rows_aligned);
  Steps<T, kOwn> delta_next =
      load_steps<T, kOwn>(delta + begin + own, end - begin - own, p.rows_aligned);
  int parity = 0;

  const int round = kTile * time_warps;
  for (int step = begin; step < end; step += round) {
    const int t = step + own;
    const int tile = step + time_warp * kTile;
    const int lane_step = tile + stretch * kSteps;
    float u_own[kOwn], dt_own[kOwn], du_own[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      u_own[i] = to_float(u_next.value[i]);
      dt_own[i] = to_float(delta_next.value[i]) + bias;
      if (p.softplus) dt_own[i] = softplus(dt_own[i]);
      if (t + i >= end) dt_own[i] = 0.0f;  // a step that changes nothing
      du_own[i] = dt_own[i] * u_own[i];
    }
    u_next = load_steps<T, kOwn>(u + t + round, end - t - round, p.rows_aligned);
    delta_next = load_steps<T, kOwn>(delta + t + round, end - t - round, p.rows_aligned);
    Steps<T, kOwn> z_now;
    if (z) z_now = load_steps<T, kOwn>(z + t, end - t, p.rows_aligned);

    float dt[kSteps], du[kSteps];
    if constexpr (kStateLanes > 1) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        dts[lane * kOwn + i] = dt_own[i];
        dus[lane * kOwn + i] = du_own[i];
      }
      __syncwarp();
      read_steps<kSteps>(dts + stretch * kSteps, dt);
      read_steps<kSteps>(dus + stretch * kSteps, du);
    } else {
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        dt[k] = dt_own[k];
        du[k] = du_own[k];
      }
    }
    float dt_total = 0.0f;
#pragma unroll
    for (int k = 0; k < kSteps; ++k) dt_total += dt[k];

    float y[kSteps];
#pragma unroll
    for (int k = 0; k < kSteps; ++k) y[k] = 0.0f;

    for (int pass = 0; pass < p.states; pass += kPassStates) {
      float a[kLaneStates][kSteps], b[kLaneStates][kSteps];
      float a_before[kLaneStates], b_before[kLaneStates], a_upto[kLaneStates], b_upto[kLaneStates];
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = pass + s * kStateLanes + p_lane;
        const bool exists = n < p.states;
        const float decay =
            exists ? p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E : 0.0f;
        factor_steps<T, kSteps>(p.B, batch, group, channel, exists ? n : 0, lane_step,
                                exists ? end - lane_step : 0, b[s]);
        float local = 0.0f;
#pragma unroll
        for (int k = 0; k < kSteps; ++k) {
          a[s][k] = exp2_approx(decay * dt[k]);
          b[s][k] *= du[k];
          local = fmaf(a[s][k], local, b[s][k]);
        }
        float a_sum = exp2_approx(decay * dt_total);
        float b_sum = exists ? local : 0.0f;
#pragma unroll
        for (int distance = 1; distance < kStretches; distance *= 2) {
          const float a_left = __shfl_up_sync(kFullWarp, a_sum, distance * kStateLanes);
          const float b_left = __shfl_up_sync(kFullWarp, b_sum, distance * kStateLanes);
          if (stretch >= distance) {
            b_sum = fmaf(a_sum, b_left, b_sum);
            a_sum *= a_left;
          }
        }
        a_upto[s] = a_sum;
        b_upto[s] = b_sum;
        a_before[s] = __shfl_up_sync(kFullWarp, a_sum, kStateLanes);
        b_before[s] = __shfl_up_sync(kFullWarp, b_sum, kStateLanes);
        if (stretch == 0) {
          a_before[s] = 1.0f;
          b_before[s] = 0.0f;
        }
      }

      float2* slots = pairs + parity * warps * kPassStates;
      if (time_warps > 1) {
        if (stretch == kStretches - 1) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            float2 pair;
            pair.x = a_upto[s];
            pair.y = b_upto[s];
            slots[warp * kPassStates + s * kStateLanes + p_lane] = pair;
          }
        }
        __syncthreads();
        parity ^= 1;
      }
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int slot = s * kStateLanes + p_lane;
        const int n = pass + slot;
        const float h_begin = carry[n];
        float h_tile = h_begin;
        if (time_warps > 1) {
          float h_end = h_begin;
          float decayed = product[n];
          for (int other = 0; other < time_warps; ++other) {
            if (other == time_warp) h_tile = h_end;
            const float2 pair = slots[(first_warp + other) * kPassStates + slot];
            h_end = fmaf(pair.x, h_end, pair.y);
            decayed *= pair.x;
          }
          __syncwarp();
          if (stretch == 0) {
            carry[n] = h_end;
            product[n] = decayed;
          }
        } else {
          __syncwarp();
          if (stretch == kStretches - 1) {
            carry[n] = fmaf(a_upto[s], h_begin, b_upto[s]);
            product[n] *= a_upto[s];
          }
        }
        if (p.tile_states && stretch == 0 && active && tile < end && n < p.states) {
          p.tile_states[((batch * p.dim + channel) * p.tiles + tile / kTile) * p.states + n] =
              h_tile;
        }
        if (want_out) {
          float c[kSteps];
          factor_steps<T, kSteps>(p.C, batch, group, channel, n < p.states ? n : 0, lane_step,
                                  n < p.states ? end - lane_step : 0, c);
          if (n >= p.states) {
#pragma unroll
            for (int k = 0; k < kSteps; ++k) c[k] = 0.0f;
          }
          float h = fmaf(a_before[s], h_tile, b_before[s]);
#pragma unroll
          for (int k = 0; k < kSteps; ++k) {
            h = fmaf(a[s][k], h, b[s][k]);
            y[k] = fmaf(h, c[k], y[k]);
          }
        }
      }
      __syncwarp();
    }

    const int next = step + round;
    if (p.x && !p.chunked && active && time_warp == 0 && (next % kScanChunk == 0 || next >= end)) {
      for (int n = lane; n < p.states; n += kLanes) {
        float2 pair;
        pair.x = product[n];
        pair.y = carry[n];
        *saved_state(p, batch, channel, step / kScanChunk, n) = pair;
      }
    }
    if (!want_out) continue;

    float y_own[kOwn];
    if constexpr (kStateLanes > 1) {
#pragma unroll
      for (int k = 0; k < kSteps; k += 4) {
        float4 quad;
        quad.x = y[k];
        quad.y = y[k + 1];
        quad.z = y[k + 2];
        quad.w = y[k + 3];
        *reinterpret_cast<float4*>(sums + p_lane * kPitch + stretch * kSteps + k) = quad;
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        y_own[i] = skip * u_own[i];
#pragma unroll
        for (int q = 0; q < kStateLanes; ++q) y_own[i] += sums[q * kPitch + lane * kOwn + i];
      }
      __syncwarp();
    } else {
#pragma unroll
      for (int k = 0; k < kOwn; ++k) y_own[k] = fmaf(skip, u_own[k], y[k]);
    }
    const int available = active ? end - t : 0;
    store_steps<T, kOwn>(p.out.data, batch * p.out.batch_stride + channel * p.out.row_stride + t,
                         y_own, available, p.out_is_float, p.rows_aligned);
    if (z) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        const float gate = to_float(z_now.value[i]);
        y_own[i] *= gate * sigmoid(gate);
      }
      store_steps<T, kOwn>(p.out_z.data,
                           batch * p.out_z.batch_stride + channel * p.out_z.row_stride + t, y_own,
                           available, p.out_is_float, p.rows_aligned);
    }
  }
}

}  // namespace ssm

// The wide kernels take 16 states at a time in tiles of 32 steps; the narrow ones, for up to four
// states, one at a time in tiles of 128.
#define SSM_SPLIT(name, type, state_lanes, lane_states, steps)                   \
  extern "C" __global__ void __launch_bounds__(512, 1) name(ssm::ScanParams p) { \
    ssm::scan_split<type, state_lanes, lane_states, steps>(p);                   \
  }
SSM_SPLIT(scan_split_f32, float, 8, 2, 8)
SSM_SPLIT(scan_split_f16, ssm::F16, 8, 2, 8)
SSM_SPLIT(scan_split_bf16, ssm::BF16, 8, 2, 8)
SSM_SPLIT(scan_narrow_f32, float, 1, 1, 4)
SSM_SPLIT(scan_narrow_f16, ssm::F16, 1, 1, 4)
SSM_SPLIT(scan_narrow_bf16, ssm::BF16, 1, 1, 4)
