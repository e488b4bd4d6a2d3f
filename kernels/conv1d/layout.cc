#include "conv1d/layout.h"

#include "core/check.h"

namespace ssm {
namespace {

constexpr int64_t kChunkBytes = 16;
constexpr int64_t kLanes = 32;
constexpr int64_t kWantedSteps = 8;     // of a team: its set-up is then a small part
constexpr int64_t kWantedWarps = 4096;  // about what a large GPU holds at once

int64_t modulo_chunk(int64_t elements, int64_t element_bytes) {
  return (elements * element_bytes) & (kChunkBytes - 1);
}

int64_t multiple_of_8(int64_t value) { return (value + 7) / 8 * 8; }

// The most chunks that a row of the shape has, wherever it starts.
int64_t most_chunks(const RowShape& shape) {
  const int64_t elements = kChunkBytes / shape.element_bytes;
  return ((shape.aligned ? 0 : elements - 1) + shape.length + elements - 1) / elements;
}

// Groups of batch entries of which each has warps of its own: near `wanted` entries a group, as
// long as there are warps enough.
int batch_groups(int64_t batch, int64_t wanted, int64_t warps) {
  int64_t each = wanted < 1 ? 1 : wanted < batch ? wanted : batch;
  while (each > 1 && (batch + each - 1) / each * warps < kWantedWarps) each /= 2;
  return static_cast<int>((batch + each - 1) / each);
}

// The stride that matters: a dimension of one entry has none.
int64_t stride_of(const ssm_tensor& tensor, int dimension) {
  return tensor.size[dimension] > 1 ? tensor.stride[dimension] : 0;
}

}  // namespace

bool is_row_major(const ssm_tensor& tensor) {
  return tensor.stride[2] == 1 && tensor.stride[0] >= 0 && tensor.stride[1] >= 0;
}

bool rows_misaligned_alike(const ssm_tensor& first, const ssm_tensor& second) {
  const int64_t bytes = dtype_bytes(first.dtype);
  const auto difference =
      reinterpret_cast<intptr_t>(first.data) - reinterpret_cast<intptr_t>(second.data);
  if ((difference & (kChunkBytes - 1)) != 0) return false;
  for (int i = 0; i < 2; ++i) {
    if (modulo_chunk(stride_of(first, i), bytes) != modulo_chunk(stride_of(second, i), bytes)) {
      return false;
    }
  }
  return true;
}

bool rows_aligned(const ssm_tensor& tensor) {
  const int64_t bytes = dtype_bytes(tensor.dtype);
  return (reinterpret_cast<intptr_t>(tensor.data) & (kChunkBytes - 1)) == 0 &&
         modulo_chunk(stride_of(tensor, 0), bytes) == 0 &&
         modulo_chunk(stride_of(tensor, 1), bytes) == 0;
}

bool channels_aligned(const ssm_tensor& tensor) {
  const int64_t bytes = dtype_bytes(tensor.dtype);
  return stride_of(tensor, 1) == 1 && modulo_chunk(tensor.size[1], bytes) == 0 &&
         (reinterpret_cast<intptr_t>(tensor.data) & (kChunkBytes - 1)) == 0 &&
         modulo_chunk(stride_of(tensor, 0), bytes) == 0 &&
         modulo_chunk(stride_of(tensor, 2), bytes) == 0;
}

const void* end_of(const ssm_tensor& tensor) {
  int64_t last = 0;
  for (int i = 0; i < tensor.rank; ++i) last += (tensor.size[i] - 1) * tensor.stride[i];
  return static_cast<const char*>(tensor.data) + (last + 1) * dtype_bytes(tensor.dtype);
}

RowShape row_shape(const ssm_tensor& tensor) {
  return RowShape{tensor.size[0], tensor.size[1], tensor.size[2], dtype_bytes(tensor.dtype),
                  rows_aligned(tensor)};
}

RowTiling tile_row(const RowShape& shape, int lane_chunks) {
  const int64_t chunks = most_chunks(shape);
  constexpr int64_t kWanted = 4 * kLanes;
  const int64_t most = int64_t{lane_chunks} * kLanes;
  int64_t tiles = (chunks + kWanted / 2) / kWanted;
  if (tiles < (chunks + most - 1) / most) tiles = (chunks + most - 1) / most;
  if (tiles < 1) tiles = 1;
  const int64_t per_tile = multiple_of_8((chunks + tiles - 1) / tiles);
  RowTiling tiling = {};
  tiling.tiles = static_cast<int>((chunks + per_tile - 1) / per_tile);
  tiling.chunks = static_cast<int>(per_tile);
  tiling.team = 1;
  tiling.steps = 1;
  const int64_t warps = shape.channels * tiling.tiles;
  tiling.groups = batch_groups(shape.batch, kWanted / per_tile, warps);
  return tiling;
}

// The tiles a row are those whose warps are through first: rounds of as many warps as the GPU
// holds, each as long as its tile and a set-up of about one and a half steps. On an H100 the order
// of these costs is that of the times measured for 1,536 to 32,768 rows of 2,048 to 16,384
// elements.
RowTiling walk_row(const RowShape& shape, int multiprocessors) {
  const int64_t chunks = most_chunks(shape);
  RowTiling tiling = {};
  tiling.team = shape.element_bytes == 2 ? 1 : chunks > 2 * kLanes ? 4 : chunks > kLanes ? 2 : 1;
  const int64_t lanes = kLanes * tiling.team;
  const int64_t warps = shape.batch * shape.channels * tiling.team;
  const int64_t held = int64_t{multiprocessors} * (shape.element_bytes == 2 ? 28 : 32);
  int64_t least = 0;
  for (int64_t tiles = 1; tiles == 1 || tiles * lanes < chunks + lanes; tiles += 1 + tiles / 8) {
    const int64_t each = multiple_of_8((chunks + tiles - 1) / tiles);
    const int64_t cost = (warps * tiles + held - 1) / held * (2 * each + 3 * lanes);
    if (tiles > 1 && cost >= least) continue;
    least = cost;
    tiling.chunks = static_cast<int>(each);
  }
  tiling.tiles = static_cast<int>((chunks + tiling.chunks - 1) / tiling.chunks);
  // The chunk after a tile is walked too, unless the row ends there.
  const int64_t walked = tiling.tiles == 1 ? chunks : tiling.chunks + 1;
  tiling.steps = static_cast<int>((walked + lanes - 1) / lanes);
  tiling.groups = batch_groups(shape.batch, (kWantedSteps + tiling.steps / 2) / tiling.steps,
                               shape.channels * tiling.tiles * tiling.team);
  return tiling;
}

ChannelTiling tile_channels(int64_t batch, int64_t vectors, int64_t length) {
  constexpr int kThreads = 256;
  constexpr int64_t kWantedBlocks = 1024;
  ChannelTiling tiling = {};
  tiling.lanes = vectors > 16 ? 32 : vectors > 8 ? 16 : 8;
  tiling.tiles_per_block = kThreads / tiling.lanes;
  tiling.channel_groups = (vectors + tiling.lanes - 1) / tiling.lanes;
  for (tiling.positions = 64; tiling.positions > 8; tiling.positions /= 2) {
    const int64_t span = int64_t{tiling.positions} * tiling.tiles_per_block;
    tiling.tile_groups = (length + span - 1) / span;
    if (batch * tiling.channel_groups * tiling.tile_groups >= kWantedBlocks) return tiling;
  }
  const int64_t span = int64_t{tiling.positions} * tiling.tiles_per_block;
  tiling.tile_groups = (length + span - 1) / span;
  return tiling;
}

}  // namespace ssm
