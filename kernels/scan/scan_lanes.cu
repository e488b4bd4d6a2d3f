// Forward scan of real A with variable B and C, sequential in the length, for shapes whose channels
// fill the GPU; and the same walk for the backward direction, which leaves the state before every
// chunk instead of outputs. Where the length is cut into chunks, a block takes one: a first kernel
// leaves what each ends with, and the second begins with what the chunks before have left, which
// it goes over by itself or finds added up (scan_carry in scan_ends.cu).
#include "scan/scan_lanes.cuh"

namespace ssm {
namespace lanes {

// What a kernel leaves: outputs; or the state before every chunk of a walk over all of them; or the
// state that a chunk, run from zero, ends with, and the sum of its step sizes.
enum class Leaves { kOutputs, kStates, kEnds };

// kWarps is the block's. With two kBuffers of a tile of B and C, one barrier a tile is enough.
template <typename T, int kStateLanes, int kLaneStates, int kLaneChannels, int kTile, int kWarps,
          int kBuffers, Leaves kLeaves>
struct Scan {
  static constexpr bool kOutputs = kLeaves == Leaves::kOutputs;
  using V = View<kStateLanes, kLaneChannels, kTile>;
  static constexpr int kOwn = V::kOwn;
  using OwnSteps = Steps<T, kOwn>;
  static constexpr int kStates = kStateLanes * kLaneStates;
  using Factors = Share<T, kStates, kTile, kOutputs>;
  static constexpr int kPitch = V::kPitch;
  static constexpr int kTileFloats = (kOutputs ? 2 : 1) * kStates * kPitch;
  static constexpr int kThreads = kWarps * kLanes;
  static constexpr int kShares = (Factors::kCount + kThreads - 1) / kThreads;  // of a thread
  // Of a warp: step sizes, inputs, and the lanes' shares of y.
  static constexpr int kAreas = kOutputs ? 2 + kStateLanes : 2;
  static constexpr int kUnit = 4;  // steps that are read at a time

  const ScanParams& p;
  float *tiles, *dts;
  int thread, lane, group, first, begin, end, chunk;
  long long batch;
  float bias, skip;
  float dt_sum = 0.0f;  // of the steps that this lane has prepared

  __device__ __forceinline__ explicit Scan(const ScanParams& parameters) : p(parameters) {
    thread = static_cast<int>(threadIdx.x);
    lane = thread % kLanes;
    const int warp = thread / kLanes;
    // Shared: the tiles of B and C; then each warp's areas.
    tiles = reinterpret_cast<float*>(shared_words);
    dts = tiles + kBuffers * kTileFloats + warp * (kAreas * V::kArea);
    const int group_channels = static_cast<int>(p.dim / p.groups);
    constexpr int kBlockChannels = kWarps * V::kChannels;
    const int group_blocks = (group_channels + kBlockChannels - 1) / kBlockChannels;
    group = static_cast<int>(blockIdx.x) / group_blocks;
    const int within =
        static_cast<int>(blockIdx.x) % group_blocks * kBlockChannels + warp * V::kChannels;
    // A warp past the group's last channel does the last ones once more.
    first = group * group_channels + smaller(within, group_channels - V::kChannels);
    batch = blockIdx.y;
    chunk = static_cast<int>(blockIdx.z);
    const int length = static_cast<int>(p.length);
    const bool cut = kLeaves == Leaves::kEnds || (kOutputs && p.chunks.states);
    begin = cut ? chunk * p.chunks.steps : 0;
    end = cut ? smaller(length, begin + p.chunks.steps) : length;
    const int own = first + V::channel(lane);
    skip = kOutputs && p.D ? p.D[own] : 0.0f;
    bias = p.delta_bias ? p.delta_bias[own] : 0.0f;
  }

