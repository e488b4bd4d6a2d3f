// Single steps of the convolution with a kept state. One thread a batch entry and channel: the data
// of a call fits the L2 cache, so what counts is that all loads leave at once and the chain of
// dependent ones is short.
#include "conv1d/conv1d.cuh"
#include "conv1d/params.h"

namespace ssm {
namespace {

constexpr int kBatch = 4;  // places of the state that are moved together

template <typename T>
struct Steps {
  const Conv1dUpdateParams& p;
  const T* x;
  T* state;

  // What the shift puts at a place of the state: an older place, or a new input.
  __device__ __forceinline__ T moved(int place) const {
    const int from = place + p.length;
    return from < p.state_length ? state[from * p.state_stride[2]]
                                 : x[(from - p.state_length) * p.x_stride[2]];
  }
};

// A state of four places, moved as a whole.
template <typename T>
struct WholeState {
  uint32 word[4 / Packed<T>::kPerWord];

  __device__ __forceinline__ void load(const T* state) {
    if constexpr (sizeof(T) == 4) {
      const uint4 value = *reinterpret_cast<const uint4*>(state);
      word[0] = value.x;
      word[1] = value.y;
      word[2] = value.z;
      word[3] = value.w;
    } else {
      const uint2 value = *reinterpret_cast<const uint2*>(state);
      word[0] = value.x;
      word[1] = value.y;
    }
  }
  __device__ __forceinline__ void append(T input) {
    constexpr int kWords = 4 / Packed<T>::kPerWord;
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      const uint32 after = i + 1 < kWords ? word[i + 1 < kWords ? i + 1 : i] : bits_of(input);
      word[i] = sizeof(T) == 4 ? after : (word[i] >> 16) | (after << 16);
    }
  }
};

// One step of a WholeState: the chain of loads is one long.
template <typename T, int W>
__device__ __forceinline__ void update_whole(const Conv1dUpdateParams& p, int channel, const T* x,
                                             T* state, T* out) {
  WholeState<T> whole;
  whole.load(state);
  const T input = *x;
  float weight[W][1];
  float bias[1];
  load_weights(p, channel, weight, bias);
  float places[4];
#pragma unroll
  for (int i = 0; i < 4 / Packed<T>::kPerWord; ++i) {
    Packed<T>::unpack(whole.word[i], places + i * Packed<T>::kPerWord);
  }
  float y = bias[0] + weight[W - 1][0] * to_float(input);
#pragma unroll
  for (int j = 0; j < W - 1; ++j) y += weight[j][0] * places[4 - (W - 1) + j];
  if (p.silu != 0) y *= sigmoid(y);
  *out = from_float<T>(y);
  whole.append(input);
  store_words(state, whole.word);
}

template <typename T, int W>
__device__ __forceinline__ void update(const Conv1dUpdateParams& p) {
  const int channel = blockIdx.x * blockDim.x + threadIdx.x;
  if (channel >= p.channels) return;
  const int states = p.state_length;
  const bool circular = p.cache_seqlens != nullptr;
  const int64 step = p.state_stride[2];

#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const T* const x = static_cast<const T*>(p.x) + batch * p.x_stride[0] + channel * p.x_stride[1];
    T* const out = static_cast<T*>(p.out) + batch * p.out_stride[0] + channel * p.out_stride[1];
    const int row =
        p.conv_state_indices == nullptr ? batch : p.conv_state_indices[batch * p.indices_stride];
    if (row < 0 || row >= p.state_rows) {
      // A negative row is padding. One beyond the state is a caller's error that only the device
      // sees: NaN shows it without touching memory that is not the state's.
      const float fill = row < 0 ? 0.0f : __uint_as_float(0x7fc00000u);
#pragma unroll 1
      for (int t = 0; t < p.length; ++t) out[t * p.out_stride[2]] = from_float<T>(fill);
      continue;
    }
    T* const state =
        static_cast<T*>(p.conv_state) + row * p.state_stride[0] + channel * p.state_stride[1];
    const Steps<T> steps{p, x, state};
    if (p.whole_state != 0) {
      update_whole<T, W>(p, channel, x, state, out);
      continue;
    }
    int next = states;  // where the next input goes; the last ones lie before it
    if (circular) {
      next = p.cache_seqlens[batch * p.cache_stride] % states;
      if (next < 0) next += states;
    }
    // All loads of a single step leave here, before the first of them is waited for.
    T last[W - 1];
#pragma unroll
    for (int j = 0; j < W - 1; ++j) {
      int from = next - (W - 1) + j;
      if (from < 0) from += states;
      last[j] = state[from * step];
    }
    T input = x[0];
    T shifted[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (!circular && i < states) shifted[i] = steps.moved(i);
    }
    float weight[W][1];
    float bias[1];
    load_weights(p, channel, weight, bias);

    if (!circular) {
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (i < states) state[i * step] = shifted[i];
      }
      // What is read lies ahead of what has been written.
#pragma unroll 1
      for (int place = kBatch; place < states; ++place) state[place * step] = steps.moved(place);
    }
    float window[W - 1];
#pragma unroll
    for (int j = 0; j < W - 1; ++j) window[j] = to_float(last[j]);
#pragma unroll 1
    for (int t = 0; t < p.length; ++t) {
      if (t > 0) input = x[t * p.x_stride[2]];
      const float now = to_float(input);
      if (circular) {
        state[next * step] = input;
        next = next + 1 == states ? 0 : next + 1;
      }
      float y = bias[0] + weight[W - 1][0] * now;
#pragma unroll
      for (int j = 0; j < W - 1; ++j) y += weight[j][0] * window[j];
      if (p.silu != 0) y *= sigmoid(y);
      out[t * p.out_stride[2]] = from_float<T>(y);
#pragma unroll
      for (int j = 0; j + 1 < W - 1; ++j) window[j] = window[j + 1];
      window[W - 2] = now;
    }
  }
}

}  // namespace
}  // namespace ssm

#define SSM_WIDTH(T, name, W)                                                        \
  extern "C" __global__ __launch_bounds__(128) void ssm_conv1d_update_##name##_w##W( \
      const __grid_constant__ ssm::Conv1dUpdateParams p) {                           \
    ssm::update<T, W>(p);                                                            \
  }
#define SSM_TYPE(T, name) \
  SSM_WIDTH(T, name, 2)   \
  SSM_WIDTH(T, name, 3)   \
  SSM_WIDTH(T, name, 4)
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
