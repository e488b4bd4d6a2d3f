// Forward scan of one state: scan_single.cuh has the layout.
#include "scan/scan_single.cuh"

namespace ssm {
namespace single {

template <typename T>
__device__ __forceinline__ void forward(const ScanParams& p) {
  // Shared: what the warps of a team tell each other (two rounds' worth), the pairs carried from
  // tile to tile, and the warps' areas.
  const int warps = static_cast<int>(blockDim.x) / kLanes;
  float2* pairs = reinterpret_cast<float2*>(shared_words);
  float* areas = reinterpret_cast<float*>(pairs + 2 * warps);
  const Team<T> my(p, areas);
  // Read from the half of the tile's parity, written to the other.
  float2* carry = reinterpret_cast<float2*>(areas + warps * kArea) + my.team;
  const int half = my.rounds * my.teams;
  const bool want_out = p.out.data != nullptr;
  const bool gated = p.z.data && want_out;
  int parity = 0, tile_parity = 0;

  for (int step = 0; step < my.length; step += my.time_warps * kTile, tile_parity ^= 1) {
    const int first = step + my.time_warp * kTile;
    const int t = first + my.place * kRun;
    const T* B_row = my.factor(p.B);
    const T* C_row = my.factor(p.C);
    Run<T> B, C;

    for (int round = 0; round < my.rounds; ++round) {
      int channel;
      const bool active = my.channel_of(round, &channel);
      const int end = active ? my.length : 0;
      const int delta_row = my.delta_row_of(channel);
      const T* u_row = my.template row<const T>(p.u, channel);
      const T* delta_from = my.template row<const T>(p.delta, delta_row);
      const T* z_row = my.template row<const T>(gated ? p.z : p.u, channel);
      Run<T> u, delta, z;
      const float A = p.A[channel * p.A_row_stride];
      const float bias = p.delta_bias ? p.delta_bias[delta_row] : 0.0f;
      const float skip = p.D ? p.D[channel] : 0.0f;
      my.with_access([&](auto access) {
        my.load(access, delta_from, t, delta);
        my.load(access, u_row, t, u);
        if (round == 0) {
          my.load(access, B_row, t, B);
          if (want_out) my.load(access, C_row, t, C);
        }
        if (gated) my.load(access, z_row, t, z);
        if constexpr (access.bytes == 0) {
          my.gather(delta);
          my.gather(u);
          if (round == 0) {
            my.gather(B);
            if (want_out) my.gather(C);
          }
          if (gated) my.gather(z);
        }
      });

      // (before the loads, the product would make them wait for A)
      const float rate = A * kLog2E;
      float a[kRun], b[kRun];
      my.step_sizes(delta, bias, b);
      Pair own{1.0f, 0.0f};
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        const float dt = t + k < end ? b[k] : 0.0f;  // 0: a step that changes nothing
        a[k] = exp2_approx(rate * dt);
        b[k] = dt * u.at(k) * B.at(k);
        own.state = fmaf(a[k], own.state, b[k]);
        own.decay *= a[k];
      }
      Pair upto, before;
      scan_up(own, my.place, &upto, &before);

      // What has come before this warp's steps, from the first step of all.
      Pair start{1.0f, 0.0f};
      const float2* carried = carry + tile_parity * half + round * my.teams;
      float2* carry_to = carry + (1 - tile_parity) * half + round * my.teams;
      const bool last_lane = my.place == my.segment_lanes - 1;
      if (my.time_warps > 1) {
        float2* slots = pairs + parity * warps + my.channel_warp * my.time_warps;
        parity ^= 1;
        if (last_lane) slots[my.time_warp] = make_pair(upto.decay, upto.state);
        __syncthreads();
        Pair all = start;
        if (step > 0) all = Pair{carried->x, carried->y};
#pragma unroll 4
        for (int other = 0; other < my.time_warps; ++other) {
          if (other == my.time_warp) start = all;
          const float2 pair = slots[other];
          all.state = fmaf(pair.x, all.state, pair.y);
          all.decay *= pair.x;
        }
        if (last_lane && my.time_warp == 0) *carry_to = make_pair(all.decay, all.state);
      } else if (step > 0) {
        start = Pair{carried->x, carried->y};
      }
      const float passed = start.decay * upto.decay;
      const float state = fmaf(upto.decay, start.state, upto.state);
      if (my.time_warps == 1) {
        if (last_lane) *carry_to = make_pair(passed, state);
        __syncwarp();
      }
      const int next = first + kTile;
      if (p.x && last_lane && first < end && (next % kScanChunk == 0 || next >= end)) {
        *saved_state(p, my.batch, channel, first / kScanChunk, 0) = make_pair(passed, state);
      }
      if (!want_out) continue;

      float h = fmaf(before.decay, start.state, before.state);
      float y[kRun];
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        h = fmaf(a[k], h, b[k]);
        y[k] = fmaf(h, C.at(k), skip * u.at(k));
      }
      my.store_rows(p.out, channel, t, y, end, p.out_is_float);
      if (!gated) continue;
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        const float gate = z.at(k);
        y[k] *= gate * sigmoid(gate);
      }
      my.store_rows(p.out_z, channel, t, y, end, p.out_is_float);
    }
  }
}

}  // namespace single
}  // namespace ssm

#define SSM_SINGLE(name, type)                                                   \
  extern "C" __global__ void __launch_bounds__(384, 2) name(ssm::ScanParams p) { \
    ssm::single::forward<type>(p);                                               \
  }
SSM_SINGLE(scan_single_f32, float)
SSM_SINGLE(scan_single_f16, ssm::F16)
SSM_SINGLE(scan_single_bf16, ssm::BF16)
