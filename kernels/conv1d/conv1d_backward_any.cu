// Gradients for any strides, the part of the states, and the ordered sum of a workspace. Plain
// kernels: what they do is rare or small.
#include "conv1d/conv1d_backward.cuh"

namespace ssm {
namespace {

// One batch entry and channel, element by element.
template <typename T>
struct PlainRow {
  const Conv1dBackwardParams& p;
  InputRow<T> row;
  InputRow<T> gradient;
  const int* seq_idx;
  float weight[4];  // right-aligned, 0 before the first of W taps
  float bias;

  __device__ __forceinline__ PlainRow(const Conv1dBackwardParams& params, int64 batch,
                                      int64 channel)
      : p(params),
        row(input_row<T>(params, batch, channel)),
        gradient(gradient_row<T>(params, batch, channel)),
        seq_idx(params.seq_idx == nullptr ? nullptr
                                          : params.seq_idx + batch * params.seq_stride[0]),
        bias(load_bias(params, channel)) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int tap = j - (4 - p.width);
      weight[j] = tap < 0 ? 0.0f
                          : load_as_float(p.weight, p.weight_dtype,
                                          channel * p.weight_stride[0] + tap * p.weight_stride[1]);
    }
  }

  __device__ __forceinline__ int sequence(int position) const {
    return seq_idx == nullptr ? 0 : seq_idx[max(position, 0) * p.seq_stride[1]];
  }
  // The input `back` positions before t, if the output at t takes it.
  __device__ __forceinline__ bool takes(int t, int back) const {
    return back < p.width && sequence(t - back) == sequence(t);
  }
  __device__ __noinline__ float dy(int t) const {
    if (t < 0 || t >= p.length || sequence(t) < 0) return 0.0f;
    const float dout = to_float(gradient.at(t));
    if (p.silu == 0) return dout;
    float y = bias;
#pragma unroll
    for (int back = 0; back < 4; ++back) {
      if (takes(t, back)) y += weight[3 - back] * to_float(row.at(t - back));
    }
    return dout * silu_slope(y);
  }
  // The gradient of the input at `position` (states too) through the outputs.
  __device__ __forceinline__ float input_gradient(int position) const {
    float sum = 0.0f;
#pragma unroll
    for (int ahead = 0; ahead < 4; ++ahead) {
      const int t = position + ahead;
      if (t >= 0 && t < p.length && takes(t, ahead)) sum += weight[3 - ahead] * dy(t);
    }
    return sum;
  }
};

// A block: one batch entry and channel.
template <typename T>
__device__ __forceinline__ void backward_any(const Conv1dBackwardParams& p) {
  __shared__ float partial[4][5];
  const int64 channel = blockIdx.x;
  const int warp = threadIdx.x >> 5;
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const PlainRow<T> plain(p, batch, channel);
    T* const dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + channel * p.dx_stride[1];
    float sums[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};  // taps right-aligned, then the bias
#pragma unroll 1
    for (int t = threadIdx.x; t < p.length; t += blockDim.x) {
      dx[t * p.dx_stride[2]] = from_float<T>(plain.input_gradient(t));
      const float dy = plain.dy(t);
#pragma unroll
      for (int back = 0; back < 4; ++back) {
        if (plain.takes(t, back)) sums[3 - back] += dy * to_float(plain.row.at(t - back));
      }
      sums[4] += dy;
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 5; ++j) {
#pragma unroll
      for (int step = 16; step > 0; step >>= 1) {
        sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], step);
      }
      if ((threadIdx.x & 31) == 0) partial[warp][j] = sums[j];
    }
    __syncthreads();
    const int j = static_cast<int>(threadIdx.x) + 4 - p.width;  // of the right-aligned taps
    if (j < 5) {
      float sum = 0.0f;
      for (int w = 0; w < 4; ++w) sum += partial[w][j];
      const int tap = static_cast<int>(threadIdx.x);
      if (p.workspace != nullptr) {
        p.workspace[(static_cast<int64>(batch) * p.channels + channel) * (p.width + 1) + tap] = sum;
      } else if (tap < p.width) {
        atomicAdd(p.dweight + channel * p.dweight_stride[0] + tap * p.dweight_stride[1], sum);
      } else if (p.dbias != nullptr) {
        atomicAdd(p.dbias + channel * p.dbias_stride, sum);
      }
    }
  }
}

// A thread: one batch entry and channel. dinitial_states, and dx where dfinal_states reach it.
template <typename T>
__device__ __forceinline__ void backward_states(const Conv1dBackwardParams& p) {
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (channel >= p.channels) return;
  const int taps = p.width - 1;
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const PlainRow<T> plain(p, batch, channel);
    const T* const dfinal = p.dfinal_states == nullptr
                                ? nullptr
                                : static_cast<const T*>(p.dfinal_states) +
                                      batch * p.dfinal_stride[0] + channel * p.dfinal_stride[1];
    // Position q of the states and inputs is final state q - (length - taps).
#pragma unroll 1
    for (int i = 0; i < 2 * taps; ++i) {
      const bool is_state = i < taps;
      const int position = is_state ? i - taps : p.length - 2 * taps + i;
      if (is_state ? p.dinitial_states == nullptr : position < 0 || dfinal == nullptr) continue;
      float sum = plain.input_gradient(position);
      const int final_state = position - (p.length - taps);
      if (dfinal != nullptr && final_state >= 0) {
        sum += to_float(dfinal[final_state * p.dfinal_stride[2]]);
      }
      T* const to = is_state ? static_cast<T*>(p.dinitial_states) + batch * p.dinitial_stride[0] +
                                   channel * p.dinitial_stride[1] + i * p.dinitial_stride[2]
                             : static_cast<T*>(p.dx) + batch * p.dx_stride[0] +
                                   channel * p.dx_stride[1] + position * p.dx_stride[2];
      *to = from_float<T>(sum);
    }
  }
}

// A thread: one channel and tap (or bias), its partial sums added in their order.
__device__ __forceinline__ void backward_sum(const Conv1dBackwardParams& p) {
  const int64 sums = static_cast<int64>(p.channels) * (p.width + 1);
  const int64 index = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= sums) return;
  float sum = 0.0f;
#pragma unroll 4
  for (int64 part = 0; part < p.parts; ++part) sum += p.workspace[part * sums + index];
  const int64 channel = index / (p.width + 1);
  const int tap = static_cast<int>(index - channel * (p.width + 1));
  if (tap < p.width) {
    p.dweight[channel * p.dweight_stride[0] + tap * p.dweight_stride[1]] += sum;
  } else if (p.dbias != nullptr) {
    p.dbias[channel * p.dbias_stride] += sum;
  }
}

}  // namespace
}  // namespace ssm

#define SSM_TYPE(T, name)                                                              \
  extern "C" __global__ __launch_bounds__(128) void ssm_conv1d_backward_any_##name(    \
      const __grid_constant__ ssm::Conv1dBackwardParams p) {                           \
    ssm::backward_any<T>(p);                                                           \
  }                                                                                    \
  extern "C" __global__ __launch_bounds__(128) void ssm_conv1d_backward_states_##name( \
      const __grid_constant__ ssm::Conv1dBackwardParams p) {                           \
    ssm::backward_states<T>(p);                                                        \
  }
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
extern "C" __global__ __launch_bounds__(128) void ssm_conv1d_backward_sum(
    const __grid_constant__ ssm::Conv1dBackwardParams p) {
  ssm::backward_sum(p);
}
