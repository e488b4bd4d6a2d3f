// Forward scan of real A with variable B and C, sequential in the length, for shapes whose channels
// fill the GPU; and the same walk for the backward direction, which leaves the state before every
// chunk instead of outputs. Where the length is cut into chunks (scan_ends.cu), a block takes one,
// which begins with the state that has been left for it.
#include "scan/scan_lanes.cuh"

namespace ssm {
namespace lanes {

template <typename T, int kStateLanes, int kLaneStates, bool kOutputs>
struct Scan {
  using V = View<kStateLanes>;
  static constexpr int kOwn = V::kOwn;
  using OwnSteps = Steps<T, kOwn>;
  static constexpr int kStates = kStateLanes * kLaneStates;
  using Factors = Share<T, kStates, kOutputs>;
  static constexpr int kTileFloats = kTile * Factors::kRow;
  static constexpr int kThreads = 128;
  static constexpr int kShares = (Factors::kCount + kThreads - 1) / kThreads;  // of a thread
  // Of a warp: step sizes, inputs, D * u, and the lanes' shares of y.
  static constexpr int kAreas = kOutputs ? 3 + kStateLanes : 2;
  // Steps whose decays are in registers; those of the next are worked out meanwhile.
  static constexpr int kUnit = 16 / kLaneStates;

  const ScanParams& p;
  float *tiles, *dts, *skips, *biases;
  int thread, lane, group, first, begin, end, chunk;
  long long batch;

  __device__ __forceinline__ explicit Scan(const ScanParams& parameters) : p(parameters) {
    thread = static_cast<int>(threadIdx.x);
    lane = thread % kLanes;
    const int warp = thread / kLanes;
    // Shared: two tiles of B and C; per warp the areas, then D and delta_bias of each channel.
    tiles = reinterpret_cast<float*>(shared_words);
    dts = tiles + 2 * kTileFloats + warp * (kAreas * V::kArea + 2 * V::kChannels);
    skips = dts + kAreas * V::kArea;
    biases = skips + V::kChannels;
    const int group_channels = static_cast<int>(p.dim / p.groups);
    const int block_channels = kThreads / kLanes * V::kChannels;
    const int group_blocks = (group_channels + block_channels - 1) / block_channels;
    group = static_cast<int>(blockIdx.x) / group_blocks;
    const int within =
        static_cast<int>(blockIdx.x) % group_blocks * block_channels + warp * V::kChannels;
    // A warp past the group's last channel does the last ones once more.
    first = group * group_channels + smaller(within, group_channels - V::kChannels);
    batch = blockIdx.y;
    chunk = static_cast<int>(blockIdx.z);
    const int length = static_cast<int>(p.length);
    const bool cut = kOutputs && p.chunks.states;
    begin = cut ? chunk * p.chunks.steps : 0;
    end = cut ? smaller(length, begin + p.chunks.steps) : length;
    if (lane < V::kChannels) {
      skips[lane] = p.D ? p.D[first + lane] : 0.0f;
      biases[lane] = p.delta_bias ? p.delta_bias[first + lane] : 0.0f;
    }
    __syncwarp();
  }

  static __device__ __forceinline__ float4 make_quad(const float* from) {
    float4 quad;
    quad.x = from[0];
    quad.y = from[1];
    quad.z = from[2];
    quad.w = from[3];
    return quad;
  }

  __device__ __forceinline__ OwnSteps load_own(const ScanRows& rows, int step) const {
    return load_whole<T, kOwn>(static_cast<const T*>(rows.data) + offset(rows, step));
  }
  __device__ __forceinline__ long long offset(const ScanRows& rows, int step) const {
    return batch * rows.batch_stride + (first + V::channel(lane)) * rows.row_stride +
           (step + V::step(lane));
  }

