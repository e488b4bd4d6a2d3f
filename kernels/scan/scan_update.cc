// The decode step's launcher.
#include <initializer_list>

#include "scan/scan_launch.h"
#include "scan/scan_step.h"

namespace ssm {
namespace {

constexpr int kQuad = 4;  // states that a lane takes at a time
constexpr int kThreads = 128;

Kernel any_kernel = {"scan_update", "scan_update"};
// Of one type; of a float32 state and 16-bit inputs. For one batch; for several.
constexpr char kUnit[] = "scan_step";
Kernel step_kernels[2][2][3] = {
    {{{kUnit, "scan_step_f32"}, {kUnit, "scan_step_f16"}, {kUnit, "scan_step_bf16"}},
     {{kUnit, "scan_step_f32_batches"},
      {kUnit, "scan_step_f16_batches"},
      {kUnit, "scan_step_bf16_batches"}}},
    {{{kUnit, "scan_step_f32"}, {kUnit, "scan_step_f32_f16"}, {kUnit, "scan_step_f32_bf16"}},
     {{kUnit, "scan_step_f32_batches"},
      {kUnit, "scan_step_f32_f16_batches"},
      {kUnit, "scan_step_f32_bf16_batches"}}}};
constexpr int kStepBatches = 4;  // scan_step.cu

// The last dimension has unit stride, and every row of it begins on a boundary of so many elements.
bool in_groups(const ssm_tensor& tensor, int elements) {
  const int last = tensor.rank - 1;
  const uint64_t bytes = static_cast<uint64_t>(elements * dtype_bytes(tensor.dtype));
  if (tensor.stride[last] != 1 || reinterpret_cast<uintptr_t>(tensor.data) % bytes != 0) {
    return false;
  }
  for (int i = 0; i < last; ++i) {
    if (tensor.size[i] > 1 && tensor.stride[i] % elements != 0) return false;
  }
  return true;
}

// `dimensions` names the tensor's, in order: b(atch), h(ead or group), d (channel), n (state).
ssm_status view(const char* name, const ssm_tensor& tensor, const char* dimensions,
                ScanView* result) {
  *result = ScanView{};
  if (!present(tensor)) return SSM_OK;
  result->data = tensor.data;
  result->dtype = tensor.dtype;
  for (int i = 0; i < tensor.rank; ++i) {
    const int64_t stride = tensor.size[i] > 1 ? tensor.stride[i] : 0;
    const bool near = stride < (int64_t{1} << 31) && stride >= -(int64_t{1} << 31);
    if (dimensions[i] == 'b') result->batch_stride = stride;
    if (dimensions[i] == 'h') result->head_stride = stride;
    if (dimensions[i] == 'd') result->channel_stride = static_cast<int>(stride);
    if (dimensions[i] == 'n') {
      result->state_stride = static_cast<int>(stride);
      result->quads = in_groups(tensor, kQuad);
    }
    if (!near && (dimensions[i] == 'd' || dimensions[i] == 'n')) {
      return fail(SSM_INVALID_ARGUMENT, "%s: stride(%d) is %lld, expected less than 2^31", name, i,
                  static_cast<long long>(stride));
    }
  }
  return SSM_OK;
}

// As many lanes as a channel has groups of states, up to a warp's.
int lane_bits_for(int64_t states, int group) {
  int bits = 0;
  while (bits < 5 && (int64_t{group} << bits) < states) ++bits;
  return bits;
}

// Every element lies within 2^31 of the first.
bool is_near(const ssm_tensor& tensor) {
  if (!present(tensor)) return true;
  int64_t reach = 0;
  for (int i = 0; i < tensor.rank; ++i) {
    const int64_t stride = tensor.size[i] > 1 ? tensor.stride[i] : 0;
    if (stride < 0 || stride >= int64_t{1} << 31 || tensor.size[i] >= int64_t{1} << 31)
      return false;
    reach += stride * (tensor.size[i] > 0 ? tensor.size[i] - 1 : 0);
    if (reach >= int64_t{1} << 31) return false;
  }
  return true;
}

// Whether scan_step.cu has an instance for these types, and 16 bytes of the state are whole
// everywhere.
bool step_can(const ssm_scan_update_args& args) {
  const int type = args.x.dtype;
  for (const ssm_tensor* input : {&args.dt, &args.z, &args.B, &args.C, &args.out}) {
    if (present(*input) && input->dtype != type) return false;
  }
  for (const ssm_tensor* tensor : {&args.state, &args.x, &args.dt, &args.z, &args.out, &args.A,
                                   &args.B, &args.C, &args.D, &args.dt_bias}) {
    if (!is_near(*tensor)) return false;
  }
  const int state_type = args.state.dtype;
  if (args.A.dtype != SSM_FLOAT32 || (state_type != type && state_type != SSM_FLOAT32))
    return false;
  const int own = 16 / dtype_bytes(state_type);
  const bool same_rate = args.A.stride[2] == 0;
  return args.state.size[3] % own == 0 && in_groups(args.state, own) && in_groups(args.B, own) &&
         in_groups(args.C, own) && (same_rate || in_groups(args.A, 4));
}

ssm_status launch_step(const ssm_scan_update_args& args, const ScanUpdateParams& views) {
  const auto batch = static_cast<int>(args.x.size[0]);
  const ScanStepParams p =
      step_params(views, batch, lane_bits_for(views.states, 16 / dtype_bytes(args.state.dtype)));
  const bool several = batch > 1;
  const bool wide = args.state.dtype != args.x.dtype;
  const unsigned blocks = ((static_cast<unsigned>(p.dim) << p.lane_bits) + kThreads - 1) / kThreads;
  const unsigned turns = several ? (p.batch + kStepBatches - 1) / kStepBatches : 1;
  return launch(step_kernels[wide][several][args.x.dtype], args.queue,
                Dim3{blocks, static_cast<unsigned>(args.x.size[1]), turns}, Dim3{kThreads, 1, 1}, 0,
                p);
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
  if (batch > kMaxGridY || heads > kMaxGridY || dim >= int64_t{1} << 24 ||
      states >= int64_t{1} << 24) {
    return fail(SSM_INVALID_ARGUMENT,
                "state: %lld x %lld x %lld x %lld is too large for one launch",
                static_cast<long long>(batch), static_cast<long long>(heads),
                static_cast<long long>(dim), static_cast<long long>(states));
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
  SSM_TRY(view("state", args.state, "bhdn", &p.state));
  SSM_TRY(view("x", args.x, "bhd", &p.x));
  SSM_TRY(view("dt", args.dt, "bhd", &p.dt));
  SSM_TRY(view("z", args.z, "bhd", &p.z));
  SSM_TRY(view("out", args.out, "bhd", &p.out));
  SSM_TRY(view("A", args.A, "hdn", &p.A));
  SSM_TRY(view("B", args.B, "bhn", &p.B));
  SSM_TRY(view("C", args.C, "bhn", &p.C));
  SSM_TRY(view("D", args.D, "hd", &p.D));
  SSM_TRY(view("dt_bias", args.dt_bias, "hd", &p.dt_bias));
  p.rows = static_cast<const int*>(args.state_indices.data);
  p.dim = static_cast<int>(args.x.size[2]);
  p.states = static_cast<int>(args.state.size[3]);
  p.softplus = args.softplus;
  const int64_t batch = args.x.size[0], heads = args.x.size[1];
  if (batch == 0 || heads == 0 || p.dim == 0) return SSM_OK;
  p.group_heads = static_cast<int>(heads / args.B.size[1]);
  if (step_can(args)) return launch_step(args, p);
  p.lane_bits = lane_bits_for(p.states, kQuad);
  const unsigned blocks = ((static_cast<unsigned>(p.dim) << p.lane_bits) + kThreads - 1) / kThreads;
  return launch(any_kernel, args.queue,
                Dim3{blocks, static_cast<unsigned>(heads), static_cast<unsigned>(batch)},
                Dim3{kThreads, 1, 1}, 0, p);
}
