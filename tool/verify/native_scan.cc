// The native check of the selective scan: forward, backward and the decode step, each type. What
// the backward pass is given from the forward one comes from the reference, so that a wrong forward
// kernel does not show as a wrong backward one.
#include <algorithm>
#include <cmath>

#include "fmt/format.h"
#include "verify/native_check.h"
#include "verify/native_scan_inputs.h"

namespace ssmend {
namespace {

// One output, compared relative to each element by `relative` and to the largest by float32's sums.
struct Output {
  const char* part;
  ssm_tensor tensor;
  std::vector<double> expected;
  std::vector<int64_t> sizes;
  double relative;
};

constexpr double kSums = 1e-5;

void compare(NativeSession& session, NativeComparison& comparison, const Output& output) {
  double largest = 0;
  for (const double value : output.expected) largest = std::max(largest, std::fabs(value));
  comparison.compare(output.part, session.download(output.tensor), output.expected, output.sizes,
                     output.relative, kSums * std::max(largest, 1e-3));
}

template <typename Call>
void run_and_compare(NativeSession& session, NativeComparison& comparison,
                     const std::vector<Output>& outputs, Call call) {
  for (int run = 1; run <= kNativeRuns && comparison.right_so_far(); ++run) {
    comparison.begin_run(run);
    for (const Output& output : outputs) session.poison(output.tensor);
    call();
    for (const Output& output : outputs) compare(session, comparison, output);
  }
}

// The least that must be moved: `tensors` of (batch, dim, length), and the factors.
double bytes_of(const ScanCase& shape, int dtype, int tensors) {
  const double width = dtype == SSM_FLOAT32 ? 4 : 2;
  const double factors = (shape.variable_B ? 1.0 : 0.0) + (shape.variable_C ? 1.0 : 0.0);
  const double steps = static_cast<double>(shape.batch * shape.length);
  return width * steps *
         (tensors * static_cast<double>(shape.dim) +
          factors * static_cast<double>(shape.groups * shape.states));
}

void check_forward(NativeSession& session, NativeComparison& comparison, const ScanCase& shape,
                   int dtype) {
  std::mt19937 generator(shape.seed);
  const ssm::ReferenceScan scan = make_scan(shape, dtype, &generator);
  const std::vector<int64_t> rows = {shape.batch, shape.dim, shape.length};
  const int out_dtype = shape.wide ? SSM_FLOAT32 : dtype;
  ssm_scan_forward_args args = {};
  args.in = upload(session, scan, shape, dtype);
  args.out = session.poisoned(rows, out_dtype, {});
  if (shape.gate) args.out_z = session.poisoned(rows, out_dtype, {});
  std::vector<int64_t> saved = saved_sizes(shape);
  args.x = session.poisoned(saved, shape.complex ? SSM_COMPLEX64 : SSM_FLOAT32, {});
  if (shape.complex) saved.back() *= 2;
  args.queue = session.queue();
  auto forward =
      reinterpret_cast<decltype(&ssm_scan_forward)>(session.function("ssm_scan_forward"));
  if (!session.error().empty()) return;
  const ssm::ReferenceOutput expected = ssm::reference_scan(scan);
  const double relative = relative_limit(out_dtype);
  std::vector<Output> outputs = {
      {"out", args.out, expected.out, rows, relative},
      {"x", args.x, flat(saved_states(scan, expected), shape.complex), saved, kSums}};
  if (shape.gate) outputs.push_back({"out_z", args.out_z, expected.out_z, rows, relative});
  run_and_compare(session, comparison, outputs, [&] { session.check(forward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(forward(&args)); }),
                      bytes_of(shape, dtype, shape.gate ? 5 : 3));
}

void check_backward(NativeSession& session, NativeComparison& comparison, const ScanCase& shape,
                    int dtype) {
  std::mt19937 generator(shape.seed);
  const ssm::ReferenceScan scan = make_scan(shape, dtype, &generator);
  const int dout_dtype = shape.wide ? SSM_FLOAT32 : dtype;
  const std::vector<double> dout =
      random_values(&generator, shape.batch * shape.dim * shape.length, dout_dtype);
  const ssm::ReferenceOutput forward = ssm::reference_scan(scan);
  const ssm::ReferenceGradients expected = ssm::reference_scan_gradients(scan, forward, dout);
  const std::vector<int64_t> rows = {shape.batch, shape.dim, shape.length};
  const int wide = shape.complex ? SSM_COMPLEX64 : SSM_FLOAT32;
  const FactorSizes B = factor_sizes(shape, shape.variable_B, dtype);
  const FactorSizes C = factor_sizes(shape, shape.variable_C, dtype);
  ssm_scan_backward_args args = {};
  args.in = upload(session, scan, shape, dtype);
  args.dout = session.upload(dout, rows, dout_dtype);
  args.x =
      session.upload(flat(saved_states(scan, forward), shape.complex), saved_sizes(shape), wide);
  args.du = session.poisoned(rows, dtype, {});
  args.ddelta = session.poisoned(rows, dtype, {});
  args.dA = session.poisoned({shape.dim, shape.states}, wide, {});
  args.dB = session.poisoned(B.tensor, B.dtype, {});
  args.dC = session.poisoned(C.tensor, C.dtype, {});
  if (shape.gate) {
    args.out = session.upload(rounded_to(dtype, forward.out), rows, dtype);
    args.dD = session.poisoned({shape.dim}, SSM_FLOAT32, {});
    args.ddelta_bias = session.poisoned({shape.dim}, SSM_FLOAT32, {});
    args.dz = session.poisoned(rows, dtype, {});
  }
  args.queue = session.queue();
  auto workspace = reinterpret_cast<decltype(&ssm_scan_backward_workspace_bytes)>(
      session.function("ssm_scan_backward_workspace_bytes"));
  auto backward =
      reinterpret_cast<decltype(&ssm_scan_backward)>(session.function("ssm_scan_backward"));
  if (!session.error().empty()) return;
  session.check(workspace(&args, &args.workspace_bytes));
  args.workspace = session.scratch(args.workspace_bytes);

  const double typed = relative_limit(dtype);
  const int64_t parts = shape.complex ? 2 : 1;
  std::vector<Output> outputs = {
      {"du", args.du, expected.du, rows, typed},
      {"ddelta", args.ddelta, expected.ddelta, rows, typed},
      {"dA", args.dA, flat(expected.dA, shape.complex), {shape.dim, shape.states * parts}, kSums},
      {"dB", args.dB, flat(expected.dB, shape.complex), B.compared, relative_limit(B.dtype)},
      {"dC", args.dC, flat(expected.dC, shape.complex), C.compared, relative_limit(C.dtype)}};
  if (shape.gate) {
    outputs.push_back({"dD", args.dD, expected.dD, {shape.dim}, kSums});
    outputs.push_back({"ddelta_bias", args.ddelta_bias, expected.ddelta_bias, {shape.dim}, kSums});
    // Twice: out comes rounded to the type, and so does the result.
    outputs.push_back({"dz", args.dz, expected.dz, rows, 2 * typed});
  }
  run_and_compare(session, comparison, outputs, [&] { session.check(backward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(backward(&args)); }),
                      bytes_of(shape, dtype, shape.gate ? 8 : 5));
}

// The decode step of `heads` heads; the state's rows out of order, one of the batch padding.
void check_update(NativeSession& session, NativeComparison& comparison, const ScanCase& shape,
                  int64_t heads, int dtype, int state_dtype) {
  std::mt19937 generator(shape.seed);
  const ssm::ReferenceScan scan = make_scan(shape, dtype, &generator);
  const int64_t dim = shape.dim / heads;
  const int64_t state_rows = shape.batch + 2;
  const int64_t row_size = shape.dim * shape.states;
  const std::vector<double> states = random_values(&generator, state_rows * row_size, state_dtype);
  std::vector<double> indices;
  ssm::ReferenceComplex picked;
  for (int64_t b = 0; b < shape.batch; ++b) {
    indices.push_back(b == 1 ? -1.0 : static_cast<double>(state_rows - 1 - b));
    const auto* from =
        states.data() + std::max<int64_t>(0, static_cast<int64_t>(indices.back())) * row_size;
    picked.insert(picked.end(), from, from + row_size);
  }
  std::vector<double> out = ssm::reference_state_update(scan, picked);
  std::vector<double> after = states;
  for (int64_t b = 0; b < shape.batch; ++b) {
    const auto row = static_cast<int64_t>(indices[static_cast<size_t>(b)]);
    if (row < 0) std::fill_n(out.begin() + b * shape.dim, shape.dim, 0.0);
    for (int64_t i = 0; row >= 0 && i < row_size; ++i) {
      after[static_cast<size_t>(row * row_size + i)] =
          picked[static_cast<size_t>(b * row_size + i)].real();
    }
  }
  const std::vector<int64_t> vectors = {shape.batch, heads, dim};
  const std::vector<int64_t> state_sizes = {state_rows, heads, dim, shape.states};
  const std::vector<int64_t> factors = {shape.batch, shape.groups, shape.states};
  ssm_scan_update_args args = {};
  args.state = session.upload(states, state_sizes, state_dtype);
  args.x = session.upload(scan.u, vectors, dtype);
  args.dt = session.upload(scan.delta, vectors, dtype);
  args.A = session.upload(flat(scan.A, false), {heads, dim, shape.states}, SSM_FLOAT32);
  args.B = session.upload(flat(scan.B, false), factors, dtype);
  args.C = session.upload(flat(scan.C, false), factors, dtype);
  args.D = session.upload(scan.D, {heads, dim}, SSM_FLOAT32);
  args.z = session.upload(scan.z, vectors, dtype);
  args.dt_bias = session.upload(scan.delta_bias, {heads, dim}, SSM_FLOAT32);
  args.state_indices = session.upload(indices, {shape.batch}, SSM_INT32);
  args.out = session.poisoned(vectors, dtype, {});
  args.softplus = shape.softplus ? 1 : 0;
  args.queue = session.queue();
  auto update = reinterpret_cast<decltype(&ssm_scan_update)>(session.function("ssm_scan_update"));
  if (!session.error().empty()) return;
  session.check(update(&args));
  compare(session, comparison, {"out", args.out, out, vectors, relative_limit(dtype)});
  compare(session, comparison,
          {"state", args.state, after, state_sizes, relative_limit(state_dtype)});
  const double width = state_dtype == SSM_FLOAT32 ? 4 : 2;
  comparison.set_work(session.seconds_of([&] { session.check(update(&args)); }),
                      2 * width * static_cast<double>(shape.batch * row_size));
}

}  // namespace

std::vector<NativeCase> scan_native_cases() {
  std::vector<ScanCase> shapes(13);
  shapes[0] = {.batch = 2, .dim = 64, .states = 16, .groups = 1, .length = 151};
  shapes[1] = {.batch = 1, .dim = 48, .states = 8, .groups = 2, .length = 2049, .gate = false};
  shapes[2] = {.batch = 2, .dim = 36, .states = 64, .groups = 1, .length = 77, .wide = true};
  shapes[3] = {.batch = 2, .dim = 40, .states = 5, .groups = 1, .length = 33, .variable_B = false};
  shapes[4] = {.batch = 2,
               .dim = 24,
               .states = 16,
               .groups = 1,
               .length = 70,
               .gate = false,
               .softplus = false,
               .variable_C = false};
  shapes[5] = {.batch = 3, .dim = 32, .states = 1, .groups = 1, .length = 130};
  shapes[6] = {.batch = 2, .dim = 16, .states = 16, .groups = 1, .length = 1};
  shapes[7] = {.batch = 2, .dim = 64, .states = 16, .groups = 4, .length = 64, .delta_ratio = 2};
  // Enough channels for the kernel that takes over where they fill a large GPU.
  shapes[8] = {.batch = 8, .dim = 1088, .states = 8, .groups = 1, .length = 33};
  shapes[9] = {.batch = 2, .dim = 24, .states = 16, .groups = 2, .length = 77, .complex = true};
  shapes[10] = {.batch = 2,
                .dim = 24,
                .states = 5,
                .groups = 1,
                .length = 33,
                .variable_B = false,
                .complex = true};
  // Whole tiles in aligned rows: many channels, few.
  shapes[11] = {.batch = 8, .dim = 1344, .states = 16, .groups = 1, .length = 64};
  shapes[12] = {.batch = 1, .dim = 16, .states = 16, .groups = 1, .length = 256};
  std::vector<NativeCase> cases;
  for (const int dtype : {SSM_FLOAT32, SSM_FLOAT16, SSM_BFLOAT16}) {
    unsigned seed = 20;
    for (ScanCase shape : shapes) {
      shape.seed = ++seed;
      cases.push_back({"scan fwd", text_of(shape, dtype),
                       [shape, dtype](NativeSession& session, NativeComparison& comparison) {
                         check_forward(session, comparison, shape, dtype);
                       }});
      cases.push_back({"scan bwd", text_of(shape, dtype),
                       [shape, dtype](NativeSession& session, NativeComparison& comparison) {
                         check_backward(session, comparison, shape, dtype);
                       }});
    }
    for (const int64_t heads : {1, 8}) {
      for (const int state_dtype : {static_cast<int>(SSM_FLOAT32), static_cast<int>(dtype)}) {
        if (heads == 1 && state_dtype != SSM_FLOAT32) continue;
        ScanCase shape = {
            .batch = 3, .dim = 96, .states = 16, .groups = heads == 1 ? 1 : 2, .length = 1};
        shape.seed = 40;
        cases.push_back(
            {"scan update",
             fmt::format("{} {}x{}x{} n{} state {}", native_dtype_name(dtype), shape.batch, heads,
                         shape.dim / heads, shape.states, native_dtype_name(state_dtype)),
             [=](NativeSession& session, NativeComparison& comparison) {
               check_update(session, comparison, shape, heads, dtype, state_dtype);
             }});
      }
    }
  }
  return cases;
}

}  // namespace ssmend
