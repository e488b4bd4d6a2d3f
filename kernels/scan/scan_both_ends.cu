// The ends of chunks for the backward direction (scan_ends.cu has the forward one's): every tile of
// 32 steps is run from the state zero and leaves the state it ends with, the sum of its step sizes,
// and what it adds to the adjoint. The adjoint g of the state leaves a tile on the left as
//   r = sum over t of (product of the decays up to t) * dy_t * C_t,
// which a forward walk adds up as well; scan_carry replaces it by the adjoint that enters on the
// right.
#include "scan/scan_gradient_rows.cuh"

namespace ssm {
namespace gradient {

template <typename T, int kLaneStates>
struct BothEnds : Tiles<T, ScanEndsParams, false> {
  static constexpr int kPassStates = kStateLanes * kLaneStates;
  static constexpr int kFactorFloats = kPassStates * kPitch;
  using Base = Tiles<T, ScanEndsParams, false>;
  using Base::at;
  using Base::bases;
  using Base::begin;
  using Base::dts;
  using Base::dus;
  using Base::dys;
  using Base::end;
  using Base::entry;
  using Base::p;
  using Base::q;
  using Base::read_rows;

  const int pass;
  float* factors;
  float decay[kLaneChannels][kLaneStates];

  __device__ __forceinline__ explicit BothEnds(const ScanEndsParams& parameters)
      : Base(parameters, static_cast<int>(blockIdx.z) % parameters.scan.chunks.runs),
        pass(static_cast<int>(blockIdx.z) / parameters.scan.chunks.runs) {
    float* shared = reinterpret_cast<float*>(shared_words);
    bases.place(shared, p, q.dout, at);
    bases.ready();
    factors = shared + kBaseFloats;
    this->place_areas(factors + 2 * kFactorFloats + at.warp * Base::kAreas * kAreaFloats);
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      const float* A = p.A + Base::channel(c) * p.A_row_stride;
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        decay[c][s] = A[smaller(state(s), p.states - 1) * p.A_state_stride] * kLog2E;
      }
    }
  }
  __device__ __forceinline__ int state(int s) const {
    return pass * kPassStates + s * kStateLanes + at.p_lane;
  }

  __device__ __forceinline__ void read_factor(int which, int s, int j, float (&to)[4]) const {
    read(factors + which * kFactorFloats + (s * kStateLanes + at.p_lane) * kPitch + j, to);
  }

  __device__ __forceinline__ void walk(int tile) const {
    float h[kLaneChannels][kLaneStates], passed[kLaneChannels][kLaneStates],
        r[kLaneChannels][kLaneStates];
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        h[c][s] = r[c][s] = 0.0f;
        passed[c][s] = 1.0f;
      }
    }
#pragma unroll 1
    for (int j = 0; j < kSteps; j += 4) {
      float dt[kLaneChannels][4], du[kLaneChannels][4], dy[kLaneChannels][4];
      read_rows(dts, j, dt);
      read_rows(dus, j, du);
      read_rows(dys, j, dy);
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        float B[4], C[4];
        read_factor(0, s, j, B);
        read_factor(1, s, j, C);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int c = 0; c < kLaneChannels; ++c) {
            const float a = exp2_approx(decay[c][s] * dt[c][k]);
            h[c][s] = fmaf(a, h[c][s], du[c][k] * B[k]);
            passed[c][s] *= a;
            r[c][s] = fmaf(passed[c][s], dy[c][k] * C[k], r[c][s]);
          }
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      if (at.c_lane + c * kBetween >= at.count) continue;
      float* states = p.chunks.states + entry(c, tile);
      float* adjoints = p.chunks.adjoints + entry(c, tile);
#pragma unroll
      for (int s = 0; s < kLaneStates; ++s) {
        if (state(s) >= p.states) continue;
        states[state(s)] = h[c][s];
        adjoints[state(s)] = r[c][s];
      }
    }
  }

  __device__ __forceinline__ void leave_sums(int tile) const {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      const float sum = over_quads(this->sums[r]);
      const int c = at.channel(r);
      if (at.step() != 0 || c >= at.count) continue;
      const long long row = at.batch * p.dim + at.block_first + at.first + c;
      p.chunks.dt_sums[row * p.chunks.count + tile / kSteps] = sum;
    }
  }

  __device__ __forceinline__ void run() {
    for (int tile = begin; tile < end; tile += kSteps) {
      Shares<T, kPassStates> factor;
      factor.load(p, bases, at, pass, tile);
      this->prepare(tile);
      this->fetch_ahead(tile + kSteps);
      if (pass == 0) leave_sums(tile);
      __syncthreads();  // nobody reads the last factors any more
      factor.store(factors, p, at, pass, tile, end);
      __syncthreads();
      walk(tile);
      __syncwarp();  // the areas are free for the next tile
    }
  }
};

}  // namespace gradient
}  // namespace ssm

// Up to 4 states, up to 8, or 16 at a time.
#define SSM_BOTH_ENDS(name, type, lane_states)                             \
  extern "C" __global__ void __launch_bounds__(ssm::gradient::kThreads, 6) \
      name(ssm::ScanEndsParams q) {                                        \
    ssm::gradient::BothEnds<type, lane_states> ends(q);                    \
    ends.run();                                                            \
  }
#define SSM_BOTH_ENDS_OF(type, suffix)             \
  SSM_BOTH_ENDS(scan_both_ends4_##suffix, type, 1) \
  SSM_BOTH_ENDS(scan_both_ends8_##suffix, type, 2) \
  SSM_BOTH_ENDS(scan_both_ends16_##suffix, type, 4)
SSM_BOTH_ENDS_OF(float, f32)
SSM_BOTH_ENDS_OF(ssm::F16, f16)
SSM_BOTH_ENDS_OF(ssm::BF16, bf16)
