#include "scan/scan_complex.h"

#include "scan/scan_complex_plan.h"

namespace ssm {
namespace {

Kernel forward_kernels[3] = {{"scan_complex", "scan_complex_f32"},
                             {"scan_complex", "scan_complex_f16"},
                             {"scan_complex", "scan_complex_bf16"}};
Kernel backward_kernels[3] = {{"scan_complex_backward", "scan_complex_backward_f32"},
                              {"scan_complex_backward", "scan_complex_backward_f16"},
                              {"scan_complex_backward", "scan_complex_backward_bf16"}};

// Where the workspace holds what; offsets in floats, each on 256 bytes.
struct Workspace {
  int64_t tile_states = 0, floats = 0, tiles = 0;
  GradientSums sums;
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
  GradientSums& sums = w.sums;
  sums.dA_count = matrix;
  sums.dB_count = variable_B ? factor : matrix;
  sums.dC_count = variable_C ? factor : matrix;
  w.tiles = (sizes.length + kComplexTileSteps - 1) / kComplexTileSteps;
  w.tile_states = take(2 * channels * w.tiles * sizes.states);
  sums.dA = take(sizes.batch * matrix);
  sums.dB = take(sums.dB_count * (variable_B ? plan.slots : sizes.batch));
  sums.dC = take(sums.dC_count * (variable_C ? plan.slots : sizes.batch));  // cleared with dB
  sums.dD = take(channels);
  sums.ddelta_bias = take(channels);
  sums.row_parts = sizes.batch;
  sums.factor_parts = plan.slots;
  sums.slots = plan.slots;
  sums.atomic = plan.atomic;
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
  return launch_forward(args.queue, args.in.u.dtype, make_forward_params(args, sizes),
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
  GradientSums sums = w.sums;
  sums.floats = floats;
  if (sizes.batch == 0 || sizes.dim == 0 || sizes.length == 0) {
    ScanSizes none = sizes;
    none.batch = 0;  // sums of nothing: zeros
    sums.row_parts = sums.factor_parts = 0;
    return launch_finish(args, none, sums);
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

  SSM_TRY(launch_clear(sums, args.queue));
  params.out_is_float = args.dout.dtype == SSM_FLOAT32;
  SSM_TRY(launch(backward_kernels[args.in.u.dtype], args.queue,
                 Dim3{plan.grid_x, static_cast<unsigned>(sizes.batch), 1},
                 Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes,
                 make_backward_params(args, params, sums)));
  return launch_finish(args, sizes, sums);
}

}  // namespace ssm
