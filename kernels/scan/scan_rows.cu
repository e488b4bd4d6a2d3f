// Forward scan, sequential in the length: for shapes whose channels fill the GPU.
//
// A warp takes 8 channels, 4 lanes a channel, 4 states a lane, and walks the steps in tiles of 32.
// Everything that is done once per step and channel (loads, softplus, delta * u, D, the gate,
// stores) is done with lanes along the steps, so memory is read in whole sectors at any alignment;
// the recurrence itself with lanes along (channel, state). The two views meet in shared memory.
// B and C are staged as float32 by the whole block, double-buffered, one barrier a tile: all the
// channels of a block belong to one group. The loads of a tile are issued a tile ahead.
// More than 16 states are taken 16 at a time within a tile, the states waiting in shared memory.
// With no `out`, only the states are computed (the first pass of the backward direction).
#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kStateLanes = 4;
constexpr int kLaneStates = 4;
constexpr int kPassStates = kStateLanes * kLaneStates;
constexpr int kWarpChannels = kLanes / kStateLanes;
constexpr int kTile = 32;
constexpr int kPitch = kTile + 4;  // rows 9 x 16 bytes apart: no bank conflicts in 16-byte reads
constexpr int kQuads = kTile / 4;
constexpr int kStageSlots = 2;  // loads of 4 steps of B or C per thread, in blocks of >= 4 warps
constexpr int kFactorFloats = kPassStates * kPitch;
constexpr int kWarpFloats = 3 * kWarpChannels * kPitch + 2 * kWarpChannels;

template <typename T>
struct RowsWarp {
  const ScanParams& p;
  int lane, first, count;  // channels first .. first + count - 1
  int end;
  const T *u, *delta, *z;

  __device__ __forceinline__ T element(const T* base, long long row_stride, int c, int step) const {
    const int offset = c * static_cast<int>(row_stride) + step;
    return c < count && step < end ? base[offset] : from_float<T>(0.0f);
  }
};

template <typename T>
__device__ __forceinline__ void load_factors(const ScanParams& p, const T* B, const T* C, int step,
                                             int end, int pass,
                                             Steps<T, 4> (&staged)[kStageSlots]) {
#pragma unroll
  for (int i = 0; i < kStageSlots; ++i) {
    const int slot = static_cast<int>(threadIdx.x + i * blockDim.x);
    const bool is_c = slot >= kPassStates * kQuads;
    const int row = (slot / kQuads) % kPassStates;
    const int t = step + (slot % kQuads) * 4;
    const int state = pass * kPassStates + row;
    const bool wanted = slot < 2 * kPassStates * kQuads && state < p.states && !(is_c && !C);
    const ScanFactor& factor = is_c ? p.C : p.B;
    const T* base = is_c ? C : B;
    staged[i] = load_steps<T, 4>(base + state * factor.state_stride + t, wanted ? end - t : 0,
                                 factor.aligned);
  }
}

template <typename T>
__device__ __forceinline__ void store_factors(const Steps<T, 4> (&staged)[kStageSlots],
                                              float* factors) {
#pragma unroll
  for (int i = 0; i < kStageSlots; ++i) {
    const int slot = static_cast<int>(threadIdx.x + i * blockDim.x);
    if (slot >= 2 * kPassStates * kQuads) continue;
    float4 quad;
    quad.x = to_float(staged[i].value[0]);
    quad.y = to_float(staged[i].value[1]);
    quad.z = to_float(staged[i].value[2]);
    quad.w = to_float(staged[i].value[3]);
    const int row = slot / kQuads;  // B's rows, then C's
    *reinterpret_cast<float4*>(factors + row * kPitch + (slot % kQuads) * 4) = quad;
  }
}

// y of four steps, each lane's share of the states: afterwards lane p of a channel's four holds the
// whole sum of step p.
__device__ __forceinline__ float reduce_four(const float (&y)[4], int p) {
  const bool odd = p & 1;
  const bool high = p & 2;
  float low_pair = odd ? y[1] : y[0];
  float high_pair = odd ? y[3] : y[2];
  low_pair += __shfl_xor_sync(kFullWarp, odd ? y[0] : y[1], 1);
  high_pair += __shfl_xor_sync(kFullWarp, odd ? y[2] : y[3], 1);
  const float mine = high ? high_pair : low_pair;
  return mine + __shfl_xor_sync(kFullWarp, high ? low_pair : high_pair, 2);
}

