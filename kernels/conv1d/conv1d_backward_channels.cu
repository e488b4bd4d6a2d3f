// Gradients where neighbouring channels are neighbours in memory: a thread walks along the length
// with 4 channels, the last inputs and the last dy in registers. Four and not 16 bytes of channels:
// the sums and weights of 8 would leave too few threads.
#include "conv1d/conv1d_backward.cuh"

namespace ssm {
namespace {

#ifndef SSM_CONV_BATCH
#define SSM_CONV_BATCH 4
#endif

// 16 bytes of float32, 8 of the others.
template <typename T>
using Quad = Vector<T, 4 / Packed<T>::kPerWord>;

// A block: blockDim.x x 4 channels, blockDim.y tiles of p.tile_size positions, summed over the tiles
// in shared memory ((W + 1) x 4 floats a thread) to one sum a channel and tap.
template <typename T, int W, bool kHasSeqIdx>
__device__ __forceinline__ void backward_channel_last(const Conv1dBackwardParams& p) {
  constexpr int K = 4;
  constexpr int kBatch = SSM_CONV_BATCH;
  extern __shared__ float shared_sums[];
  const int groups = (p.channels / K + blockDim.x - 1) / static_cast<int>(blockDim.x);
  const int tile_group = static_cast<int>(blockIdx.x) / groups;
  const int group = static_cast<int>(blockIdx.x) - tile_group * groups;
  const int64 block_channel = static_cast<int64>(group) * blockDim.x * K;
  const int64 channel = block_channel + threadIdx.x * K;
  const int begin = (tile_group * static_cast<int>(blockDim.y) + static_cast<int>(threadIdx.y)) *
                    p.tile_size;
  const int end = min(begin + p.tile_size, p.length);
  const bool works = channel < p.channels && begin < p.length;

  float weight[W][K];
  float bias[K];
  load_weights(p, works ? channel : 0, weight, bias);

#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    float sums[W + 1][K];
#pragma unroll
    for (int j = 0; j <= W; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) sums[j][k] = 0.0f;
    }
    if (works) {
      const T* const x = static_cast<const T*>(p.x) + batch * p.x_stride[0] + channel;
      const T* const dout = static_cast<const T*>(p.dout) + batch * p.dout_stride[0] + channel;
      T* const dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + channel;
      const int* const seq_idx = kHasSeqIdx ? p.seq_idx + batch * p.seq_stride[0] : nullptr;
      float window[W - 1][K];     // inputs before the current position, oldest first
      float dy_window[W - 1][K];  // dy of the same positions
      int sequence[W - 1];
      // The launcher keeps tiles longer than W - 1: what lies before the first is all states.
      if (begin > 0) {
#pragma unroll
        for (int j = 0; j < W - 1; ++j) {
          Quad<T> quad;
          quad.load(x + (begin - (W - 1) + j) * p.x_stride[2]);
          quad.unpack(window[j]);
        }
      } else {
        load_states<T, W, K>(p, batch, channel, window);
      }
#pragma unroll
      for (int j = 0; j < W - 1; ++j) {
#pragma unroll
        for (int k = 0; k < K; ++k) dy_window[j][k] = 0.0f;
        if (kHasSeqIdx) sequence[j] = seq_idx[max(begin - (W - 1) + j, 0) * p.seq_stride[1]];
      }
#pragma unroll 1
      for (int base = begin; base < end + W - 1; base += kBatch) {
        Quad<T> inputs[kBatch];
        Quad<T> gradients[kBatch];
        int current[kBatch];
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          inputs[u].clear();
          gradients[u].clear();
          current[u] = -1;
          if (base + u < end + W - 1 && base + u < p.length) {
            inputs[u].load(x + (base + u) * p.x_stride[2]);
            gradients[u].load(dout + (base + u) * p.dout_stride[2]);
            if (kHasSeqIdx) current[u] = seq_idx[(base + u) * p.seq_stride[1]];
          }
        }
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          const int t = base + u;
          if (t >= end + W - 1) break;
          float now[K];
          float dy[K];
          inputs[u].unpack(now);
          gradients[u].unpack(dy);
          bool same[W - 1];
#pragma unroll
          for (int j = 0; j < W - 1; ++j) same[j] = !kHasSeqIdx || sequence[j] == current[u];
          if (p.silu != 0) {
#pragma unroll
            for (int k = 0; k < K; ++k) {
              float y = bias[k];
#pragma unroll
              for (int j = 0; j < W - 1; ++j) {
                if (same[j]) y += weight[j][k] * window[j][k];
              }
              y += weight[W - 1][k] * now[k];
              dy[k] *= silu_slope(y);
            }
          }
          if (kHasSeqIdx && current[u] < 0) {
#pragma unroll
            for (int k = 0; k < K; ++k) dy[k] = 0.0f;
          }
          if (t < end) {
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
          if (t - (W - 1) >= begin) {
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
              if (!kHasSeqIdx || current[u] == sequence[0]) result[k] += weight[0][k] * dy[k];
            }
            Quad<T> packed;
            packed.pack(result);
            packed.store(dx + (t - (W - 1)) * p.dx_stride[2]);
          }
#pragma unroll
          for (int k = 0; k < K; ++k) {
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
            sequence[W - 2] = current[u];
          }
        }
      }
    }
    const int threads = static_cast<int>(blockDim.x * blockDim.y);
    const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
    __syncthreads();
#pragma unroll
    for (int j = 0; j <= W; ++j) {
#pragma unroll
      for (int k = 0; k < K; ++k) shared_sums[(j * K + k) * threads + thread] = sums[j][k];
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
      add_sum<W>(p, batch, tile_group, block_channel + local, j, sum);
    }
  }
}

}  // namespace
}  // namespace ssm

#define SSM_WIDTH(T, name, W)                                                                   \
  extern "C" __global__ __launch_bounds__(256, 2)                                               \
  void ssm_conv1d_backward_channels_##name##_w##W(                                              \
      const __grid_constant__ ssm::Conv1dBackwardParams p) {                                    \
    ssm::backward_channel_last<T, W, false>(p);                                                 \
  }                                                                                             \
  extern "C" __global__ __launch_bounds__(256, 2)                                               \
  void ssm_conv1d_backward_packed_##name##_w##W(                                                \
      const __grid_constant__ ssm::Conv1dBackwardParams p) {                                    \
    ssm::backward_channel_last<T, W, true>(p);                                                  \
  }
#define SSM_TYPE(T, name) \
  SSM_WIDTH(T, name, 2)   \
  SSM_WIDTH(T, name, 3)   \
  SSM_WIDTH(T, name, 4)
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