  // Where this lane's elements of the first tile lie.
  __device__ __forceinline__ long long offset(const ScanRows& rows) const {
    return batch * rows.batch_stride + (first + V::channel(lane)) * rows.row_stride +
           (begin + V::step(lane));
  }
  __device__ __forceinline__ const T* source(const ScanRows& rows) const {
    return rows.data ? static_cast<const T*>(rows.data) + offset(rows) : nullptr;
  }
  __device__ __forceinline__ char* target(const ScanRows& rows, int size) const {
    return rows.data ? static_cast<char*>(rows.data) + offset(rows) * size : nullptr;
  }

  __device__ __forceinline__ void prepare(const OwnSteps& u, const OwnSteps& delta) {
    float dt[kOwn], du[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) dt[i] = delta.at(i) + bias;
    if (p.softplus) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) dt[i] = softplus(dt[i]);
    }
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      dt_sum += dt[i];
      du[i] = dt[i] * u.at(i);
    }
    float* to = dts + V::channel(lane) * kPitch + V::step(lane);
    write(to, dt);
    write(to + V::kArea, du);
  }

  // The sum of the shares, D * u, the gate, and the stores.
  __device__ __forceinline__ void finish(const OwnSteps& u, const OwnSteps& z, char* out,
                                         char* out_z) const {
    float y[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) y[i] = skip * u.at(i);
    const float* from = dts + 2 * V::kArea + V::channel(lane) * kPitch + V::step(lane);
#pragma unroll
    for (int q = 0; q < kStateLanes; ++q) {
      float share[kOwn];
      read(from + q * V::kArea, share);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) y[i] += share[i];
    }
    store_steps<T, kOwn>(out, 0, y, kOwn, p.out_is_float, true);
    if (!p.z.data) return;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float gate = z.at(i);
      y[i] *= gate * sigmoid(gate);
    }
    store_steps<T, kOwn>(out_z, 0, y, kOwn, p.out_is_float, true);
  }

  using Decays = float[kLaneChannels][kLaneStates];
  // One unit of this lane's states: h moves on; the lane's share of y. State by state, so that the
  // exponentials are spread among the rest: the queue that they share with shared memory is short.
  static __device__ __forceinline__ void scan_unit(const Decays& decay, Decays& h, const float* row,
                                                   const float* factors, float* share) {
    float du[kLaneChannels][kUnit], y[kLaneChannels][kUnit], dt[kLaneChannels][kUnit];
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      read(row + c * V::kApart * kPitch, dt[c]);
      read(row + V::kArea + c * V::kApart * kPitch, du[c]);
    }
#pragma unroll
    for (int s = 0; s < kLaneStates; ++s) {
      float B[kUnit], C[kUnit];
      read(factors + s * kStateLanes * kPitch, B);
      if constexpr (kOutputs) read(factors + (kStates + s * kStateLanes) * kPitch, C);
#pragma unroll
      for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
        for (int k = 0; k < kUnit; ++k) {
          h[c][s] = fmaf(exp2_approx(decay[c][s] * dt[c][k]), h[c][s], du[c][k] * B[k]);
          if constexpr (kOutputs) {
            y[c][k] = s == 0 ? h[c][s] * C[k] : fmaf(h[c][s], C[k], y[c][k]);
          }
        }
      }
    }
    if constexpr (kOutputs) {
#pragma unroll
      for (int c = 0; c < kLaneChannels; ++c) write(share + c * V::kApart * kPitch, y[c]);
    }
  }

  // What this lane's channel begins with where the length is cut; returns the sum of the step sizes
  // before. h is zero.
  __device__ __forceinline__ float enter(const float (&decay)[kLaneStates], long long row,
                                         int state_lane, float (&h)[kLaneStates]) const {
    float seen = 0.0f;
    if (p.chunks.carried) {
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = s * kStateLanes + state_lane;
        if (n < p.states) h[s] = p.chunks.states[(row + chunk) * p.states + n];
      }
      return seen;
    }
