// Launcher of the backward kernels: check, choose, launch; then, where asked for, the part of the
// states and the ordered sum.
#include "conv1d/checks.h"
#include "conv1d/layout.h"
#include "conv1d/params.h"
#include "conv1d/ssm_conv1d.h"
#include "core/launch.h"

namespace ssm {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxGridY = 65535;
constexpr int kChannelsPerThread = 4;

#define SSM_THREE_WIDTHS(unit, kernel, type)                  \
  {                                                           \
    {unit, "ssm_conv1d_backward_" kernel "_" type "_w2"},     \
        {unit, "ssm_conv1d_backward_" kernel "_" type "_w3"}, \
        {unit, "ssm_conv1d_backward_" kernel "_" type "_w4"}, \
  }
#define SSM_ALL_TYPES(unit, kernel)                                                       \
  {                                                                                       \
    SSM_THREE_WIDTHS(unit, kernel, "float32"), SSM_THREE_WIDTHS(unit, kernel, "float16"), \
        SSM_THREE_WIDTHS(unit, kernel, "bfloat16"),                                       \
  }
#define SSM_ONE_A_TYPE(kernel)                                 \
  {                                                            \
    {kAnyUnit, "ssm_conv1d_backward_" kernel "_float32"},      \
        {kAnyUnit, "ssm_conv1d_backward_" kernel "_float16"},  \
        {kAnyUnit, "ssm_conv1d_backward_" kernel "_bfloat16"}, \
  }

constexpr const char* kRowsUnit = "conv1d_backward_rows";
constexpr const char* kChannelsUnit = "conv1d_backward_channels";
constexpr const char* kAnyUnit = "conv1d_backward_any";
// Indexed by dtype and width - 2.
Kernel rows_kernels[3][3] = SSM_ALL_TYPES(kRowsUnit, "rows");
Kernel channels_kernels[3][3] = SSM_ALL_TYPES(kChannelsUnit, "channels");
Kernel packed_kernels[3][3] = SSM_ALL_TYPES(kChannelsUnit, "packed");
Kernel any_kernels[3] = SSM_ONE_A_TYPE("any");
Kernel states_kernels[3] = SSM_ONE_A_TYPE("states");
Kernel sum_kernel = {kAnyUnit, "ssm_conv1d_backward_sum"};

ssm_status check(const ssm_conv1d_backward_args& args) {
  const ssm_tensor& x = args.x;
  SSM_TRY(check_input(x, args.weight, args.bias, args.queue.device));
  const int64_t b = x.size[0];
  const int64_t d = x.size[1];
  const int64_t l = x.size[2];
  SSM_TRY(check_tensor({"dout", &args.dout, x.dtype, 3, {b, d, l}, false}, x.device));
  SSM_TRY(check_tensor({"dx", &args.dx, x.dtype, 3, {b, d, l}, false}, x.device));
  SSM_TRY(check_tensor({"dweight", &args.dweight, SSM_FLOAT32, 2, {d, args.weight.size[1]}, false},
                       x.device));
  SSM_TRY(check_tensor({"dbias", &args.dbias, SSM_FLOAT32, 1, {d}, true}, x.device));
  if (present(args.bias) != present(args.dbias)) {
    return fail(SSM_INVALID_ARGUMENT, "dbias: %s, expected it exactly where bias is given",
                present(args.dbias) ? "given without bias" : "absent");
  }
  SSM_TRY(check_seq_idx(args.seq_idx, x));
  SSM_TRY(check_states("initial_states", args.initial_states, x, args.weight));
  SSM_TRY(check_states("dfinal_states", args.dfinal_states, x, args.weight));
  return check_states("dinitial_states", args.dinitial_states, x, args.weight);
}

struct Plan {
  Conv1dPath path;
  int tiles;  // as in the params
  int tile_size;
  int team;
  int steps;
  int parts;
  Dim3 grid;
  Dim3 block;
  unsigned shared_bytes;
};

unsigned batch_grid(const ssm_tensor& x) {
  return static_cast<unsigned>(x.size[0] < kMaxGridY ? x.size[0] : kMaxGridY);
}

// Quads of channels, aligned: 16 bytes of float32, 8 of the others; 16 is asked for in both, as in
// forward.
bool is_channels(const ssm_conv1d_backward_args& args) {
  return channels_aligned(args.x) && channels_aligned(args.dout) && channels_aligned(args.dx);
}

bool is_rows(const ssm_conv1d_backward_args& args) {
  return is_row_major(args.x) && is_row_major(args.dout) && is_row_major(args.dx) &&
         !present(args.seq_idx) && rows_misaligned_alike(args.x, args.dx) &&
         rows_misaligned_alike(args.dout, args.dx);
}

// Where no GPU answers the workspace is still told, as for an H100: no kernel will use it.
int multiprocessors(const ssm_tensor& tensor) {
  const ssm_device* facts = nullptr;
  return device_facts(tensor.device, &facts) == SSM_OK ? facts->multiprocessors : 132;
}

Plan make_plan(const ssm_conv1d_backward_args& args) {
  const ssm_tensor& x = args.x;
  Plan plan = {};
  plan.grid.y = batch_grid(x);
  if (is_rows(args)) {
    const RowTiling tiling = walk_row(row_shape(args.dx), multiprocessors(args.dx));
    plan.path = Conv1dPath::kRows;
    plan.tiles = tiling.tiles;
    plan.tile_size = tiling.chunks;
    plan.grid.y = static_cast<unsigned>(tiling.groups < kMaxGridY ? tiling.groups : kMaxGridY);
    plan.team = tiling.team;
    plan.steps = tiling.steps;
    plan.parts = static_cast<int>(plan.grid.y) * tiling.tiles * tiling.team;
    plan.block.x = kThreads;
    plan.grid.x =
        static_cast<unsigned>((x.size[1] * tiling.tiles * tiling.team + kWarps - 1) / kWarps);
    return plan;
  }
  if (is_channels(args)) {
    const ChannelTiling tiling =
        tile_channels(x.size[0], x.size[1] / kChannelsPerThread, x.size[2]);
    plan.path = Conv1dPath::kChannels;
    plan.tiles = tiling.tile_groups;
    plan.tile_size = tiling.positions;
    plan.parts = static_cast<int>(x.size[0]) * tiling.tile_groups;
    plan.block.x = static_cast<unsigned>(tiling.lanes);
    plan.block.y = static_cast<unsigned>(tiling.tiles_per_block);
    plan.grid.x = static_cast<unsigned>(tiling.channel_groups * tiling.tile_groups);
    plan.shared_bytes = static_cast<unsigned>((args.weight.size[1] + 1) * kChannelsPerThread *
                                              tiling.lanes * tiling.tiles_per_block * 4);
    return plan;
  }
  plan.path = Conv1dPath::kAny;
  plan.tiles = 1;
  plan.parts = static_cast<int>(x.size[0]);
  plan.block.x = kThreads;
  plan.grid.x = static_cast<unsigned>(x.size[1]);
  return plan;
}

Conv1dBackwardParams make_params(const ssm_conv1d_backward_args& args, const Plan& plan) {
  Conv1dBackwardParams p = {};
  p.x = args.x.data;
  p.x_end = end_of(args.x);
  p.weight = args.weight.data;
  p.bias = args.bias.data;
  p.seq_idx = static_cast<const int*>(args.seq_idx.data);
  p.initial_states = args.initial_states.data;
  p.dout = args.dout.data;
  p.dout_end = end_of(args.dout);
  p.dfinal_states = args.dfinal_states.data;
  p.dx = args.dx.data;
  p.dweight = static_cast<float*>(args.dweight.data);
  p.dbias = static_cast<float*>(args.dbias.data);
  p.dinitial_states = args.dinitial_states.data;
  p.workspace = static_cast<float*>(args.workspace);
  copy_strides(args.x, p.x_stride);
  copy_strides(args.dout, p.dout_stride);
  copy_strides(args.dx, p.dx_stride);
  copy_strides(args.initial_states, p.initial_stride);
  copy_strides(args.dinitial_states, p.dinitial_stride);
  copy_strides(args.dfinal_states, p.dfinal_stride);
  copy_strides(args.weight, p.weight_stride);
  copy_strides(args.dweight, p.dweight_stride);
  p.bias_stride = args.bias.stride[0];
  p.dbias_stride = args.dbias.stride[0];
  copy_strides(args.seq_idx, p.seq_stride);
  p.batch = static_cast<int>(args.x.size[0]);
  p.channels = static_cast<int>(args.x.size[1]);
  p.length = static_cast<int>(args.x.size[2]);
  p.width = static_cast<int>(args.weight.size[1]);
  p.weight_dtype = args.weight.dtype;
  p.silu = args.silu;
  p.tiles = plan.tiles;
  p.tile_size = plan.tile_size;
  p.team = plan.team;
  p.steps = plan.steps;
  p.parts = plan.parts;
  return p;
}

uint64_t workspace_bytes(const ssm_conv1d_backward_args& args, const Plan& plan) {
  return static_cast<uint64_t>(plan.parts) * static_cast<uint64_t>(args.x.size[1]) *
         static_cast<uint64_t>(args.weight.size[1] + 1) * 4;
}

Kernel& choose_kernel(const ssm_conv1d_backward_args& args, const Plan& plan) {
  const int dtype = args.x.dtype;
  const auto width = args.weight.size[1] - 2;
  if (plan.path == Conv1dPath::kRows) return rows_kernels[dtype][width];
  if (plan.path == Conv1dPath::kAny) return any_kernels[dtype];
  return present(args.seq_idx) ? packed_kernels[dtype][width] : channels_kernels[dtype][width];
}

}  // namespace
}  // namespace ssm

