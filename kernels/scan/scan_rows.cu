// Forward scan, sequential in the length: for shapes whose channels fill the GPU.
//
// A warp takes 8 channels, 4 lanes a channel, 4 states a lane, and walks the steps in tiles of 32.
// Everything that is done once per step and channel (loads, softplus, delta * u, D, the gate,
// stores) is done with lanes along the steps, so memory is read in whole sectors; the recurrence
// itself with lanes along (channel, state). The two views meet in shared memory. B and C are staged
// as float32 by the whole block, double-buffered, one barrier a tile: all the channels of a block
// belong to one group. The loads of a tile are issued a tile ahead. More than 16 states are taken
// 16 at a time within a tile, the states waiting in shared memory.
//
// Each of a channel's four lanes leaves its share of y in shared memory, and the four are added
// where the element is stored: cheaper than shuffles. With one pass over the states the shares take
// the places of the step sizes and inputs that have just been used up.
//
// kOut is false for the first pass of the backward direction, which wants the states only.
#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kStateLanes = 4;
constexpr int kLaneStates = 4;
constexpr int kPassStates = kStateLanes * kLaneStates;
constexpr int kWarpChannels = kLanes / kStateLanes;
constexpr int kTile = 32;
constexpr int kPitch = kTile + 4;  // rows 9 x 16 bytes apart: no bank conflicts in 16-byte reads
constexpr int kQuads = kTile / 4;
constexpr int kFactorFloats = kPassStates * kPitch;
constexpr int kAreaFloats = kWarpChannels * kPitch;
constexpr int kScalarFloats = 4 * kWarpChannels;  // D, delta_bias, sums of step sizes, zeros

// Two neighbouring steps of a channel are one lane's; 16 lanes cover a tile, so a warp takes two
// channels at a time and goes through its 8 in four turns.
constexpr int kTurns = kWarpChannels / 2;

// One lane's two steps of a channel: in 16-bit types either one word, or two loads of one step each
// where rows are not aligned. Taken apart where they are used, not where they are loaded.
template <typename T>
struct Pair {
  uint32 first, second;

  __device__ __forceinline__ float at(int k, bool paired) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(k == 0 ? first : second);
    } else {
      T value;
      value.bits = static_cast<uint16>(k == 0 ? first : paired ? first >> 16 : second);
      return to_float(value);
    }
  }
};

__device__ __forceinline__ uint32 load_bits(const float* address) {
  return __float_as_uint(*address);
}

// One tensor's rows as a lane sees them: 32-bit offsets from the warp's first row (the launcher
// takes this kernel only where 8 rows lie within 2^31 elements).
template <typename T>
struct LaneRows {
  const T* base;
  int row_stride;

  __device__ __forceinline__ LaneRows(const ScanRows& rows, long long batch, int first)
      : base(rows.data ? static_cast<const T*>(rows.data) + batch * rows.batch_stride +
                             first * rows.row_stride
                       : nullptr),
        row_stride(static_cast<int>(rows.row_stride)) {}
  // Steps past the end and missing channels read their neighbours: loads need no predicate, and the
  // step size of such a step is set to 0.
  __device__ __forceinline__ void load_pairs(const int (&channel)[kTurns], int step, int end,
                                             Pair<T> (&out)[kTurns]) const {
    const int t = smaller(step, end - 2);
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const Steps<T, 2> pair = load_whole<T, 2>(base + (channel[i] * row_stride + t));
      out[i].first = pair.word[0];
      if constexpr (sizeof(T) == 4) out[i].second = pair.word[1];
    }
  }
  __device__ __forceinline__ void load_singles(const int (&channel)[kTurns], int step, int end,
                                               Pair<T> (&out)[kTurns]) const {
    const int t = smaller(step, end - 1);
    const int beside = smaller(step + 1, end - 1) - t;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const T* at = base + (channel[i] * row_stride + t);
      out[i].first = load_bits(at);
      out[i].second = load_bits(at + beside);
    }
  }
};

