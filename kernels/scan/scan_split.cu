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
// The channels of a block belong to one group, so its warps share B and C of a tile, staged as
// float32 in shared memory. The recurrence's own state between tiles is kept per warp in shared
// memory (`carry`), so that any state count to 256 runs through the same code, kStateLanes *
// kLaneStates states at a time.
#include "scan/scan_device.cuh"

namespace ssm {

template <typename T, int kStateLanes, int kLaneStates, int kSteps>
struct Split {
  static constexpr int kStretches = kLanes / kStateLanes;
  static constexpr int kTile = kStretches * kSteps;
  static constexpr int kPitch = kTile + 4;
  static constexpr int kPassStates = kStateLanes * kLaneStates;
  static_assert(kSteps == kStateLanes, "a lane loads, gates and stores one element of a tile");
  static constexpr int kOwn = 1;
  static constexpr int kFactorFloats = kPassStates * kPitch;
  static constexpr int kQuads = kTile / 4;
  static constexpr int kSlots = 2 * kPassStates * kQuads;

  __device__ explicit Split(const ScanParams& parameters) : p(parameters) {}
  const ScanParams& p;
  int lane, stretch, p_lane, time_warp, time_warps, channel_warp, channel_warps, end;
  long long batch, group, channel;
  float* factors;                       // this time warp's tile: B's states, then C's
  Stager<T, kPassStates, kTile> ahead;  // this lane's first share of B and C

  // B and C of the tile at `step`: what was loaded ahead, and the lane's other shares, into shared
  // memory; for all warps of the block.
  __device__ __forceinline__ void stage(int pass, int step) {
    __syncthreads();  // nobody reads the last tile any more
    ahead.store(factors, kPitch);
    const int lanes = channel_warps * kLanes;
    for (int slot = channel_warp * kLanes + lane + lanes; slot < kSlots; slot += 4 * lanes) {
      Stager<T, kPassStates, kTile> others[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        others[i].place(p, batch, group, p.out.data != nullptr, slot + i * lanes);
        others[i].load(p, pass, step, end);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) others[i].store(factors, kPitch);
    }
    __syncthreads();
  }

  __device__ __forceinline__ void read_steps(const float* row, float (&value)[kSteps]) const {
#pragma unroll
    for (int i = 0; i < kSteps / 4; ++i) {
      const float4 quad = reinterpret_cast<const float4*>(row)[i];
      value[4 * i] = quad.x;
      value[4 * i + 1] = quad.y;
      value[4 * i + 2] = quad.z;
      value[4 * i + 3] = quad.w;
    }
  }
  // B (which = 0) or C of one state over this lane's stretch.
  __device__ __forceinline__ void factor_steps(const ScanFactor& factor, int which, int slot, int n,
                                               float (&value)[kSteps]) const {
    if (factor.variable) {
      read_steps(factors + which * kFactorFloats + slot * kPitch + stretch * kSteps, value);
      return;
    }
    float same = 0.0f;
    if (n < p.states) {
      same = static_cast<const float*>(
          factor.data)[channel * factor.row_stride + n * factor.state_stride];
    }
#pragma unroll
    for (int k = 0; k < kSteps; ++k) value[k] = same;
  }