ssm_status ssm_conv1d_backward_workspace_bytes(const ssm_conv1d_backward_args* args,
                                               uint64_t* bytes) {
  *bytes = 0;
  SSM_TRY(ssm::check(*args));
  if (!ssm::is_empty(args->x)) *bytes = ssm::workspace_bytes(*args, ssm::make_plan(*args));
  return SSM_OK;
}

ssm_status ssm_conv1d_backward(const ssm_conv1d_backward_args* arguments) {
  const ssm_conv1d_backward_args& args = *arguments;
  SSM_TRY(ssm::check(args));
  if (ssm::is_empty(args.x)) {
    if (args.x.size[2] != 0 || !ssm::present(args.dinitial_states)) return SSM_OK;
    return ssm::fail(SSM_INVALID_ARGUMENT,
                     "x: size(2) is 0, expected at least 1 with dinitial_states");
  }
  const ssm::Plan plan = ssm::make_plan(args);
  const uint64_t needed = ssm::workspace_bytes(args, plan);
  if (args.workspace != nullptr && args.workspace_bytes < needed) {
    return ssm::fail(SSM_INVALID_ARGUMENT, "workspace: %llu bytes, expected %llu",
                     static_cast<unsigned long long>(args.workspace_bytes),
                     static_cast<unsigned long long>(needed));
  }
  const ssm::Conv1dBackwardParams p = ssm::make_params(args, plan);
  SSM_TRY(ssm::launch(ssm::choose_kernel(args, plan), args.queue, plan.grid, plan.block,
                      plan.shared_bytes, p));
  const ssm::Dim3 block{ssm::kThreads, 1, 1};
  if (ssm::present(args.dinitial_states) || ssm::present(args.dfinal_states)) {
    ssm::Dim3 grid{static_cast<unsigned>((p.channels + ssm::kThreads - 1) / ssm::kThreads),
                   ssm::batch_grid(args.x), 1};
    SSM_TRY(ssm::launch(ssm::states_kernels[args.x.dtype], args.queue, grid, block, 0, p));
  }
  if (args.workspace == nullptr) return SSM_OK;
  const int64_t sums = int64_t{p.channels} * (p.width + 1);
  const ssm::Dim3 grid{static_cast<unsigned>((sums + ssm::kThreads - 1) / ssm::kThreads), 1, 1};
  return ssm::launch(ssm::sum_kernel, args.queue, grid, block, 0, p);
}
