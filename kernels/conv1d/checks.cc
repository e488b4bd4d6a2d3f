#include "conv1d/checks.h"

namespace ssm {

ssm_status check_input(const ssm_tensor& x, const ssm_tensor& weight, const ssm_tensor& bias,
                       int device) {
  SSM_TRY(check_tensor({"x", &x, -1, 3, {-1, -1, -1}, false}, device));
  // Positions are 32-bit in the kernels; addresses are 64-bit, so the tensor may be larger.
  constexpr int64_t kMostPositions = (int64_t{1} << 31) - 65536;
  for (int i = 0; i < 3; ++i) {
    if (x.size[i] > kMostPositions) {
      return fail(SSM_INVALID_ARGUMENT, "x: size(%d) is %lld, expected at most %lld", i,
                  static_cast<long long>(x.size[i]), static_cast<long long>(kMostPositions));
    }
  }
  SSM_TRY(check_tensor({"weight", &weight, -1, 2, {x.size[1], -1}, false}, device));
  if (weight.size[1] < 2 || weight.size[1] > 4) {
    return fail(SSM_INVALID_ARGUMENT, "weight: width is %lld, expected 2 to 4",
                static_cast<long long>(weight.size[1]));
  }
  return check_tensor({"bias", &bias, weight.dtype, 1, {x.size[1]}, true}, device);
}

ssm_status check_seq_idx(const ssm_tensor& seq_idx, const ssm_tensor& x) {
  return check_tensor({"seq_idx", &seq_idx, SSM_INT32, 2, {x.size[0], x.size[2]}, true}, x.device);
}

ssm_status check_states(const char* name, const ssm_tensor& states, const ssm_tensor& x,
                        const ssm_tensor& weight) {
  return check_tensor({name, &states, x.dtype, 3, {x.size[0], x.size[1], weight.size[1] - 1}, true},
                      x.device);
}

}  // namespace ssm
