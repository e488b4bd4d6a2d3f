// Backward scan with a complex A, tile by tile from the last to the first. Within a tile the states
// are computed again from the one before it (tile_states), then their gradients run the other way:
//
//   dh[t]      = 2 dy[t] conj(C[t]) + carried[t]        carried[t - 1] = conj(a[t]) dh[t]
//   dC[t]      = 2 dy[t] conj(h[t])                     dB[t] = dt u dh[t]
//   d(dt A)[t] = carried[t - 1] conj(h[t - 1])
//
// A block's warps take channels of one group at the same tile and state, so that what they add to
// dB and dC is summed in shared memory before it leaves the block.
#include "scan/scan_complex.cuh"

namespace ssm {

template <typename T>
struct ComplexBackward {
  const ScanBackwardParams& q;
  const ScanParams& p;
  int lane, warp, warps, block;
  bool exists;  // the last block of a group may have warps without a channel
  long long batch, channel, group;
  Complex* exchange;                            // two of: each warp's dB, dC of a tile
  Complex *carried, *dA, *dB_fixed, *dC_fixed;  // of each state, this warp's

  long long step;
  int available, parity;
  float u[kComplexSteps], dt[kComplexSteps], dy[kComplexSteps];
  float d_input[kComplexSteps], d_dt[kComplexSteps];  // sums over the states

  __device__ explicit ComplexBackward(const ScanBackwardParams& parameters)
      : q(parameters), p(parameters.scan) {}

  __device__ __forceinline__ void place() {
    extern __shared__ float4 shared_words[];
    lane = static_cast<int>(threadIdx.x) % kLanes;
    warp = static_cast<int>(threadIdx.x) / kLanes;
    warps = static_cast<int>(blockDim.x) / kLanes;
    const int group_blocks = static_cast<int>(gridDim.x) / p.groups;
    const long long group_channels = p.dim / p.groups;
    group = blockIdx.x / group_blocks;
    block = static_cast<int>(blockIdx.x) % group_blocks;
    const long long in_group = static_cast<long long>(block) * warps + warp;
    exists = in_group < group_channels;
    channel = group * group_channels + (exists ? in_group : 0);
    batch = blockIdx.y;
    parity = 0;
    exchange = reinterpret_cast<Complex*>(shared_words);
    carried = exchange + 4 * warps * kComplexTile + 4 * warp * p.states;
    dA = carried + p.states;
    dB_fixed = dA + p.states;
    dC_fixed = dB_fixed + p.states;
    for (int n = lane; n < 4 * p.states; n += kLanes) carried[n] = complex(0.0f, 0.0f);
    __syncwarp();
  }

  // The tile's rows; the gate's gradient, and dout before the gate, in dy.
  __device__ __forceinline__ void read(float (&slope)[kComplexSteps]) {
    load_row<T>(p.u, batch, channel, step, available, p.rows_aligned, u);
    load_row<T>(p.delta, batch, channel / p.delta_ratio, step, available, p.rows_aligned, dt);
    if (p.out_is_float) {
      load_row<float>(q.dout, batch, channel, step, available, p.rows_aligned, dy);
    } else {
      load_row<T>(q.dout, batch, channel, step, available, p.rows_aligned, dy);
    }
    const float bias = p.delta_bias ? p.delta_bias[channel / p.delta_ratio] : 0.0f;
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      const float delta = dt[i] + bias;
      slope[i] = p.softplus ? sigmoid(delta) : 1.0f;
      dt[i] = i >= available ? 0.0f : p.softplus ? exact_softplus(delta) : delta;
      d_input[i] = d_dt[i] = 0.0f;
    }
    if (!p.z.data) return;
    float z[kComplexSteps], out[kComplexSteps], dz[kComplexSteps];
    load_row<T>(p.z, batch, channel, step, available, p.rows_aligned, z);
    load_row<T>(p.out, batch, channel, step, available, p.rows_aligned, out);
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      const float gate = sigmoid(z[i]);
      dz[i] = dy[i] * out[i] * gate * fmaf(z[i], 1.0f - gate, 1.0f);
      dy[i] *= z[i] * gate;
      out[i] *= z[i] * gate;
    }
    store(q.dz, dz);
    if (p.out_z.data) store(p.out_z, out);
  }

  __device__ __forceinline__ void store(const ScanRows& rows,
                                        const float (&value)[kComplexSteps]) const {
    store_typed<T, kComplexSteps>(
        static_cast<T*>(rows.data) + batch * rows.batch_stride + channel * rows.row_stride + step,
        value, available, p.rows_aligned);
  }

  __device__ __forceinline__ void load_factors(int n, ComplexFactor<T>* B,
                                               ComplexFactor<T>* C) const {
    if (n >= p.states) return;
    B->load(p.B, batch, group, channel, n, step, available);
    C->load(p.C, batch, group, channel, n, step, available);
  }

  __device__ __forceinline__ void state(int n, Complex first, const ComplexFactor<T>& B,
                                        const ComplexFactor<T>& C) {
    const Complex A =
        reinterpret_cast<const Complex*>(p.A)[channel * p.A_row_stride + n * p.A_state_stride];
    const Rate rate = rate_of(A);
    const Complex from_later = carried[n];
    Complex decay[kComplexSteps], h[kComplexSteps + 1];
    Affine mine = nothing_done();
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      decay[i] = complex_decay(dt[i], rate);
      mine.decay = decay[i] * mine.decay;
      mine.state = multiply_add(decay[i], mine.state, (dt[i] * u[i]) * B.at(p.B, i));
    }
    Affine before, all;
    compose_lanes<true>(lane, mine, &before, &all);
    h[0] = apply(before, first);
    mine = nothing_done();
