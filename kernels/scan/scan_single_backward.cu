// Backward scan of one state: scan_single.cuh has the layout.
//   g_t = dy_t C_t + back,  back = a_t g_t                dC_t = sum over channels of dy_t h_t
//   dB_t = sum over channels of g_t dt_t u_t              d(dt u)_t = g_t B_t
//   dA = sum over t of dt_t e_t, d(dt)_t += A e_t, with e_t = back_t h_{t-1}
// The states do not depend on the adjoint, so both directions are scanned at once and a team's
// warps meet once. A row that one block can hold is read once; a longer one is taken in tiles of
// kScanChunk steps from the last to the first, each from the state that x has before it.
//
// dB and dC grow in registers over a block's channels and leave it once, for the block's own slot:
// no atomics, so the order of the sums is always the same. Sums over the steps leave each warp as
// a part, one a tile of 256 steps.
#include "scan/scan_single.cuh"

namespace ssm {
namespace single {

template <typename T>
struct Gradient : Team<T> {
  using Team<T>::area;
  using Team<T>::batch;
  using Team<T>::lane;
  using Team<T>::length;
  using Team<T>::p;
  using Team<T>::place;
  using Team<T>::segment_lanes;
  using Team<T>::time_warp;
  using Team<T>::time_warps;

  const ScanBackwardParams& q;

  __device__ __forceinline__ Gradient(const ScanBackwardParams& parameters, float* areas)
      : Team<T>(parameters.scan, areas), q(parameters) {}

  // Five rows of a channel: the gate and the ungated output only where there is a gate.
  struct Rows {
    Run<T> u, delta, z, out;
    float dout[kRun];
  };

  template <int kBytes, typename E>
  __device__ __forceinline__ void load_dout(Access<kBytes> access, const E* row, int t,
                                            float (&value)[kRun]) const {
    Run<E> run;
    this->load(access, row, t, run);
    if constexpr (kBytes == 0) this->gather(run);
#pragma unroll
    for (int k = 0; k < kRun; ++k) value[k] = run.at(k);
  }

  __device__ __forceinline__ void load_factors(int t, Run<T>& B, Run<T>& C) const {
    this->with_access([&](auto access) {
      this->load(access, this->factor(p.B), t, B);
      this->load(access, this->factor(p.C), t, C);
      if constexpr (access.bytes == 0) {
        this->gather(B);
        this->gather(C);
      }
    });
  }

  __device__ __forceinline__ void load_rows(int channel, int t, Rows& rows) const {
    const T* u_row = this->template row<const T>(p.u, channel);
    const T* delta_row = this->template row<const T>(p.delta, this->delta_row_of(channel));
    const T* z_row = this->template row<const T>(p.z, channel);
    const T* out_row = this->template row<const T>(p.out, channel);
    const bool gated = p.z.data != nullptr;
    const bool wide = p.out_is_float && sizeof(T) != 4;
    const T* dout_row = this->template row<const T>(q.dout, channel);
    const float* wide_row = this->template row<const float>(q.dout, channel);
    this->with_access([&](auto access) {
      constexpr bool kSpread = access.bytes == 0;
      this->load(access, u_row, t, rows.u);
      this->load(access, delta_row, t, rows.delta);
      if (gated) {
        this->load(access, z_row, t, rows.z);
        this->load(access, out_row, t, rows.out);
      }
      // Elements take more registers until they are gathered: not all rows at once.
      if constexpr (kSpread) {
        this->gather(rows.u);
        this->gather(rows.delta);
      }
      if (wide) {
        load_dout(access, wide_row, t, rows.dout);
      } else {
        load_dout(access, dout_row, t, rows.dout);
      }
      if constexpr (kSpread) {
        if (gated) {
          this->gather(rows.z);
          this->gather(rows.out);
        }
      }
    });
  }

  // The sum over a segment, in its first lane.
  __device__ __forceinline__ float segment_sum(float value) const {
    for (int distance = segment_lanes / 2; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(kFullWarp, value, distance);
    }
    return value;
  }