  __device__ __forceinline__ void prepare(const OwnSteps& u, const OwnSteps& delta) {
    float dt[kOwn], du[kOwn], y[kOwn];
    const float bias = biases[V::channel(lane)];
    const float skip = skips[V::channel(lane)];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) dt[i] = delta.at(i) + bias;
    if (p.softplus) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) dt[i] = softplus(dt[i]);
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      du[i] = dt[i] * u.at(i);
      y[i] = skip * u.at(i);
    }
    float* to = dts + V::channel(lane) * kPitch + V::step(lane);
#pragma unroll
    for (int i = 0; i < kOwn; i += 4) {
      *reinterpret_cast<float4*>(to + i) = make_quad(dt + i);
      *reinterpret_cast<float4*>(to + V::kArea + i) = make_quad(du + i);
      if (kOutputs) *reinterpret_cast<float4*>(to + 2 * V::kArea + i) = make_quad(y + i);
    }
  }

  // The sum of the shares, the gate, and the stores.
  __device__ __forceinline__ void finish(const OwnSteps& z, int step) {
    float y[kOwn] = {};
    const float* from = dts + 2 * V::kArea + V::channel(lane) * kPitch + V::step(lane);
#pragma unroll
    for (int q = 0; q <= kStateLanes; ++q) {
#pragma unroll
      for (int i = 0; i < kOwn; i += 4) {
        const float4 quad = *reinterpret_cast<const float4*>(from + q * V::kArea + i);
        y[i] += quad.x;
        y[i + 1] += quad.y;
        y[i + 2] += quad.z;
        y[i + 3] += quad.w;
      }
    }
    store_steps<T, kOwn>(p.out.data, offset(p.out, step), y, kOwn, p.out_is_float, true);
    if (!p.z.data) return;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float gate = z.at(i);
      y[i] *= gate * sigmoid(gate);
    }
    store_steps<T, kOwn>(p.out_z.data, offset(p.out_z, step), y, kOwn, p.out_is_float, true);
  }

  static __device__ __forceinline__ void read(const float* from, float (&to)[kUnit]) {
    if constexpr (kUnit == 4) {
      const float4 quad = *reinterpret_cast<const float4*>(from);
      to[0] = quad.x;
      to[1] = quad.y;
      to[2] = quad.z;
      to[3] = quad.w;
    } else {
      const float2 pair = *reinterpret_cast<const float2*>(from);
      to[0] = pair.x;
      to[1] = pair.y;
    }
  }
  static __device__ __forceinline__ void write(float* to, const float (&from)[kUnit]) {
    if constexpr (kUnit == 4) {
      *reinterpret_cast<float4*>(to) = make_quad(from);
    } else {
      *reinterpret_cast<float2*>(to) = make_pair(from[0], from[1]);
    }
  }

  // This lane's decays of the unit at `row`; dt_sum gains its step sizes.
  __device__ __forceinline__ void decays(const float (&decay)[kLaneStates], const float* row,
                                         float (&a)[kUnit][kLaneStates], float& dt_sum) const {
    float dt[kUnit];
    read(row, dt);
#pragma unroll
    for (int k = 0; k < kUnit; ++k) {
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) a[k][s] = exp2_approx(decay[s] * dt[k]);
      dt_sum += dt[k];
    }
  }

  // One unit of this lane's states: h moves on; the lane's share of y.
  __device__ __forceinline__ void move(const float (&a)[kUnit][kLaneStates],
                                       float (&h)[kLaneStates], float* row,
                                       const float* factors) const {
    float du[kUnit], y[kUnit];
    read(row + V::kArea, du);
#pragma unroll
    for (int k = 0; k < kUnit; ++k) {
      const float* from = factors + k * Factors::kRow;
      y[k] = 0.0f;
#pragma unroll
      for (int s = 0; s < kLaneStates; s += 4) {
        const float4 b = *reinterpret_cast<const float4*>(from + s);
        h[s] = fmaf(a[k][s], h[s], du[k] * b.x);
        h[s + 1] = fmaf(a[k][s + 1], h[s + 1], du[k] * b.y);
        h[s + 2] = fmaf(a[k][s + 2], h[s + 2], du[k] * b.z);
        h[s + 3] = fmaf(a[k][s + 3], h[s + 3], du[k] * b.w);
        if constexpr (kOutputs) {
          const float4 c = *reinterpret_cast<const float4*>(from + kStates + s);
          y[k] = fmaf(h[s], c.x, y[k]);
          y[k] = fmaf(h[s + 1], c.y, y[k]);
          y[k] = fmaf(h[s + 2], c.z, y[k]);
          y[k] = fmaf(h[s + 3], c.w, y[k]);
        }
      }
    }
    if constexpr (kOutputs) write(row + (3 + lane / V::kChannels) * V::kArea, y);
  }

  __device__ __forceinline__ void run() {
    const int n0 = lane / V::kChannels * kLaneStates;
    const int channel = first + lane % V::kChannels;
    float decay[kLaneStates], h[kLaneStates];
    const long long chunk_row = (batch * p.dim + channel) * p.chunks.count;
    const bool chunked = kOutputs && p.chunks.states;
    const bool carried = p.chunks.carried;
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      const bool exists = n0 + s < p.states;
      decay[s] =
          exists ? p.A[channel * p.A_row_stride + (n0 + s) * p.A_state_stride] * kLog2E : 0.0f;
      h[s] = exists && chunked && carried ? p.chunks.states[(chunk_row + chunk) * p.states + n0 + s]
                                          : 0.0f;
    }
    float seen = 0.0f;  // sum of the step sizes of earlier chunks
    const int before = chunked && !carried ? chunk : 0;