template <typename T>
__device__ __forceinline__ void scan_rows(const ScanParams& p) {
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int passes = (p.states + kPassStates - 1) / kPassStates;
  float* factors = shared;  // [parity][B, C][state][step]
  float* mine = shared + 4 * kFactorFloats + warp * (kWarpFloats + (passes > 1 ? passes * 128 : 0));
  float* dts = mine;  // [channel][step], all three
  float* dus = dts + kWarpChannels * kPitch;
  float* ys = dus + kWarpChannels * kPitch;
  float* skips = ys + kWarpChannels * kPitch;  // D, then delta_bias, per channel
  float* waiting = skips + 2 * kWarpChannels;  // [pass][lane][4], only where passes > 1

  const int group_channels = static_cast<int>(p.dim / p.groups);
  const int group_blocks = (group_channels + kWarpChannels * warps - 1) / (kWarpChannels * warps);
  const int group = static_cast<int>(blockIdx.x) / group_blocks;
  const int within = (static_cast<int>(blockIdx.x) % group_blocks * warps + warp) * kWarpChannels;
  const int first = group * group_channels + smaller(within, group_channels);
  const int count = smaller(kWarpChannels, group_channels - smaller(within, group_channels));
  const long long batch = blockIdx.y;
  const int length = static_cast<int>(p.length);
  const int chunk = static_cast<int>(blockIdx.z);
  const int begin = p.chunked ? chunk * kScanChunk : 0;
  const int end = p.chunked ? smaller(length, begin + kScanChunk) : length;

  RowsWarp<T> w{p, lane, first, count, end, nullptr, nullptr, nullptr};
  w.u = static_cast<const T*>(p.u.data) + batch * p.u.batch_stride + first * p.u.row_stride;
  w.delta = static_cast<const T*>(p.delta.data) + batch * p.delta.batch_stride +
            first * p.delta.row_stride;
  if (p.z.data) {
    w.z = static_cast<const T*>(p.z.data) + batch * p.z.batch_stride + first * p.z.row_stride;
  }
  const T* B = static_cast<const T*>(p.B.data) + batch * p.B.batch_stride + group * p.B.row_stride;
  const T* C = static_cast<const T*>(p.C.data) + batch * p.C.batch_stride + group * p.C.row_stride;
  const bool want_out = p.out.data != nullptr;
  if (!want_out) C = nullptr;
  const long long out_base = batch * p.out.batch_stride + first * p.out.row_stride;
  const long long out_z_base = batch * p.out_z.batch_stride + first * p.out_z.row_stride;

  if (lane < kWarpChannels) {
    const bool exists = lane < count;
    skips[lane] = exists && p.D ? p.D[first + lane] : 0.0f;
    skips[kWarpChannels + lane] = exists && p.delta_bias ? p.delta_bias[first + lane] : 0.0f;
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
  auto initial = [&](int pass) {
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const int n = pass * kPassStates + s * kStateLanes + p_lane;
      const bool known = p.chunked && chunk > 0 && has_channel && n < p.states;
      h[s] = known ? saved_state(p, batch, channel, chunk - 1, n)->y : 0.0f;
    }
  };
  load_decay(0);
  initial(0);
  if (passes > 1) {
    for (int pass = 0; pass < passes; ++pass) {
      initial(pass);
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) waiting[pass * 128 + s * kLanes + lane] = h[s];
    }
  }

  T u_next[kWarpChannels], delta_next[kWarpChannels], z_now[kWarpChannels];
#pragma unroll
  for (int c = 0; c < kWarpChannels; ++c) {
    u_next[c] = w.element(w.u, p.u.row_stride, c, begin + lane);
    delta_next[c] = w.element(w.delta, p.delta.row_stride, c, begin + lane);
  }
  Steps<T, 4> staged[kStageSlots];
  load_factors<T>(p, B, C, begin, end, 0, staged);
  float dt_sum = 0.0f;
  int parity = 0;
  __syncwarp();

  for (int step = begin; step < end; step += kTile) {
    const int t = step + lane;
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      const float u = to_float(u_next[c]);
      float dt = to_float(delta_next[c]) + skips[kWarpChannels + c];
      if (p.softplus) dt = softplus(dt);
      if (t >= end) dt = 0.0f;  // a step that changes nothing
      dts[c * kPitch + lane] = dt;
      dus[c * kPitch + lane] = dt * u;
      ys[c * kPitch + lane] = skips[c] * u;
    }
    store_factors<T>(staged, factors + parity * 2 * kFactorFloats);
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      u_next[c] = w.element(w.u, p.u.row_stride, c, t + kTile);
      delta_next[c] = w.element(w.delta, p.delta.row_stride, c, t + kTile);
      if (w.z) z_now[c] = w.element(w.z, p.z.row_stride, c, t);
    }

    for (int pass = 0; pass < passes; ++pass) {
      const bool last_pass = pass + 1 == passes;
      load_factors<T>(p, B, C, last_pass ? step + kTile : step, end, last_pass ? 0 : pass + 1,
                      staged);
      if (passes > 1) {
        load_decay(pass);
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) h[s] = waiting[pass * 128 + s * kLanes + lane];
      }
      if (p.tile_states && has_channel) {
        float* before =
            p.tile_states + ((batch * p.dim + channel) * p.tiles + step / kTile) * p.states;
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int n = pass * kPassStates + s * kStateLanes + p_lane;
          if (n < p.states) before[n] = h[s];
        }
      }
      const float* b_rows = factors + parity * 2 * kFactorFloats + p_lane * kPitch;
      const float* c_rows = b_rows + kFactorFloats;
      float* dt_row = dts + c_lane * kPitch;
      const float* du_row = dus + c_lane * kPitch;
