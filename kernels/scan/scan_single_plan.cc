// The grids of scan_single.cu and scan_single_backward.cu.
#include <algorithm>

#include "scan/scan_plan.h"

namespace ssm {
namespace {

constexpr int kLanes = 32;
constexpr int kRun = 8;  // scan_single.cuh, like the three that follow
constexpr int kTile = kLanes * kRun;
constexpr int kLeastSegmentBits = 2;
constexpr int kMostSegmentBits = 5;
constexpr int kArea = 2 * kTile;
constexpr int kBlockWarps = 4;         // where a team needs no more
constexpr int kForwardTimeWarps = 12;  // of a block, at most; 80 registers a thread
constexpr int kForwardResident = 24;   // warps of a multiprocessor
constexpr int kMostTimeWarps = 16;     // the same of the backward direction; 128 registers
constexpr int kBackwardResident = 16;
constexpr int kMostRounds = 16;
constexpr int kCarriedSteps = kScanChunk;  // a tile of the backward direction where one is not all

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Layout {
  ScanTeams teams;
  int warps = 1, group_blocks = 1;
};

// Teams of `time_warps` warps or of a segment; then as many rounds of channels to a block as cost
// the least: blocks that follow one another, times what each does.
Layout lay_out(const ScanShape& shape, int time_warps, int resident, int block_cost) {
  Layout layout;
  ScanTeams& way = layout.teams;
  way = {};
  way.time_warps = time_warps;
  way.segment_bits = kMostSegmentBits;
  if (shape.length <= kTile / 2) {
    way.segment_bits = kLeastSegmentBits;
    while ((int64_t{kRun} << way.segment_bits) < shape.length) ++way.segment_bits;
  }
  while (kBlockWarps >= time_warps * (2 << way.channel_bits)) ++way.channel_bits;
  layout.warps = time_warps << way.channel_bits;
  const int64_t teams = int64_t{1} << (way.channel_bits + kMostSegmentBits - way.segment_bits);
  const int64_t group_channels = std::max<int64_t>(1, shape.dim / shape.groups);
  way.group_channels = static_cast<int>(group_channels);
  const int64_t at_once =
      std::max<int64_t>(1, int64_t{shape.multiprocessors} * (resident / layout.warps));
  int64_t least = -1;
  for (int64_t rounds = 1; rounds <= kMostRounds; ++rounds) {
    const int64_t blocks = divide_up(group_channels, teams * rounds);
    const int64_t cost = divide_up(blocks * shape.groups * shape.batch, at_once) *
                         (divide_up(group_channels, blocks * teams) + block_cost);
    if (least < 0 || cost < least) {
      least = cost;
      layout.group_blocks = static_cast<int>(blocks);
    }
  }
  way.rounds = static_cast<int>(divide_up(group_channels, layout.group_blocks * teams));
  return layout;
}

unsigned shared_bytes(const Layout& layout, int pair_floats, int carried_floats) {
  const ScanTeams& way = layout.teams;
  const int teams = 1 << (way.channel_bits + kMostSegmentBits - way.segment_bits);
  return 4u * static_cast<unsigned>(2 * layout.warps * pair_floats + layout.warps * kArea +
                                    2 * way.rounds * teams * carried_floats);
}

}  // namespace

bool single_can(const ScanShape& shape) {
  return shape.states == 1 && shape.variable_B && shape.variable_C && shape.groups <= kMaxGridY;
}

ScanPlan plan_single(const ScanShape& shape) {
  const int64_t tiles = std::max<int64_t>(1, divide_up(shape.length, kTile));
  const int64_t wanted = int64_t{shape.multiprocessors} * kForwardResident;
  const int64_t most = std::clamp<int64_t>(wanted / std::max<int64_t>(1, shape.batch * shape.dim),
                                           1, std::min<int64_t>(tiles, kForwardTimeWarps));
  // As few warps as take no more turns.
  const int64_t time_warps = divide_up(tiles, divide_up(tiles, most));
  const Layout layout = lay_out(shape, static_cast<int>(time_warps), kForwardResident, 1);
  ScanPlan plan;
  plan.kernel = ScanKernel::kSingle;
  plan.warps = layout.warps;
  plan.teams = layout.teams;
  plan.time_warps = layout.teams.time_warps;
  plan.grid_x = static_cast<unsigned>(layout.group_blocks);
  plan.grid_z = static_cast<unsigned>(shape.groups);
  plan.shared_bytes = shared_bytes(layout, 2, 2);
  return plan;
}

ScanBackwardPlan plan_single_backward(const ScanShape& shape) {
  const int64_t tiles = std::max<int64_t>(1, divide_up(shape.length, kTile));
  const int time_warps = tiles <= kMostTimeWarps ? static_cast<int>(tiles) : kCarriedSteps / kTile;
  const Layout layout = lay_out(shape, time_warps, kBackwardResident, 2);
  ScanBackwardPlan plan;
  plan.kernel = ScanKernel::kSingle;
  plan.warps = layout.warps;
  plan.teams = layout.teams;
  plan.time_warps = layout.teams.time_warps;
  plan.group_blocks = layout.group_blocks;
  plan.grid_x = static_cast<unsigned>(layout.group_blocks);
  plan.grid_z = static_cast<unsigned>(shape.groups);
  plan.shared_bytes = shared_bytes(layout, 4, 1);
  plan.slots = layout.group_blocks;
  plan.tile = kTile;
  plan.needs_states = tiles > kMostTimeWarps;
  return plan;
}

}  // namespace ssm