// One pass of 4 steps: h moves on; y gains this lane's states' share.
template <bool kOut>
__device__ __forceinline__ void four_steps(const float (&decay)[kLaneStates],
                                           float (&h)[kLaneStates], const float4& dt,
                                           const float4& du, const float* b_rows,
                                           const float* c_rows, float4& y) {
  float4 a[kLaneStates], b[kLaneStates], c[kLaneStates];
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    b[s] = *reinterpret_cast<const float4*>(b_rows + s * kStateLanes * kPitch);
    if (kOut) c[s] = *reinterpret_cast<const float4*>(c_rows + s * kStateLanes * kPitch);
    a[s].x = exp2_approx(decay[s] * dt.x);
    a[s].y = exp2_approx(decay[s] * dt.y);
    a[s].z = exp2_approx(decay[s] * dt.z);
    a[s].w = exp2_approx(decay[s] * dt.w);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].x, h[s], du.x * b[s].x);
    if (kOut) y.x = fmaf(h[s], c[s].x, y.x);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].y, h[s], du.y * b[s].y);
    if (kOut) y.y = fmaf(h[s], c[s].y, y.y);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].z, h[s], du.z * b[s].z);
    if (kOut) y.z = fmaf(h[s], c[s].z, y.z);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].w, h[s], du.w * b[s].w);
    if (kOut) y.w = fmaf(h[s], c[s].w, y.w);
  }
}