  // dB and dC of this tile: over the segments of a warp, then over the warps of a time warp.
  __device__ __forceinline__ void reduce(int step, float (&dB)[kRun], float (&dC)[kRun]) const {
    for (int distance = segment_lanes; distance < kLanes; distance *= 2) {
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        dB[k] += __shfl_xor_sync(kFullWarp, dB[k], distance);
        dC[k] += __shfl_xor_sync(kFullWarp, dC[k], distance);
      }
    }
    __syncwarp();
    if (lane < segment_lanes) {
      store_typed<float, kRun>(area + place * kRun, dB, kRun, true);
      store_typed<float, kRun>(area + kTile + place * kRun, dC, kRun, true);
    }
    __syncthreads();
    const float* areas = area - this->warp * kArea;
    const long long at =
        ((this->block * p.batch + batch) * p.groups + this->group) * p.length + step;
    const int count = smaller(length - step, time_warps * kTile);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * count; i += static_cast<int>(blockDim.x)) {
      const bool is_c = i >= count;
      const int t = is_c ? i - count : i;
      const float* from =
          areas + t / kTile * this->channel_warps * kArea + is_c * kTile + t % kTile;
      float sum = 0.0f;
      for (int other = 0; other < this->channel_warps; ++other) sum += from[other * kArea];
      (is_c ? q.dC : q.dB)[at + t] = sum;
    }
    __syncthreads();
  }

