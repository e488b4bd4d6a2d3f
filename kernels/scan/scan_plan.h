// Which kernel serves a selective scan, and with what grid: pure functions of shape and GPU.
//
// Where every row can be read 16 bytes at a time and the length is a number of whole tiles, steps
// (scan_steps.cu) takes few channels, and lanes (scan_lanes.cu) many with 5 to 128 states, as rows
// does where rows or lengths are not such.
//
// Both need about two warps for every scheduler of the GPU; below that their warps wait for their
// own results. Lanes then take 9 to 16 states one to a lane, where that fills the GPU, and more
// states all the same. Else the length is cut into chunks, which costs a second walk over the
// states. What neither can take (fixed B or C, a shared delta, very few channels, many states) is
// split among the lanes of a warp (scan_split.cu), and, with time_warps > 1, among warps.
//
// One state, where B and C are variable, has kernels of its own (scan_single.cuh).
//
// The backward direction works on tiles side by side (scan_gradient.cu) or, for what those cannot
// take, is split in the same way (scan_backward.cu).
#pragma once

#include <cstdint>

#include "scan/scan_params.h"

namespace ssm {

enum class ScanKernel { kLanes, kSteps, kRows, kSplit, kTiles, kSingle };

// Grid limits of CUDA: y and z; a larger batch is launched in slices.
constexpr int64_t kMaxGridY = 65535;

struct ScanShape {
  int64_t batch = 0, dim = 0, length = 0;
  int states = 0, groups = 1, delta_ratio = 1;
  bool variable_B = true, variable_C = true;
  bool near_rows = true;  // 8 rows of every tensor lie within 2^31 elements
  bool aligned = false;   // every row, of B and C too, may be read 16 bytes at a time
  int multiprocessors = 0;
};

// How the length is cut into chunks that are scanned side by side (scan_ends.cu); none if count
// is 1.
struct ChunkPlan {
  int steps = 0, count = 1;
  int run = 1, runs = 1;  // chunks one block takes, blocks that follow one another in time
  bool carried = true;    // through scan_carry; else each block goes over the ends before its chunk
};

// The kernels of scan_lanes.cu: the most states each takes. Wide: as many lanes as states.
enum class LanesKind { k8, k16, k16Wide, k32, k64, k128 };

struct ScanPlan {
  ScanKernel kernel = ScanKernel::kSplit;
  LanesKind lanes = LanesKind::k16;  // kLanes only
  int warps = 0;                     // of a block
  int time_warps = 1;                // of them, how many share one channel's steps
  int channels_per_warp = 1;
  unsigned grid_x = 0;
  unsigned grid_z = 0;  // kSingle
  unsigned shared_bytes = 0;
  ScanTeams teams = {};  // kSingle
  int tile = 32;         // steps between two states in tile_states
  ChunkPlan chunks;      // kRows and kLanes
};

// Kernels of 8 channels a warp take up to 4 states, up to 8, or 16 at a time: 0, 1 or 2.
int pass_index(int states);

// 9 to 16 states, whole tiles, aligned rows: what scan_lanes.cu has all its kernels for. The others
// take what plan_forward gives them.
bool lanes_can(const ScanShape& shape);

ScanPlan plan_forward(const ScanShape& shape);
// The states before every tile for a backward direction that is not kTiles: all chunks of 2048
// steps at once where `chunked`.
ScanPlan plan_states(const ScanShape& shape, bool chunked);

struct ScanBackwardPlan {
  ScanKernel kernel = ScanKernel::kSplit;
  int warps = 0, time_warps = 1, channels_per_warp = 1;
  int group_blocks = 0;  // blocks a group's channels are cut into
  unsigned grid_x = 0;
  unsigned grid_z = 0;  // kSingle
  unsigned shared_bytes = 0;
  ScanTeams teams = {};  // kSingle
  int slots = 1;         // buffers for dB and dC
  bool atomic = false;   // several blocks add to one buffer
  int tile = 32;
  bool needs_states = false;  // kSingle: one block does not hold a row, so it takes those in x
  ChunkPlan chunks;           // kTiles only
  bool sequential = false;    // kTiles: a block takes the whole length, from its end; scan_lanes.cu
};                            // leaves the states before the tiles

// Of scan_lanes.cu; without outputs where it leaves states.
struct LanesPlan {
  int warps = 4;
  unsigned grid_x = 0, shared_bytes = 0;
};
LanesPlan plan_lanes(const ScanShape& shape, LanesKind kind, bool outputs);

// Of scan_ends.cu's first kernel, for either direction, and of how many threads share a channel's
// chunks in its second.
struct EndsPlan {
  int passes = 1, segments = 1, warps = 0;
  unsigned grid_x = 0, carry_grid = 0, shared_bytes = 0, carry_shared_bytes = 0;
};
EndsPlan plan_ends(const ScanShape& shape, const ChunkPlan& chunks, bool adjoint);

ScanBackwardPlan plan_backward(const ScanShape& shape, bool deterministic);

// scan_single_plan.cc
bool single_can(const ScanShape& shape);
ScanPlan plan_single(const ScanShape& shape);
ScanBackwardPlan plan_single_backward(const ScanShape& shape);

}  // namespace ssm