template <typename T, bool kOut>
__device__ __forceinline__ void scan_rows(const ScanParams& p) {
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int passes = (p.states + kPassStates - 1) / kPassStates;
  // Shared: factors [parity][B, C][state][step]; then per warp [channel][step] areas and scalars.
  float* factors = shared;
  const int areas = passes > 1 ? 6 : 4;
  float* dts = shared + 4 * kFactorFloats +
               warp * (areas * kAreaFloats + kScalarFloats + (passes > 1 ? passes * 128 : 0));
  float* dus = dts + kAreaFloats;
  float* skips = dts + areas * kAreaFloats;
  float* biases = skips + kWarpChannels;
  float* totals = biases + kWarpChannels;
  float* zeros = totals + kWarpChannels;
  float* waiting = zeros + kWarpChannels;  // [pass][s][lane], only where passes > 1
  // The four shares of y; the first begins as D * u.
  float* ys = dts + 2 * kAreaFloats;
  const auto share = [&](int q) {
    if (passes > 1 || q == 0) return ys + q * kAreaFloats;
    return q == 1 ? dts : q == 2 ? dus : ys + kAreaFloats;
  };

  const int group_channels = static_cast<int>(p.dim / p.groups);
  const int group_blocks = (group_channels + kWarpChannels * warps - 1) / (kWarpChannels * warps);
  const int group = static_cast<int>(blockIdx.x) / group_blocks;
  const int within = (static_cast<int>(blockIdx.x) % group_blocks * warps + warp) * kWarpChannels;
  const int first = group * group_channels + smaller(within, group_channels - 1);
  const int count = within < group_channels ? smaller(kWarpChannels, group_channels - within) : 0;
  const long long batch = blockIdx.y;
  const int length = static_cast<int>(p.length);
  const int chunk = static_cast<int>(blockIdx.z);
  const int begin = p.chunked ? chunk * kScanChunk : 0;
  const int end = p.chunked ? smaller(length, begin + kScanChunk) : length;

  const LaneRows<T> u_rows(p.u, batch, first);
  const LaneRows<T> delta_rows(p.delta, batch, first);
  const LaneRows<T> z_rows(p.z, batch, first);
  const int half = lane / 16;
  int channels[kTurns];  // this lane's, clamped to one that exists
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    channels[i] = smaller(2 * i + half, count > 0 ? count - 1 : 0);
  }
  const bool paired = p.rows_aligned && length % 2 == 0;
  const long long out_base = batch * p.out.batch_stride + first * p.out.row_stride;
  const long long out_z_base = batch * p.out_z.batch_stride + first * p.out_z.row_stride;
  const int out_stride = static_cast<int>(p.out.row_stride);
  const int out_z_stride = static_cast<int>(p.out_z.row_stride);

  if (lane < kWarpChannels) {
    const bool exists = lane < count;
    skips[lane] = exists && p.D ? p.D[first + lane] : 0.0f;
    biases[lane] = exists && p.delta_bias ? p.delta_bias[first + lane] : 0.0f;
    zeros[lane] = 0.0f;
  }
  const int c_lane = lane / kStateLanes;
  const int p_lane = lane % kStateLanes;
  const int channel = first + c_lane;
  const bool has_channel = c_lane < count;

  float decay[kLaneStates], h[kLaneStates];
  auto load_decay = [&](int pass) {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const int n = pass * kPassStates + s * kStateLanes + p_lane;
      decay[s] = has_channel && n < p.states
                     ? p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E
                     : 0.0f;
    }
  };
  for (int pass = passes - 1; pass >= 0; --pass) {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const int n = pass * kPassStates + s * kStateLanes + p_lane;
      const bool known = p.chunked && chunk > 0 && has_channel && n < p.states;
      h[s] = known ? saved_state(p, batch, channel, chunk - 1, n)->y : 0.0f;
      if (passes > 1) waiting[pass * 128 + s * kLanes + lane] = h[s];
    }
  }
  load_decay(0);

  const int own = lane % 16 * 2;
  Pair<T> u_next[kTurns], delta_next[kTurns], z_now[kTurns];
  // One branch for all loads of a tile: the compiler waits for earlier loads at every branch. z of
  // this tile; u and delta of the next.
  const auto load_tile = [&](int step) {
    const bool gated = kOut && z_rows.base && step >= begin;
    if (paired) {
      u_rows.load_pairs(channels, step + kTile + own, end, u_next);
      delta_rows.load_pairs(channels, step + kTile + own, end, delta_next);
      if (gated) z_rows.load_pairs(channels, step + own, end, z_now);
    } else {
      u_rows.load_singles(channels, step + kTile + own, end, u_next);
      delta_rows.load_singles(channels, step + kTile + own, end, delta_next);
      if (gated) z_rows.load_singles(channels, step + own, end, z_now);
    }
  };
  load_tile(begin - kTile);
  using Shares = Stager<T, kPassStates, kTile>;
  Shares stager;
  stager.place(p, batch, group, kOut, static_cast<int>(threadIdx.x));
  stager.load(p, 0, begin, end);
  int parity = 0;
  const auto stage = [&](int pass, int step) {
    float* to = factors + parity * 2 * kFactorFloats;
    stager.store(to, kPitch);
    for (int slot = static_cast<int>(threadIdx.x + blockDim.x); slot < 2 * kPassStates * kQuads;
         slot += static_cast<int>(blockDim.x)) {
      Shares other;
      other.place(p, batch, group, kOut, slot);
      other.load(p, pass, step, end);
      other.store(to, kPitch);
    }
    __syncthreads();
  };
  float dt_sums[kTurns] = {};
  __syncwarp();

  for (int step = begin; step < end; step += kTile) {
    const int t = step + own;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const int c = 2 * i + half;
      const float skip = skips[c];
      const float bias = biases[c];
      float dt[2], u[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        u[k] = u_next[i].at(k, paired);
        dt[k] = delta_next[i].at(k, paired) + bias;
        if (p.softplus) dt[k] = softplus(dt[k]);
        if (t + k >= end) dt[k] = 0.0f;  // a step that changes nothing
      }
      const int at = c * kPitch + own;
      *reinterpret_cast<float2*>(dts + at) = make_pair(dt[0], dt[1]);
      *reinterpret_cast<float2*>(dus + at) = make_pair(dt[0] * u[0], dt[1] * u[1]);
      if (kOut) {
        *reinterpret_cast<float2*>(ys + at) = make_pair(skip * u[0], skip * u[1]);
        dt_sums[i] += dt[0] + dt[1];
        for (int q = 1; q < kStateLanes && passes > 1; ++q) {
          *reinterpret_cast<float2*>(share(q) + at) = make_pair(0.0f, 0.0f);
        }
      }
    }
    stage(0, step);
    stager.load(p, passes > 1 ? 1 : 0, passes > 1 ? step : step + kTile, end);
    load_tile(step);

    for (int pass = 0; pass < passes; ++pass) {
      const bool last_pass = pass + 1 == passes;
      if (passes > 1) {
        load_decay(pass);
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) h[s] = waiting[pass * 128 + s * kLanes + lane];
      }
      if (!kOut && has_channel) {
        float* before =
            p.tile_states + ((batch * p.dim + channel) * p.tiles + step / kTile) * p.states;
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int n = pass * kPassStates + s * kStateLanes + p_lane;
          if (n < p.states) before[n] = h[s];
        }
      }
      const float* b_rows = factors + parity * 2 * kFactorFloats + p_lane * kPitch;
      const float* dt_row = dts + c_lane * kPitch;
      float* share_row = share(p_lane) + c_lane * kPitch;
      // Shares begin as zero with one pass, where their place still holds something else.
      const bool from_share = p_lane == 0 || passes > 1;
      const float* y_row = from_share ? share_row : zeros;
