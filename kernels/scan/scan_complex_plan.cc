#include "scan/scan_complex_plan.h"

namespace ssm {
namespace {

constexpr int kForwardWarps = 4;
constexpr int kBackwardWarps = 8;
constexpr unsigned kFreeShared = 48 * 1024;  // no driver attribute needed up to here
constexpr int kMostSlots = 4;  // beyond it, atomics move fewer bytes than one buffer a block
constexpr unsigned kComplexBytes = 8;

unsigned backward_shared(int warps, int states) {
  const unsigned exchange = 2 * 2 * kComplexTileSteps * kComplexBytes;  // twice dB and dC
  return static_cast<unsigned>(warps) *
         (exchange + 4 * static_cast<unsigned>(states) * kComplexBytes);
}

unsigned divide_up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

}  // namespace

ComplexPlan plan_complex_forward(const ScanShape& shape, bool chunked) {
  ComplexPlan plan;
  plan.warps = kForwardWarps;
  plan.grid_x = divide_up(shape.dim, plan.warps);
  if (chunked) plan.grid_z = divide_up(shape.length, kScanChunk);
  plan.shared_bytes = static_cast<unsigned>(plan.warps * shape.states) * 2 * kComplexBytes;
  return plan;
}

ComplexPlan plan_complex_backward(const ScanShape& shape, bool deterministic) {
  ComplexPlan plan;
  const int64_t group_channels = shape.dim / shape.groups;
  plan.warps = kBackwardWarps;
  while (plan.warps > 1 && (plan.warps / 2 >= group_channels ||
                            backward_shared(plan.warps, shape.states) > kFreeShared)) {
    plan.warps /= 2;
  }
  const unsigned group_blocks = divide_up(group_channels, plan.warps);
  plan.grid_x = group_blocks * static_cast<unsigned>(shape.groups);
  plan.shared_bytes = backward_shared(plan.warps, shape.states);
  plan.slots = static_cast<int>(group_blocks);
  if (!deterministic && plan.slots > kMostSlots) {
    plan.slots = 1;
    plan.atomic = true;
  }
  return plan;
}

}  // namespace ssm
