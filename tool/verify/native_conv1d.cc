// The native check of the causal convolution: forward, backward and update, each type and layout.
#include "conv1d/conv1d_reference.h"
#include "conv1d/ssm_conv1d.h"
#include "fmt/format.h"
#include "verify/native_check.h"

namespace ssmend {
namespace {

struct Shape {
  int64_t batch, channels, length, width;
  bool channels_last = false, silu = true, packed = false, states = false;
  bool ordered = false;  // the gradients of weight and bias summed in a fixed order
  unsigned seed = 1;
};

constexpr double kAbsolute = 1e-5;  // of a float32 sum of a few products of size 1

std::string text_of(const Shape& shape, int dtype) {
  return fmt::format("{} {}x{}x{} w{}{}{}{}{}{}", native_dtype_name(dtype), shape.batch,
                     shape.channels, shape.length, shape.width, shape.silu ? " silu" : "",
                     shape.channels_last ? " channel-last" : "", shape.packed ? " seq_idx" : "",
                     shape.states ? " states" : "", shape.ordered ? " ordered" : "");
}

ssm::Conv1dInput make_input(const Shape& shape, int dtype, std::mt19937* generator) {
  ssm::Conv1dInput in;
  in.batch = shape.batch;
  in.channels = shape.channels;
  in.length = shape.length;
  in.width = shape.width;
  in.silu = shape.silu;
  in.x = random_values(generator, shape.batch * shape.channels * shape.length, dtype);
  in.weight = random_values(generator, shape.channels * shape.width, SSM_FLOAT32);
  in.bias = random_values(generator, shape.channels, SSM_FLOAT32);
  if (shape.states) {
    in.initial_states =
        random_values(generator, shape.batch * shape.channels * (shape.width - 1), dtype);
  }
  for (int64_t i = 0; shape.packed && i < shape.batch * shape.length; ++i) {
    in.seq_idx.push_back(static_cast<int32_t>(i % shape.length / 37));
  }
  return in;
}

// The input's tensors on the GPU, and those of x's layout.
struct Device {
  ssm_tensor x, weight, bias, seq_idx, initial_states;
  std::vector<int64_t> sizes, state_sizes;
  std::vector<int> order;
};

Device upload(NativeSession& session, const ssm::Conv1dInput& in, const Shape& shape, int dtype) {
  Device device = {};
  device.sizes = {in.batch, in.channels, in.length};
  device.state_sizes = {in.batch, in.channels, in.width - 1};
  if (shape.channels_last) device.order = {0, 2, 1};
  device.x = session.upload(in.x, device.sizes, dtype, device.order);
  device.weight = session.upload(in.weight, {in.channels, in.width}, SSM_FLOAT32);
  device.bias = session.upload(in.bias, {in.channels}, SSM_FLOAT32);
  if (shape.states) {
    device.initial_states =
        session.upload(in.initial_states, device.state_sizes, dtype, device.order);
  }
  if (shape.packed) {
    const std::vector<double> indices(in.seq_idx.begin(), in.seq_idx.end());
    device.seq_idx = session.upload(indices, {in.batch, in.length}, SSM_INT32);
  }
  return device;
}

double bytes_of(const Shape& shape, int dtype, int tensors) {
  const double width = dtype == SSM_FLOAT32 ? 4 : 2;
  return width * tensors * static_cast<double>(shape.batch * shape.channels * shape.length);
}

void check_forward(NativeSession& session, NativeComparison& comparison, const Shape& shape,
                   int dtype) {
  std::mt19937 generator(shape.seed);
  const ssm::Conv1dInput in = make_input(shape, dtype, &generator);
  const Device device = upload(session, in, shape, dtype);
  ssm_conv1d_forward_args args = {};
  args.x = device.x;
  args.weight = device.weight;
  args.bias = device.bias;
  args.seq_idx = device.seq_idx;
  args.initial_states = device.initial_states;
  args.out = session.poisoned(device.sizes, dtype, device.order);
  if (shape.states) {
    args.final_states = session.poisoned(device.state_sizes, dtype, device.order);
  }
  args.silu = shape.silu ? 1 : 0;
  args.queue = session.queue();
  auto forward =
      reinterpret_cast<decltype(&ssm_conv1d_forward)>(session.function("ssm_conv1d_forward"));
  if (!session.error().empty()) return;
  const ssm::Conv1dOutput expected = ssm::conv1d_reference(in);
  std::vector<NativeOutput> outputs = {
      {"out", args.out, expected.out, device.sizes, relative_limit(dtype), kAbsolute}};
  if (shape.states) {
    outputs.push_back(
        {"final_states", args.final_states, expected.final_states, device.state_sizes, 0, 0});
  }
  run_and_compare(session, comparison, outputs, [&] { session.check(forward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(forward(&args)); }),
                      bytes_of(shape, dtype, 2));
}

void check_backward(NativeSession& session, NativeComparison& comparison, const Shape& shape,
                    int dtype) {
  std::mt19937 generator(shape.seed);
  const ssm::Conv1dInput in = make_input(shape, dtype, &generator);
  const std::vector<double> dout =
      random_values(&generator, shape.batch * shape.channels * shape.length, dtype);
  std::vector<double> dfinal;
  if (shape.states) {
    dfinal = random_values(&generator, shape.batch * shape.channels * (shape.width - 1), dtype);
  }
  const Device device = upload(session, in, shape, dtype);
  ssm_conv1d_backward_args args = {};
  args.x = device.x;
  args.weight = device.weight;
  args.bias = device.bias;
  args.seq_idx = device.seq_idx;
  args.initial_states = device.initial_states;
  args.dout = session.upload(dout, device.sizes, dtype, device.order);
  args.dx = session.poisoned(device.sizes, dtype, device.order);
  const std::vector<int64_t> weight_sizes = {shape.channels, shape.width};
  args.dweight = session.poisoned(weight_sizes, SSM_FLOAT32, {});
  args.dbias = session.poisoned({shape.channels}, SSM_FLOAT32, {});
  if (shape.states) {
    args.dfinal_states = session.upload(dfinal, device.state_sizes, dtype, device.order);
    args.dinitial_states = session.poisoned(device.state_sizes, dtype, device.order);
  }
  args.silu = shape.silu ? 1 : 0;
  args.queue = session.queue();
  auto backward =
      reinterpret_cast<decltype(&ssm_conv1d_backward)>(session.function("ssm_conv1d_backward"));
  auto workspace = reinterpret_cast<decltype(&ssm_conv1d_backward_workspace_bytes)>(
      session.function("ssm_conv1d_backward_workspace_bytes"));
  if (!session.error().empty()) return;
  if (shape.ordered) {
    session.check(workspace(&args, &args.workspace_bytes));
    args.workspace = session.scratch(args.workspace_bytes);
  }
  const ssm::Conv1dGradients expected = ssm::conv1d_reference_gradients(in, dout, dfinal);
  // float32 sums over the whole batch and length, in any order.
  const double sums = 1e-4;
  std::vector<NativeOutput> outputs = {
      {"dx", args.dx, expected.dx, device.sizes, relative_limit(dtype), kAbsolute},
      {"dweight", args.dweight, expected.dweight, weight_sizes, 1e-5, sums, true},
      {"dbias", args.dbias, expected.dbias, {shape.channels}, 1e-5, sums, true}};
  if (shape.states) {
    outputs.push_back({"dinitial_states", args.dinitial_states, expected.dinitial_states,
                       device.state_sizes, relative_limit(dtype), kAbsolute});
  }
  run_and_compare(session, comparison, outputs, [&] { session.check(backward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(backward(&args)); }),
                      bytes_of(shape, dtype, 3));
}

void check_update(NativeSession& session, NativeComparison& comparison, const Shape& shape,
                  int dtype, bool circular) {
  std::mt19937 generator(shape.seed);
  ssm::Conv1dSteps steps;
  steps.input = make_input(shape, dtype, &generator);
  steps.state_length = shape.width + 2;
  const int64_t rows = shape.batch + 3;
  steps.conv_state = random_values(&generator, rows * shape.channels * steps.state_length, dtype);
  std::vector<double> indices;
  std::vector<double> seen;
  for (int64_t b = 0; b < shape.batch; ++b) {
    // One row is padding; the others are out of order.
    steps.conv_state_indices.push_back(b == 1 ? -1 : static_cast<int32_t>(rows - 1 - b));
    indices.push_back(steps.conv_state_indices.back());
    if (!circular) continue;
    steps.cache_seqlens.push_back(static_cast<int32_t>(7 * b + 3));
    seen.push_back(steps.cache_seqlens.back());
  }
  const Device device = upload(session, steps.input, shape, dtype);
  const std::vector<int64_t> state_sizes = {rows, shape.channels, steps.state_length};
  ssm_conv1d_update_args args = {};
  args.x = device.x;
  args.weight = device.weight;
  args.bias = device.bias;
  args.conv_state = session.upload(steps.conv_state, state_sizes, dtype, device.order);
  args.out = session.poisoned(device.sizes, dtype, device.order);
  args.conv_state_indices = session.upload(indices, {shape.batch}, SSM_INT32);
  if (circular) args.cache_seqlens = session.upload(seen, {shape.batch}, SSM_INT32);
  args.silu = shape.silu ? 1 : 0;
  args.queue = session.queue();
  auto update =
      reinterpret_cast<decltype(&ssm_conv1d_update)>(session.function("ssm_conv1d_update"));
  if (!session.error().empty()) return;
  session.check(update(&args));
  const std::vector<double> expected = ssm::conv1d_reference_update(&steps);
  comparison.compare("out", session.download(args.out), expected, device.sizes,
                     relative_limit(dtype), kAbsolute);
  comparison.compare("conv_state", session.download(args.conv_state), steps.conv_state, state_sizes,
                     0, 0);
  comparison.set_work(session.seconds_of([&] { session.check(update(&args)); }),
                      bytes_of(shape, dtype, 2));
}

}  // namespace

std::vector<NativeCase> conv1d_native_cases() {
  // Odd lengths cut rows across 16 bytes; 1 is shorter than the window; 1281 is one past a tile.
  std::vector<Shape> shapes = {
      {.batch = 2, .channels = 64, .length = 151, .width = 4},
      {.batch = 2, .channels = 64, .length = 151, .width = 4, .channels_last = true},
      {.batch = 2,
       .channels = 64,
       .length = 151,
       .width = 4,
       .channels_last = true,
       .packed = true},
      {.batch = 2, .channels = 64, .length = 151, .width = 4, .states = true},
      {.batch = 2,
       .channels = 64,
       .length = 151,
       .width = 4,
       .channels_last = true,
       .silu = false,
       .states = true},
      {.batch = 3, .channels = 40, .length = 1281, .width = 3},
      {.batch = 3, .channels = 40, .length = 1281, .width = 2, .channels_last = true},
      {.batch = 2,
       .channels = 61,
       .length = 77,
       .width = 4,
       .channels_last = true,
       .packed = true,
       .states = true},
      {.batch = 2, .channels = 16, .length = 1, .width = 4, .states = true},
      {.batch = 2,
       .channels = 16,
       .length = 1,
       .width = 2,
       .channels_last = true,
       .silu = false,
       .states = true},
      {.batch = 2, .channels = 24, .length = 133, .width = 2, .ordered = true},
      {.batch = 2,
       .channels = 24,
       .length = 133,
       .width = 3,
       .channels_last = true,
       .ordered = true},
      {.batch = 2, .channels = 24, .length = 77, .width = 3, .channels_last = true, .packed = true},
      {.batch = 2,
       .channels = 24,
       .length = 77,
       .width = 2,
       .channels_last = true,
       .silu = false,
       .packed = true},
  };
  unsigned seed = 0;
  for (Shape& shape : shapes) shape.seed = ++seed;
  const Shape steps[] = {
      {.batch = 4, .channels = 72, .length = 1, .width = 4},
      {.batch = 4, .channels = 72, .length = 5, .width = 4, .channels_last = true},
      {.batch = 3, .channels = 40, .length = 1, .width = 3},
      {.batch = 3, .channels = 40, .length = 1, .width = 2},
  };
  std::vector<NativeCase> cases;
  for (const int dtype : {SSM_FLOAT32, SSM_FLOAT16, SSM_BFLOAT16}) {
    for (const Shape& shape : shapes) {
      cases.push_back({"conv1d fwd", text_of(shape, dtype),
                       [shape, dtype](NativeSession& session, NativeComparison& comparison) {
                         check_forward(session, comparison, shape, dtype);
                       }});
      cases.push_back({"conv1d bwd", text_of(shape, dtype),
                       [shape, dtype](NativeSession& session, NativeComparison& comparison) {
                         check_backward(session, comparison, shape, dtype);
                       }});
    }
    for (const bool circular : {false, true}) {
      for (const Shape& shape : steps) {
        cases.push_back(
            {"conv1d update", text_of(shape, dtype) + (circular ? " circular" : ""),
             [shape, dtype, circular](NativeSession& session, NativeComparison& comparison) {
               check_update(session, comparison, shape, dtype, circular);
             }});
      }
    }
  }
  return cases;
}

}  // namespace ssmend
