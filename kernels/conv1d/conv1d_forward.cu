// Forward causal convolution. Bound by memory: every kernel reads x once and writes out once.
//
// Contiguous rows. A row is cut at the 16-byte boundaries of memory, not of the row, so that every
// inner chunk is one aligned 16-byte load and store whatever the row's length and start; the two
// cut chunks at its ends go element by element. A warp takes a tile of up to 5 x 32 consecutive
// chunks of one row, all loads in flight at once; the W - 1 inputs before a chunk come from the
// neighbouring lane. Five, because the chunks of an odd length are one more than a power of two:
// a tile of 129 is better than a second one of 1. No shared memory, no barrier. (Walking a row with
// the next chunks' loads ahead was 2 to 9 % slower on an H100: memory is then read in shorter
// runs.) Of short rows a warp takes several batch entries one after the other.
//
// Channel-last. A thread takes 16 bytes of channels and walks along the length with the last W - 1
// inputs in registers.
//
// Anything else (a stride of neither kind, seq_idx on contiguous rows, rows of x and out that are
// misaligned differently) goes through a plain kernel, one thread an output.
#include "conv1d/conv1d.cuh"
#include "conv1d/params.h"

namespace ssm {
namespace {

#ifndef SSM_FWD_BATCH
#define SSM_FWD_BATCH 4
#endif
#ifndef SSM_FR
#define SSM_FR 6
#endif
#ifndef SSM_FC
#define SSM_FC 4
#endif
#ifndef SSM_CONV_CHANNEL_BYTES
#define SSM_CONV_CHANNEL_BYTES(T) (sizeof(T) * 4)
#endif

constexpr int kChunksPerLane = 5;

template <typename T>
__device__ __forceinline__ void store_final_states(const Conv1dForwardParams& p, int64 batch,
                                                   int64 channel, const InputRow<T>& row, int i) {
  T* final_states = static_cast<T*>(p.final_states) + batch * p.final_stride[0] +
                    channel * p.final_stride[1] + i * p.final_stride[2];
  *final_states = row.at(p.length - (p.width - 1) + i);
}

template <typename T, int W>
struct RowsForward {
  static constexpr int K = Chunk<T>::kCount;
  float weight[W][1];
  float bias[1];

