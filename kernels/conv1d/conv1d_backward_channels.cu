// Gradients where neighbouring channels are neighbours in memory: a thread walks along the length
// with 4 channels, the last inputs and the last dy in registers. Four and not 16 bytes of channels:
// the sums and weights of 8 would leave too few threads.
#include "conv1d/conv1d_backward.cuh"

namespace ssm {
namespace {

#ifndef SSM_CONV_BATCH
#define SSM_CONV_BATCH 4
#endif
#ifndef SSM_BC
#define SSM_BC 2
#endif

// 16 bytes of float32, 8 of the others.
template <typename T>
using Quad = Vector<T, 4 / Packed<T>::kPerWord>;

// What a thread keeps while it walks along the length.
template <typename T, int W, bool kHasSeqIdx>
struct Walk {
  static constexpr int K = 4;
  float weight[W][K];
  float bias[K];
  float sums[W + 1][K];       // of dweight's taps, then of dbias
  float window[W - 1][K];     // inputs before the current position, oldest first
  float dy_window[W - 1][K];  // dy of the same positions
  int sequence[W - 1];        // and their sequences

  // The position t with its input and output gradient: adds to the sums where `summed`, and gives
  // the gradient of the input W - 1 positions back, the oldest of the window.
  __device__ __forceinline__ Quad<T> step(bool silu, const Quad<T>& input, const Quad<T>& gradient,
                                          int current, bool summed) {
    float now[K];
    float dy[K];
    input.unpack(now);
    gradient.unpack(dy);
    bool same[W - 1];
#pragma unroll
    for (int j = 0; j < W - 1; ++j) same[j] = !kHasSeqIdx || sequence[j] == current;
    if (silu) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        float y = bias[k] + weight[W - 1][k] * now[k];
#pragma unroll
        for (int j = 0; j < W - 1; ++j) {
          if (same[j]) y += weight[j][k] * window[j][k];
        }
        dy[k] *= silu_slope(y);
      }
    }
    if (kHasSeqIdx && current < 0) {
#pragma unroll
      for (int k = 0; k < K; ++k) dy[k] = 0.0f;
    }
    if (summed) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int j = 0; j < W - 1; ++j) {
          if (same[j]) sums[j][k] += dy[k] * window[j][k];
        }
        sums[W - 1][k] += dy[k] * now[k];
        sums[W][k] += dy[k];
      }
    }
    float result[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
      result[k] = weight[W - 1][k] * dy_window[0][k];
#pragma unroll
      for (int j = 1; j < W - 1; ++j) {
        if (!kHasSeqIdx || sequence[j] == sequence[0]) {
          result[k] += weight[W - 1 - j][k] * dy_window[j][k];
        }
      }
      if (!kHasSeqIdx || current == sequence[0]) result[k] += weight[0][k] * dy[k];
#pragma unroll
      for (int j = 0; j + 1 < W - 1; ++j) {
        window[j][k] = window[j + 1][k];
        dy_window[j][k] = dy_window[j + 1][k];
      }
      window[W - 2][k] = now[k];
      dy_window[W - 2][k] = dy[k];
    }
    if (kHasSeqIdx) {
#pragma unroll
      for (int j = 0; j + 1 < W - 1; ++j) sequence[j] = sequence[j + 1];
      sequence[W - 2] = current;
    }
    Quad<T> packed;
    packed.pack(result);
    return packed;
  }
};

