#include "core/check.h"

namespace ssm {

const char* dtype_name(int dtype) {
  switch (dtype) {
    case SSM_FLOAT32:
      return "float32";
    case SSM_FLOAT16:
      return "float16";
    case SSM_BFLOAT16:
      return "bfloat16";
    case SSM_COMPLEX64:
      return "complex64";
    case SSM_INT32:
      return "int32";
    default:
      return "another type";
  }
}

int64_t dtype_bytes(int dtype) {
  switch (dtype) {
    case SSM_FLOAT16:
    case SSM_BFLOAT16:
      return 2;
    case SSM_COMPLEX64:
      return 8;
    default:
      return 4;
  }
}

ssm_status check_tensor(const Expected& expected, int device) {
  const char* name = expected.name;
  const ssm_tensor& tensor = *expected.tensor;
  if (!present(tensor)) {
    if (expected.optional) return SSM_OK;
    return fail(SSM_INVALID_ARGUMENT, "%s: absent, expected a tensor", name);
  }
  if (tensor.device < 0) {
    return fail(SSM_INVALID_ARGUMENT, "%s: not on a CUDA device, expected one on cuda:%d", name,
                device);
  }
  if (tensor.device != device) {
    return fail(SSM_INVALID_ARGUMENT, "%s: on cuda:%d, expected cuda:%d as x", name, tensor.device,
                device);
  }
  if (expected.dtype < 0 ? !is_real_float(tensor.dtype) : tensor.dtype != expected.dtype) {
    return fail(SSM_INVALID_ARGUMENT, "%s: dtype is %s, expected %s", name,
                dtype_name(tensor.dtype),
                expected.dtype < 0 ? "float32, float16 or bfloat16" : dtype_name(expected.dtype));
  }
  if (tensor.rank != expected.rank) {
    return fail(SSM_INVALID_ARGUMENT, "%s: %d dimensions, expected %d", name, tensor.rank,
                expected.rank);
  }
  for (int i = 0; i < expected.rank; ++i) {
    if (expected.size[i] >= 0 && tensor.size[i] != expected.size[i]) {
      return fail(SSM_INVALID_ARGUMENT, "%s: size(%d) is %lld, expected %lld", name, i,
                  static_cast<long long>(tensor.size[i]), static_cast<long long>(expected.size[i]));
    }
  }
  return SSM_OK;
}

}  // namespace ssm
