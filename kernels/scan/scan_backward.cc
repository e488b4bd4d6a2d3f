// The backward launcher: the states before every tile, the gradients, their sums.
#include <initializer_list>

#include "scan/scan_complex.h"
#include "scan/scan_launch.h"

namespace ssm {
namespace {

constexpr char kUnit[] = "scan_backward";
Kernel split_kernels[3] = {
    {kUnit, "scan_backward_f32"}, {kUnit, "scan_backward_f16"}, {kUnit, "scan_backward_bf16"}};
// By pass_index, by type.
Kernel tile_kernels[3][3] = {{{"scan_gradient", "scan_gradient4_f32"},
                              {"scan_gradient", "scan_gradient4_f16"},
                              {"scan_gradient", "scan_gradient4_bf16"}},
                             {{"scan_gradient", "scan_gradient8_f32"},
                              {"scan_gradient", "scan_gradient8_f16"},
                              {"scan_gradient", "scan_gradient8_bf16"}},
                             {{"scan_gradient", "scan_gradient16_f32"},
                              {"scan_gradient", "scan_gradient16_f16"},
                              {"scan_gradient", "scan_gradient16_bf16"}}};
Kernel single_kernels[3] = {{"scan_single_backward", "scan_single_backward_f32"},
                            {"scan_single_backward", "scan_single_backward_f16"},
                            {"scan_single_backward", "scan_single_backward_bf16"}};

// Where the workspace holds what; offsets in floats, each on 256 bytes.
struct Workspace {
  int64_t tile_states = 0, adjoints = 0, dt_sums = 0, floats = 0;
  int64_t tiles = 0;
  GradientSums sums;
};

Workspace lay_out(const ssm_scan_backward_args& args, const ScanSizes& sizes,
                  const ScanBackwardPlan& plan) {
  Workspace w;
  const auto take = [&](int64_t floats) {
    const int64_t at = w.floats;
    w.floats += (floats + 63) / 64 * 64;
    return at;
  };
  const int64_t channels = sizes.batch * sizes.dim;
  const auto factor = [&](const ssm_tensor& tensor, int64_t* count) {
    const bool variable = tensor.rank == 4;
    *count = variable ? sizes.batch * sizes.groups * sizes.states * sizes.length
                      : sizes.dim * sizes.states;
    return take(variable ? *count * plan.slots : channels * sizes.states);
  };
  w.tiles = (sizes.length + plan.tile - 1) / plan.tile;
  int64_t runs = 1;  // parts of dA, dD and ddelta_bias per batch
  if (plan.kernel == ScanKernel::kTiles) {
    runs = plan.chunks.runs;
    if (w.tiles > 1 && !plan.sequential) {
      w.adjoints = take(channels * w.tiles * sizes.states);
      w.dt_sums = take(channels * w.tiles);
    }
  }
  if (plan.kernel == ScanKernel::kSingle) {
    runs = w.tiles;
    // In place of an absent x.
    if (plan.needs_states && !present(args.x)) w.tile_states = take(2 * channels * sizes.chunks);
  } else {
    w.tile_states = take(channels * w.tiles * sizes.states);
  }
  GradientSums& sums = w.sums;
  sums.dA = take(channels * runs * sizes.states);
  sums.dB = factor(args.in.B, &sums.dB_count);  // dC follows: both are cleared at once
  sums.dC = factor(args.in.C, &sums.dC_count);
  sums.dD = take(channels * runs);
  sums.ddelta_bias = take(channels * runs);
  sums.dA_count = sizes.dim * sizes.states;
  sums.row_parts = sizes.batch * runs;
  sums.factor_parts = plan.slots;
  sums.slots = plan.slots;
  sums.atomic = plan.atomic;
  return w;
}

ssm_status check_gradient(const char* name, const ssm_tensor& gradient, const ssm_tensor& of,
                          int device) {
  if (gradient.dtype != of.dtype && gradient.dtype != SSM_FLOAT32) {
    return fail(SSM_INVALID_ARGUMENT, "%s: dtype is %s, expected %s or float32", name,
                dtype_name(gradient.dtype), dtype_name(of.dtype));
  }
  Expected expected = {name, &gradient, gradient.dtype, of.rank, {}, false};
  for (int i = 0; i < of.rank; ++i) expected.size[i] = of.size[i];
  SSM_TRY(check_tensor(expected, device));
  int64_t stride = 1;
  for (int i = of.rank - 1; i >= 0; --i) {
    if (gradient.size[i] > 1 && gradient.stride[i] != stride) {
      return fail(SSM_INVALID_ARGUMENT, "%s: stride(%d) is %lld, expected %lld (contiguous)", name,
                  i, static_cast<long long>(gradient.stride[i]), static_cast<long long>(stride));
    }
    stride *= gradient.size[i];
  }
  return SSM_OK;
}

ssm_status check(const ssm_scan_backward_args& args, ScanSizes* sizes) {
  const int device = args.in.u.device;
  SSM_TRY(check_scan_inputs(args.in, device, sizes));
  const int dtype = args.in.u.dtype;
  const bool gated = present(args.in.z);
  const int dout_dtype = args.dout.dtype == SSM_FLOAT32 ? static_cast<int>(SSM_FLOAT32) : dtype;
  SSM_TRY(check_scan_rows("dout", args.dout, dout_dtype, *sizes, device, false));
  SSM_TRY(check_saved_states(args.x, *sizes, device, true));
  SSM_TRY(check_scan_rows("out", args.out, dtype, *sizes, device, !gated));
  SSM_TRY(check_scan_rows("du", args.du, dtype, *sizes, device, false));
  SSM_TRY(check_scan_rows("ddelta", args.ddelta, dtype, *sizes, device, false));
  SSM_TRY(check_scan_rows("dz", args.dz, dtype, *sizes, device, !gated));
  SSM_TRY(check_scan_rows("out_z", args.out_z, dtype, *sizes, device, true));
  SSM_TRY(check_gradient("dA", args.dA, args.in.A, device));
  SSM_TRY(check_gradient("dB", args.dB, args.in.B, device));
  SSM_TRY(check_gradient("dC", args.dC, args.in.C, device));
  SSM_TRY(
      check_tensor({"dD", &args.dD, SSM_FLOAT32, 1, {sizes->dim}, !present(args.in.D)}, device));
  SSM_TRY(check_tensor({"ddelta_bias",
                        &args.ddelta_bias,
                        SSM_FLOAT32,
                        1,
                        {sizes->dim},
                        !present(args.in.delta_bias)},
                       device));
  if (sizes->batch > kMaxGridY) {
    return fail(SSM_INVALID_ARGUMENT, "u: batch %lld, expected at most %lld",
                static_cast<long long>(sizes->batch), static_cast<long long>(kMaxGridY));
  }
  return SSM_OK;
}

ssm_status plan_of(const ssm_scan_backward_args& args, const ScanSizes& sizes, ScanShape* shape,
                   ScanBackwardPlan* plan) {
  const ssm_device* facts = nullptr;
  SSM_TRY(device_facts(args.in.u.device, &facts));
  *shape = make_shape(args.in, sizes, facts->multiprocessors);
  for (const ssm_tensor* rows :
       {&args.out, &args.out_z, &args.dout, &args.du, &args.ddelta, &args.dz}) {
    shape->near_rows = shape->near_rows && rows_near(make_rows(*rows));
  }
  *plan = plan_backward(*shape, args.deterministic != 0);
  return SSM_OK;
}

// Whether four steps of any row, of B and C too, can be read and written at once.
bool in_fours(const ssm_scan_backward_args& args, const ScanSizes& sizes) {
  const ssm_scan_inputs& in = args.in;
  bool aligned = sizes.length % 4 == 0;
  for (const ssm_tensor* rows : {&in.u, &in.delta, &in.z, &in.B, &in.C, &args.out, &args.out_z,
                                 &args.dout, &args.du, &args.ddelta, &args.dz}) {
    aligned = aligned && rows_on(*rows, 4);
  }
  return aligned;
}

// The forward recurrence without its output; chunks side by side where x has their first states.
ssm_status launch_states(const ssm_scan_backward_args& args, const ScanShape& shape,
                         const ScanSizes& sizes, const ScanParams& base) {
  ScanParams params = base;
  const bool chunked = present(args.x) && sizes.chunks > 1;
  const ScanPlan plan = plan_states(shape, chunked);
  params.z = params.out = params.out_z = ScanRows{};
  params.x = chunked ? static_cast<float*>(args.x.data) : nullptr;
  params.chunked = chunked;
  return launch_scan(plan, args.in.u.dtype, args.queue, params, chunked ? sizes.chunks : 1);
}

// The forward recurrence of one state without its output: x, where a caller has none.
ssm_status launch_saved_states(const ssm_scan_backward_args& args, const ScanShape& shape,
                               const ScanParams& base) {
  ScanParams params = base;
  params.z = params.out = params.out_z = ScanRows{};
  return launch_scan(plan_single(shape), args.in.u.dtype, args.queue, params, 1);
}

}  // namespace
}  // namespace ssm