#pragma unroll 4
    for (int c = 0; c < chunk; ++c) {
      const float dt = p.chunks.dt_sums[row + c];
      seen += dt;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = s * kStateLanes + state_lane;
        const float end_state = p.chunks.states[(row + c) * p.states + smaller(n, p.states - 1)];
        h[s] = fmaf(exp2_approx(decay[s] * dt), h[s], n < p.states ? end_state : 0.0f);
      }
    }
    return seen;
  }

  // h, as the states of the chunk that is `row` for the first of this lane's channels.
  __device__ __forceinline__ void leave(const Decays& h, long long row, int state_lane) const {
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      float* to = p.chunks.states + (row + c * V::kApart * p.chunks.count) * p.states + state_lane;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        if (s * kStateLanes + state_lane < p.states) to[s * kStateLanes] = h[c][s];
      }
    }
  }

  // The sum of the step sizes of the channel whose steps this lane prepares.
  __device__ __forceinline__ float total_dt() const {
    float total = dt_sum;
#pragma unroll
    for (int distance = 1; distance < V::kRowLanes; distance *= 2) {
      total += __shfl_xor_sync(kFullWarp, total, distance);
    }
    return total;
  }

  __device__ __forceinline__ void save(const Decays& decay, const Decays& h,
                                       const float (&seen)[kLaneChannels], int state_lane,
                                       int at) const {
    const float total = total_dt();
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      const int channel = V::scanned(lane) + c * V::kApart;
      const float sum = seen[c] + __shfl_sync(kFullWarp, total, channel * V::kRowLanes);
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = s * kStateLanes + state_lane;
        if (n >= p.states) continue;
        *saved_state(p, batch, first + channel, at, n) =
            make_pair(exp2_approx(decay[c][s] * sum), h[c][s]);
      }
    }
  }

  __device__ __forceinline__ void run() {
    const int state_lane = V::state_lane(lane);
    const int channel = first + V::scanned(lane);
    Decays decay, h;
    float seen[kLaneChannels] = {};  // sums of the step sizes of earlier chunks
    const long long chunk_row = (batch * p.dim + channel) * p.chunks.count;
    const bool chunked = kOutputs && p.chunks.states;
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        const int n = s * kStateLanes + state_lane;
        const long long at = (channel + c * V::kApart) * p.A_row_stride + n * p.A_state_stride;
        decay[c][s] = n < p.states ? p.A[at] * kLog2E : 0.0f;
        h[c][s] = 0.0f;
      }
      if (chunked) {
        seen[c] = enter(decay[c], chunk_row + c * V::kApart * p.chunks.count, state_lane, h[c]);
      }
    }

    const T* u_at = source(p.u);
    const T* delta_at = source(p.delta);
    const T* z_at = kOutputs ? source(p.z) : nullptr;
    const int out_size = p.out_is_float ? 4 : static_cast<int>(sizeof(T));
    char* out = kOutputs ? target(p.out, out_size) : nullptr;
    char* out_z = kOutputs ? target(p.out_z, out_size) : nullptr;
    Factors shares[kShares];  // of the next tile