  // Before lane 0's chunk comes `halo`, or without one lane 31's `before`.
  __device__ __forceinline__ Chunk<T> step(bool silu, const Chunk<T>& x, const Halo<T, W>* halo,
                                           const Chunk<T>& before, int lane) const {
    float inputs[W - 1 + K];
    elements_before<T, W>(x, halo, before, lane, inputs);
    x.unpack(inputs + W - 1);
    float y[K];
#pragma unroll
    for (int i = 0; i < K; ++i) {
      y[i] = bias[0];
#pragma unroll
      for (int j = 0; j < W; ++j) y[i] += weight[j][0] * inputs[i + j];
    }
    if (silu) {
#pragma unroll
      for (int i = 0; i < K; ++i) y[i] = scaled_silu(y[i]);
    }
    Chunk<T> result;
    result.pack(y);
    return result;
  }
};

template <typename T, int W>
__device__ __forceinline__ void forward_rows(const Conv1dForwardParams& p) {
  using Forward = RowsForward<T, W>;
  constexpr int K = Forward::K;
  const int lane = threadIdx.x & 31;
  const uint32 index = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
  const uint32 channel = index / static_cast<uint32>(p.tiles);
  const int tile = static_cast<int>(index - channel * p.tiles);
  if (channel >= static_cast<uint32>(p.channels)) return;

  Forward forward;
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const T* const x_row = input_row<T>(p, batch, channel).x;
    T* const out_row = static_cast<T*>(p.out) + batch * p.out_stride[0] + channel * p.out_stride[1];
    const RowTile<T> t(out_row, p.length, tile, p.tile_size);
    if (t.count <= 0) continue;
    const bool head_cut = t.head_cut();
    const bool tail_cut = t.first + t.count == t.chunks && t.tail_cut(p.length);
    // The chunks that are loaded whole: low to end - 1.
    const int low = head_cut && x_row - t.shift < static_cast<const T*>(p.x) ? 1 : 0;
    const int64 row_end = static_cast<int64>(t.chunks) * K - t.shift;
    const int end =
        tail_cut && x_row + row_end > static_cast<const T*>(p.x_end) ? t.count - 1 : t.count;
    const int64 start = t.position(lane);
    const T* const x_at = x_row + start;
    T* const out_at = out_row + start;

    // What is loaded leaves together, before any of it is waited for.
    Chunk<T> chunk[kChunksPerLane];
#pragma unroll
    for (int v = 0; v < kChunksPerLane; ++v) {
      chunk[v].clear();
      if (v * 32 + lane >= low && v * 32 + lane < end) chunk[v].load(x_at + v * 32 * K);
    }
    Halo<T, W> halo;
    halo.clear();
    if (lane == 0 && t.first > 0) halo.load(x_at);
    if (batch == blockIdx.y) {
      load_weights(p, channel, forward.weight, forward.bias);
      if (p.silu != 0) scale_weights(forward.weight, forward.bias);
    }
    // Below position 0 the row's first chunk holds the initial states, which is what its own
    // outputs and the next lane need.
    const bool is_head = lane == 0 && t.first == 0 && (head_cut || p.initial_states != nullptr);
    if (is_head) {
      clear_outside<T>(static_cast<int>(start), p.length, &chunk[0]);
      if (low > 0 || p.initial_states != nullptr) {
        const InputRow<T> row = input_row<T>(p, batch, channel);
        chunk[0] = load_cut_chunk(row, static_cast<int>(start));
        halo.take(load_cut_chunk(row, static_cast<int>(start) - K));
      }
    }
    const int tail = tail_cut ? t.count - 1 : -1;  // the row's last chunk, where it is cut
    const bool is_tail = tail >= 0 && (tail & 31) == lane;
    if (is_tail && end < t.count) {
      const Chunk<T> cut = load_cut_chunk(input_row<T>(p, batch, channel), t.position(tail));
#pragma unroll
      for (int v = 0; v < kChunksPerLane; ++v) {
        if (tail == v * 32 + lane) chunk[v] = cut;
      }
    }
    __syncwarp();

    Chunk<T> tail_result;
#pragma unroll
    for (int v = 0; v < kChunksPerLane; ++v) {
      if (v * 32 >= t.count) break;
      const int at = v * 32 + lane;
      const Chunk<T> result = forward.step(p.silu != 0, chunk[v], v == 0 ? &halo : nullptr,
                                           chunk[v == 0 ? 0 : v - 1], lane);
      if (at == tail) tail_result = result;
      const bool whole = at < t.count && at != tail && !(v == 0 && head_cut && lane == 0);
      if (whole) result.store(out_at + v * 32 * K);
      if (v == 0 && head_cut && lane == 0) {
        store_cut_chunk(result, out_row, static_cast<int>(start), p.length);
      }
    }
    if (is_tail && !(tail == 0 && head_cut)) {
      store_cut_chunk(tail_result, out_row, t.position(tail), p.length);
    }
    if (p.final_states != nullptr && tile == 0 && lane < W - 1) {
      store_final_states(p, batch, channel, input_row<T>(p, batch, channel), lane);
    }
  }
}

// What a thread keeps while it walks along the length.
template <typename T, int W, int K, bool kHasSeqIdx>
struct Walk {
  float weight[W][K];
  float bias[K];
  float window[W - 1][K];  // inputs before the current position, oldest first
  int sequence[W - 1];     // and their sequences

  template <typename Channels>
  __device__ __forceinline__ Channels step(bool silu, const Channels& input, int current) {
    float now[K];
    float y[K];
    input.unpack(now);
#pragma unroll
    for (int k = 0; k < K; ++k) y[k] = bias[k] + weight[W - 1][k] * now[k];
#pragma unroll
    for (int j = 0; j < W - 1; ++j) {
      if (!kHasSeqIdx || sequence[j] == current) {
#pragma unroll
        for (int k = 0; k < K; ++k) y[k] += weight[j][k] * window[j][k];
      }
    }
    if (silu) {
#pragma unroll
      for (int k = 0; k < K; ++k) y[k] = scaled_silu(y[k]);
    }
    if (kHasSeqIdx && current < 0) {
#pragma unroll
      for (int k = 0; k < K; ++k) y[k] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int j = 0; j + 1 < W - 1; ++j) window[j][k] = window[j + 1][k];
      window[W - 2][k] = now[k];
    }
    if (kHasSeqIdx) {
#pragma unroll
      for (int j = 0; j + 1 < W - 1; ++j) sequence[j] = sequence[j + 1];
      sequence[W - 2] = current;
    }
    Channels result;
    result.pack(y);
    return result;
  }
};

