#include "scan/scan_launch.h"

#include <algorithm>
#include <initializer_list>

namespace ssm {
namespace {

constexpr int64_t kMostStates = 256;

// By how many states a pass takes (pass_index), then by type.
Kernel rows_kernels[3][3] = {{{"scan_rows", "scan_rows4_f32"},
                              {"scan_rows", "scan_rows4_f16"},
                              {"scan_rows", "scan_rows4_bf16"}},
                             {{"scan_rows", "scan_rows8_f32"},
                              {"scan_rows", "scan_rows8_f16"},
                              {"scan_rows", "scan_rows8_bf16"}},
                             {{"scan_rows", "scan_rows16_f32"},
                              {"scan_rows", "scan_rows16_f16"},
                              {"scan_rows", "scan_rows16_bf16"}}};
// By LanesKind, then by type.
Kernel lanes_kernels[6][3] = {{{"scan_lanes", "scan_lanes8_f32"},
                               {"scan_lanes", "scan_lanes8_f16"},
                               {"scan_lanes", "scan_lanes8_bf16"}},
                              {{"scan_lanes", "scan_lanes16_f32"},
                               {"scan_lanes", "scan_lanes16_f16"},
                               {"scan_lanes", "scan_lanes16_bf16"}},
                              {{"scan_lanes", "scan_lanes16_wide_f32"},
                               {"scan_lanes", "scan_lanes16_wide_f16"},
                               {"scan_lanes", "scan_lanes16_wide_bf16"}},
                              {{"scan_lanes", "scan_lanes32_f32"},
                               {"scan_lanes", "scan_lanes32_f16"},
                               {"scan_lanes", "scan_lanes32_bf16"}},
                              {{"scan_lanes", "scan_lanes64_f32"},
                               {"scan_lanes", "scan_lanes64_f16"},
                               {"scan_lanes", "scan_lanes64_bf16"}},
                              {{"scan_lanes", "scan_lanes128_f32"},
                               {"scan_lanes", "scan_lanes128_f16"},
                               {"scan_lanes", "scan_lanes128_bf16"}}};
Kernel lanes_ends_kernels[3] = {{"scan_lanes", "scan_lanes_ends16_f32"},
                                {"scan_lanes", "scan_lanes_ends16_f16"},
                                {"scan_lanes", "scan_lanes_ends16_bf16"}};
Kernel lanes_states_kernels[3] = {{"scan_lanes", "scan_lanes_states16_f32"},
                                  {"scan_lanes", "scan_lanes_states16_f16"},
                                  {"scan_lanes", "scan_lanes_states16_bf16"}};
Kernel steps_kernels[3] = {{"scan_steps", "scan_steps_f32"},
                           {"scan_steps", "scan_steps_f16"},
                           {"scan_steps", "scan_steps_bf16"}};
Kernel split_kernels[3] = {{"scan_split", "scan_split_f32"},
                           {"scan_split", "scan_split_f16"},
                           {"scan_split", "scan_split_bf16"}};
Kernel single_kernels[3] = {{"scan_single", "scan_single_f32"},
                            {"scan_single", "scan_single_f16"},
                            {"scan_single", "scan_single_bf16"}};
Kernel finish_kernel = {"scan_finish", "scan_finish"};
Kernel clear_kernel = {"scan_finish", "scan_clear"};

// By adjoint, by pass_index, by type.
Kernel ends_kernels[2][3][3] = {{{{"scan_ends", "scan_ends4_f32"},
                                  {"scan_ends", "scan_ends4_f16"},
                                  {"scan_ends", "scan_ends4_bf16"}},
                                 {{"scan_ends", "scan_ends8_f32"},
                                  {"scan_ends", "scan_ends8_f16"},
                                  {"scan_ends", "scan_ends8_bf16"}},
                                 {{"scan_ends", "scan_ends16_f32"},
                                  {"scan_ends", "scan_ends16_f16"},
                                  {"scan_ends", "scan_ends16_bf16"}}},
                                {{{"scan_both_ends", "scan_both_ends4_f32"},
                                  {"scan_both_ends", "scan_both_ends4_f16"},
                                  {"scan_both_ends", "scan_both_ends4_bf16"}},
                                 {{"scan_both_ends", "scan_both_ends8_f32"},
                                  {"scan_both_ends", "scan_both_ends8_f16"},
                                  {"scan_both_ends", "scan_both_ends8_bf16"}},
                                 {{"scan_both_ends", "scan_both_ends16_f32"},
                                  {"scan_both_ends", "scan_both_ends16_f16"},
                                  {"scan_both_ends", "scan_both_ends16_bf16"}}}};
Kernel carry_kernel = {"scan_ends", "scan_carry"};

ssm_status unit_length_stride(const char* name, const ssm_tensor& tensor) {
  const int last = tensor.rank - 1;
  if (!present(tensor) || tensor.stride[last] == 1 || tensor.size[last] <= 1) return SSM_OK;
  return fail(SSM_INVALID_ARGUMENT, "%s: stride(%d) is %lld, expected 1 along the length", name,
              last, static_cast<long long>(tensor.stride[last]));
}

ssm_status check_factor(const char* name, const ssm_tensor& factor, const ssm_tensor& u,
                        const ssm_tensor& A, ScanSizes* sizes) {
  if (factor.rank == 2) {
    return check_tensor({name, &factor, A.dtype, 2, {sizes->dim, sizes->states}, false}, u.device);
  }
  const int64_t length = sizes->length * (sizes->complex ? 2 : 1);
  SSM_TRY(check_tensor(
      {name, &factor, u.dtype, 4, {sizes->batch, -1, sizes->states, length}, false}, u.device));
  const int64_t groups = factor.size[1];
  if (groups < 1 || sizes->dim % groups != 0) {
    return fail(SSM_INVALID_ARGUMENT, "%s: %lld groups, expected a divisor of the %lld channels",
                name, static_cast<long long>(groups), static_cast<long long>(sizes->dim));
  }
  if (sizes->groups != 0 && sizes->groups != groups) {
    return fail(SSM_INVALID_ARGUMENT, "%s: %lld groups, expected %lld as B", name,
                static_cast<long long>(groups), static_cast<long long>(sizes->groups));
  }
  sizes->groups = groups;
  return unit_length_stride(name, factor);
}

void narrow(const ssm_tensor& rows, ScanParams* p) {
  p->teams.access_bytes = std::min(p->teams.access_bytes, access_bytes(rows));
}

ScanFactor make_factor(const ssm_tensor& tensor) {
  ScanFactor factor = {};
  factor.data = tensor.data;
  factor.variable = tensor.rank == 4;
  if (factor.variable) {
    factor.batch_stride = tensor.stride[0];
    factor.row_stride = tensor.stride[1];
    factor.state_stride = tensor.stride[2];
    factor.aligned = rows_16_bytes(tensor);
  } else {
    factor.row_stride = tensor.stride[0];
    factor.state_stride = tensor.stride[1];
  }
  return factor;
}

}  // namespace

ssm_status check_scan_rows(const char* name, const ssm_tensor& tensor, int dtype,
                           const ScanSizes& sizes, int device, bool optional) {
  SSM_TRY(check_tensor({name, &tensor, dtype, 3, {sizes.batch, sizes.dim, sizes.length}, optional},
                       device));
  return unit_length_stride(name, tensor);
}

ssm_status check_saved_states(const ssm_tensor& x, const ScanSizes& sizes, int device,
                              bool optional) {
  const int64_t last = 2 * sizes.states;
  SSM_TRY(check_tensor({"x",
                        &x,
                        sizes.complex ? SSM_COMPLEX64 : SSM_FLOAT32,
                        4,
                        {sizes.batch, sizes.dim, sizes.chunks, last},
                        optional},
                       device));
  if (!present(x)) return SSM_OK;
  int64_t stride = 1;
  for (int i = 3; i >= 0; --i) {
    if (x.size[i] > 1 && x.stride[i] != stride) {
      return fail(SSM_INVALID_ARGUMENT, "x: stride(%d) is %lld, expected %lld (contiguous)", i,
                  static_cast<long long>(x.stride[i]), static_cast<long long>(stride));
    }
    stride *= x.size[i];
  }
  return SSM_OK;
}

ssm_status check_scan_inputs(const ssm_scan_inputs& in, int device, ScanSizes* sizes) {
  SSM_TRY(check_tensor({"u", &in.u, -1, 3, {-1, -1, -1}, false}, device));
  sizes->batch = in.u.size[0];
  sizes->dim = in.u.size[1];
  sizes->length = in.u.size[2];
  sizes->chunks = (sizes->length + kScanChunk - 1) / kScanChunk;
  sizes->complex = in.A.dtype == SSM_COMPLEX64;
  SSM_TRY(unit_length_stride("u", in.u));
  SSM_TRY(check_tensor(
      {"A", &in.A, sizes->complex ? SSM_COMPLEX64 : SSM_FLOAT32, 2, {sizes->dim, -1}, false},
      device));
  sizes->states = in.A.size[1];
  if (sizes->states < 1 || sizes->states > kMostStates) {
    return fail(SSM_INVALID_ARGUMENT, "A: %lld states, expected 1 to %d",
                static_cast<long long>(sizes->states), static_cast<int>(kMostStates));
  }
  if (sizes->length >= int64_t{1} << 30) {
    return fail(SSM_INVALID_ARGUMENT, "u: length %lld, expected less than 2^30",
                static_cast<long long>(sizes->length));
  }
  SSM_TRY(check_tensor(
      {"delta", &in.delta, in.u.dtype, 3, {sizes->batch, -1, sizes->length}, false}, device));
  SSM_TRY(unit_length_stride("delta", in.delta));
  const int64_t delta_rows = in.delta.size[1];
  if (sizes->dim > 0 && (delta_rows < 1 || sizes->dim % delta_rows != 0)) {
    return fail(SSM_INVALID_ARGUMENT, "delta: %lld rows, expected a divisor of the %lld channels",
                static_cast<long long>(delta_rows), static_cast<long long>(sizes->dim));
  }
  sizes->groups = 0;
  SSM_TRY(check_factor("B", in.B, in.u, in.A, sizes));
  SSM_TRY(check_factor("C", in.C, in.u, in.A, sizes));
  if (sizes->groups == 0) sizes->groups = 1;
  SSM_TRY(check_tensor({"D", &in.D, SSM_FLOAT32, 1, {sizes->dim}, true}, device));
  SSM_TRY(check_tensor({"delta_bias", &in.delta_bias, SSM_FLOAT32, 1, {delta_rows}, true}, device));
  for (const ssm_tensor* vector : {&in.D, &in.delta_bias}) {
    if (!present(*vector) || vector->size[0] <= 1 || vector->stride[0] == 1) continue;
    return fail(SSM_INVALID_ARGUMENT, "%s: stride(0) is %lld, expected 1",
                vector == &in.D ? "D" : "delta_bias", static_cast<long long>(vector->stride[0]));
  }
  return check_scan_rows("z", in.z, in.u.dtype, *sizes, device, true);
}

ScanRows make_rows(const ssm_tensor& tensor) {
  ScanRows rows = {};
  rows.data = tensor.data;
  if (present(tensor)) {
    rows.batch_stride = tensor.stride[0];
    rows.row_stride = tensor.stride[1];
  }
  return rows;
}

bool rows_near(const ScanRows& rows) { return rows.row_stride < (int64_t{1} << 27); }

bool rows_on(const ssm_tensor& tensor, int64_t step) {
  if (!present(tensor)) return true;
  if (reinterpret_cast<uintptr_t>(tensor.data) % (step * dtype_bytes(tensor.dtype)) != 0) {
    return false;
  }
  for (int i = 0; i + 1 < tensor.rank; ++i) {
    if (tensor.size[i] > 1 && tensor.stride[i] % step != 0) return false;
  }
  return true;
}

int access_bytes(const ssm_tensor& tensor) {
  if (!present(tensor)) return 16;
  for (const int bytes : {16, 8}) {
    const int64_t step = bytes / dtype_bytes(tensor.dtype);
    if (tensor.size[tensor.rank - 1] % step == 0 && rows_on(tensor, step)) return bytes;
  }
  return 0;
}

bool rows_16_bytes(const ssm_tensor& tensor) {
  return !present(tensor) || rows_on(tensor, 16 / dtype_bytes(tensor.dtype));
}

ScanParams make_scan_params(const ssm_scan_inputs& in, const ScanSizes& sizes) {
  ScanParams p = {};
  p.batch = sizes.batch;
  p.dim = sizes.dim;
  p.length = sizes.length;
  p.states = static_cast<int>(sizes.states);
  p.groups = static_cast<int>(sizes.groups);
  p.delta_ratio = static_cast<int>(sizes.dim / in.delta.size[1]);
  p.softplus = in.softplus;
  p.rows_aligned = rows_16_bytes(in.u) && rows_16_bytes(in.delta) && rows_16_bytes(in.z);
  p.time_warps = 1;
  p.channels_per_warp = 1;
  p.teams.access_bytes = 16;
  for (const ssm_tensor* rows : {&in.u, &in.delta, &in.z, &in.B, &in.C}) narrow(*rows, &p);
  p.u = make_rows(in.u);
  p.delta = make_rows(in.delta);
  p.z = make_rows(in.z);
  p.A = static_cast<const float*>(in.A.data);
  p.A_row_stride = in.A.stride[0];
  p.A_state_stride = in.A.stride[1];
  p.B = make_factor(in.B);
  p.C = make_factor(in.C);
  p.D = static_cast<const float*>(in.D.data);
  p.delta_bias = static_cast<const float*>(in.delta_bias.data);
  return p;
}

ScanShape make_shape(const ssm_scan_inputs& in, const ScanSizes& sizes, int multiprocessors) {
  ScanShape shape;
  shape.batch = sizes.batch;
  shape.dim = sizes.dim;
  shape.length = sizes.length;
  shape.states = static_cast<int>(sizes.states);
  shape.groups = static_cast<int>(sizes.groups);
  shape.delta_ratio = static_cast<int>(sizes.dim / in.delta.size[1]);
  shape.variable_B = in.B.rank == 4;
  shape.variable_C = in.C.rank == 4;
  shape.near_rows =
      rows_near(make_rows(in.u)) && rows_near(make_rows(in.delta)) && rows_near(make_rows(in.z));
  shape.aligned = rows_16_bytes(in.u) && rows_16_bytes(in.delta) && rows_16_bytes(in.z) &&
                  rows_16_bytes(in.B) && rows_16_bytes(in.C);
  shape.multiprocessors = multiprocessors;
  return shape;
}

ScanParams make_forward_params(const ssm_scan_forward_args& args, const ScanSizes& sizes) {
  ScanParams p = make_scan_params(args.in, sizes);
  p.out = make_rows(args.out);
  p.out_z = make_rows(args.out_z);
  p.out_is_float = args.out.dtype == SSM_FLOAT32;
  p.rows_aligned = p.rows_aligned && rows_16_bytes(args.out) && rows_16_bytes(args.out_z);
  narrow(args.out, &p);
  narrow(args.out_z, &p);
  p.x = static_cast<float*>(args.x.data);
  return p;
}

ScanBackwardParams make_backward_params(const ssm_scan_backward_args& args, const ScanParams& scan,
                                        const GradientSums& sums) {
  ScanBackwardParams p = {};
  p.scan = scan;
  p.scan.out = make_rows(args.out);
  p.scan.out_z = make_rows(args.out_z);
  for (const ssm_tensor* rows :
       {&args.out, &args.out_z, &args.dout, &args.du, &args.ddelta, &args.dz}) {
    p.scan.rows_aligned = p.scan.rows_aligned && rows_16_bytes(*rows);
    narrow(*rows, &p.scan);
  }
  p.dout = make_rows(args.dout);
  p.du = make_rows(args.du);
  p.ddelta = make_rows(args.ddelta);
  p.dz = make_rows(args.dz);
  p.dA = sums.floats + sums.dA;
  p.dB = sums.floats + sums.dB;
  p.dC = sums.floats + sums.dC;
  if (present(args.in.D)) p.dD = sums.floats + sums.dD;
  if (present(args.in.delta_bias)) p.ddelta_bias = sums.floats + sums.ddelta_bias;
  p.slots = sums.slots;
  p.atomic = sums.atomic;
  return p;
}

ssm_status launch_clear(const GradientSums& sums, const ssm_queue& queue) {
  if (!sums.atomic) return SSM_OK;
  const ScanClearParams clear = {sums.floats + sums.dB, sums.dD - sums.dB};
  return launch(clear_kernel, queue, Dim3{1024, 1, 1}, Dim3{256, 1, 1}, 0, clear);
}

ssm_status launch_finish(const ssm_scan_backward_args& args, const ScanSizes& sizes,
                         const GradientSums& sums) {
  const auto sum = [&](const ssm_tensor& out, int64_t at, int64_t parts, int64_t count) {
    // Complex values are summed as the pairs that they are.
    const int dtype = out.dtype == SSM_COMPLEX64 ? static_cast<int>(SSM_FLOAT32) : out.dtype;
    return ScanSum{sums.floats + at, out.data, parts, count, dtype};
  };
  const auto factor_parts = [&](const ssm_tensor& factor) {
    return factor.rank == 4 ? sums.factor_parts : sizes.batch;
  };
  ScanFinishParams finish = {};
  finish.sums[0] = sum(args.dB, sums.dB, factor_parts(args.in.B), sums.dB_count);
  finish.sums[1] = sum(args.dC, sums.dC, factor_parts(args.in.C), sums.dC_count);
  finish.sums[2] = sum(args.dA, sums.dA, sums.row_parts, sums.dA_count);
  finish.sums[3] = sum(args.dD, sums.dD, sums.row_parts, sizes.dim);
  finish.sums[4] = sum(args.ddelta_bias, sums.ddelta_bias, sums.row_parts, sizes.dim);
  int64_t most = 0;
  for (const ScanSum& one : finish.sums) {
    const int64_t width = one.parts >= kManyParts ? 32 : 256;  // elements a block takes at a time
    most = std::max<int64_t>(most, (one.count + width - 1) / width);
  }
  const unsigned grid = static_cast<unsigned>(std::clamp<int64_t>(most, 1, 4096));
  return launch(finish_kernel, args.queue, Dim3{grid, 5, 1}, Dim3{256, 1, 1}, kFinishSharedBytes,
                finish);
}

ssm_status launch_chunks(const ScanShape& shape, const ChunkPlan& chunks, int dtype,
                         const ssm_queue& queue, ScanEndsParams params) {
  const bool adjoint = params.scan.chunks.adjoints != nullptr;
  const EndsPlan plan = plan_ends(shape, chunks, adjoint);
  params.segments = plan.segments;
  if (!adjoint && lanes_can(shape)) {
    const LanesPlan lanes = plan_lanes(shape, LanesKind::k16, false);
    SSM_TRY(launch(
        lanes_ends_kernels[dtype], queue,
        Dim3{lanes.grid_x, static_cast<unsigned>(shape.batch), static_cast<unsigned>(chunks.count)},
        Dim3{static_cast<unsigned>(lanes.warps) * 32, 1, 1}, lanes.shared_bytes, params.scan));
  } else {
    const unsigned blocks_z = static_cast<unsigned>(plan.passes * chunks.runs);
    SSM_TRY(launch(ends_kernels[adjoint][pass_index(shape.states)][dtype], queue,
                   Dim3{plan.grid_x, static_cast<unsigned>(shape.batch), blocks_z},
                   Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, params));
  }
  if (!params.scan.chunks.carried) return SSM_OK;
  return launch(carry_kernel, queue, Dim3{plan.carry_grid, 1, 1}, Dim3{256, 1, 1},
                plan.carry_shared_bytes, params);
}

ssm_status launch_lanes_states(const ScanShape& shape, int dtype, const ssm_queue& queue,
                               const ScanParams& params) {
  const LanesPlan plan = plan_lanes(shape, LanesKind::k16, false);
  return launch(lanes_states_kernels[dtype], queue,
                Dim3{plan.grid_x, static_cast<unsigned>(shape.batch), 1},
                Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, params);
}

ssm_status launch_scan(const ScanPlan& plan, int dtype, const ssm_queue& queue,
                       const ScanParams& base, int64_t chunks) {
  ScanParams params = base;
  params.time_warps = plan.time_warps;
  params.channels_per_warp = plan.channels_per_warp;
  const bool single = plan.kernel == ScanKernel::kSingle;
  params.teams = plan.teams;
  params.teams.access_bytes = base.teams.access_bytes;
  Kernel* kernels = plan.kernel == ScanKernel::kLanes ? lanes_kernels[static_cast<int>(plan.lanes)]
                    : plan.kernel == ScanKernel::kSteps ? steps_kernels
                    : plan.kernel == ScanKernel::kRows  ? rows_kernels[pass_index(params.states)]
                    : single                            ? single_kernels
                                                        : split_kernels;
  return launch(kernels[dtype], queue,
                Dim3{plan.grid_x, static_cast<unsigned>(params.batch),
                     single ? plan.grid_z : static_cast<unsigned>(chunks)},
                Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, params);
}

}  // namespace ssm
