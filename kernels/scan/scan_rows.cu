// Forward scan, sequential in the length: for shapes whose channels fill the GPU.
//
// A warp takes 8 channels, 4 lanes a channel, 4 states a lane, and walks the steps in tiles of 32.
// Everything that is done once per step and channel (loads, softplus, delta * u, D, the gate,
// stores) is done with lanes along the steps, so memory is read in whole sectors; the recurrence
// itself with lanes along (channel, state). The two views meet in shared memory, whose bandwidth
// bounds the kernel. B and C are staged in their own type by the whole block, double-buffered, one
// barrier a tile: all the channels of a block belong to one group. The loads of a tile are issued a
// tile ahead. More than 16 states are taken 16 at a time within a tile, the states waiting in
// shared memory.
//
// Each of a channel's four lanes leaves its share of y in shared memory, and the four are added
// where the element is stored: cheaper than shuffles. With one pass over the states the shares take
// the places of the step sizes and inputs that have just been used up.
//
// Where the length is cut into chunks, a block takes one, which begins with the state that
// scan_ends.cu has left for it.
#include "scan/scan_rows_lanes.cuh"

namespace ssm {

// Four steps of one state of B or C.
template <typename T>
__device__ __forceinline__ float4 read_quad(const T* from) {
  if constexpr (sizeof(T) == 4) {
    return *reinterpret_cast<const float4*>(from);
  } else {
    const Steps<T, 4> raw = load_whole<T, 4>(from);
    float4 quad;
    quad.x = raw.at(0);
    quad.y = raw.at(1);
    quad.z = raw.at(2);
    quad.w = raw.at(3);
    return quad;
  }
}

// One pass of 4 steps: h moves on; y gains this lane's states' share.
template <typename T, int kLaneStates>
__device__ __forceinline__ void four_steps(const float (&decay)[kLaneStates],
                                           float (&h)[kLaneStates], const float4& dt,
                                           const float4& du, const T* b_rows, const T* c_rows,
                                           float4& y) {
  float4 a[kLaneStates], b[kLaneStates], c[kLaneStates];
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    b[s] = read_quad(b_rows + s * kStateLanes * kPitch);
    c[s] = read_quad(c_rows + s * kStateLanes * kPitch);
    a[s].x = exp2_approx(decay[s] * dt.x);
    a[s].y = exp2_approx(decay[s] * dt.y);
    a[s].z = exp2_approx(decay[s] * dt.z);
    a[s].w = exp2_approx(decay[s] * dt.w);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].x, h[s], du.x * b[s].x);
    y.x = fmaf(h[s], c[s].x, y.x);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].y, h[s], du.y * b[s].y);
    y.y = fmaf(h[s], c[s].y, y.y);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].z, h[s], du.z * b[s].z);
    y.z = fmaf(h[s], c[s].z, y.z);
  }
#pragma unroll
  for (int s = 0; s < kLaneStates; ++s) {
    h[s] = fmaf(a[s].w, h[s], du.w * b[s].w);
    y.w = fmaf(h[s], c[s].w, y.w);
  }
}