#pragma unroll
    for (int i = 0; i < kShares; ++i) {
      const int index = thread + i * kThreads;
      shares[i].place(p, batch, group, index % Factors::kCount, begin);
      shares[i].load();
    }
    OwnSteps u_next = load_whole<T, kOwn>(u_at);
    OwnSteps delta = load_whole<T, kOwn>(delta_at);
    const int length = static_cast<int>(p.length);
    const bool saves = kOutputs && p.x && !(chunked && p.chunks.carried);
    float* tile = tiles;
    const float* row = dts + V::scanned(lane) * kPitch;
    float* own_share = dts + (2 + state_lane) * V::kArea + V::scanned(lane) * kPitch;

    for (int step = begin; step < end; step += kTile) {
      const OwnSteps u = u_next;
      prepare(u, delta);
#pragma unroll
      for (int i = 0; i < kShares; ++i) {
        const int index = thread + i * kThreads;
        if (Factors::kCount % kThreads == 0 || index < Factors::kCount) {
          shares[i].store(tile, index, p.states);
        }
      }
      __syncthreads();
      // The next tile's; z of this one, which is used last. After the last tile, the same again.
      const int forward = step + kTile < end ? kTile : 0;
      u_at += forward;
      delta_at += forward;
      u_next = load_whole<T, kOwn>(u_at);
      delta = load_whole<T, kOwn>(delta_at);
      OwnSteps z;
      if (kOutputs && p.z.data) z = load_whole<T, kOwn>(z_at);
#pragma unroll
      for (int i = 0; i < kShares; ++i) {
        shares[i].at += forward;
        shares[i].load();
      }
      if constexpr (kLeaves == Leaves::kStates) {
        if (step % p.chunks.steps == 0) {
          leave(h, chunk_row + step / p.chunks.steps, state_lane);
        }
      }
      const float* factors = tile + state_lane * kPitch;
      const float* from = row;
      float* share = own_share;
#pragma unroll 1
      for (int pair = 0; pair < kTile / (2 * kUnit); ++pair) {
        scan_unit(decay, h, from, factors, share);
        scan_unit(decay, h, from + kUnit, factors + kUnit, share + kUnit);
        from += 2 * kUnit;
        factors += 2 * kUnit;
        share += 2 * kUnit;
      }
      if constexpr (kBuffers == 2) {
        tile = tile == tiles ? tiles + kTileFloats : tiles;
        __syncwarp();
      } else {
        __syncthreads();
      }
      if constexpr (kOutputs) {
        finish(u, z, out, out_z);
        z_at += kTile;
        out += kTile * out_size;
        out_z += kTile * out_size;
        const int next_step = step + kTile;
        if (saves && (next_step % kScanChunk == 0 || next_step >= length)) {
          save(decay, h, seen, state_lane, step / kScanChunk);
        }
        __syncwarp();  // the areas are free for the next tile
      }
    }
    if constexpr (kLeaves == Leaves::kEnds) {
      leave(h, chunk_row + chunk, state_lane);
      const float total = total_dt();
      const long long own = batch * p.dim + first + V::channel(lane);
      if (lane % V::kRowLanes == 0) p.chunks.dt_sums[own * p.chunks.count + chunk] = total;
    }
  }
};

}  // namespace lanes
}  // namespace ssm

// Registers are shared out for 16 warps a multiprocessor.
#define SSM_LANES(name, warps, type, ...)                                                        \
  extern "C" __global__ void __launch_bounds__(32 * warps, 16 / warps) name(ssm::ScanParams p) { \
    ssm::lanes::Scan<type, __VA_ARGS__> scan(p);                                                 \
    scan.run();                                                                                  \
  }
#define SSM_LANES_OF(type, suffix)                                                     \
  SSM_LANES(scan_lanes8_##suffix, 4, type, 4, 2, 1, 32, 4, 2, Leaves::kOutputs)        \
  SSM_LANES(scan_lanes16_##suffix, 4, type, 4, 4, 1, 32, 4, 2, Leaves::kOutputs)       \
  SSM_LANES(scan_lanes16_wide_##suffix, 4, type, 16, 1, 1, 32, 4, 2, Leaves::kOutputs) \
  SSM_LANES(scan_lanes32_##suffix, 4, type, 8, 4, 1, 32, 4, 2, Leaves::kOutputs)       \
  SSM_LANES(scan_lanes64_##suffix, 8, type, 16, 4, 1, 32, 8, 1, Leaves::kOutputs)      \
  SSM_LANES(scan_lanes128_##suffix, 8, type, 32, 4, 2, 16, 8, 1, Leaves::kOutputs)     \
  SSM_LANES(scan_lanes_states16_##suffix, 4, type, 4, 4, 1, 32, 4, 2, Leaves::kStates) \
  SSM_LANES(scan_lanes_ends16_##suffix, 4, type, 4, 4, 1, 32, 4, 2, Leaves::kEnds)
using ssm::lanes::Leaves;
SSM_LANES_OF(float, f32)
SSM_LANES_OF(ssm::F16, f16)
SSM_LANES_OF(ssm::BF16, bf16)