  __device__ __forceinline__ void run(float4* pairs, float* carry) {
    const int warps = static_cast<int>(blockDim.x) / kLanes;
    const int block_steps = time_warps * kTile;
    const int parts = (length + kTile - 1) / kTile;
    const int half = this->rounds * this->teams;
    const int last_step = (length - 1) / block_steps * block_steps;
    int parity = 0, tile_parity = 0;

    for (int step = last_step; step >= 0; step -= block_steps, tile_parity ^= 1) {
      const int first = step + time_warp * kTile;
      const int t = first + place * kRun;
      Run<T> B, C;
      load_factors(t, B, C);
      float dB[kRun], dC[kRun];
#pragma unroll
      for (int k = 0; k < kRun; ++k) dB[k] = dC[k] = 0.0f;

      for (int round = 0; round < this->rounds; ++round) {
        int channel;
        const bool active = this->channel_of(round, &channel);
        const int end = active ? length : 0;
        Rows rows;
        load_rows(channel, t, rows);
        const float A = p.A[channel * p.A_row_stride];
        const float bias = p.delta_bias ? p.delta_bias[this->delta_row_of(channel)] : 0.0f;
        const float skip = p.D ? p.D[channel] : 0.0f;

        // dout becomes dy, the gradient of the ungated output.
        float(&dy)[kRun] = rows.dout;
        if (p.z.data) {
          float dz[kRun], gated[kRun];
#pragma unroll
          for (int k = 0; k < kRun; ++k) {
            const float z = rows.z.at(k), out = rows.out.at(k), gate = sigmoid(z);
            dz[k] = dy[k] * out * gate * fmaf(z, 1.0f - gate, 1.0f);
            gated[k] = out * z * gate;
            dy[k] *= z * gate;
          }
          this->store_rows(q.dz, channel, t, dz, end, false);
          if (p.out_z.data) this->store_rows(p.out_z, channel, t, gated, end, false);
        }
        float dt[kRun], a[kRun], h[kRun];
        this->step_sizes(rows.delta, bias, dt);
        float dD_sum = 0.0f;
        Pair own{1.0f, 0.0f};
#pragma unroll
        for (int k = 0; k < kRun; ++k) {
          if (t + k >= end) dt[k] = dy[k] = 0.0f;
          const float step_size = dt[k];
          a[k] = exp2_approx(A * kLog2E * step_size);
          h[k] = step_size * rows.u.at(k) * B.at(k);
          own.state = fmaf(a[k], own.state, h[k]);
          own.decay *= a[k];
          dD_sum = fmaf(dy[k], rows.u.at(k), dD_sum);
        }
        float back = 0.0f;
#pragma unroll
        for (int k = kRun - 1; k >= 0; --k) back = a[k] * fmaf(dy[k], C.at(k), back);
        Pair upto, before, from, after;
        scan_up(own, place, &upto, &before);
        scan_down(Pair{own.decay, back}, place, segment_lanes, &from, &after);

        // The state before this warp's steps and the adjoint that enters on the right.
        const float* carried = carry + tile_parity * half + round * this->teams;
        float* carry_to = carry + (1 - tile_parity) * half + round * this->teams;
        float state = 0.0f, entering = 0.0f;
        if (step > 0) {
          state = saved_state(p, batch, channel, step / kScanChunk - 1, 0)->y;
        }
        if (time_warps > 1) {
          float4* slots = pairs + parity * warps + this->channel_warp * time_warps;
          parity ^= 1;
          const float whole_state = __shfl_sync(kFullWarp, upto.state, kLanes - 1);
          if (lane == 0) {
            float4 slot;
            slot.x = from.decay;
            slot.y = whole_state;
            slot.z = from.state;
            slot.w = 0.0f;
            slots[time_warp] = slot;
          }
          __syncthreads();
          for (int other = 0; other < time_warp; ++other) {
            state = fmaf(slots[other].x, state, slots[other].y);
          }
          if (step < last_step) entering = *carried;
          for (int other = time_warps - 1; other > time_warp; --other) {
            entering = fmaf(slots[other].x, entering, slots[other].z);
          }
        } else if (step < last_step) {
          entering = *carried;
        }
        if (place == 0 && time_warp == 0) {
          *carry_to = fmaf(from.decay, entering, from.state);
        }
        if (time_warps == 1) __syncwarp();

        const float h_first = fmaf(before.decay, state, before.state);
        state = h_first;
#pragma unroll
        for (int k = 0; k < kRun; ++k) {
          state = fmaf(a[k], state, h[k]);
          h[k] = state;
        }
        back = fmaf(after.decay, entering, after.state);
        float du[kRun], ddelta[kRun];
        float dA_sum = 0.0f, dbias_sum = 0.0f;
#pragma unroll
        for (int k = kRun - 1; k >= 0; --k) {
          const float u = rows.u.at(k);
          const float g = fmaf(dy[k], C.at(k), back);
          dC[k] = fmaf(dy[k], h[k], dC[k]);
          dB[k] = fmaf(g, dt[k] * u, dB[k]);
          const float input = g * B.at(k);
          back = a[k] * g;
          const float e = back * (k > 0 ? h[k > 0 ? k - 1 : 0] : h_first);
          dA_sum = fmaf(e, dt[k], dA_sum);
          du[k] = fmaf(input, dt[k], skip * dy[k]);
          const float slope = sigmoid(rows.delta.at(k) + bias);
          ddelta[k] = fmaf(e, A, input * u) * (p.softplus ? slope : 1.0f);
          if (t + k < end) dbias_sum += ddelta[k];
        }
        this->store_rows(q.du, channel, t, du, end, false);
        this->store_rows(q.ddelta, channel, t, ddelta, end, false);

        dA_sum = segment_sum(dA_sum);
        dD_sum = segment_sum(dD_sum);
        dbias_sum = segment_sum(dbias_sum);
        if (place == 0 && first < end) {
          const long long part = (batch * parts + first / kTile) * p.dim + channel;
          q.dA[part] = dA_sum;
          if (q.dD) q.dD[part] = dD_sum;
          if (q.ddelta_bias) q.ddelta_bias[part] = dbias_sum;
        }
      }
      reduce(step, dB, dC);
    }
  }
};

template <typename T>
__device__ __forceinline__ void backward(const ScanBackwardParams& q) {
  // Shared: what the warps of a team tell each other (two rounds' worth), the warps' areas, the
  // adjoints carried from tile to tile.
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  float* areas = reinterpret_cast<float*>(shared_words + 2 * warps);
  Gradient<T> my(q, areas);
  my.run(shared_words, areas + warps * kArea + my.team);
}

}  // namespace single
}  // namespace ssm

#define SSM_SINGLE(name, type)                                                           \
  extern "C" __global__ void __launch_bounds__(512, 1) name(ssm::ScanBackwardParams q) { \
    ssm::single::backward<type>(q);                                                      \
  }
SSM_SINGLE(scan_single_backward_f32, float)
SSM_SINGLE(scan_single_backward_f16, ssm::F16)
SSM_SINGLE(scan_single_backward_bf16, ssm::BF16)