// One thread: a vector of channels, p.tile_size positions.
template <typename T, int W, bool kHasSeqIdx>
__device__ __forceinline__ void forward_channel_last(const Conv1dForwardParams& p) {
  using Channels = Vector<T, SSM_CONV_CHANNEL_BYTES(T) / 4>;
  constexpr int K = Channels::kCount;
  constexpr int kBatch = SSM_FWD_BATCH;  // positions whose loads are in flight together
  const uint32 vectors = static_cast<uint32>(p.channels / K);
  const uint32 index = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32 tile = index / vectors;
  if (tile >= static_cast<uint32>(p.tiles)) return;
  const int64 channel = static_cast<int64>(index - tile * vectors) * K;
  const int begin = static_cast<int>(tile) * p.tile_size;
  const int end = min(begin + p.tile_size, p.length);
  const bool silu = p.silu != 0;

  Walk<T, W, K, kHasSeqIdx> walk;

#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const int64 x_step = p.x_stride[2];
    const int64 out_step = p.out_stride[2];
    const T* x = static_cast<const T*>(p.x) + batch * p.x_stride[0] + channel + begin * x_step;
    T* out = static_cast<T*>(p.out) + batch * p.out_stride[0] + channel + begin * out_step;
    const int* const seq_idx = kHasSeqIdx ? p.seq_idx + batch * p.seq_stride[0] : nullptr;
    // What is loaded leaves together, before any of it is waited for.
    Channels before[W - 1];
#pragma unroll
    for (int j = 0; j < W - 1; ++j) {
      before[j].clear();
      if (begin > 0) before[j].load(x + (j - (W - 1)) * x_step);
    }
    int t = begin;
    Channels ahead[kBatch];
    if (t + kBatch <= end) {
#pragma unroll
      for (int u = 0; u < kBatch; ++u) ahead[u].load(x + u * x_step);
    }
    load_weights(p, channel, walk.weight, walk.bias);
    if (silu) scale_weights(walk.weight, walk.bias);
#pragma unroll
    for (int j = 0; j < W - 1; ++j) {
      before[j].unpack(walk.window[j]);
      if (kHasSeqIdx) walk.sequence[j] = seq_idx[max(begin - (W - 1) + j, 0) * p.seq_stride[1]];
    }
    // The launcher keeps tiles longer than W - 1: what lies before the first is all states.
    if (begin == 0 && p.initial_states != nullptr) {
      load_states<T, W, K>(p, batch, channel, walk.window);
    }
    if (t + kBatch <= end) {
      // Batches, the next one's loads ahead of this one's sums; of the last, its own once more.
#pragma unroll 1
      for (; t + kBatch <= end; t += kBatch) {
        Channels inputs[kBatch];
        int current[kBatch];
#pragma unroll
        for (int u = 0; u < kBatch; ++u) inputs[u] = ahead[u];
        if (t + 2 * kBatch <= end) x += kBatch * x_step;
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          ahead[u].load(x + u * x_step);
          if (kHasSeqIdx) current[u] = seq_idx[(t + u) * p.seq_stride[1]];
        }
#pragma unroll
        for (int u = 0; u < kBatch; ++u) {
          walk.step(silu, inputs[u], current[u]).store(out);
          out += out_step;
        }
      }
      x += kBatch * x_step;
    }
