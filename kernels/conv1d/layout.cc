#include "conv1d/layout.h"

#include "core/check.h"

namespace ssm {
namespace {

constexpr int64_t kChunkBytes = 16;

int64_t modulo_chunk(int64_t elements, int64_t element_bytes) {
  return (elements * element_bytes) & (kChunkBytes - 1);
}

// The stride that matters: a dimension of one entry has none.
int64_t stride_of(const ssm_tensor& tensor, int dimension) {
  return tensor.size[dimension] > 1 ? tensor.stride[dimension] : 0;
}

}  // namespace

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

RowTiling tile_row(int64_t length, int64_t element_bytes, bool aligned, int lane_chunks) {
  const int64_t elements = kChunkBytes / element_bytes;
  const int64_t shift = aligned ? 0 : elements - 1;
  const int64_t chunks = (shift + length + elements - 1) / elements;
  constexpr int64_t kWanted = 4 * 32;
  const int64_t most = int64_t{lane_chunks} * 32;
  int64_t tiles = (chunks + kWanted / 2) / kWanted;
  if (tiles < (chunks + most - 1) / most) tiles = (chunks + most - 1) / most;
  if (tiles < 1) tiles = 1;
  int64_t per_tile = (chunks + tiles - 1) / tiles;
  per_tile = (per_tile + 7) / 8 * 8;
  return RowTiling{static_cast<int>((chunks + per_tile - 1) / per_tile),
                   static_cast<int>(per_tile)};
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
