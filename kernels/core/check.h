// Argument checks shared by the launchers: each names the tensor, the rule and the value found.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "ssm_kernels.h"

namespace ssm {

inline bool present(const ssm_tensor& tensor) { return tensor.data != nullptr; }
const char* dtype_name(int dtype);
int64_t dtype_bytes(int dtype);
inline bool is_real_float(int dtype) { return dtype >= SSM_FLOAT32 && dtype <= SSM_BFLOAT16; }

// One named tensor with what it must be. A size of -1 is not checked.
struct Expected {
  const char* name;
  const ssm_tensor* tensor;
  int dtype;  // -1: any of float32, float16, bfloat16
  int rank;
  int64_t size[SSM_MAX_RANK];
  bool optional;
};

// Checks presence, device, dtype, rank and sizes; an absent optional tensor passes.
ssm_status check_tensor(const Expected& expected, int device);

#define SSM_TRY(expression)                                \
  do {                                                     \
    const ssm_status ssm_try_status_ = (expression);       \
    if (ssm_try_status_ != SSM_OK) return ssm_try_status_; \
  } while (0)

}  // namespace ssm