#pragma unroll 2
    for (int c = 0; c < before; ++c) {
      const float dt = p.chunks.dt_sums[chunk_row + c];
      seen += dt;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const float end_state =
            p.chunks.states[(chunk_row + c) * p.states + smaller(n0 + s, p.states - 1)];
        h[s] = fmaf(exp2_approx(decay[s] * dt), h[s], n0 + s < p.states ? end_state : 0.0f);
      }
    }

    OwnSteps u, delta, z, z_next;
    Factors shares[kShares];  // of the next tile
    const auto load = [&](int step) {
      u = load_own(p.u, step);
      delta = load_own(p.delta, step);
      if (kOutputs && p.z.data) z_next = load_own(p.z, step);
#pragma unroll
      for (int i = 0; i < kShares; ++i) {
        shares[i].load(p, batch, group, (thread + i * kThreads) % Factors::kCount, step);
      }
    };
    load(begin);
    const int length = static_cast<int>(p.length);
    const bool saves = kOutputs && p.x && !(chunked && carried);
    float dt_sum = 0.0f;
    float* tile = tiles;
    float* row = dts + lane % V::kChannels * kPitch;

    for (int step = begin; step < end; step += kTile) {
      prepare(u, delta);
#pragma unroll
      for (int i = 0; i < kShares; ++i) {
        const int index = thread + i * kThreads;
        if (index < Factors::kCount) shares[i].store(tile, index, p.states);
      }
      __syncthreads();
      z = z_next;
      load(smaller(step + kTile, end - kTile));
      if constexpr (!kOutputs) {
        if (step % p.chunks.steps == 0) {
          float* to = p.chunks.states + (chunk_row + step / p.chunks.steps) * p.states + n0;
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            if (n0 + s < p.states) to[s] = h[s];
          }
        }
      }
      const float* factors = tile + n0;
      float a[kUnit][kLaneStates];
      decays(decay, row, a, dt_sum);
#pragma unroll 1
      for (int j = 0; j < kTile - kUnit; j += kUnit) {
        float next[kUnit][kLaneStates];
        decays(decay, row + j + kUnit, next, dt_sum);
        move(a, h, row + j, factors + j * Factors::kRow);
#pragma unroll
        for (int k = 0; k < kUnit; ++k) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) a[k][s] = next[k][s];
        }
      }
      move(a, h, row + kTile - kUnit, factors + (kTile - kUnit) * Factors::kRow);
      tile = tile == tiles ? tiles + kTileFloats : tiles;
      __syncwarp();
      if constexpr (kOutputs) {
        finish(z, step);
        const int next = step + kTile;
        if (saves && (next % kScanChunk == 0 || next >= length)) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            if (n0 + s >= p.states) continue;
            *saved_state(p, batch, channel, step / kScanChunk, n0 + s) =
                make_pair(exp2_approx(decay[s] * (seen + dt_sum)), h[s]);
          }
        }
        __syncwarp();  // the areas are free for the next tile
      }
    }
  }
};

}  // namespace lanes
}  // namespace ssm

#define SSM_LANES(name, type, state_lanes, lane_states, outputs)                 \
  extern "C" __global__ void __launch_bounds__(128, 4) name(ssm::ScanParams p) { \
    ssm::lanes::Scan<type, state_lanes, lane_states, outputs> scan(p);           \
    scan.run();                                                                  \
  }
#define SSM_LANES_OF(type, suffix)                   \
  SSM_LANES(scan_lanes16_##suffix, type, 4, 4, true) \
  SSM_LANES(scan_lanes_states16_##suffix, type, 4, 4, false)
SSM_LANES_OF(float, f32)
SSM_LANES_OF(ssm::F16, f16)
SSM_LANES_OF(ssm::BF16, bf16)