// A block: blockDim.x x 4 channels, blockDim.y tiles of p.tile_size positions, summed over the
// tiles in shared memory ((W + 1) x 4 floats a thread) to one sum a channel and tap.
template <typename T, int W, bool kHasSeqIdx>
__device__ __forceinline__ void backward_channel_last(const Conv1dBackwardParams& p) {
  constexpr int K = 4;
  constexpr int kBatch = SSM_CONV_BATCH;  // positions whose loads are in flight together
  extern __shared__ float shared_sums[];
  const int groups = (p.channels / K + blockDim.x - 1) / static_cast<int>(blockDim.x);
  const int tile_group = static_cast<int>(blockIdx.x) / groups;
  const int group = static_cast<int>(blockIdx.x) - tile_group * groups;
  const int64 block_channel = static_cast<int64>(group) * blockDim.x * K;
  const int64 channel = block_channel + threadIdx.x * K;
  const int begin =
      (tile_group * static_cast<int>(blockDim.y) + static_cast<int>(threadIdx.y)) * p.tile_size;
  const int end = min(begin + p.tile_size, p.length);
  const bool works = channel < p.channels && begin < p.length;
  const bool silu = p.silu != 0;

  Walk<T, W, kHasSeqIdx> walk;
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
#pragma unroll
    for (int j = 0; j <= W; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) walk.sums[j][k] = 0.0f;
    }
    if (works) {
      const int64 x_step = p.x_stride[2];
      const int64 dout_step = p.dout_stride[2];
      const int64 dx_step = p.dx_stride[2];
      const T* x = static_cast<const T*>(p.x) + batch * p.x_stride[0] + channel + begin * x_step;
      const T* dout =
          static_cast<const T*>(p.dout) + batch * p.dout_stride[0] + channel + begin * dout_step;
      T* dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + channel + begin * dx_step;
      const int* const seq_idx = kHasSeqIdx ? p.seq_idx + batch * p.seq_stride[0] : nullptr;
      // What is loaded leaves together, before any of it is waited for.
      Quad<T> before[W - 1];
#pragma unroll
      for (int j = 0; j < W - 1; ++j) {
        before[j].clear();
        if (begin > 0) before[j].load(x + (j - (W - 1)) * x_step);
      }
      load_weights(p, channel, walk.weight, walk.bias);
#pragma unroll
      for (int j = 0; j < W - 1; ++j) before[j].unpack(walk.window[j]);
      // The launcher keeps tiles longer than W - 1: what lies before the first is all states.
      if (begin == 0 && p.initial_states != nullptr) {
        load_states<T, W, K>(p, batch, channel, walk.window);
      }
#pragma unroll
      for (int j = 0; j < W - 1; ++j) {
#pragma unroll
        for (int k = 0; k < K; ++k) walk.dy_window[j][k] = 0.0f;
        if (kHasSeqIdx) walk.sequence[j] = seq_idx[max(begin - (W - 1) + j, 0) * p.seq_stride[1]];
      }
      // First and last, one position at a time: the first W - 1 store nothing (their window lies
      // before the tile), the last W - 1 are beyond it and only needed for its last dx.
#pragma unroll 1
      for (int t = begin; t < end + W - 1; ++t) {
        if (t == begin + W - 1) {
          // All in between, in batches without a question asked.
#pragma unroll 1
          for (; t + kBatch <= end; t += kBatch) {
            Quad<T> inputs[kBatch];
            Quad<T> gradients[kBatch];
            int current[kBatch];
#pragma unroll
            for (int u = 0; u < kBatch; ++u) {
              inputs[u].load(x);
              gradients[u].load(dout);
              if (kHasSeqIdx) current[u] = seq_idx[(t + u) * p.seq_stride[1]];
              x += x_step;
              dout += dout_step;
            }
#pragma unroll
            for (int u = 0; u < kBatch; ++u) {
              walk.step(silu, inputs[u], gradients[u], current[u], true).store(dx);
              dx += dx_step;
            }
          }
        }
        Quad<T> input;
        Quad<T> gradient;
        int current = -1;
        input.clear();
        gradient.clear();
        if (t < p.length) {
          input.load(x);
          gradient.load(dout);
          if (kHasSeqIdx) current = seq_idx[t * p.seq_stride[1]];
        }
        x += x_step;
        dout += dout_step;
        const Quad<T> result = walk.step(silu, input, gradient, current, t < end);
        if (t - (W - 1) >= begin) {
          result.store(dx);
          dx += dx_step;
        }
      }
    }
    const int threads = static_cast<int>(blockDim.x * blockDim.y);
    const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
    __syncthreads();
#pragma unroll
    for (int j = 0; j <= W; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) shared_sums[(j * K + k) * threads + thread] = walk.sums[j][k];
    }
    __syncthreads();
    // Neighbouring threads take neighbouring taps of one channel: neighbouring addresses.
    const int outputs = static_cast<int>(blockDim.x) * K * (W + 1);
#pragma unroll 1
    for (int i = thread; i < outputs; i += threads) {
      const int local = i / (W + 1);
      const int j = i - local * (W + 1);
      if (block_channel + local >= p.channels) break;
      const float* const from = shared_sums + (j * K + local % K) * threads + local / K;
      float sum = 0.0f;
#pragma unroll 1
      for (int y = 0; y < static_cast<int>(blockDim.y); ++y) sum += from[y * blockDim.x];
      add_sum<W>(p, static_cast<int64>(batch) * p.tiles + tile_group, block_channel + local, j,
                 sum);
    }
  }
}

}  // namespace
}  // namespace ssm

#define SSM_WIDTH(T, name, W)                                    \
  extern "C" __global__ __launch_bounds__(256, SSM_BC) void      \
      ssm_conv1d_backward_channels_##name##_w##W(                \
          const __grid_constant__ ssm::Conv1dBackwardParams p) { \
    ssm::backward_channel_last<T, W, false>(p);                  \
  }                                                              \
  extern "C" __global__ __launch_bounds__(256, SSM_BC) void      \
      ssm_conv1d_backward_packed_##name##_w##W(                  \
          const __grid_constant__ ssm::Conv1dBackwardParams p) { \
    ssm::backward_channel_last<T, W, true>(p);                   \
  }
#define SSM_TYPE(T, name) \
  SSM_WIDTH(T, name, 2)   \
  SSM_WIDTH(T, name, 3)   \
  SSM_WIDTH(T, name, 4)
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
