// Argument rules that forward, backward and update share.
#pragma once

#include <cstdint>

#include "core/check.h"
#include "ssm_kernels.h"

namespace ssm {

// x (B, D, L), weight (D, W with W 2 to 4) and bias (D): types, shapes, device.
ssm_status check_input(const ssm_tensor& x, const ssm_tensor& weight, const ssm_tensor& bias,
                       int device);
// seq_idx (B, L) and a state tensor (B, D, W - 1) of x's type, both optional.
ssm_status check_seq_idx(const ssm_tensor& seq_idx, const ssm_tensor& x);
ssm_status check_states(const char* name, const ssm_tensor& states, const ssm_tensor& x,
                        const ssm_tensor& weight);

inline bool is_empty(const ssm_tensor& x) {
  return x.size[0] == 0 || x.size[1] == 0 || x.size[2] == 0;
}

inline void copy_strides(const ssm_tensor& tensor, long long* out) {
  for (int i = 0; i < tensor.rank; ++i) out[i] = tensor.stride[i];
}

}  // namespace ssm