template <typename T, int kLaneStates>
__device__ __forceinline__ void scan_rows(const ScanParams& p) {
  constexpr int kPassStates = kStateLanes * kLaneStates;
  constexpr int kFactorFloats = kPassStates * kPitch;
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int passes = (p.states + kPassStates - 1) / kPassStates;
  // Shared: factors [parity][B, C][state][step]; then per warp [channel][step] areas and scalars.
  T* factors = reinterpret_cast<T*>(shared);  // at most float
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
  const bool chunked = p.chunks.states;
  const int begin = chunked ? chunk * p.chunks.steps : 0;
  const int end = chunked ? smaller(length, begin + p.chunks.steps) : length;

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
  const long long chunk_row = (batch * p.dim + channel) * p.chunks.count;
  const bool carried = p.chunks.carried;
  const bool saves = p.x && !(chunked && carried);
  float seen = 0.0f;  // sum of the step sizes of earlier chunks
  for (int pass = passes - 1; pass >= 0; --pass) {
    load_decay(pass);
    int n[kLaneStates];  // of a state that exists
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      n[s] = smaller(pass * kPassStates + s * kStateLanes + p_lane, p.states - 1);
      h[s] = chunked && carried && has_channel
                 ? p.chunks.states[(chunk_row + chunk) * p.states + n[s]]
                 : 0.0f;
    }
    const int before = chunked && !carried && has_channel ? chunk : 0;
    seen = 0.0f;
#pragma unroll 8
    for (int c = 0; c < before; ++c) {
      const float dt = p.chunks.dt_sums[chunk_row + c];
      seen += dt;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        h[s] = fmaf(exp2_approx(decay[s] * dt), h[s],
                    p.chunks.states[(chunk_row + c) * p.states + n[s]]);
      }
    }
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      if (passes > 1) waiting[pass * 128 + s * kLanes + lane] = h[s];
    }
  }
  load_decay(0);

  const int own = lane % 16 * 2;
  Pair<T> u_next[kTurns], delta_next[kTurns], z_now[kTurns];
  // One branch for all loads of a tile: the compiler waits for earlier loads at every branch. z of
  // this tile; u and delta of the next.
  const auto load_tile = [&](int step) {
    const bool gated = z_rows.base && step >= begin;
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
  stager.place(p, batch, group, true, static_cast<int>(threadIdx.x));
  stager.load(p, 0, begin, end);
  int parity = 0;
  const auto stage = [&](int pass, int step) {
    T* to = factors + parity * 2 * kFactorFloats;
    stager.store_raw(to, kPitch);
    for (int slot = static_cast<int>(threadIdx.x + blockDim.x); slot < 2 * kPassStates * kQuads;
         slot += static_cast<int>(blockDim.x)) {
      Shares other;
      other.place(p, batch, group, true, slot);
      other.load(p, pass, step, end);
      other.store_raw(to, kPitch);
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
      *reinterpret_cast<float2*>(ys + at) = make_pair(skip * u[0], skip * u[1]);
      dt_sums[i] += dt[0] + dt[1];
      for (int q = 1; q < kStateLanes && passes > 1; ++q) {
        *reinterpret_cast<float2*>(share(q) + at) = make_pair(0.0f, 0.0f);
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
      const T* b_rows = factors + parity * 2 * kFactorFloats + p_lane * kPitch;
      const float* dt_row = dts + c_lane * kPitch;
      float* share_row = share(p_lane) + c_lane * kPitch;
      // Shares begin as zero with one pass, where their place still holds something else.
      const bool from_share = p_lane == 0 || passes > 1;
      const float* y_row = from_share ? share_row : zeros;
#pragma unroll 2
      for (int j = 0; j < kTile; j += 4) {
        const float4 dt = *reinterpret_cast<const float4*>(dt_row + j);
        const float4 du = *reinterpret_cast<const float4*>(dt_row + kAreaFloats + j);
        float4 y = *reinterpret_cast<const float4*>(y_row + (from_share ? j : 0));
        four_steps<T, kLaneStates>(decay, h, dt, du, b_rows + j, b_rows + kFactorFloats + j, y);
        __syncwarp();  // all four lanes have read what the shares replace
        *reinterpret_cast<float4*>(share_row + j) = y;
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
    if (saves && (next % kScanChunk == 0 || next >= length)) {
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
          const float2 pair = make_pair(exp2_approx(decay[s] * (seen + totals[c_lane])), h[s]);
          if (n < p.states) *saved_state(p, batch, channel, step / kScanChunk, n) = pair;
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
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

// Up to 4 states, up to 8, or 16 at a time.
#define SSM_ROWS(name, type, lane_states)                                        \
  extern "C" __global__ void __launch_bounds__(256, 2) name(ssm::ScanParams p) { \
    ssm::scan_rows<type, lane_states>(p);                                        \
  }
SSM_ROWS(scan_rows4_f32, float, 1)
SSM_ROWS(scan_rows4_f16, ssm::F16, 1)
SSM_ROWS(scan_rows4_bf16, ssm::BF16, 1)
SSM_ROWS(scan_rows8_f32, float, 2)
SSM_ROWS(scan_rows8_f16, ssm::F16, 2)
SSM_ROWS(scan_rows8_bf16, ssm::BF16, 2)
SSM_ROWS(scan_rows16_f32, float, 4)
SSM_ROWS(scan_rows16_f16, ssm::F16, 4)
SSM_ROWS(scan_rows16_bf16, ssm::BF16, 4)
