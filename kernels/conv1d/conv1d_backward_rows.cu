// Gradients on contiguous rows: a warp a tile, as in conv1d_forward.cu.

// Measured on an H100: 6 % faster here than loads through the read-only path.
#define SSM_PLAIN_LOADS
#include "conv1d/conv1d_backward.cuh"

namespace ssm {
namespace {

#ifndef SSM_BR
#define SSM_BR 4
#endif
constexpr int kChunksPerLane = 5;

template <typename T, int W>
__device__ __forceinline__ void backward_rows(const Conv1dBackwardParams& p) {
  constexpr int K = Chunk<T>::kCount;
  constexpr uint32 kAll = 0xffffffffu;
  const int lane = threadIdx.x & 31;
  const uint32 index = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
  const uint32 channel = index / static_cast<uint32>(p.tiles);
  const int tile = static_cast<int>(index - channel * p.tiles);
  if (channel >= static_cast<uint32>(p.channels)) return;

#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const InputRow<T> row = input_row<T>(p, batch, channel);
    const InputRow<T> gradient = gradient_row<T>(p, batch, channel);
    T* const dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + channel * p.dx_stride[1];
    const int shift = misalignment(dx);  // chunk c holds positions c * K - shift and on
    const int row_chunks = (shift + p.length + K - 1) / K;
    const int first = tile * p.tile_size;
    const int count = min(p.tile_size, row_chunks - first);

    float sums[W + 1];
#pragma unroll
    for (int j = 0; j <= W; ++j) sums[j] = 0.0f;
    if (count > 0) {
      Chunk<T> x[kChunksPerLane];
      Chunk<T> dout[kChunksPerLane];
#pragma unroll
      for (int v = 0; v < kChunksPerLane; ++v) {
        const int position = (first + v * 32 + lane) * K - shift;
        x[v].clear();
        dout[v].clear();
        if (v * 32 + lane < count && position >= 0 && position + K <= p.length) {
          x[v].load(row.x + position);
          dout[v].load(gradient.x + position);
        }
      }
      // What is loaded leaves together, before any of it is waited for: the inputs before the tile,
      // and in lane j those of the dy at `end` + j, beyond it.
      float left[W - 1];
      load_halo<T, W>(row, first * K - shift, lane == 0, left);
      const int end = (first + count) * K - shift;
      const bool has_beyond = lane < W - 1 && end + lane < p.length;
      float beyond_inputs[W];
      load_halo<T, W + 1>(row, end + lane + 1, has_beyond, beyond_inputs);
      float beyond = has_beyond ? to_float(gradient.x[end + lane]) : 0.0f;

      const bool has_head = first == 0 && lane == 0 && (shift > 0 || p.length < K);
      const int tail_index = row_chunks - 1 - first;  // of the row's last chunk within this tile
      const int tail_position = (row_chunks - 1) * K - shift;
      const bool has_tail = tail_index < count && (tail_index & 31) == lane &&
                            tail_position + K > p.length && !(has_head && tail_index == 0);
      if (has_head) {
        x[0] = load_cut_chunk(row, -shift, true);
        dout[0] = load_cut_chunk(gradient, -shift, false);
      }
      if (has_tail) {
        const Chunk<T> cut_x = load_cut_chunk(row, tail_position, false);
        const Chunk<T> cut_dout = load_cut_chunk(gradient, tail_position, false);
#pragma unroll
        for (int v = 0; v < kChunksPerLane; ++v) {
          if (tail_index == v * 32 + lane) {
            x[v] = cut_x;
            dout[v] = cut_dout;
          }
        }
      }
      float weight[W][1];
      float bias[1];
      load_weights(p, channel, weight, bias);
      if (p.silu != 0) {
        float y = bias[0];
#pragma unroll
        for (int j = 0; j < W; ++j) y += weight[j][0] * beyond_inputs[j];
        beyond *= silu_slope(y);
      }
      float right[W - 1];
#pragma unroll
      for (int j = 0; j < W - 1; ++j) right[j] = __shfl_sync(kAll, beyond, j);
      __syncwarp();

      // From the last chunk to the first: a chunk needs the dy of the one after it.
      Chunk<T> head;
      Chunk<T> tail;
      float carry[W - 1];  // the first dy of the chunk v + 1
#pragma unroll
      for (int j = 0; j < W - 1; ++j) carry[j] = 0.0f;
#pragma unroll
      for (int v = kChunksPerLane - 1; v >= 0; --v) {
        if (v * 32 >= count) continue;
        float inputs[W - 1 + K];
        float dy[K + W - 1];
        elements_before<T, W>(x[v], v == 0 ? nullptr : &x[v == 0 ? 0 : v - 1], left, lane, inputs);
        x[v].unpack(inputs + W - 1);
        dout[v].unpack(dy);
        if (p.silu != 0) {
#pragma unroll
          for (int i = 0; i < K; ++i) {
            float y = bias[0];
#pragma unroll
            for (int j = 0; j < W; ++j) y += weight[j][0] * inputs[i + j];
            dy[i] *= silu_slope(y);
          }
        }
#pragma unroll
        for (int j = 0; j < W - 1; ++j) {
          // Lane 31's neighbour is lane 0 in the chunk after.
          const float mine = lane == 0 ? carry[j] : dy[j];
          const float after = __shfl_sync(kAll, mine, (lane + 1) & 31);
          dy[K + j] = v * 32 + lane == count - 1 ? right[j] : after;
          carry[j] = dy[j];
        }
        float gradients[K];
#pragma unroll
        for (int i = 0; i < K; ++i) {
          gradients[i] = 0.0f;
#pragma unroll
          for (int k = 0; k < W; ++k) gradients[i] += weight[W - 1 - k][0] * dy[i + k];
#pragma unroll
          for (int j = 0; j < W; ++j) sums[j] += dy[i] * inputs[i + j];
          sums[W] += dy[i];
        }
        Chunk<T> result;
        result.pack(gradients);
        const int position = (first + v * 32 + lane) * K - shift;
        if (v * 32 + lane < count && position >= 0 && position + K <= p.length) {
          result.store(dx + position);
        }
        if (v == 0) head = result;
        if (tail_index == v * 32 + lane) tail = result;
      }
      if (has_head) store_cut_chunk(head, dx, -shift, p.length);
      if (has_tail) store_cut_chunk(tail, dx, tail_position, p.length);
    }
    float mine = 0.0f;  // lane j keeps sum j
#pragma unroll
    for (int j = 0; j <= W; ++j) {
#pragma unroll
      for (int step = 16; step > 0; step >>= 1) {
        sums[j] += __shfl_xor_sync(kAll, sums[j], step);
      }
      if (lane == j) mine = sums[j];
    }
    if (lane <= W) add_sum<W>(p, batch, tile, channel, lane, mine);
  }
}

}  // namespace
}  // namespace ssm

#define SSM_WIDTH(T, name, W)                                    \
  extern "C" __global__ __launch_bounds__(128, SSM_BR) void      \
      ssm_conv1d_backward_rows_##name##_w##W(                    \
          const __grid_constant__ ssm::Conv1dBackwardParams p) { \
    ssm::backward_rows<T, W>(p);                                 \
  }
#define SSM_TYPE(T, name) \
  SSM_WIDTH(T, name, 2)   \
  SSM_WIDTH(T, name, 3)   \
  SSM_WIDTH(T, name, 4)
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
