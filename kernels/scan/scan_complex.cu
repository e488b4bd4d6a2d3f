// Forward scan with a complex A; scan_complex.cuh has the way it goes. Without `out` it leaves the
// states before every tile for the backward pass.
#include "scan/scan_complex.cuh"

namespace ssm {

template <typename T>
struct ComplexForward {
  const ScanParams& p;
  int lane;
  long long batch, channel, group;
  Affine* carry;  // of each state: everything up to the current tile, in shared memory

  __device__ explicit ComplexForward(const ScanParams& parameters) : p(parameters) {}

  __device__ __forceinline__ float step_size(float delta) const {
    if (p.delta_bias) delta += p.delta_bias[channel / p.delta_ratio];
    return p.softplus ? exact_softplus(delta) : delta;
  }

  __device__ __forceinline__ Complex* saved(long long chunk) const {
    const long long chunks = (p.length + kScanChunk - 1) / kScanChunk;
    return reinterpret_cast<Complex*>(p.x) +
           ((batch * p.dim + channel) * chunks + chunk) * p.states * 2;
  }

  __device__ __forceinline__ void begin(long long chunk) {
    for (int n = lane; n < p.states; n += kLanes) {
      carry[n] = nothing_done();
      if (p.chunked && chunk > 0) carry[n].state = saved(chunk - 1)[2 * n + 1];
    }
    __syncwarp();
  }

  __device__ __forceinline__ void load_factors(int n, long long step, int available,
                                               ComplexFactor<T>* B, ComplexFactor<T>* C) const {
    if (n >= p.states) return;
    B->load(p.B, batch, group, channel, n, step, available);
    if (p.out.data) C->load(p.C, batch, group, channel, n, step, available);
  }

  // One tile of one state; adds to the sums over the states.
  __device__ __forceinline__ void advance(int n, const float (&dt)[kComplexSteps],
                                          const float (&input)[kComplexSteps],
                                          const ComplexFactor<T>& B, const ComplexFactor<T>& C,
                                          float (&sum)[kComplexSteps]) {
    const Rate rate = rate_of(
        reinterpret_cast<const Complex*>(p.A)[channel * p.A_row_stride + n * p.A_state_stride]);
    const Affine carried = carry[n];
    Complex decay[kComplexSteps], added[kComplexSteps];
    Affine mine = nothing_done();
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      decay[i] = complex_decay(dt[i], rate);
      added[i] = input[i] * B.at(p.B, i);
      mine.decay = decay[i] * mine.decay;
      mine.state = multiply_add(decay[i], mine.state, added[i]);
    }
    Affine before, all;
    compose_lanes<true>(lane, mine, &before, &all);
    __syncwarp();  // every lane has read carry[n]
    if (lane == 0) carry[n] = then(carried, all);
    if (!p.out.data) return;
    Complex h = apply(before, carried.state);
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      h = multiply_add(decay[i], h, added[i]);
      const Complex c = C.at(p.C, i);
      sum[i] = fmaf(c.re, h.re, fmaf(-c.im, h.im, sum[i]));
    }
  }

  __device__ __forceinline__ void write(long long step, int available,
                                        const float (&u)[kComplexSteps],
                                        const float (&sum)[kComplexSteps]) const {
    const float skip = p.D ? p.D[channel] : 0.0f;
    float out[kComplexSteps];
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) out[i] = fmaf(skip, u[i], 2.0f * sum[i]);
    store_steps<T, kComplexSteps>(p.out.data,
                                  batch * p.out.batch_stride + channel * p.out.row_stride + step,
                                  out, available, p.out_is_float, p.rows_aligned);
    if (!p.z.data) return;
    float z[kComplexSteps];
    load_row<T>(p.z, batch, channel, step, available, p.rows_aligned, z);
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) out[i] *= z[i] * sigmoid(z[i]);
    store_steps<T, kComplexSteps>(
        p.out_z.data, batch * p.out_z.batch_stride + channel * p.out_z.row_stride + step, out,
        available, p.out_is_float, p.rows_aligned);
  }

  __device__ void run() {
    extern __shared__ float4 shared_words[];
    const int warp = static_cast<int>(threadIdx.x) / kLanes;
    lane = static_cast<int>(threadIdx.x) % kLanes;
    channel = static_cast<long long>(blockIdx.x) * (blockDim.x / kLanes) + warp;
    if (channel >= p.dim) return;  // a whole warp: there is no barrier of the block
    batch = blockIdx.y;
    group = channel / (p.dim / p.groups);
    carry = reinterpret_cast<Affine*>(shared_words) + warp * p.states;
    const long long first = p.chunked ? static_cast<long long>(blockIdx.z) * kScanChunk : 0;
    long long end = p.length;
    if (p.chunked && first + kScanChunk < end) end = first + kScanChunk;
    begin(blockIdx.z);

    for (long long tile = first; tile < end; tile += kComplexTile) {
      const long long step = tile + lane * kComplexSteps;
      const int available = static_cast<int>(end - step);
      float u[kComplexSteps], dt[kComplexSteps], input[kComplexSteps], sum[kComplexSteps] = {};
      load_row<T>(p.u, batch, channel, step, available, p.rows_aligned, u);
      load_row<T>(p.delta, batch, channel / p.delta_ratio, step, available, p.rows_aligned, dt);
#pragma unroll
      for (int i = 0; i < kComplexSteps; ++i) {
        dt[i] = i < available ? step_size(dt[i]) : 0.0f;  // 0: the state stays as it is
        input[i] = dt[i] * u[i];
      }
      if (p.tile_states) {
        Complex* to = reinterpret_cast<Complex*>(p.tile_states) +
                      ((batch * p.dim + channel) * p.tiles + tile / kComplexTile) * p.states;
        for (int n = lane; n < p.states; n += kLanes) to[n] = carry[n].state;
      }
      ComplexFactor<T> B, C, next_B, next_C;
      load_factors(0, step, available, &next_B, &next_C);
      for (int n = 0; n < p.states; ++n) {
        B = next_B;
        C = next_C;
        load_factors(n + 1, step, available, &next_B, &next_C);
        advance(n, dt, input, B, C, sum);
      }
      __syncwarp();  // carry is whole
      const long long done = tile + kComplexTile;
      if (p.x && !p.chunked && (done >= end || done % kScanChunk == 0)) {
        Complex* to = saved(tile / kScanChunk);
        for (int n = lane; n < p.states; n += kLanes) {
          to[2 * n] = carry[n].decay;
          to[2 * n + 1] = carry[n].state;
        }
      }
      if (p.out.data) write(step, available, u, sum);
    }
  }
};

}  // namespace ssm

#define SSM_COMPLEX(name, type)                                               \
  extern "C" __global__ void __launch_bounds__(128) name(ssm::ScanParams p) { \
    ssm::ComplexForward<type> forward(p);                                     \
    forward.run();                                                            \
  }
SSM_COMPLEX(scan_complex_f32, float)
SSM_COMPLEX(scan_complex_f16, ssm::F16)
SSM_COMPLEX(scan_complex_bf16, ssm::BF16)
