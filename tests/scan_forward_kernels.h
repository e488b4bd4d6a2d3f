// The forward scan's kernels as functions of the CPU, and which of them a plan and a type name.
#pragma once

#include "scan_buffers.h"

extern "C" {
#define SSM_TYPES(name, Parameters) \
  void name##_f32(Parameters);      \
  void name##_f16(Parameters);      \
  void name##_bf16(Parameters)
SSM_TYPES(scan_lanes8, ssm::ScanParams);
SSM_TYPES(scan_lanes16, ssm::ScanParams);
SSM_TYPES(scan_lanes16_wide, ssm::ScanParams);
SSM_TYPES(scan_lanes32, ssm::ScanParams);
SSM_TYPES(scan_lanes64, ssm::ScanParams);
SSM_TYPES(scan_lanes128, ssm::ScanParams);
SSM_TYPES(scan_lanes_ends16, ssm::ScanParams);
SSM_TYPES(scan_steps, ssm::ScanParams);
SSM_TYPES(scan_rows4, ssm::ScanParams);
SSM_TYPES(scan_rows8, ssm::ScanParams);
SSM_TYPES(scan_rows16, ssm::ScanParams);
SSM_TYPES(scan_split, ssm::ScanParams);
SSM_TYPES(scan_single, ssm::ScanParams);
SSM_TYPES(scan_ends4, ssm::ScanEndsParams);
SSM_TYPES(scan_ends8, ssm::ScanEndsParams);
SSM_TYPES(scan_ends16, ssm::ScanEndsParams);
#undef SSM_TYPES
void scan_carry(ssm::ScanEndsParams);
}

namespace ssm {

template <typename T, typename Function>
Function* of_type(Function* f32, Function* f16, Function* bf16) {
  return std::is_same_v<T, float> ? f32 : std::is_same_v<T, F16> ? f16 : bf16;
}
#define SSM_OF_TYPE(name) of_type<T>(&name##_f32, &name##_f16, &name##_bf16)

template <typename T>
void (*pick(const ScanPlan& plan, int states))(ScanParams) {
  void (*const rows[])(ScanParams) = {SSM_OF_TYPE(scan_rows4), SSM_OF_TYPE(scan_rows8),
                                      SSM_OF_TYPE(scan_rows16)};
  void (*const lanes[])(ScanParams) = {SSM_OF_TYPE(scan_lanes8),       SSM_OF_TYPE(scan_lanes16),
                                       SSM_OF_TYPE(scan_lanes16_wide), SSM_OF_TYPE(scan_lanes32),
                                       SSM_OF_TYPE(scan_lanes64),      SSM_OF_TYPE(scan_lanes128)};
  switch (plan.kernel) {
    case ScanKernel::kLanes:
      return lanes[static_cast<int>(plan.lanes)];
    case ScanKernel::kSteps:
      return SSM_OF_TYPE(scan_steps);
    case ScanKernel::kRows:
      return rows[pass_index(states)];
    case ScanKernel::kSplit:
      return SSM_OF_TYPE(scan_split);
    default:
      return SSM_OF_TYPE(scan_single);
  }
}

template <typename T>
void (*pick_lanes_ends())(ScanParams) {
  return SSM_OF_TYPE(scan_lanes_ends16);
}

template <typename T>
void (*pick_ends(int states))(ScanEndsParams) {
  void (*const ends[])(ScanEndsParams) = {SSM_OF_TYPE(scan_ends4), SSM_OF_TYPE(scan_ends8),
                                          SSM_OF_TYPE(scan_ends16)};
  return ends[pass_index(states)];
}
#undef SSM_OF_TYPE

}  // namespace ssm
