#include "scan/scan_plan.h"

#include <algorithm>

namespace ssm {
namespace {

constexpr int kLanes = 32;
constexpr int kSchedulers = 4;        // of a multiprocessor, in every architecture served
constexpr int kRowsChannels = 8;      // channels of a warp in scan_rows.cu
constexpr int kRowsPerScheduler = 2;  // warps; with fewer, the length is cut into chunks
constexpr int kRowsResident = 16;     // warps of a multiprocessor
constexpr int kLeastChunk = 64;
constexpr int kShortChunked = 256;
constexpr int kMostEnds = 40;    // that a block goes over by itself
constexpr int kChunkSetup = 32;  // what a chunk costs beside its steps, in steps
constexpr int kUncutTenths = 6;  // of a chunked scan's time, what one without its first walk takes
// scan_lanes.cu, in the order of LanesKind.
struct LanesLayout {
  int state_lanes, lane_states, lane_channels, tile, warps, buffers;
};
constexpr LanesLayout kLanesLayouts[] = {{4, 2, 1, 32, 4, 2},  {4, 4, 1, 32, 4, 2},
                                         {16, 1, 1, 32, 4, 2}, {8, 4, 1, 32, 4, 2},
                                         {16, 4, 1, 32, 8, 1}, {32, 4, 2, 16, 8, 1}};
constexpr int kLanesLeastStates = 5;
constexpr int kLanesMostStates = 128;
constexpr int kWideWarpsHalves = 5;    // a scheduler, of LanesKind::k16Wide: from there on not cut
constexpr int kStepsOwn = 8;           // steps of a thread in scan_steps.cu
constexpr int kStepsWarps = 8;         // at most
constexpr int kStepsPerProcessor = 8;  // channels a multiprocessor, beyond which others are faster
constexpr int kStepsLeastStates = 5;
constexpr int kSplitPass = 16;  // states of a pass
constexpr int kSplitTile = 32;
constexpr int kRowsMaxStates = 128;
constexpr int kSplitWarps = 8;
constexpr int kSplitPerScheduler = 4;  // warps that fit beside one another
constexpr int kBackwardWarps = 4;
constexpr unsigned kBackwardShared = 56 * 1024;  // lets several blocks share a multiprocessor
constexpr unsigned kMostShared = 64 * 1024;      // of a block on sm_75, the least of those served
constexpr int kMostSlots = 4;  // beyond it, atomics move fewer bytes than one buffer a block
constexpr unsigned kFreeShared = 48 * 1024;  // no driver attribute needed up to here

// scan_tile.cuh, scan_gradient_lanes.cuh
constexpr int kEndsWarps = 4;
constexpr int kEndsChannels = 8;  // of a warp
constexpr int kGradientWarps = 2;
constexpr int kGradientChannels = 16;
constexpr int kGradientBlocks = 4;  // that fit a multiprocessor
constexpr int kTileSteps = 32;
constexpr int kTilePitch = kTileSteps + 4;
constexpr int kBaseFloats = 24;  // of addresses
constexpr int kOwnSlots = 8;     // beyond it, blocks share one buffer for dB and dC
constexpr int kCarryThreads = 256;
constexpr int kCarried = 16;  // chunks that one thread of scan_carry takes at a time

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int tile_pass(int states) { return 4 << pass_index(states); }

unsigned rows_shared(int warps, int states) {
  const int pass = tile_pass(states);
  const int passes = static_cast<int>(divide_up(states, pass));
  const int area = kRowsChannels * 36;
  const int warp = (passes > 1 ? 6 * area + passes * 128 : 4 * area) + 4 * kRowsChannels;
  return 4u * static_cast<unsigned>(4 * pass * 36 + warps * warp);
}

unsigned split_shared(int warps, int time_warps, int states) {
  const int pass = kSplitPass;
  const int pitch = kSplitTile + 4;
  const int padded = static_cast<int>(divide_up(states, pass)) * pass;
  const int exchange = 10 * pitch;
  return 4u * static_cast<unsigned>(4 * warps * pass + (warps + 3) / 4 * 4 +
                                    time_warps * 2 * pass * pitch +
                                    warps * ((2 * padded + exchange + 12 + 3) / 4 * 4));
}

unsigned backward_shared(int warps, int time_warps, int channels, const ScanShape& shape) {
  const int pass = kSplitPass;
  const int stretches = 4;
  const int pitch = kSplitTile + 4;
  const int padded = static_cast<int>(divide_up(shape.states, pass)) * pass;
  const int step_sums = 1 + !shape.variable_B + !shape.variable_C;
  const int bases = 2 * 10 + 2 * 4;
  const int warp = bases + 7 * channels * pitch + 8 * pitch + 3 * channels * padded +
                   channels * padded * stretches * step_sums + 2 * channels * 32;
  const int block = 4 * warps * pass + 2 * time_warps * pass * pitch + warps * pass * pitch;
  return 4u * static_cast<unsigned>(block + warps * ((warp + 3) / 4 * 4));
}

unsigned gradient_shared(int states) {
  const int pass = tile_pass(states);
  const int passes = static_cast<int>(divide_up(states, pass));
  const int area = kGradientChannels * kTilePitch;
  const int kept = (pass == 16 ? 8 : 4) * kLanes + 4;
  const int shares = kGradientChannels * 4 + 8;
  const int earlier = passes > 1 ? 2 * kGradientChannels * kTileSteps : 0;
  const int warp = 5 * area + 8 * kept + 8 * shares + earlier;
  return 4u * static_cast<unsigned>(kBaseFloats + 2 * pass * kTilePitch + kGradientWarps * warp);
}

// Whole tiles of `steps`, and B and C alike for all channels of a group.
bool whole(const ScanShape& shape, int64_t steps) {
  return shape.variable_B && shape.variable_C && shape.delta_ratio == 1 && shape.aligned &&
         shape.length % steps == 0;
}

int lanes_channels(const LanesLayout& layout) {
  return kLanes / layout.state_lanes * layout.lane_channels;
}

// The kernel of scan_lanes.cu with the fewest states that holds them all.
LanesKind lanes_kind(int states) {
  return states <= 8    ? LanesKind::k8
         : states <= 16 ? LanesKind::k16
         : states <= 32 ? LanesKind::k32
         : states <= 64 ? LanesKind::k64
                        : LanesKind::k128;
}

// More than 16 states in one walk by scan_lanes.cu, which others need several for: measured better
// from half a warp a scheduler on.
bool one_walk(const ScanShape& shape) {
  if (shape.states <= kSplitPass || shape.states > kLanesMostStates) return false;
  const int64_t channels = shape.dim / shape.groups;
  if (!whole(shape, kTileSteps) || !shape.near_rows || channels < kRowsChannels) return false;
  const LanesLayout& layout = kLanesLayouts[static_cast<int>(lanes_kind(shape.states))];
  const int64_t warps = shape.batch * shape.groups * divide_up(channels, lanes_channels(layout));
  return 2 * warps >= int64_t{kSchedulers} * shape.multiprocessors;
}

// Warps of a block of scan_steps.cu, or 0: too many channels, or tiles would not be whole.
int steps_warps(const ScanShape& shape) {
  if (shape.batch * shape.dim > int64_t{kStepsPerProcessor} * shape.multiprocessors) return 0;
  if (shape.states < kStepsLeastStates || one_walk(shape)) return 0;
  int warps = kStepsWarps;
  while (warps > 1 && kLanes * kStepsOwn * warps > shape.length) warps /= 2;
  return whole(shape, kLanes * kStepsOwn * warps) ? warps : 0;
}

unsigned steps_shared(int warps, int states) {
  const int threads = kLanes * warps;
  return 4u * static_cast<unsigned>(2 * kSplitPass * (threads + threads / 16) + 3 * states);
}

// Tiles for the backward direction: what can be taken in tiles of 32 steps side by side.
bool tiles_can(const ScanShape& shape) {
  return shape.variable_B && shape.variable_C && shape.delta_ratio == 1 && shape.near_rows &&
         gradient_shared(shape.states) <= kMostShared &&
         shape.length < (int64_t{1} << 30) - kTileSteps;
}

ScanBackwardPlan plan_tiles(const ScanShape& shape, bool deterministic) {
  ScanBackwardPlan plan;
  plan.kernel = ScanKernel::kTiles;
  plan.warps = kGradientWarps;
  plan.channels_per_warp = kGradientChannels;
  plan.group_blocks =
      static_cast<int>(divide_up(shape.dim / shape.groups, kGradientWarps * kGradientChannels));
  plan.grid_x = static_cast<unsigned>(plan.group_blocks * shape.groups);
  plan.shared_bytes = gradient_shared(shape.states);
  ChunkPlan& chunks = plan.chunks;
  chunks.steps = kTileSteps;
  chunks.count = static_cast<int>(divide_up(shape.length, kTileSteps));
  // Two rounds of blocks where there is enough to do, so that a late block costs half a round.
  const int64_t blocks = std::max<int64_t>(1, plan.grid_x * shape.batch);
  const int64_t wanted = int64_t{2} * kGradientBlocks * std::max(1, shape.multiprocessors);
  // Measured: a block a channel's whole length where blocks fill five eighths of the GPU.
  plan.sequential = lanes_can(shape) && chunks.count > 1 &&
                    8 * blocks >= int64_t{5} * kGradientBlocks * shape.multiprocessors;
  const int64_t runs =
      plan.sequential ? 1 : std::clamp<int64_t>(divide_up(wanted, blocks), 1, chunks.count);
  chunks.run = static_cast<int>(divide_up(chunks.count, runs));
  chunks.runs = static_cast<int>(divide_up(chunks.count, chunks.run));
  // Measured: adding into one buffer is not slower than reading back what many would hold.
  plan.slots = deterministic || plan.group_blocks <= kOwnSlots ? plan.group_blocks : 1;
  plan.atomic = plan.slots < plan.group_blocks;
  return plan;
}

}  // namespace

bool lanes_can(const ScanShape& shape) {
  return whole(shape, kTileSteps) && lanes_kind(shape.states) == LanesKind::k16 &&
         shape.dim / shape.groups >= kRowsChannels;
}

LanesPlan plan_lanes(const ScanShape& shape, LanesKind kind, bool outputs) {
  const LanesLayout& layout = kLanesLayouts[static_cast<int>(kind)];
  const int pitch = layout.tile + 4;
  const int apart = kLanes / layout.state_lanes;
  const int area = lanes_channels(layout) * pitch + (apart >= 8 ? 16 : 0);
  const int areas = outputs ? 2 + layout.state_lanes : 2;
  const int factor_rows = (outputs ? 2 : 1) * layout.state_lanes * layout.lane_states;
  LanesPlan plan;
  plan.warps = layout.warps;
  plan.grid_x = static_cast<unsigned>(
      shape.groups * divide_up(shape.dim / shape.groups, lanes_channels(layout) * plan.warps));
  plan.shared_bytes =
      4u * static_cast<unsigned>(layout.buffers * factor_rows * pitch + plan.warps * areas * area);
  return plan;
}

EndsPlan plan_ends(const ScanShape& shape, const ChunkPlan& chunks, bool adjoint) {
  EndsPlan plan;
  const int pass = tile_pass(shape.states);
  plan.passes = static_cast<int>(divide_up(shape.states, pass));
  plan.warps = adjoint ? kGradientWarps : kEndsWarps;
  const int channels = adjoint ? kGradientChannels : kEndsChannels;  // of a warp
  plan.grid_x = static_cast<unsigned>(shape.groups *
                                      divide_up(shape.dim / shape.groups, plan.warps * channels));
  plan.shared_bytes =
      4u * static_cast<unsigned>(
               adjoint
                   ? kBaseFloats + 2 * pass * kTilePitch + plan.warps * 3 * channels * kTilePitch
                   : 2 * pass * kTilePitch + plan.warps * channels * (2 * kTilePitch + 1));
  while (plan.segments < 16 && plan.segments * kCarried < chunks.count) plan.segments *= 2;
  const int lanes = shape.states <= 8 ? 8 : 16;
  plan.carry_grid = static_cast<unsigned>(
      divide_up(shape.batch * shape.dim, kCarryThreads / (lanes * plan.segments)));
  plan.carry_shared_bytes = 4u * (32 + kCarryThreads);
  return plan;
}

int pass_index(int states) { return states <= 4 ? 0 : states <= 8 ? 1 : 2; }

ScanPlan plan_forward(const ScanShape& shape) {
  if (single_can(shape)) return plan_single(shape);
  const int64_t group_channels = shape.dim / shape.groups;
  const int64_t group_warps = divide_up(group_channels, kRowsChannels);
  const int64_t schedulers = static_cast<int64_t>(shape.multiprocessors) * kSchedulers;
  if (const int steps = steps_warps(shape)) {
    ScanPlan plan;
    plan.kernel = ScanKernel::kSteps;
    plan.warps = steps;
    plan.grid_x = static_cast<unsigned>(shape.dim);
    plan.shared_bytes = steps_shared(steps, shape.states);
    return plan;
  }
  const bool rows_can = shape.variable_B && shape.variable_C && shape.delta_ratio == 1 &&
                        shape.near_rows && shape.states <= kRowsMaxStates &&
                        group_channels >= kRowsChannels;
  if (!rows_can) return plan_states(shape, false);
  ScanPlan plan;
  plan.kernel = ScanKernel::kRows;
  plan.warps = group_warps >= 8 && rows_shared(8, shape.states) <= kFreeShared ? 8
               : group_warps >= 3                                              ? 4
               : group_warps >= 2                                              ? 2
                                                                               : 1;
  plan.grid_x = static_cast<unsigned>(shape.groups * divide_up(group_warps, plan.warps));
  plan.shared_bytes = rows_shared(plan.warps, shape.states);
  int64_t warp_channels = kRowsChannels;
  const auto take_lanes = [&](LanesKind kind) {
    const LanesPlan lanes = plan_lanes(shape, kind, true);
    warp_channels = lanes_channels(kLanesLayouts[static_cast<int>(kind)]);
    plan.kernel = ScanKernel::kLanes;
    plan.lanes = kind;
    plan.warps = lanes.warps;
    plan.grid_x = lanes.grid_x;
    plan.shared_bytes = lanes.shared_bytes;
  };
  const auto warps_of = [&](int64_t channels) {
    return shape.batch * shape.groups * divide_up(group_channels, channels);
  };
  if (whole(shape, kTileSteps) && shape.states >= kLanesLeastStates &&
      shape.states <= kLanesMostStates) {
    take_lanes(lanes_kind(shape.states));
  }
  ChunkPlan& chunks = plan.chunks;
  const int64_t warps = warps_of(warp_channels);
  if (warps >= kRowsPerScheduler * schedulers || one_walk(shape)) return plan;
  if (plan.kernel == ScanKernel::kLanes && plan.lanes == LanesKind::k16) {
    const LanesLayout& wide = kLanesLayouts[static_cast<int>(LanesKind::k16Wide)];
    if (2 * warps_of(lanes_channels(wide)) >= kWideWarpsHalves * schedulers) {
      take_lanes(LanesKind::k16Wide);
      return plan;
    }
  }
  // Measured: three walks in a row are not worth their starts.
  if (shape.length <= kShortChunked && warps < schedulers) return plan_states(shape, false);
  // Rounds of blocks times the steps of each: the chunk length with the least. Beyond one state in
  // x, chunks must end where x has its states.
  const int64_t blocks = plan.grid_x * shape.batch;
  const int64_t resident = static_cast<int64_t>(shape.multiprocessors) * kRowsResident / plan.warps;
  const auto cost = [&](int64_t steps) {
    const int64_t rounds = divide_up(blocks * divide_up(shape.length, steps), resident);
    return rounds * (std::min(steps, shape.length) + kChunkSetup);
  };
  const int64_t whole = divide_up(shape.length, kTileSteps) * kTileSteps;
  int64_t best = whole;
  int64_t least = cost(whole) * kUncutTenths / 10;
  for (int64_t steps = kLeastChunk; steps < std::min<int64_t>(whole, kScanChunk + 1);
       steps += kTileSteps) {
    if (shape.length > kScanChunk && kScanChunk % steps != 0) continue;
    if (cost(steps) < least) {
      least = cost(steps);
      best = steps;
    }
  }
  if (best == whole) return plan;
  chunks.steps = static_cast<int>(best);
  chunks.count = static_cast<int>(divide_up(shape.length, chunks.steps));
  chunks.runs = chunks.count;
  chunks.carried = chunks.count > kMostEnds;
  return plan;
}

ScanPlan plan_states(const ScanShape& shape, bool chunked) {
  ScanPlan plan;
  const int64_t chunks = chunked ? divide_up(shape.length, kScanChunk) : 1;
  const int64_t group_channels = shape.dim / shape.groups;
  const int64_t schedulers = static_cast<int64_t>(shape.multiprocessors) * kSchedulers;
  plan.tile = kSplitTile;
  plan.warps = kSplitWarps;
  const int64_t length = chunked ? std::min<int64_t>(shape.length, kScanChunk) : shape.length;
  const auto fits = [&](int time_warps) {
    return split_shared(plan.warps, time_warps, shape.states) <= kMostShared;
  };
  while (plan.time_warps < kSplitWarps && plan.tile * plan.time_warps < length &&
         fits(2 * plan.time_warps) &&
         shape.batch * shape.dim * chunks * plan.time_warps * 2 <=
             kSplitPerScheduler * schedulers) {
    plan.time_warps *= 2;
  }
  const int channel_warps = plan.warps / plan.time_warps;
  plan.grid_x = static_cast<unsigned>(shape.groups * divide_up(group_channels, channel_warps));
  plan.shared_bytes = split_shared(plan.warps, plan.time_warps, shape.states);
  return plan;
}

ScanBackwardPlan plan_backward(const ScanShape& shape, bool deterministic) {
  if (single_can(shape)) return plan_single_backward(shape);
  if (tiles_can(shape)) return plan_tiles(shape, deterministic);
  ScanBackwardPlan plan;
  plan.tile = kSplitTile;
  plan.warps = kBackwardWarps;
  const int64_t group_channels = shape.dim / shape.groups;
  const int64_t channels = shape.batch * shape.dim;
  // About three warps a scheduler are resident; fewer channels than that are spread over warps in
  // time, more are taken several to a warp, so that more of dB and dC is summed before it leaves.
  const int64_t resident = static_cast<int64_t>(shape.multiprocessors) * kSchedulers * 3;
  while (plan.warps > 1 && backward_shared(plan.warps, 1, 1, shape) > kMostShared) {
    plan.warps /= 2;
  }
  while (plan.time_warps < plan.warps && channels * plan.time_warps * 2 <= resident &&
         backward_shared(plan.warps, 2 * plan.time_warps, 1, shape) <= kMostShared &&
         plan.tile * plan.time_warps < shape.length) {
    plan.time_warps *= 2;
  }
  while (plan.channels_per_warp < 4 && plan.time_warps == 1 && shape.near_rows &&
         channels >= resident * plan.channels_per_warp * 2 &&
         group_channels > plan.warps * plan.channels_per_warp &&
         backward_shared(plan.warps, 1, plan.channels_per_warp * 2, shape) <= kBackwardShared) {
    plan.channels_per_warp *= 2;
  }
  const int64_t block_channels =
      static_cast<int64_t>(plan.warps) / plan.time_warps * plan.channels_per_warp;
  plan.group_blocks = static_cast<int>(divide_up(group_channels, block_channels));
  plan.grid_x = static_cast<unsigned>(plan.group_blocks * shape.groups);
  plan.shared_bytes = backward_shared(plan.warps, plan.time_warps, plan.channels_per_warp, shape);
  plan.slots = plan.group_blocks;
  if (!deterministic && plan.slots > kMostSlots) {
    plan.slots = 1;
    plan.atomic = true;
  }
  return plan;
}

}  // namespace ssm
