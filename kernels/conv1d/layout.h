// Which kernel serves a call and how it is tiled: pure functions of the tensors' addresses, sizes
// and strides, shared by the launchers and tested on the CPU.
#pragma once

#include <cstdint>

#include "ssm_kernels.h"

namespace ssm {

enum class Conv1dPath {
  kRows,      // unit stride along the length; all tensors misaligned alike in every row
  kChannels,  // unit stride along the channels, every position's channels 16-byte aligned
  kAny        // everything else
};

bool is_row_major(const ssm_tensor& tensor);  // unit stride along the length, none negative

// True where every row (unit stride along the length) of one tensor starts as far from a 16-byte
// boundary as the same row of the other.
bool rows_misaligned_alike(const ssm_tensor& first, const ssm_tensor& second);
bool rows_aligned(const ssm_tensor& tensor);  // every row starts on a 16-byte boundary
bool channels_aligned(const ssm_tensor& tensor);

// One past the last element in memory, of a tensor without negative strides.
const void* end_of(const ssm_tensor& tensor);

struct RowShape {
  int64_t batch, channels, length;
  int64_t element_bytes;
  bool aligned;  // every row starts on a 16-byte boundary
};

RowShape row_shape(const ssm_tensor& tensor);

struct RowTiling {
  int tiles;   // tiles a row
  int chunks;  // 16-byte chunks a tile, a multiple of 8 (a 128-byte line)
  int groups;  // of batch entries, each with warps of its own
  int team;    // warps that walk a tile together: 1, 2 or 4
  int steps;   // of a team along a tile
};

// Forward: a warp takes a tile at once. `lane_chunks` is the most chunks a lane takes; tiles are
// near 4 x 32 chunks, and up to lane_chunks x 32 where that saves a nearly empty last tile.
RowTiling tile_row(const RowShape& shape, int lane_chunks);

// Backward: a team walks a tile, 32 chunks a warp and step.
RowTiling walk_row(const RowShape& shape, int multiprocessors);

// Blocks of the channel-last gradients: lanes x channel vectors along x, tiles_per_block tiles of
// `positions` along y.
struct ChannelTiling {
  int lanes;
  int tiles_per_block;
  int positions;
  int64_t channel_groups;
  int64_t tile_groups;
};

// Long tiles read their halo of W - 1 less often; short ones make more blocks, of which about 1,000
// keep a large GPU busy to the end.
ChannelTiling tile_channels(int64_t batch, int64_t vectors, int64_t length);

}  // namespace ssm
