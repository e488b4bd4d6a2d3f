// The decode step for the usual types: one read and one write of the state, and little else, so
// what it costs is bytes, and the wait for them. A lane takes 16 bytes of a channel's state for
// kRows batches, which share A, and asks for everything before it uses anything; with one batch to
// a thread too few bytes were on their way. scan_update.cu serves what has other types or strides.
#include "scan/scan_device.cuh"
#include "scan/scan_step_params.h"

namespace ssm {

__device__ __forceinline__ float typed_value(uint32 bits, int dtype) {
  if (dtype == kFloat32) return __uint_as_float(bits);
  if (dtype == kBFloat16) return __uint_as_float(bits << 16);
  F16 half;
  half.bits = static_cast<uint16>(bits);
  return to_float(half);
}
__device__ __forceinline__ uint32 typed_bits(const void* data, int dtype, int index) {
  if (dtype == kFloat32) return static_cast<const uint32*>(data)[index];
  return static_cast<const uint16*>(data)[index];
}

// S: the state's type. T: that of x, dt, z, B, C and out.
template <typename S, typename T, int kRows>
__device__ __forceinline__ void step(const ScanStepParams& p) {
  constexpr int kOwn = 16 / static_cast<int>(sizeof(S));  // states of a lane
  const int lanes = 1 << p.lane_bits;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const int channel = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) >> p.lane_bits);
  const bool exists = channel < p.dim;  // the others keep the shuffles whole
  const int d = exists ? channel : p.dim - 1;
  const int head = static_cast<int>(blockIdx.y);
  const int group = p.group_heads == 1 ? head : head / p.group_heads;
  const int first = static_cast<int>(blockIdx.z) * kRows;
  const auto place = [&](const ScanStepRows& at, int batch) {
    return batch * at.batch + head * at.head + d * at.channel;
  };

  // A batch past the last one is the last one once more; it stores nothing.
  Steps<T, 1> x[kRows], dt[kRows], z[kRows];
  int row[kRows];
  float y[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int batch = smaller(first + r, p.batch - 1);
    row[r] = p.rows ? p.rows[batch] : batch;
    x[r] = load_whole<T, 1>(static_cast<const T*>(p.x) + place(p.x_at, batch));
    dt[r] = load_whole<T, 1>(static_cast<const T*>(p.dt) + place(p.dt_at, batch));
    if (p.z) z[r] = load_whole<T, 1>(static_cast<const T*>(p.z) + place(p.z_at, batch));
    y[r] = 0.0f;
  }
  uint32 skip_bits = 0, bias_bits = 0;
  if (p.D) skip_bits = typed_bits(p.D, p.D_type, head * p.D_head + d * p.D_channel);
  if (p.dt_bias) {
    bias_bits = typed_bits(p.dt_bias, p.bias_type, head * p.bias_head + d * p.bias_channel);
  }

  for (int n = lane * kOwn; n < p.states; n += lanes * kOwn) {
    S* state[kRows];
    Steps<S, kOwn> h[kRows];
    Steps<T, kOwn> B[kRows], C[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int batch = smaller(first + r, p.batch - 1);
      state[r] = static_cast<S*>(p.state) + (place(p.state_at, row[r] < 0 ? 0 : row[r]) + n);
      h[r] = load_whole<S, kOwn>(state[r]);
      B[r] = load_whole<T, kOwn>(static_cast<const T*>(p.B) + batch * p.B_batch +
                                 group * p.B_group + n);
      C[r] = load_whole<T, kOwn>(static_cast<const T*>(p.C) + batch * p.C_batch +
                                 group * p.C_group + n);
    }
    const float* rates = p.A + (head * p.A_head + d * p.A_channel);
    float A[kOwn];
    if (p.A_state == 0) {
      A[0] = *rates;
    } else {
      const Steps<float, kOwn> loaded = load_whole<float, kOwn>(rates + n);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) A[i] = loaded.at(i);
    }
    const float bias = p.dt_bias ? typed_value(bias_bits, p.bias_type) : 0.0f;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float step_size = dt[r].at(0) + bias;
      if (p.softplus) step_size = softplus(step_size);
      const float rate = kLog2E * step_size, input = step_size * x[r].at(0);
      float decay[kOwn], next[kOwn];
      if (p.A_state == 0) {
        decay[0] = exp2_approx(rate * A[0]);
#pragma unroll
        for (int i = 1; i < kOwn; ++i) decay[i] = decay[0];
      } else {
#pragma unroll
        for (int i = 0; i < kOwn; ++i) decay[i] = exp2_approx(rate * A[i]);
      }
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        next[i] = fmaf(decay[i], h[r].at(i), input * B[r].at(i));
        y[r] = fmaf(next[i], C[r].at(i), y[r]);
      }
      if (exists && first + r < p.batch && row[r] >= 0) {
        store_typed<S, kOwn>(state[r], next, kOwn, true);
      }
    }
  }
  const float skip = p.D ? typed_value(skip_bits, p.D_type) : 0.0f;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float value = y[r];
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(kFullWarp, value, distance);
    }
    if (lane != 0 || !exists || first + r >= p.batch) continue;
    value = fmaf(x[r].at(0), skip, value);
    if (p.z) {
      const float gate = z[r].at(0);
      value *= gate * sigmoid(gate);
    }
    if (row[r] < 0) value = 0.0f;
    static_cast<T*>(p.out)[place(p.out_at, first + r)] = from_float<T>(value);
  }
}

}  // namespace ssm

// For one batch, and for several.
#define SSM_STEP(name, state, input)                                                        \
  extern "C" __global__ void __launch_bounds__(128) name(ssm::ScanStepParams p) {           \
    ssm::step<state, input, 1>(p);                                                          \
  }                                                                                         \
  extern "C" __global__ void __launch_bounds__(128) name##_batches(ssm::ScanStepParams p) { \
    ssm::step<state, input, 4>(p);                                                          \
  }
SSM_STEP(scan_step_f32, float, float)
SSM_STEP(scan_step_f16, ssm::F16, ssm::F16)
SSM_STEP(scan_step_bf16, ssm::BF16, ssm::BF16)
SSM_STEP(scan_step_f32_f16, float, ssm::F16)
SSM_STEP(scan_step_f32_bf16, float, ssm::BF16)