#pragma unroll 1
    for (; t < end; ++t) {
      Channels input;
      input.load(x);
      const int current = kHasSeqIdx ? seq_idx[t * p.seq_stride[1]] : 0;
      walk.step(silu, input, current).store(out);
      x += x_step;
      out += out_step;
    }
    if (p.final_states != nullptr && tile + 1 == static_cast<uint32>(p.tiles)) {
#pragma unroll 1
      for (int k = 0; k < K; ++k) {
        const InputRow<T> row = input_row<T>(p, batch, channel + k);
#pragma unroll 1
        for (int i = 0; i < W - 1; ++i) store_final_states(p, batch, channel + k, row, i);
      }
    }
  }
}

template <typename T>
__device__ __forceinline__ void forward_any(const Conv1dForwardParams& p) {
  const int64 index = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64 fast = p.channels_fastest != 0 ? p.channels : p.length;
  const int64 slow_index = index / fast;
  const int64 fast_index = index - slow_index * fast;
  const int64 channel = p.channels_fastest != 0 ? fast_index : slow_index;
  const int64 position64 = p.channels_fastest != 0 ? slow_index : fast_index;
  if (channel >= p.channels || position64 >= p.length) return;
  const int position = static_cast<int>(position64);
  const int taps = p.width - 1;
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const InputRow<T> row = input_row<T>(p, batch, channel);
    const int* seq_idx = p.seq_idx == nullptr ? nullptr : p.seq_idx + batch * p.seq_stride[0];
    const int current = seq_idx == nullptr ? 0 : seq_idx[position * p.seq_stride[1]];
    float y = load_bias(p, channel);
#pragma unroll 1
    for (int j = 0; j <= taps; ++j) {
      const int from = position - taps + j;
      const bool counts = seq_idx == nullptr || seq_idx[max(from, 0) * p.seq_stride[1]] == current;
      const float weight = load_as_float(p.weight, p.weight_dtype,
                                         channel * p.weight_stride[0] + j * p.weight_stride[1]);
      if (counts) y += weight * to_float(row.at(from));
    }
    if (p.silu != 0) y *= sigmoid(y);
    if (current < 0) y = 0.0f;
    T* const out = static_cast<T*>(p.out) + batch * p.out_stride[0] + channel * p.out_stride[1];
    out[position * p.out_stride[2]] = from_float<T>(y);
    if (p.final_states != nullptr && position < taps) {
      store_final_states(p, batch, channel, row, position);
    }
    // A row shorter than the states: its first output writes those left over.
    if (p.final_states != nullptr && position == 0) {
#pragma unroll 1
      for (int i = p.length; i < taps; ++i) store_final_states(p, batch, channel, row, i);
    }
  }
}

}  // namespace
}  // namespace ssm

// The instances: three types, three widths. (Names: ssm_conv1d_forward_<kernel>_<type>_w<width>.)
#define SSM_WIDTH(T, name, W)                                                                      \
  extern "C" __global__ __launch_bounds__(128, SSM_FR) void ssm_conv1d_forward_rows_##name##_w##W( \
      const __grid_constant__ ssm::Conv1dForwardParams p) {                                        \
    ssm::forward_rows<T, W>(p);                                                                    \
  }                                                                                                \
  extern "C" __global__ __launch_bounds__(128, SSM_FC) void                                        \
      ssm_conv1d_forward_channels_##name##_w##W(                                                   \
          const __grid_constant__ ssm::Conv1dForwardParams p) {                                    \
    ssm::forward_channel_last<T, W, false>(p);                                                     \
  }                                                                                                \
  extern "C" __global__ __launch_bounds__(128, SSM_FC) void                                        \
      ssm_conv1d_forward_packed_##name##_w##W(                                                     \
          const __grid_constant__ ssm::Conv1dForwardParams p) {                                    \
    ssm::forward_channel_last<T, W, true>(p);                                                      \
  }
#define SSM_TYPE(T, name)                                                          \
  SSM_WIDTH(T, name, 2)                                                            \
  SSM_WIDTH(T, name, 3)                                                            \
  SSM_WIDTH(T, name, 4)                                                            \
  extern "C" __global__ __launch_bounds__(128) void ssm_conv1d_forward_any_##name( \
      const __grid_constant__ ssm::Conv1dForwardParams p) {                        \
    ssm::forward_any<T>(p);                                                        \
  }
SSM_TYPE(float, float32)
SSM_TYPE(ssm::F16, float16)
SSM_TYPE(ssm::BF16, bfloat16)