  __device__ __forceinline__ void run() {
    extern __shared__ float4 shared_words[];
    float* shared = reinterpret_cast<float*>(shared_words);
    const int warps = static_cast<int>(blockDim.x) / kLanes;
    const int warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    stretch = lane / kStateLanes;
    p_lane = lane % kStateLanes;
    time_warps = p.time_warps;
    time_warp = warp % time_warps;
    channel_warp = warp / time_warps;
    channel_warps = warps / time_warps;
    const int padded = (p.states + kPassStates - 1) / kPassStates * kPassStates;

    // Shared: pairs of every warp (double-buffered) and its sum of step sizes; a tile of B and C
    // per time warp; then per warp the exchange areas, carry and decays.
    float2* pairs = reinterpret_cast<float2*>(shared);
    float* totals = shared + 4 * warps * kPassStates;
    factors = totals + (warps + 3) / 4 * 4 + time_warp * 2 * kFactorFloats;
    constexpr int kExchange = (2 + kStateLanes) * kPitch;
    float* mine = totals + (warps + 3) / 4 * 4 + time_warps * 2 * kFactorFloats +
                  warp * ((2 * padded + kExchange + 12 + 3) / 4 * 4);
    float* dts = mine;
    float* dus = mine + kPitch;
    float* sums = mine + 2 * kPitch;
    float* carry = mine + kExchange;
    float* decays = carry + padded;

    batch = blockIdx.y;
    const int group_channels = static_cast<int>(p.dim / p.groups);
    const int group_blocks = (group_channels + channel_warps - 1) / channel_warps;
    group = blockIdx.x / group_blocks;
    const int within = static_cast<int>(blockIdx.x) % group_blocks * channel_warps + channel_warp;
    const bool active = within < group_channels;  // the others only stage and keep the barriers
    channel = group * group_channels + smaller(within, group_channels - 1);
    const long long delta_row = channel / p.delta_ratio;
    const int length = static_cast<int>(p.length);
    const int chunk = static_cast<int>(blockIdx.z);
    const int begin = p.chunked ? chunk * kScanChunk : 0;
    end = p.chunked ? smaller(length, begin + kScanChunk) : length;
    const bool want_out = p.out.data != nullptr;

    // Where this channel's rows begin, kept out of the registers.
    enum { kAtU, kAtDelta, kAtZ, kAtOut, kAtOutZ, kAtStates, kBases };
    long long* bases = reinterpret_cast<long long*>(decays + padded);
    const auto row_at = [&](const ScanRows& rows, int size, long long row) {
      return reinterpret_cast<long long>(rows.data) +
             size * (batch * rows.batch_stride + row * rows.row_stride);
    };
    const bool gated = p.z.data && want_out;
    if (lane == 0) {
      const int out_size = p.out_is_float ? 4 : static_cast<int>(sizeof(T));
      bases[kAtU] = row_at(p.u, sizeof(T), channel);
      bases[kAtDelta] = row_at(p.delta, sizeof(T), delta_row);
      bases[kAtZ] = row_at(p.z, sizeof(T), channel);
      bases[kAtOut] = row_at(p.out, out_size, channel);
      bases[kAtOutZ] = row_at(p.out_z, out_size, channel);
      bases[kAtStates] = reinterpret_cast<long long>(p.tile_states) +
                         4 * (batch * p.dim + channel) * p.tiles * p.states;
    }
    const auto row_steps = [&](int base, int step) {
      // A step past the end is read from the last one, without a branch: the compiler waits for
      // earlier loads at every branch. Its step size is set to 0.
      return load_whole<T, 1>(reinterpret_cast<const T*>(bases[base]) + smaller(step, end - 1));
    };
    const float skip = p.D ? p.D[channel] : 0.0f;
    const float bias = p.delta_bias ? p.delta_bias[delta_row] : 0.0f;

    for (int n = lane; n < padded; n += kLanes) {
      const bool exists = n < p.states;
      const bool known = p.chunked && chunk > 0 && exists;
      carry[n] = known ? saved_state(p, batch, channel, chunk - 1, n)->y : 0.0f;
      decays[n] = exists ? p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E : 0.0f;
    }
    __syncwarp();

    const int own = time_warp * kTile + lane * kOwn;  // this lane's elements within a round
    Steps<T, kOwn> u_next = row_steps(kAtU, begin + own);
    Steps<T, kOwn> delta_next = row_steps(kAtDelta, begin + own);
    ahead.place(p, batch, group, want_out, channel_warp * kLanes + lane);
    ahead.load(p, 0, begin + time_warp * kTile, end);
    const int round = kTile * time_warps;
    const auto load_ahead = [&](int pass, int tile) {
      const bool last = pass + kPassStates >= p.states;
      ahead.load(p, last ? 0 : pass / kPassStates + 1, last ? tile + round : tile, end);
    };
    int parity = 0;
    float dt_seen = 0.0f;

    for (int step = begin; step < end; step += round) {
      const int t = step + own;
      const int tile = step + time_warp * kTile;
      float u_own[kOwn], dt_own[kOwn], du_own[kOwn];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        u_own[i] = u_next.at(i);
        dt_own[i] = delta_next.at(i) + bias;
        if (p.softplus) dt_own[i] = softplus(dt_own[i]);
        if (t + i >= end) dt_own[i] = 0.0f;  // a step that changes nothing
        du_own[i] = dt_own[i] * u_own[i];
      }
      float dt[kSteps], du[kSteps];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        dts[lane * kOwn + i] = dt_own[i];
        dus[lane * kOwn + i] = du_own[i];
      }
      stage(0, tile);
      load_ahead(0, tile);
      u_next = row_steps(kAtU, t + round);
      delta_next = row_steps(kAtDelta, t + round);
      Steps<T, kOwn> z_now;
      if (gated) z_now = row_steps(kAtZ, t);
      read_steps(dts + stretch * kSteps, dt);
      read_steps(dus + stretch * kSteps, du);
      float dt_total = 0.0f;
#pragma unroll
      for (int k = 0; k < kSteps; ++k) dt_total += dt[k];
      dt_seen += dt_total;

      float y[kSteps];
#pragma unroll
      for (int k = 0; k < kSteps; ++k) y[k] = 0.0f;

