#include "scan/scan_complex.h"

#include <initializer_list>

#include "scan/scan_complex_plan.h"

namespace ssm {
namespace {

Kernel forward_kernels[3] = {{"scan_complex", "scan_complex_f32"},
                             {"scan_complex", "scan_complex_f16"},
                             {"scan_complex", "scan_complex_bf16"}};
Kernel backward_kernels[3] = {{"scan_complex_backward", "scan_complex_backward_f32"},
                              {"scan_complex_backward", "scan_complex_backward_f16"},
                              {"scan_complex_backward", "scan_complex_backward_bf16"}};
Kernel finish_kernel = {"scan_finish", "scan_finish"};
Kernel clear_kernel = {"scan_finish", "scan_clear"};

// Where the workspace holds what; offsets in floats, each on 256 bytes.
struct Workspace {
  int64_t tile_states = 0, dA = 0, dB = 0, dC = 0, dD = 0, ddelta_bias = 0, floats = 0;
  int64_t dB_count = 0, dC_count = 0;  // of one part
  int64_t tiles = 0;
};

Workspace lay_out(const ssm_scan_backward_args& args, const ScanSizes& sizes,
                  const ComplexPlan& plan) {
  Workspace w;
  const auto take = [&](int64_t floats) {
    const int64_t at = w.floats;
    w.floats += (floats + 63) / 64 * 64;
    return at;
  };
  const int64_t channels = sizes.batch * sizes.dim;
  const int64_t factor = 2 * sizes.batch * sizes.groups * sizes.states * sizes.length;
  const int64_t matrix = 2 * sizes.dim * sizes.states;
  const bool variable_B = args.in.B.rank == 4, variable_C = args.in.C.rank == 4;
  w.dB_count = variable_B ? factor : matrix;
  w.dC_count = variable_C ? factor : matrix;
  w.tiles = (sizes.length + kComplexTileSteps - 1) / kComplexTileSteps;
  w.tile_states = take(2 * channels * w.tiles * sizes.states);
  w.dA = take(sizes.batch * matrix);
  w.dB = take(w.dB_count * (variable_B ? plan.slots : sizes.batch));
  w.dC = take(w.dC_count * (variable_C ? plan.slots : sizes.batch));  // cleared with dB
  w.dD = take(channels);
  w.ddelta_bias = take(channels);
  return w;
}

ComplexPlan plan_of(const ssm_scan_backward_args& args, const ScanSizes& sizes) {
  // A group without channels has no block, but sums of its own.
  if (sizes.dim == 0) return ComplexPlan();
  return plan_complex_backward(make_shape(args.in, sizes, 0), args.deterministic != 0);
}

ssm_status launch_forward(const ssm_queue& queue, int dtype, const ScanParams& params,
                          const ComplexPlan& plan) {
  return launch(forward_kernels[dtype], queue,
                Dim3{plan.grid_x, static_cast<unsigned>(params.batch), plan.grid_z},
                Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, params);
}

// Everything up to here is pairs of float32, so sums go over twice as many values.
ssm_status launch_finish(const ssm_scan_backward_args& args, const ScanSizes& sizes,
                         const Workspace& w, int slots, const float* floats) {
  const auto sum = [&](const ssm_tensor& out, int64_t at, int64_t parts, int64_t count) {
    const int dtype = out.dtype == SSM_COMPLEX64 ? static_cast<int>(SSM_FLOAT32) : out.dtype;
    return ScanSum{floats + at, out.data, parts, count, dtype};
  };
  const int64_t B_parts = args.in.B.rank == 4 ? slots : sizes.batch;
  const int64_t C_parts = args.in.C.rank == 4 ? slots : sizes.batch;
  ScanFinishParams finish = {};
  finish.sums[0] = sum(args.dB, w.dB, B_parts, w.dB_count);
  finish.sums[1] = sum(args.dC, w.dC, C_parts, w.dC_count);
  finish.sums[2] = sum(args.dA, w.dA, sizes.batch, 2 * sizes.dim * sizes.states);
  finish.sums[3] = sum(args.dD, w.dD, sizes.batch, sizes.dim);
  finish.sums[4] = sum(args.ddelta_bias, w.ddelta_bias, sizes.batch, sizes.dim);
  int64_t most = 0;
  for (const ScanSum& one : finish.sums) most = one.count > most ? one.count : most;
  const int64_t blocks = (most + 255) / 256;
  if (blocks == 0) return SSM_OK;
  const unsigned grid = static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
  return launch(finish_kernel, args.queue, Dim3{grid, 5, 1}, Dim3{256, 1, 1}, kFinishSharedBytes,
                finish);
}

// Gradients of complex tensors are complex; of variable factors, as their pairs are.
ssm_status check_complex_gradients(const ssm_scan_backward_args& args) {
  const struct {
    const char* name;
    const ssm_tensor& gradient;
    const ssm_tensor& of;
  } pairs[] = {{"dA", args.dA, args.in.A}, {"dB", args.dB, args.in.B}, {"dC", args.dC, args.in.C}};
  for (const auto& pair : pairs) {
    if (pair.of.dtype == SSM_COMPLEX64 && pair.gradient.dtype != SSM_COMPLEX64) {
      return fail(SSM_INVALID_ARGUMENT, "%s: dtype is %s, expected complex64", pair.name,
                  dtype_name(pair.gradient.dtype));
    }
  }
  return SSM_OK;
}

}  // namespace

ssm_status complex_scan_forward(const ssm_scan_forward_args& args, const ScanSizes& sizes) {
  ScanParams params = make_scan_params(args.in, sizes);
  params.out = make_rows(args.out);
  params.out_z = make_rows(args.out_z);
  params.out_is_float = args.out.dtype == SSM_FLOAT32;
  params.rows_aligned = params.rows_aligned && rows_16_bytes(args.out) && rows_16_bytes(args.out_z);
  params.x = static_cast<float*>(args.x.data);
  return launch_forward(args.queue, args.in.u.dtype, params,
                        plan_complex_forward(make_shape(args.in, sizes, 0), false));
}

uint64_t complex_workspace_bytes(const ssm_scan_backward_args& args, const ScanSizes& sizes) {
  return static_cast<uint64_t>(lay_out(args, sizes, plan_of(args, sizes)).floats) * sizeof(float);
}

ssm_status complex_scan_backward(const ssm_scan_backward_args& args, const ScanSizes& sizes) {
  SSM_TRY(check_complex_gradients(args));
  const ComplexPlan plan = plan_of(args, sizes);
  const Workspace w = lay_out(args, sizes, plan);
  const uint64_t needed = static_cast<uint64_t>(w.floats) * sizeof(float);
  if (args.workspace_bytes < needed) {
    return fail(SSM_INVALID_ARGUMENT, "workspace: %llu bytes, expected %llu",
                static_cast<unsigned long long>(args.workspace_bytes),
                static_cast<unsigned long long>(needed));
  }
  float* floats = static_cast<float*>(args.workspace);
  if (sizes.batch == 0 || sizes.dim == 0 || sizes.length == 0) {
    ScanSizes none = sizes;
    none.batch = 0;  // sums of nothing: zeros
    return launch_finish(args, none, w, 0, floats);
  }

  ScanParams params = make_scan_params(args.in, sizes);
  params.tile_states = floats + w.tile_states;
  params.tiles = w.tiles;
  ScanParams states = params;
  const bool chunked = present(args.x) && sizes.chunks > 1;
  states.z = ScanRows{};
  states.x = chunked ? static_cast<float*>(args.x.data) : nullptr;
  states.chunked = chunked;
  SSM_TRY(launch_forward(args.queue, args.in.u.dtype, states,
                         plan_complex_forward(make_shape(args.in, sizes, 0), chunked)));

  if (plan.atomic) {
    const ScanClearParams clear = {floats + w.dB, w.dD - w.dB};
    SSM_TRY(launch(clear_kernel, args.queue, Dim3{1024, 1, 1}, Dim3{256, 1, 1}, 0, clear));
  }
  params.out = make_rows(args.out);
  params.out_z = make_rows(args.out_z);
  params.out_is_float = args.dout.dtype == SSM_FLOAT32;
  for (const ssm_tensor* rows :
       {&args.out, &args.out_z, &args.dout, &args.du, &args.ddelta, &args.dz}) {
    params.rows_aligned = params.rows_aligned && rows_16_bytes(*rows);
  }
  ScanBackwardParams backward = {};
  backward.scan = params;
  backward.dout = make_rows(args.dout);
  backward.du = make_rows(args.du);
  backward.ddelta = make_rows(args.ddelta);
  backward.dz = make_rows(args.dz);
  backward.dA = floats + w.dA;
  backward.dB = floats + w.dB;
  backward.dC = floats + w.dC;
  if (present(args.in.D)) backward.dD = floats + w.dD;
  if (present(args.in.delta_bias)) backward.ddelta_bias = floats + w.ddelta_bias;
  backward.slots = plan.slots;
  backward.atomic = plan.atomic;
  SSM_TRY(launch(backward_kernels[args.in.u.dtype], args.queue,
                 Dim3{plan.grid_x, static_cast<unsigned>(sizes.batch), 1},
                 Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, backward));
  return launch_finish(args, sizes, w, plan.slots, floats);
}

}  // namespace ssm
