#include "scan/scan_plan.h"

#include <algorithm>

namespace ssm {
namespace {

constexpr int kSchedulers = 4;    // of a multiprocessor, in every architecture served
constexpr int kRowsChannels = 8;  // channels of a warp in scan_rows.cu
constexpr int kRowsPass = 16;     // states of a pass, rows and split
constexpr int kRowsMaxStates = 128;
constexpr int kNarrowStates = 4;
constexpr unsigned kFreeShared = 48 * 1024;  // no driver attribute needed up to here

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

unsigned rows_shared(int warps, int states) {
  const int passes = static_cast<int>(divide_up(states, kRowsPass));
  const int factors = 4 * kRowsPass * 36;
  const int warp = 3 * kRowsChannels * 36 + 2 * kRowsChannels + (passes > 1 ? passes * 128 : 0);
  return 4u * static_cast<unsigned>(factors + warps * warp);
}

unsigned split_shared(int warps, int states, bool narrow) {
  const int pass = narrow ? 1 : kRowsPass;
  const int padded = static_cast<int>(divide_up(states, pass)) * pass;
  const int exchange = narrow ? 0 : 10 * 36;
  return 4u * static_cast<unsigned>(4 * warps * pass + warps * (2 * padded + exchange));
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
  const int64_t length = chunked ? std::min<int64_t>(shape.length, kScanChunk) : shape.length;
  while (plan.time_warps < 16 &&
         shape.batch * shape.dim * chunks * plan.time_warps < 2 * schedulers &&
         plan.tile * plan.time_warps < length) {
    plan.time_warps *= 2;
  }
  plan.warps = std::max(plan.time_warps, 4);
  plan.grid_x = static_cast<unsigned>(divide_up(shape.dim, plan.warps / plan.time_warps));
  plan.shared_bytes = split_shared(plan.warps, shape.states, narrow);
  return plan;
}

}  // namespace ssm