      for (int pass = 0; pass < p.states; pass += kPassStates) {
        if (pass > 0) {
          stage(pass / kPassStates, tile);
          load_ahead(pass, tile);
        }
        float a[kLaneStates][kSteps];
        float a_upto[kLaneStates], b_upto[kLaneStates];
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int slot = s * kStateLanes + p_lane;
          const float decay = decays[pass + slot];
          float b[kSteps];
          factor_steps(p.B, 0, slot, pass + slot, b);
          float local = 0.0f;
#pragma unroll
          for (int k = 0; k < kSteps; ++k) {
            a[s][k] = exp2_approx(decay * dt[k]);
            local = fmaf(a[s][k], local, b[k] * du[k]);
          }
          a_upto[s] = exp2_approx(decay * dt_total);
          b_upto[s] = local;
        }
#pragma unroll
        for (int distance = 1; distance < kStretches; distance *= 2) {
#pragma unroll
          for (int s = 0; s < kLaneStates; ++s) {
            const float a_left = __shfl_up_sync(kFullWarp, a_upto[s], distance * kStateLanes);
            const float b_left = __shfl_up_sync(kFullWarp, b_upto[s], distance * kStateLanes);
            if (stretch >= distance) {
              b_upto[s] = fmaf(a_upto[s], b_left, b_upto[s]);
              a_upto[s] *= a_left;
            }
          }
        }

        float2* slots = pairs + parity * warps * kPassStates;
        if (time_warps > 1) {
          if (stretch == kStretches - 1) {
#pragma unroll
            for (int s = 0; s < kLaneStates; ++s) {
              slots[warp * kPassStates + s * kStateLanes + p_lane] =
                  make_pair(a_upto[s], b_upto[s]);
            }
          }
          __syncthreads();
          parity ^= 1;
        }
#pragma unroll
        for (int s = 0; s < kLaneStates; ++s) {
          const int slot = s * kStateLanes + p_lane;
          const int n = pass + slot;
          const float h_round = carry[n];
          float h_tile = h_round;
          float h_end = h_round;
          for (int other = 0; other < time_warps && time_warps > 1; ++other) {
            if (other == time_warp) h_tile = h_end;
            const float2 pair = slots[(warp - time_warp + other) * kPassStates + slot];
            h_end = fmaf(pair.x, h_end, pair.y);
          }
          if (p.tile_states && stretch == 0 && active && tile < end && n < p.states) {
            reinterpret_cast<float*>(
                bases[kAtStates])[static_cast<long long>(tile / kTile) * p.states + n] = h_tile;
          }
          const float h_stretch = fmaf(a_upto[s], h_tile, b_upto[s]);
          float h = __shfl_up_sync(kFullWarp, h_stretch, kStateLanes);
          if (stretch == 0) h = h_tile;
          if (time_warps == 1) h_end = h_stretch;
          // The shuffle has put this write after every lane's read of carry[n].
          if (stretch == kStretches - 1) carry[n] = h_end;
          if (want_out) {
            // B is read again: holding all of it would take registers that the loads need.
            float b[kSteps], c[kSteps];
            factor_steps(p.B, 0, slot, n, b);
            factor_steps(p.C, 1, slot, n, c);
#pragma unroll
            for (int k = 0; k < kSteps; ++k) {
              h = fmaf(a[s][k], h, b[k] * du[k]);
              y[k] = fmaf(h, c[k], y[k]);
            }
          }
        }
        __syncwarp();
      }

      const int next = step + round;
      if (p.x && !p.chunked && (next % kScanChunk == 0 || next >= end)) {
        float total = dt_seen;
#pragma unroll
        for (int distance = kStateLanes; distance < kLanes; distance *= 2) {
          total += __shfl_xor_sync(kFullWarp, total, distance);
        }
        if (lane == 0) totals[warp] = total;
        __syncthreads();
        total = 0.0f;
        for (int other = 0; other < time_warps; ++other) total += totals[warp - time_warp + other];
        for (int n = lane; n < p.states && active && time_warp == 0; n += kLanes) {
          *saved_state(p, batch, channel, step / kScanChunk, n) =
              make_pair(exp2_approx(decays[n] * total), carry[n]);
        }
        __syncthreads();
      }
      if (!want_out) continue;

      float y_own[kOwn];
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
      const int available = active ? end - t : 0;
      store_steps<T, kOwn>(reinterpret_cast<void*>(bases[kAtOut]), t, y_own, available,
                           p.out_is_float, p.rows_aligned);
      if (gated) {
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          const float gate = z_now.at(i);
          y_own[i] *= gate * sigmoid(gate);
        }
        store_steps<T, kOwn>(reinterpret_cast<void*>(bases[kAtOutZ]), t, y_own, available,
                             p.out_is_float, p.rows_aligned);
      }
    }
  }
};

}  // namespace ssm

// 16 states at a time in tiles of 32 steps.
#define SSM_SPLIT(name, type, state_lanes, lane_states, steps)                   \
  extern "C" __global__ void __launch_bounds__(256, 2) name(ssm::ScanParams p) { \
    ssm::Split<type, state_lanes, lane_states, steps> split(p);                  \
    split.run();                                                                 \
  }
SSM_SPLIT(scan_split_f32, float, 8, 2, 8)
SSM_SPLIT(scan_split_f16, ssm::F16, 8, 2, 8)
SSM_SPLIT(scan_split_bf16, ssm::BF16, 8, 2, 8)