#pragma unroll 2
      for (int j = 0; j < kTile; j += 4) {
        const float4 dt4 = *reinterpret_cast<const float4*>(dt_row + j);
        const float4 du4 = *reinterpret_cast<const float4*>(du_row + j);
        float y[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const float4 b4 = *reinterpret_cast<const float4*>(b_rows + s * kStateLanes * kPitch + j);
          h[s] = fmaf(exp2_approx(decay[s] * dt4.x), h[s], du4.x * b4.x);
          const float h0 = h[s];
          h[s] = fmaf(exp2_approx(decay[s] * dt4.y), h[s], du4.y * b4.y);
          const float h1 = h[s];
          h[s] = fmaf(exp2_approx(decay[s] * dt4.z), h[s], du4.z * b4.z);
          const float h2 = h[s];
          h[s] = fmaf(exp2_approx(decay[s] * dt4.w), h[s], du4.w * b4.w);
          if (want_out) {
            const float4 c4 =
                *reinterpret_cast<const float4*>(c_rows + s * kStateLanes * kPitch + j);
            y[0] = fmaf(h0, c4.x, y[0]);
            y[1] = fmaf(h1, c4.y, y[1]);
            y[2] = fmaf(h2, c4.z, y[2]);
            y[3] = fmaf(h[s], c4.w, y[3]);
          }
        }
        if (want_out) {
          float* place = ys + c_lane * kPitch + j + p_lane;
          *place += reduce_four(y, p_lane);
          if (pass == 0) dt_sum += dt_row[j + p_lane];
        }
      }
      if (passes > 1) {
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) waiting[pass * 128 + s * kLanes + lane] = h[s];
      }
      parity ^= 1;
      if (!last_pass) {
        store_factors<T>(staged, factors + parity * 2 * kFactorFloats);
        __syncthreads();
      }
    }

    const int next = step + kTile;
    if (want_out && p.x && (next % kScanChunk == 0 || next >= end)) {
      float total = dt_sum + __shfl_xor_sync(kFullWarp, dt_sum, 1);
      total += __shfl_xor_sync(kFullWarp, total, 2);
      for (int pass = 0; pass < passes && has_channel; ++pass) {
        if (passes > 1) {
          load_decay(pass);
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) h[s] = waiting[pass * 128 + s * kLanes + lane];
        }
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int n = pass * kPassStates + s * kStateLanes + p_lane;
          float2 pair;
          pair.x = exp2_approx(decay[s] * total);
          pair.y = h[s];
          if (n < p.states) *saved_state(p, batch, channel, step / kScanChunk, n) = pair;
        }
      }
    }
    __syncwarp();
    if (!want_out) continue;
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      if (c >= count || t >= end) continue;
      const float y[1] = {ys[c * kPitch + lane]};
      store_steps<T, 1>(p.out.data, out_base + (c * static_cast<int>(p.out.row_stride) + t), y, 1,
                        p.out_is_float, false);
      if (w.z) {
        const float z = to_float(z_now[c]);
        const float gated[1] = {y[0] * z * sigmoid(z)};
        store_steps<T, 1>(p.out_z.data, out_z_base + (c * static_cast<int>(p.out_z.row_stride) + t),
                          gated, 1, p.out_is_float, false);
      }
    }
  }
}

}  // namespace ssm

extern "C" __global__ void __launch_bounds__(256, 2) scan_rows_f32(ssm::ScanParams p) {
  ssm::scan_rows<float>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) scan_rows_f16(ssm::ScanParams p) {
  ssm::scan_rows<ssm::F16>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) scan_rows_bf16(ssm::ScanParams p) {
  ssm::scan_rows<ssm::BF16>(p);
}
