// The decode step's launcher.
#include "scan/scan_launch.h"

namespace ssm {
namespace {

Kernel update_kernel = {"scan_update", "scan_update"};

ScanView view(const ssm_tensor& tensor) {
  ScanView result = {};
  result.data = tensor.data;
  result.dtype = tensor.dtype;
  for (int i = 0; i < tensor.rank; ++i) result.stride[i] = tensor.stride[i];
  return result;
}

ssm_status check(const ssm_scan_update_args& args) {
  const int device = args.x.device;
  SSM_TRY(check_tensor({"x", &args.x, -1, 3, {-1, -1, -1}, false}, device));
  const int64_t batch = args.x.size[0], heads = args.x.size[1], dim = args.x.size[2];
  const bool indexed = present(args.state_indices);
  SSM_TRY(check_tensor({"state", &args.state, -1, 4, {indexed ? -1 : batch, heads, dim, -1}, false},
                       device));
  const int64_t states = args.state.size[3];
  SSM_TRY(check_tensor({"dt", &args.dt, -1, 3, {batch, heads, dim}, false}, device));
  SSM_TRY(check_tensor({"A", &args.A, -1, 3, {heads, dim, states}, false}, device));
  SSM_TRY(check_tensor({"B", &args.B, -1, 3, {batch, -1, states}, false}, device));
  const int64_t groups = args.B.size[1];
  SSM_TRY(check_tensor({"C", &args.C, -1, 3, {batch, groups, states}, false}, device));
  SSM_TRY(check_tensor({"D", &args.D, -1, 2, {heads, dim}, true}, device));
  SSM_TRY(check_tensor({"z", &args.z, -1, 3, {batch, heads, dim}, true}, device));
  SSM_TRY(check_tensor({"dt_bias", &args.dt_bias, -1, 2, {heads, dim}, true}, device));
  SSM_TRY(
      check_tensor({"state_indices", &args.state_indices, SSM_INT32, 1, {batch}, true}, device));
  SSM_TRY(check_tensor({"out", &args.out, -1, 3, {batch, heads, dim}, false}, device));
  if (indexed && batch > 1 && args.state_indices.stride[0] != 1) {
    return fail(SSM_INVALID_ARGUMENT, "state_indices: stride(0) is %lld, expected 1",
                static_cast<long long>(args.state_indices.stride[0]));
  }
  if (groups < 1 || heads % groups != 0) {
    return fail(SSM_INVALID_ARGUMENT, "B: %lld groups, expected a divisor of the %lld heads",
                static_cast<long long>(groups), static_cast<long long>(heads));
  }
  if (batch > kMaxGridY || heads * dim >= int64_t{1} << 30) {
    return fail(SSM_INVALID_ARGUMENT, "x: %lld x %lld x %lld is too large for one launch",
                static_cast<long long>(batch), static_cast<long long>(heads),
                static_cast<long long>(dim));
  }
  return SSM_OK;
}

}  // namespace
}  // namespace ssm

ssm_status ssm_scan_update(const ssm_scan_update_args* arguments) {
  using namespace ssm;
  const ssm_scan_update_args& args = *arguments;
  SSM_TRY(check(args));
  ScanUpdateParams p = {};
  p.state = view(args.state);
  p.x = view(args.x);
  p.dt = view(args.dt);
  p.z = view(args.z);
  p.out = view(args.out);
  p.A = view(args.A);
  p.B = view(args.B);
  p.C = view(args.C);
  p.D = view(args.D);
  p.dt_bias = view(args.dt_bias);
  p.rows = static_cast<const int*>(args.state_indices.data);
  p.batch = static_cast<int>(args.x.size[0]);
  p.heads = static_cast<int>(args.x.size[1]);
  p.dim = static_cast<int>(args.x.size[2]);
  p.states = static_cast<int>(args.state.size[3]);
  p.softplus = args.softplus;
  if (p.batch == 0 || p.heads == 0 || p.dim == 0) return SSM_OK;
  p.group_heads = p.heads / static_cast<int>(args.B.size[1]);
  constexpr int64_t kChannelsPerBlock = 256 / 8;
  const int64_t channels = int64_t{p.heads} * p.dim;
  const unsigned blocks =
      static_cast<unsigned>((channels + kChannelsPerBlock - 1) / kChannelsPerBlock);
  return launch(update_kernel, args.queue, Dim3{blocks, static_cast<unsigned>(p.batch), 1},
                Dim3{256, 1, 1}, 0, p);
}