#pragma unroll
    for (int i = 0; i < kComplexSteps; ++i) {
      h[i + 1] = multiply_add(decay[i], h[i], (dt[i] * u[i]) * B.at(p.B, i));
    }
#pragma unroll
    for (int i = kComplexSteps - 1; i >= 0; --i) {
      decay[i] = conjugate(decay[i]);
      mine.decay = decay[i] * mine.decay;
      mine.state = decay[i] * (mine.state + (2.0f * dy[i]) * conjugate(C.at(p.C, i)));
    }
    compose_lanes<false>(lane, mine, &before, &all);
    __syncwarp();  // every lane has read carried[n]
    if (lane == 0) carried[n] = apply(all, from_later);
    Complex flow = apply(before, from_later);
    Complex dB[kComplexSteps], dC[kComplexSteps], dA_sum = complex(0.0f, 0.0f);
#pragma unroll
    for (int i = kComplexSteps - 1; i >= 0; --i) {
      const Complex dh = flow + (2.0f * dy[i]) * conjugate(C.at(p.C, i));
      flow = decay[i] * dh;
      dC[i] = (2.0f * dy[i]) * conjugate(h[i + 1]);
      dB[i] = (dt[i] * u[i]) * dh;
      d_input[i] += dot(dh, B.at(p.B, i));
      const Complex d_exponent = flow * conjugate(h[i]);
      dA_sum = dA_sum + dt[i] * d_exponent;
      d_dt[i] += dot(d_exponent, A);
    }
    add_fixed(dA + n, dA_sum);
    sum_factor(p.B, 0, dB, dB_fixed + n);
    sum_factor(p.C, 1, dC, dC_fixed + n);
  }

  __device__ __forceinline__ void add_fixed(Complex* sum, Complex value) const {
    value = warp_sum(value);
    if (lane == 0) *sum = *sum + value;
  }

  // Gives the block what this warp adds to dB (0) or dC (1), or, where that is fixed, adds it up.
  __device__ __forceinline__ void sum_factor(const ScanFactor& factor, int which,
                                             const Complex (&value)[kComplexSteps],
                                             Complex* fixed) const {
    if (!factor.variable) {
      add_fixed(fixed, value[0] + value[1] + value[2] + value[3]);
      return;
    }
    float4* to = reinterpret_cast<float4*>(
        exchange + ((parity * warps + warp) * 2 + which) * kComplexTile + lane * kComplexSteps);
#pragma unroll
    for (int i = 0; i < kComplexSteps / 2; ++i) {
      float4 words;
      words.x = value[2 * i].re;
      words.y = value[2 * i].im;
      words.z = value[2 * i + 1].re;
      words.w = value[2 * i + 1].im;
      to[i] = words;
    }
  }

  // What the warps gave, summed, to the block's slot of dB and dC.
  __device__ __forceinline__ void leave(int n, long long tile) {
    if (!p.B.variable && !p.C.variable) return;
    // One barrier a state: the other half of `exchange` is read until the next one.
    __syncthreads();
    constexpr int kFloats = 2 * kComplexTile;
    const float* from =
        reinterpret_cast<const float*>(exchange + parity * warps * 2 * kComplexTile);
    const long long slot = q.atomic ? 0 : block;
    const long long row = ((slot * p.batch + batch) * p.groups + group) * p.states + n;
    for (int k = static_cast<int>(threadIdx.x); k < 2 * kFloats;
         k += static_cast<int>(blockDim.x)) {
      const bool is_C = k >= kFloats;
      const long long place = 2 * tile + k % kFloats;
      if (!(is_C ? p.C : p.B).variable || place >= 2 * p.length) continue;
      float sum = 0.0f;
      for (int w = 0; w < warps; ++w) sum += from[w * 2 * kFloats + k];
      float* to = (is_C ? q.dC : q.dB) + row * 2 * p.length + place;
      if (q.atomic) {
        atomicAdd(to, sum);
      } else {
        *to = sum;
      }
    }
    parity ^= 1;
  }

  __device__ void run() {
    place();
    const float skip = p.D ? p.D[channel] : 0.0f;
    float dD = 0.0f, dbias = 0.0f;
    for (long long index = p.tiles - 1; index >= 0; --index) {
      const long long tile = index * kComplexTile;
      step = tile + lane * kComplexSteps;
      available = exists ? static_cast<int>(p.length - step) : 0;
      float slope[kComplexSteps];
      read(slope);
      const Complex* first = reinterpret_cast<const Complex*>(p.tile_states) +
                             ((batch * p.dim + channel) * p.tiles + index) * p.states;
      ComplexFactor<T> B, C, next_B, next_C;
      load_factors(0, &next_B, &next_C);
      for (int n = 0; n < p.states; ++n) {
        B = next_B;
        C = next_C;
        load_factors(n + 1, &next_B, &next_C);
        state(n, first[n], B, C);
        leave(n, tile);
      }
      __syncwarp();  // `carried` and the sums are whole
      float du[kComplexSteps], ddelta[kComplexSteps];
#pragma unroll
      for (int i = 0; i < kComplexSteps; ++i) {
        du[i] = fmaf(d_input[i], dt[i], dy[i] * skip);
        ddelta[i] = fmaf(d_input[i], u[i], d_dt[i]) * slope[i];
        if (i >= available) continue;
        dD = fmaf(dy[i], u[i], dD);
        dbias += ddelta[i];
      }
      store(q.du, du);
      store(q.ddelta, ddelta);
    }
    finish(warp_sum(dD), warp_sum(dbias));
  }

  __device__ __forceinline__ void finish(float dD_sum, float dbias_sum) const {
    if (!exists) return;
    const long long row = batch * p.dim + channel;
    if (lane == 0 && q.dD) q.dD[row] = dD_sum;
    if (lane == 0 && q.ddelta_bias) q.ddelta_bias[row] = dbias_sum;
    for (int n = lane; n < p.states; n += kLanes) {
      reinterpret_cast<Complex*>(q.dA)[row * p.states + n] = dA[n];
      if (!p.B.variable) reinterpret_cast<Complex*>(q.dB)[row * p.states + n] = dB_fixed[n];
      if (!p.C.variable) reinterpret_cast<Complex*>(q.dC)[row * p.states + n] = dC_fixed[n];
    }
  }
};

}  // namespace ssm

#define SSM_COMPLEX_BACKWARD(name, type)                                                 \
  extern "C" __global__ void __launch_bounds__(256, 2) name(ssm::ScanBackwardParams q) { \
    ssm::ComplexBackward<type> backward(q);                                              \
    backward.run();                                                                      \
  }
SSM_COMPLEX_BACKWARD(scan_complex_backward_f32, float)
SSM_COMPLEX_BACKWARD(scan_complex_backward_f16, ssm::F16)
SSM_COMPLEX_BACKWARD(scan_complex_backward_bf16, ssm::BF16)