ssm_status ssm_scan_backward_workspace_bytes(const ssm_scan_backward_args* args, uint64_t* bytes) {
  using namespace ssm;
  *bytes = 0;
  ScanSizes sizes;
  SSM_TRY(check_scan_inputs(args->in, args->in.u.device, &sizes));
  if (sizes.complex) {
    *bytes = complex_workspace_bytes(*args, sizes);
    return SSM_OK;
  }
  ScanShape shape;
  ScanBackwardPlan plan;
  SSM_TRY(plan_of(*args, sizes, &shape, &plan));
  *bytes = static_cast<uint64_t>(lay_out(*args, sizes, plan).floats) * sizeof(float);
  return SSM_OK;
}

ssm_status ssm_scan_backward(const ssm_scan_backward_args* arguments) {
  using namespace ssm;
  const ssm_scan_backward_args& args = *arguments;
  ScanSizes sizes;
  SSM_TRY(check(args, &sizes));
  if (sizes.complex) return complex_scan_backward(args, sizes);
  ScanShape shape;
  ScanBackwardPlan plan;
  SSM_TRY(plan_of(args, sizes, &shape, &plan));
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
    sizes.batch = 0;  // sums of nothing: zeros
    sums.row_parts = sums.factor_parts = 0;
    return launch_finish(args, sizes, sums);
  }

  const int dtype = args.in.u.dtype;
  ScanParams params = make_scan_params(args.in, sizes);
  params.tile_states = floats + w.tile_states;
  params.tiles = w.tiles;
  const bool tiled = plan.kernel == ScanKernel::kTiles;
  const bool single = plan.kernel == ScanKernel::kSingle;
  params.chunks = {w.tiles > 1 ? params.tile_states : nullptr,
                   plan.sequential ? nullptr : floats + w.adjoints,
                   floats + w.dt_sums,
                   plan.chunks.steps,
                   plan.chunks.count,
                   plan.chunks.run,
                   plan.chunks.runs,
                   1};
  if (tiled) params.rows_aligned = in_fours(args, sizes);
  params.out_is_float = args.dout.dtype == SSM_FLOAT32;
  if (single) {
    const bool saved = present(args.x) || !plan.needs_states;
    params.x = saved ? static_cast<float*>(args.x.data) : params.tile_states;
    if (!saved) SSM_TRY(launch_saved_states(args, shape, params));
  } else if (!tiled) {
    SSM_TRY(launch_states(args, shape, sizes, params));
  } else if (plan.sequential) {
    SSM_TRY(launch_lanes_states(shape, args.in.u.dtype, args.queue, params));
  } else if (w.tiles > 1) {
    SSM_TRY(
        launch_chunks(shape, plan.chunks, dtype, args.queue, {params, make_rows(args.dout), 1}));
  }

  SSM_TRY(launch_clear(sums, args.queue));
  ScanBackwardParams backward = make_backward_params(args, params, sums);
  backward.scan.time_warps = plan.time_warps;
  backward.scan.channels_per_warp = plan.channels_per_warp;
  const int access = backward.scan.teams.access_bytes;
  backward.scan.teams = plan.teams;
  backward.scan.teams.access_bytes = access;
  if (tiled) backward.scan.rows_aligned = params.rows_aligned;
  Kernel* kernels = tiled    ? tile_kernels[pass_index(shape.states)]
                    : single ? single_kernels
                             : split_kernels;
  SSM_TRY(launch(kernels[dtype], args.queue,
                 Dim3{plan.grid_x, static_cast<unsigned>(sizes.batch),
                      single ? plan.grid_z : static_cast<unsigned>(tiled ? plan.chunks.runs : 1)},
                 Dim3{static_cast<unsigned>(plan.warps) * 32, 1, 1}, plan.shared_bytes, backward));
  return launch_finish(args, sizes, sums);
}
