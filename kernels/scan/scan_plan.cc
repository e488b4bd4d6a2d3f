#include "scan/scan_plan.h"

#include <algorithm>

namespace ssm {
namespace {

constexpr int kSchedulers = 4;    // of a multiprocessor, in every architecture served
constexpr int kRowsChannels = 8;  // channels of a warp in scan_rows.cu
constexpr int kRowsPass = 16;     // states of a pass, rows and split
constexpr int kRowsMaxStates = 128;
constexpr int kNarrowStates = 4;
constexpr int kSplitWarps = 8;
constexpr int kSplitPerScheduler = 4;  // warps that fit beside one another
constexpr int kBackwardWarps = 4;
constexpr unsigned kBackwardShared = 56 * 1024;  // lets several blocks share a multiprocessor
constexpr unsigned kMostShared = 64 * 1024;      // of a block on sm_75, the least of those served
constexpr int kMostSlots = 4;  // beyond it, atomics move fewer bytes than one buffer a block
constexpr unsigned kFreeShared = 48 * 1024;  // no driver attribute needed up to here

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

unsigned rows_shared(int warps, int states) {
  const int passes = static_cast<int>(divide_up(states, kRowsPass));
  const int area = kRowsChannels * 36;
  const int warp = (passes > 1 ? 6 * area + passes * 128 : 4 * area) + 4 * kRowsChannels;
  return 4u * static_cast<unsigned>(4 * kRowsPass * 36 + warps * warp);
}

unsigned split_shared(int warps, int time_warps, int states, bool narrow) {
  const int pass = narrow ? 1 : kRowsPass;
  const int pitch = (narrow ? 128 : 32) + 4;
  const int padded = static_cast<int>(divide_up(states, pass)) * pass;
  const int exchange = narrow ? 0 : 10 * pitch;
  return 4u * static_cast<unsigned>(4 * warps * pass + (warps + 3) / 4 * 4 +
                                    time_warps * 2 * pass * pitch +
                                    warps * ((2 * padded + exchange + 12 + 3) / 4 * 4));
}

unsigned backward_shared(int warps, int time_warps, int channels, const ScanShape& shape,
                         bool narrow) {
  const int pass = narrow ? 1 : kRowsPass;
  const int stretches = narrow ? 32 : 4;
  const int pitch = (narrow ? 128 : 32) + 4;
  const int padded = static_cast<int>(divide_up(shape.states, pass)) * pass;
  const int step_sums = 1 + !shape.variable_B + !shape.variable_C;
  const int bases = 2 * 10 + 2 * 4;
  const int warp = bases + 7 * channels * pitch + (narrow ? 0 : 8 * pitch) + 3 * channels * padded +
                   channels * padded * stretches * step_sums + 2 * channels * 32;
  const int block = 4 * warps * pass + 2 * time_warps * pass * pitch + warps * pass * pitch;
  return 4u * static_cast<unsigned>(block + warps * ((warp + 3) / 4 * 4));
}

}  // namespace

ScanPlan plan_forward(const ScanShape& shape, bool chunked) {
  ScanPlan plan;
  const int64_t chunks = chunked ? divide_up(shape.length, kScanChunk) : 1;
  const int64_t group_channels = shape.dim / shape.groups;
  const int64_t schedulers = static_cast<int64_t>(shape.multiprocessors) * kSchedulers;
  const int64_t rows_warps =
      shape.batch * shape.groups * divide_up(group_channels, kRowsChannels) * chunks;
  const bool rows_can = !shape.complex && shape.variable_B && shape.variable_C &&
                        shape.delta_ratio == 1 && shape.near_rows && shape.states > kNarrowStates &&
                        shape.states <= kRowsMaxStates;
  if (rows_can && rows_warps >= 2 * schedulers && group_channels >= 4 * kRowsChannels) {
    plan.kernel = ScanKernel::kRows;
    plan.warps =
        group_channels >= 8 * kRowsChannels && rows_shared(8, shape.states) <= kFreeShared ? 8 : 4;
    plan.grid_x =
        static_cast<unsigned>(shape.groups * divide_up(group_channels, plan.warps * kRowsChannels));
    plan.shared_bytes = rows_shared(plan.warps, shape.states);
    return plan;
  }
  const bool narrow = !shape.complex && shape.states <= kNarrowStates;
  plan.kernel = shape.complex ? ScanKernel::kComplex
                : narrow      ? ScanKernel::kNarrow
                              : ScanKernel::kSplit;
  plan.tile = narrow ? 128 : 32;
  plan.warps = kSplitWarps;
  const int64_t length = chunked ? std::min<int64_t>(shape.length, kScanChunk) : shape.length;
  const auto fits = [&](int time_warps) {
    return split_shared(plan.warps, time_warps, shape.states, narrow) <= kMostShared;
  };
  while (plan.time_warps < kSplitWarps && plan.tile * plan.time_warps < length &&
         fits(2 * plan.time_warps) &&
         shape.batch * shape.dim * chunks * plan.time_warps * 2 <=
             kSplitPerScheduler * schedulers) {
    plan.time_warps *= 2;
  }
  const int channel_warps = plan.warps / plan.time_warps;
  plan.grid_x = static_cast<unsigned>(shape.groups * divide_up(group_channels, channel_warps));
  plan.shared_bytes = split_shared(plan.warps, plan.time_warps, shape.states, narrow);
  return plan;
}

ScanBackwardPlan plan_backward(const ScanShape& shape, bool deterministic) {
  ScanBackwardPlan plan;
  const bool narrow = shape.states <= kNarrowStates;
  plan.kernel = narrow ? ScanKernel::kNarrow : ScanKernel::kSplit;
  plan.tile = narrow ? 128 : 32;
  plan.warps = kBackwardWarps;
  const int64_t group_channels = shape.dim / shape.groups;
  const int64_t channels = shape.batch * shape.dim;
  // About three warps a scheduler are resident; fewer channels than that are spread over warps in
  // time, more are taken several to a warp, so that more of dB and dC is summed before it leaves.
  const int64_t resident = static_cast<int64_t>(shape.multiprocessors) * kSchedulers * 3;
  while (plan.warps > 1 && backward_shared(plan.warps, 1, 1, shape, narrow) > kMostShared) {
    plan.warps /= 2;
  }
  while (plan.time_warps < plan.warps && channels * plan.time_warps * 2 <= resident &&
         backward_shared(plan.warps, 2 * plan.time_warps, 1, shape, narrow) <= kMostShared &&
         plan.tile * plan.time_warps < shape.length) {
    plan.time_warps *= 2;
  }
  while (plan.channels_per_warp < 4 && plan.time_warps == 1 && shape.near_rows &&
         channels >= resident * plan.channels_per_warp * 2 &&
         group_channels > plan.warps * plan.channels_per_warp &&
         backward_shared(plan.warps, 1, plan.channels_per_warp * 2, shape, narrow) <=
             kBackwardShared) {
    plan.channels_per_warp *= 2;
  }
  const int64_t block_channels =
      static_cast<int64_t>(plan.warps) / plan.time_warps * plan.channels_per_warp;
  plan.group_blocks = static_cast<int>(divide_up(group_channels, block_channels));
  plan.grid_x = static_cast<unsigned>(plan.group_blocks * shape.groups);
  plan.shared_bytes =
      backward_shared(plan.warps, plan.time_warps, plan.channels_per_warp, shape, narrow);
  plan.slots = plan.group_blocks;
  if (!deterministic && plan.slots > kMostSlots) {
    plan.slots = 1;
    plan.atomic = true;
  }
  return plan;
}

}  // namespace ssm