#pragma unroll 2
      for (int j = 0; j < kTile; j += 4) {
        const float4 dt = *reinterpret_cast<const float4*>(dt_row + j);
        const float4 du = *reinterpret_cast<const float4*>(dt_row + kAreaFloats + j);
        float4 y;
        if (kOut) y = *reinterpret_cast<const float4*>(y_row + (from_share ? j : 0));
        four_steps<kOut>(decay, h, dt, du, b_rows + j, b_rows + kFactorFloats + j, y);
        if (kOut) {
          __syncwarp();  // all four lanes have read what the shares replace
          *reinterpret_cast<float4*>(share_row + j) = y;
        }
      }
      if (passes > 1) {
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) waiting[pass * 128 + s * kLanes + lane] = h[s];
      }
      parity ^= 1;
      if (!last_pass) {
        stage(pass + 1, step);
        const bool more = pass + 2 < passes;
        stager.load(p, more ? pass + 2 : 0, more ? step : step + kTile, end);
      }
    }

    const int next = step + kTile;
    if (kOut && p.x && (next % kScanChunk == 0 || next >= end)) {
#pragma unroll
      for (int i = 0; i < kTurns; ++i) {
        float total = dt_sums[i];
#pragma unroll
        for (int distance = 8; distance > 0; distance /= 2) {
          total += __shfl_xor_sync(kFullWarp, total, distance);
        }
        totals[2 * i + half] = total;
      }
      __syncwarp();
      for (int pass = 0; pass < passes && has_channel; ++pass) {
        if (passes > 1) {
          load_decay(pass);
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) h[s] = waiting[pass * 128 + s * kLanes + lane];
        }
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int n = pass * kPassStates + s * kStateLanes + p_lane;
          const float2 pair = make_pair(exp2_approx(decay[s] * totals[c_lane]), h[s]);
          if (n < p.states) *saved_state(p, batch, channel, step / kScanChunk, n) = pair;
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kTurns && kOut; ++i) {
      const int c = 2 * i + half;
      const int at = c * kPitch + own;
      float y[2] = {0.0f, 0.0f};
#pragma unroll
      for (int q = 0; q < kStateLanes; ++q) {
        const float2 pair = *reinterpret_cast<const float2*>(share(q) + at);
        y[0] += pair.x;
        y[1] += pair.y;
      }
      const int available = c < count ? end - t : 0;
      store_steps<T, 2>(p.out.data, out_base + (c * out_stride + t), y, available, p.out_is_float,
                        paired);
      if (!z_rows.base) continue;
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const float z = z_now[i].at(k, paired);
        y[k] *= z * sigmoid(z);
      }
      store_steps<T, 2>(p.out_z.data, out_z_base + (c * out_z_stride + t), y, available,
                        p.out_is_float, paired);
    }
    __syncwarp();  // the areas are free for the next tile
  }
}

}  // namespace ssm

#define SSM_ROWS(name, type, out)                                                \
  extern "C" __global__ void __launch_bounds__(256, 2) name(ssm::ScanParams p) { \
    ssm::scan_rows<type, out>(p);                                                \
  }
SSM_ROWS(scan_rows_f32, float, true)
SSM_ROWS(scan_rows_f16, ssm::F16, true)
SSM_ROWS(scan_rows_bf16, ssm::BF16, true)
SSM_ROWS(scan_states_f32, float, false)
SSM_ROWS(scan_states_f16, ssm::F16, false)
SSM_ROWS(scan_states_bf16, ssm::BF16, false)
