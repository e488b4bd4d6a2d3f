// Launcher of conv1d_update.cu: check, choose, launch.
#include "conv1d/checks.h"
#include "conv1d/params.h"
#include "conv1d/ssm_conv1d.h"
#include "core/launch.h"

namespace ssm {
namespace {

constexpr const char* kUnit = "conv1d_update";
constexpr int kThreads = 128;
constexpr int kMaxGridY = 65535;

#define SSM_THREE_WIDTHS(type)                                                          \
  {                                                                                     \
    {kUnit, "ssm_conv1d_update_" type "_w2"}, {kUnit, "ssm_conv1d_update_" type "_w3"}, \
        {kUnit, "ssm_conv1d_update_" type "_w4"},                                       \
  }
// Indexed by dtype and width - 2.
Kernel kernels[3][3] = {SSM_THREE_WIDTHS("float32"), SSM_THREE_WIDTHS("float16"),
                        SSM_THREE_WIDTHS("bfloat16")};

ssm_status check(const ssm_conv1d_update_args& args) {
  const ssm_tensor& x = args.x;
  SSM_TRY(check_input(x, args.weight, args.bias, args.queue.device));
  SSM_TRY(check_tensor({"out", &args.out, x.dtype, 3, {x.size[0], x.size[1], x.size[2]}, false},
                       x.device));
  SSM_TRY(check_tensor({"cache_seqlens", &args.cache_seqlens, SSM_INT32, 1, {x.size[0]}, true},
                       x.device));
  SSM_TRY(check_tensor(
      {"conv_state_indices", &args.conv_state_indices, SSM_INT32, 1, {x.size[0]}, true}, x.device));
  const int64_t rows = present(args.conv_state_indices) ? -1 : x.size[0];
  SSM_TRY(check_tensor({"conv_state", &args.conv_state, x.dtype, 3, {rows, x.size[1], -1}, false},
                       x.device));
  if (args.conv_state.size[2] < args.weight.size[1] - 1) {
    return fail(SSM_INVALID_ARGUMENT,
                "conv_state: size(2) is %lld, expected at least width - 1 = %lld",
                static_cast<long long>(args.conv_state.size[2]),
                static_cast<long long>(args.weight.size[1] - 1));
  }
  constexpr int64_t kMost = (int64_t{1} << 31) - 65536;
  if (args.conv_state.size[0] > kMost || args.conv_state.size[2] > kMost) {
    return fail(SSM_INVALID_ARGUMENT, "conv_state: a size is above %lld",
                static_cast<long long>(kMost));
  }
  return SSM_OK;
}

// Whether the kernel may move the whole state of a channel with one load and one store.
bool is_whole_state(const ssm_conv1d_update_args& args) {
  const ssm_tensor& state = args.conv_state;
  constexpr int64_t kPlaces = 4;
  const auto address = reinterpret_cast<uintptr_t>(state.data);
  const auto bytes = static_cast<uintptr_t>(kPlaces * dtype_bytes(state.dtype));
  return state.size[2] == kPlaces && state.stride[2] == 1 && args.x.size[2] == 1 &&
         !present(args.cache_seqlens) && state.stride[0] % kPlaces == 0 &&
         state.stride[1] % kPlaces == 0 && address % bytes == 0;
}

}  // namespace
}  // namespace ssm

ssm_status ssm_conv1d_update(const ssm_conv1d_update_args* arguments) {
  const ssm_conv1d_update_args& args = *arguments;
  SSM_TRY(ssm::check(args));
  if (ssm::is_empty(args.x)) return SSM_OK;
  ssm::Conv1dUpdateParams p = {};
  p.x = args.x.data;
  p.conv_state = args.conv_state.data;
  p.weight = args.weight.data;
  p.bias = args.bias.data;
  p.out = args.out.data;
  p.cache_seqlens = static_cast<const int*>(args.cache_seqlens.data);
  p.conv_state_indices = static_cast<const int*>(args.conv_state_indices.data);
  ssm::copy_strides(args.x, p.x_stride);
  ssm::copy_strides(args.out, p.out_stride);
  ssm::copy_strides(args.conv_state, p.state_stride);
  ssm::copy_strides(args.weight, p.weight_stride);
  p.bias_stride = args.bias.stride[0];
  p.cache_stride = args.cache_seqlens.stride[0];
  p.indices_stride = args.conv_state_indices.stride[0];
  p.batch = static_cast<int>(args.x.size[0]);
  p.channels = static_cast<int>(args.x.size[1]);
  p.length = static_cast<int>(args.x.size[2]);
  p.width = static_cast<int>(args.weight.size[1]);
  p.state_rows = static_cast<int>(args.conv_state.size[0]);
  p.state_length = static_cast<int>(args.conv_state.size[2]);
  p.whole_state = ssm::is_whole_state(args) ? 1 : 0;
  p.weight_dtype = args.weight.dtype;
  p.silu = args.silu;
  ssm::Dim3 grid;
  grid.x = static_cast<unsigned>((int64_t{p.channels} + ssm::kThreads - 1) / ssm::kThreads);
  grid.y = static_cast<unsigned>(p.batch < ssm::kMaxGridY ? p.batch : ssm::kMaxGridY);
  return ssm::launch(ssm::kernels[args.x.dtype][p.width - 2], args.queue, grid,
                     ssm::Dim3{ssm::kThreads, 1, 1}, 0, p);
}
