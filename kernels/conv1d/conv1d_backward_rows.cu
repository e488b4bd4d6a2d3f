// Gradients on contiguous rows. Warps walk a tile of one row from its end to its start, 32 chunks a
// warp and step: dx needs the dy after it, which is then at hand. The chunk after a tile that is
// not the row's last is walked too, for its dy alone. The sums stay in registers over all batch
// entries that a warp takes.
//
// Two kernels, each the faster one where it is used (H100, 8 x 4096 x 2048):
// * team_rows, for float32: up to four neighbouring warps take neighbouring chunks, and the dy
//   between them goes through shared memory. Memory is read in runs of 2 KiB, which is 8 % faster.
//   The next step's lines are prefetched: 2 to 9 % faster.
// * lone_rows, for 16 bits: a warp walks alone with the next steps' loads in flight. With twice the
//   elements a chunk the arithmetic weighs more than the runs: rows have few steps, each warp's
//   set-up is paid once a row, and the registers of a team's kernel would not fit. Lines of the
//   step after those in flight are prefetched: 2 to 4 % faster; one step further ahead is slower.

// Measured on an H100: 6 % faster here than loads through the read-only path.
#define SSM_PLAIN_LOADS
#include "conv1d/conv1d_backward.cuh"

namespace ssm {
namespace {

constexpr int kWarps = 4;

// Starts to bring the line of an address within an allocation into L2.
__device__ __forceinline__ void prefetch_line(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

// What one lane loads for a step.
template <typename T, int W>
struct Loaded {
  Chunk<T> x;
  Chunk<T> dout;
  Halo<T, W> halo;  // lane 0's
};

// The chunks of a tile that need care.
template <typename T>
struct RowEnds {
  int last;       // the last chunk walked
  int low, high;  // those loaded whole; a cut one is, where its bytes lie within the tensors
  bool tail_cut;  // the row ends within the last
  bool head_cut;  // it starts within chunk 0

  __device__ __forceinline__ RowEnds(const Conv1dBackwardParams& p, const RowTile<T>& t,
                                     int64 batch, int64 channel) {
    const T* const x = input_row<T>(p, batch, channel).x;
    const T* const dout = gradient_row<T>(p, batch, channel).x;
    last = min(t.count, t.chunks - 1 - t.first);
    tail_cut = t.first + last == t.chunks - 1 && t.tail_cut(p.length);
    head_cut = t.head_cut();
    const int64 end = static_cast<int64>(t.chunks) * RowTile<T>::K - t.shift;
    low = head_cut && (x - t.shift < static_cast<const T*>(p.x) ||
                       dout - t.shift < static_cast<const T*>(p.dout))
              ? 1
              : 0;
    high = tail_cut && (x + end > static_cast<const T*>(p.x_end) ||
                        dout + end > static_cast<const T*>(p.dout_end))
               ? last - 1
               : last;
  }
  __device__ __forceinline__ bool is_cut(int at) const {
    return (tail_cut && at == last) || (head_cut && at == 0);
  }
};

template <typename T, int W>
struct RowsBackward {
  static constexpr int K = Chunk<T>::kCount;
  float weight[W][1];
  float bias[1];
  float sums[W + 1];  // of dweight's taps, then of dbias

  // dy of a chunk and the sums of its lane. `halo` and `before` as for elements_before().
  __device__ __forceinline__ void gradients_of_y(bool silu, const Chunk<T>& x,
                                                 const Halo<T, W>* halo, const Chunk<T>& before,
                                                 const Chunk<T>& dout, bool summed, int lane,
                                                 float (&dy)[K + W - 1]) {
    float inputs[W - 1 + K];
    elements_before<T, W>(x, halo, before, lane, inputs);
    x.unpack(inputs + W - 1);
    dout.unpack(dy);
    if (silu) {
#pragma unroll
      for (int i = 0; i < K; ++i) {
        float y = bias[0];
#pragma unroll
        for (int j = 0; j < W; ++j) y += weight[j][0] * inputs[i + j];
        dy[i] *= silu_slope(y);
      }
    }
    if (summed) {
#pragma unroll
      for (int i = 0; i < K; ++i) {
#pragma unroll
        for (int j = 0; j < W; ++j) sums[j] += dy[i] * inputs[i + j];
        sums[W] += dy[i];
      }
    }
  }

  __device__ __forceinline__ void give_sums(const Conv1dBackwardParams& p, int64 part,
                                            int64 channel, int lane) const {
    float mine = 0.0f;  // lane j keeps sum j
#pragma unroll
    for (int j = 0; j <= W; ++j) {
      float sum = sums[j];
#pragma unroll
      for (int step = 16; step > 0; step >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, step);
      if (lane == j) mine = sum;
    }
    if (lane <= W) add_sum<W>(p, part, channel, lane, mine);
  }

  __device__ __forceinline__ Chunk<T> gradients_of_x(const float (&dy)[K + W - 1]) const {
    float gradients[K];
#pragma unroll
    for (int i = 0; i < K; ++i) {
      gradients[i] = weight[W - 1][0] * dy[i];
#pragma unroll
      for (int k = 1; k < W; ++k) gradients[i] += weight[W - 1 - k][0] * dy[i + k];
    }
    Chunk<T> result;
    result.pack(gradients);
    return result;
  }
};

template <typename T, int W>
__device__ __forceinline__ void team_rows(const Conv1dBackwardParams& p) {
  using Backward = RowsBackward<T, W>;
  constexpr int K = Backward::K;
  // The first dy of each warp, of four steps in turn: this one's and the last one's are read while
  // the next one's may be written.
  __shared__ float first_dy[4][kWarps][W - 1];
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  const int member = warp & (p.team - 1);
  const int stride = p.team * 32;  // chunks of a step
  const uint32 index = (blockIdx.x * kWarps + warp) / static_cast<uint32>(p.team);
  const uint32 channel = index / static_cast<uint32>(p.tiles);
  const int tile = static_cast<int>(index - channel * p.tiles);
  const bool works = channel < static_cast<uint32>(p.channels);
  const bool silu = p.silu != 0;

  Backward backward;
  if (works) load_weights(p, channel, backward.weight, backward.bias);
#pragma unroll
  for (int j = 0; j <= W; ++j) backward.sums[j] = 0.0f;
  int turn = 0;

  // Every warp of the block takes p.steps steps of every batch entry: barriers need all of them.
#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    const int64 safe_channel = works ? channel : 0;
    const T* const x = input_row<T>(p, batch, safe_channel).x;
    const T* const dout = gradient_row<T>(p, batch, safe_channel).x;
    T* const dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + safe_channel * p.dx_stride[1];
    const RowTile<T> t(dx, p.length, tile, p.tile_size);
    const int count = works ? t.count : 0;
    RowEnds<T> ends(p, t, batch, safe_channel);
    if (count <= 0) {
      ends.last = ends.high = -1;
      ends.head_cut = false;
    }
    int at = (p.steps - 1) * stride + member * 32 + lane;  // the lane's chunk within the tile
    const int64 start = t.position(at);
    const T* x_at = x + start;
    const T* dout_at = dout + start;
    T* dx_at = dx + start;
    const auto load = [&](int chunk, Loaded<T, W>& to) {
      to.x.clear();
      to.dout.clear();
      to.halo.clear();
      if (chunk >= ends.low && chunk <= ends.high) {
        to.x.load(x_at);
        to.dout.load(dout_at);
      }
      if (lane == 0 && chunk <= ends.last && chunk > -t.first) to.halo.load(x_at);
      x_at -= stride * K;
      dout_at -= stride * K;
    };
#pragma unroll 1
    for (; at >= 0; at -= stride) {
      Loaded<T, W> in;
      load(at, in);
      if ((lane & 7) == 0 && at >= stride && at <= ends.last) {
        prefetch_line(x_at);  // load() has moved on to the next step's
        prefetch_line(dout_at);
      }
      const bool cut = ends.is_cut(at);
      if (cut) {
        const int position = t.position(at);
        clear_outside<T>(position, p.length, &in.x);
        clear_outside<T>(position, p.length, &in.dout);
        if (at < ends.low || at > ends.high || p.initial_states != nullptr) {
          in.x = load_cut_chunk(input_row<T>(p, batch, channel), position);
          in.dout = load_cut_chunk(gradient_row<T>(p, batch, channel), position);
        }
      }
      if (p.initial_states != nullptr && at == 0 && t.first == 0 && count > 0) {
        in.halo.take(load_cut_chunk(input_row<T>(p, batch, channel), -t.shift - K));
      }
      __syncwarp();
      const bool idle = at - lane > ends.last;  // all lanes of the warp
      float dy[K + W - 1];
      if (!idle) {
        backward.gradients_of_y(silu, in.x, &in.halo, in.x, in.dout, at < count, lane, dy);
        if (lane == 0) {
#pragma unroll
          for (int j = 0; j < W - 1; ++j) first_dy[turn][warp][j] = dy[j];
        }
      }
      __syncthreads();
      if (!idle) {
        // The chunk after lane 31's: of the next warp, or of the team's first in the step before.
        const bool same_step = member + 1 < p.team;
        const float* const after =
            first_dy[same_step ? turn : (turn + 3) & 3][same_step ? warp + 1 : warp - member];
#pragma unroll
        for (int j = 0; j < W - 1; ++j) {
          dy[K + j] = __shfl_sync(0xffffffffu, dy[j], (lane + 1) & 31);
          if (lane == 31) dy[K + j] = at >= ends.last ? 0.0f : after[j];
        }
        const Chunk<T> result = backward.gradients_of_x(dy);
        if (at < count) {
          if (!cut) {
            result.store(dx_at);
          } else {
            store_cut_chunk(result, dx, t.position(at), p.length);
          }
        }
      }
      turn = (turn + 1) & 3;
      dx_at -= stride * K;
    }
  }
  if (works) {
    backward.give_sums(p, (blockIdx.y * static_cast<int64>(p.tiles) + tile) * p.team + member,
                       channel, lane);
  }
}

template <typename T, int W>
__device__ __forceinline__ void lone_rows(const Conv1dBackwardParams& p) {
  using Backward = RowsBackward<T, W>;
  constexpr int K = Backward::K;
  constexpr int kStep = 32 * K;  // elements
  const int lane = threadIdx.x & 31;
  const uint32 index = blockIdx.x * kWarps + (threadIdx.x >> 5);
  const uint32 channel = index / static_cast<uint32>(p.tiles);
  const int tile = static_cast<int>(index - channel * p.tiles);
  if (channel >= static_cast<uint32>(p.channels)) return;
  const bool silu = p.silu != 0;

  Backward backward;
  load_weights(p, channel, backward.weight, backward.bias);
#pragma unroll
  for (int j = 0; j <= W; ++j) backward.sums[j] = 0.0f;

#pragma unroll 1
  for (int batch = blockIdx.y; batch < p.batch; batch += gridDim.y) {
    T* const dx = static_cast<T*>(p.dx) + batch * p.dx_stride[0] + channel * p.dx_stride[1];
    const RowTile<T> t(dx, p.length, tile, p.tile_size);
    if (t.count <= 0) continue;
    const RowEnds<T> ends(p, t, batch, channel);
    int at = (ends.last & ~31) + lane;  // the lane's chunk within the tile
    const int64 start = t.position(at);
    const T* x_at = input_row<T>(p, batch, channel).x + start;
    const T* dout_at = gradient_row<T>(p, batch, channel).x + start;
    T* dx_at = dx + start;
    // Also the chunk before the tile, in lane 31 of the step after the first chunk's.
    const int low = t.first > 0 ? -1 : ends.low;
    Chunk<T> x;
    Chunk<T> x_before;
    Chunk<T> dout;
    x.clear();
    x_before.clear();
    dout.clear();
    if (at >= ends.low && at <= ends.high) {
      x.load(x_at);
      dout.load(dout_at);
    }
    if (at - 32 >= low) x_before.load(x_at - kStep);
    float after[W - 1];  // lane 0's: the first dy of the step after
#pragma unroll
    for (int j = 0; j < W - 1; ++j) after[j] = 0.0f;
#pragma unroll 1
    for (; at >= 0; at -= 32) {
      Chunk<T> x_next;
      Chunk<T> dout_next;
      x_next.clear();
      dout_next.clear();
      if (at - 64 >= low) x_next.load(x_at - 2 * kStep);
      if (at - 32 >= ends.low) dout_next.load(dout_at - kStep);
      if ((lane & 7) == 0) {
        if (at >= 96) prefetch_line(x_at - 3 * kStep);
        if (at >= 64) prefetch_line(dout_at - 2 * kStep);
      }
      const bool cut = ends.is_cut(at);
      if (cut) {
        const int position = t.position(at);
        clear_outside<T>(position, p.length, &x);
        clear_outside<T>(position, p.length, &dout);
        if (at < ends.low || at > ends.high || p.initial_states != nullptr) {
          x = load_cut_chunk(input_row<T>(p, batch, channel), position);
          dout = load_cut_chunk(gradient_row<T>(p, batch, channel), position);
        }
      }
      if (p.initial_states != nullptr && at == lane && t.first == 0) {
        x_before = load_cut_chunk(input_row<T>(p, batch, channel), -t.shift - K);
      }
      __syncwarp();
      float dy[K + W - 1];
      backward.gradients_of_y(silu, x, nullptr, x_before, dout, at < t.count, lane, dy);
#pragma unroll
      for (int j = 0; j < W - 1; ++j) {
        // Lane 31's neighbour is lane 0 in the step after.
        const float mine = lane == 0 ? after[j] : dy[j];
        dy[K + j] = __shfl_sync(0xffffffffu, mine, (lane + 1) & 31);
        after[j] = dy[j];
      }
      const Chunk<T> result = backward.gradients_of_x(dy);
      if (at < t.count) {
        if (!cut) {
          result.store(dx_at);
        } else {
          store_cut_chunk(result, dx, t.position(at), p.length);
        }
      }
      x = x_before;
      x_before = x_next;
      dout = dout_next;
      x_at -= kStep;
      dout_at -= kStep;
      dx_at -= kStep;
    }
  }
  backward.give_sums(p, blockIdx.y * static_cast<int64>(p.tiles) + tile, channel, lane);
}

}  // namespace
}  // namespace ssm

#define SSM_WIDTH(T, name, W, kernel, blocks)                    \
  extern "C" __global__ __launch_bounds__(128, blocks) void      \
      ssm_conv1d_backward_rows_##name##_w##W(                    \
          const __grid_constant__ ssm::Conv1dBackwardParams p) { \
    ssm::kernel<T, W>(p);                                        \
  }
#define SSM_TYPE(T, name, kernel, blocks) \
  SSM_WIDTH(T, name, 2, kernel, blocks)   \
  SSM_WIDTH(T, name, 3, kernel, blocks)   \
  SSM_WIDTH(T, name, 4, kernel, blocks)
SSM_TYPE(float, float32, team_rows, 8)
SSM_TYPE(ssm::F16, float16, lone_rows, 7)
SSM_TYPE(ssm::BF16, bfloat16, lone_rows, 7)
