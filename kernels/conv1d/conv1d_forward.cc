// Launcher of conv1d_forward.cu: check, choose, launch.
#include "conv1d/checks.h"
#include "conv1d/layout.h"
#include "conv1d/params.h"
#include "conv1d/ssm_conv1d.h"
#include "core/launch.h"

namespace ssm {
namespace {

constexpr const char* kUnit = "conv1d_forward";
constexpr int kLaneChunks = 5;  // as in the kernel
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxGridY = 65535;
#ifndef SSM_CONV_CHANNEL_BYTES
#define SSM_CONV_CHANNEL_BYTES(bytes) ((bytes)*4)
#endif
#ifndef SSM_CHANNEL_TILE
#define SSM_CHANNEL_TILE 32
#endif
constexpr int kChannelTile = SSM_CHANNEL_TILE;  // positions a thread walks; more than W - 1

#define SSM_THREE_WIDTHS(kernel, type)                        \
  {                                                           \
    {kUnit, "ssm_conv1d_forward_" kernel "_" type "_w2"},     \
        {kUnit, "ssm_conv1d_forward_" kernel "_" type "_w3"}, \
        {kUnit, "ssm_conv1d_forward_" kernel "_" type "_w4"}, \
  }
#define SSM_ALL_TYPES(kernel)                                                 \
  {                                                                           \
    SSM_THREE_WIDTHS(kernel, "float32"), SSM_THREE_WIDTHS(kernel, "float16"), \
        SSM_THREE_WIDTHS(kernel, "bfloat16"),                                 \
  }
// Indexed by dtype and width - 2.
Kernel rows_kernels[3][3] = SSM_ALL_TYPES("rows");
Kernel channels_kernels[3][3] = SSM_ALL_TYPES("channels");
Kernel packed_kernels[3][3] = SSM_ALL_TYPES("packed");
Kernel any_kernels[3] = {{kUnit, "ssm_conv1d_forward_any_float32"},
                         {kUnit, "ssm_conv1d_forward_any_float16"},
                         {kUnit, "ssm_conv1d_forward_any_bfloat16"}};

Conv1dPath choose_path(const ssm_conv1d_forward_args& args) {
  const bool rows = is_row_major(args.x) && is_row_major(args.out);
  if (rows && !present(args.seq_idx) && rows_misaligned_alike(args.x, args.out)) {
    return Conv1dPath::kRows;
  }
  if (channels_aligned(args.x) && channels_aligned(args.out)) return Conv1dPath::kChannels;
  return Conv1dPath::kAny;
}

ssm_status check(const ssm_conv1d_forward_args& args) {
  const ssm_tensor& x = args.x;
  SSM_TRY(check_input(x, args.weight, args.bias, args.queue.device));
  SSM_TRY(check_tensor({"out", &args.out, x.dtype, 3, {x.size[0], x.size[1], x.size[2]}, false},
                       x.device));
  SSM_TRY(check_seq_idx(args.seq_idx, x));
  SSM_TRY(check_states("initial_states", args.initial_states, x, args.weight));
  return check_states("final_states_out", args.final_states, x, args.weight);
}

Conv1dForwardParams make_params(const ssm_conv1d_forward_args& args) {
  Conv1dForwardParams p = {};
  p.x = args.x.data;
  p.x_end = end_of(args.x);
  p.weight = args.weight.data;
  p.bias = args.bias.data;
  p.seq_idx = static_cast<const int*>(args.seq_idx.data);
  p.initial_states = args.initial_states.data;
  p.out = args.out.data;
  p.final_states = args.final_states.data;
  copy_strides(args.x, p.x_stride);
  copy_strides(args.out, p.out_stride);
  copy_strides(args.weight, p.weight_stride);
  if (present(args.bias)) p.bias_stride = args.bias.stride[0];
  if (present(args.seq_idx)) copy_strides(args.seq_idx, p.seq_stride);
  if (present(args.initial_states)) copy_strides(args.initial_states, p.initial_stride);
  if (present(args.final_states)) copy_strides(args.final_states, p.final_stride);
  p.batch = static_cast<int>(args.x.size[0]);
  p.channels = static_cast<int>(args.x.size[1]);
  p.length = static_cast<int>(args.x.size[2]);
  p.width = static_cast<int>(args.weight.size[1]);
  p.weight_dtype = args.weight.dtype;
  p.silu = args.silu;
  return p;
}

// `blocks` along x; along y the batch or groups of it, in a loop where there are more than a grid
// takes.
ssm_status start(Kernel& kernel, const ssm_conv1d_forward_args& args, const Conv1dForwardParams& p,
                 int64_t blocks, int groups) {
  constexpr int64_t kMostBlocks = int64_t{1} << 24;  // indices of threads are 32-bit
  if (blocks > kMostBlocks && kernel.name[0] != '\0') {
    return fail(SSM_INVALID_ARGUMENT, "x: %d channels of length %d are too many for one launch",
                p.channels, p.length);
  }
  Dim3 grid;
  grid.x = static_cast<unsigned>(blocks);
  grid.y = static_cast<unsigned>(groups < kMaxGridY ? groups : kMaxGridY);
  return launch(kernel, args.queue, grid, Dim3{kThreads, 1, 1}, 0, p);
}

}  // namespace
}  // namespace ssm

ssm_status ssm_conv1d_forward(const ssm_conv1d_forward_args* arguments) {
  const ssm_conv1d_forward_args& args = *arguments;
  SSM_TRY(ssm::check(args));
  if (ssm::is_empty(args.x)) {
    if (args.x.size[2] != 0 || !ssm::present(args.final_states)) return SSM_OK;
    return ssm::fail(SSM_INVALID_ARGUMENT,
                     "x: size(2) is 0, expected at least 1 with final_states_out");
  }
  ssm::Conv1dForwardParams p = ssm::make_params(args);
  const int64_t bytes = ssm::dtype_bytes(args.x.dtype);
  const int width = p.width - 2;
  const ssm::Conv1dPath path = ssm::choose_path(args);
  if (path == ssm::Conv1dPath::kRows) {
    const ssm::RowTiling tiling = ssm::tile_row(ssm::row_shape(args.out), ssm::kLaneChunks);
    p.tiles = tiling.tiles;
    p.tile_size = tiling.chunks;
    const int64_t tiles = int64_t{p.channels} * tiling.tiles;
    return ssm::start(ssm::rows_kernels[args.x.dtype][width], args, p,
                      (tiles + ssm::kWarps - 1) / ssm::kWarps, tiling.groups);
  }
  if (path == ssm::Conv1dPath::kChannels) {
    p.tile_size = ssm::kChannelTile;
    p.tiles = (p.length + p.tile_size - 1) / p.tile_size;
    const int64_t threads = p.channels / (SSM_CONV_CHANNEL_BYTES(bytes) / bytes) * int64_t{p.tiles};
    ssm::Kernel(&kernels)[3][3] =
        ssm::present(args.seq_idx) ? ssm::packed_kernels : ssm::channels_kernels;
    return ssm::start(kernels[args.x.dtype][width], args, p,
                      (threads + ssm::kThreads - 1) / ssm::kThreads, p.batch);
  }
  p.channels_fastest = args.x.stride[1] < args.x.stride[2] ? 1 : 0;
  return ssm::start(ssm::any_kernels[args.x.dtype], args, p,
                    (int64_t{p.channels} * p.length + ssm::kThreads - 1) / ssm::kThreads, p.batch);
}
