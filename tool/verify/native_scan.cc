// The native check of the selective scan, forward and backward, each type. What the backward pass
// is given from the forward one comes from the reference, so that a wrong forward kernel does not
// show as a wrong backward one.
#include <memory>

#include "verify/native_check.h"
#include "verify/native_scan_inputs.h"

namespace ssmend {
namespace {

NativeOutput output(const char* part, const ssm_tensor& tensor, std::vector<double> expected,
                    std::vector<int64_t> sizes, double relative) {
  const double sums = sums_limit(expected);
  return {part, tensor, std::move(expected), std::move(sizes), relative, sums};
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

// A case's inputs and what is right for them: half of the check's time, so that both directions
// share one.
struct Prepared {
  unsigned seed;
  int dtype;
  std::mt19937 generator;
  ssm::ReferenceScan scan;
  ssm::ReferenceOutput output;
  Prepared(const ScanCase& shape, int type)
      : seed(shape.seed),
        dtype(type),
        generator(shape.seed),
        scan(make_scan(shape, type, &generator)),
        output(ssm::reference_scan(scan)) {}
};

void check_forward(NativeSession& session, NativeComparison& comparison, const ScanCase& shape,
                   int dtype, const Prepared& prepared) {
  const ssm::ReferenceScan& scan = prepared.scan;
  const ssm::ReferenceOutput& expected = prepared.output;
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
  auto workspace = reinterpret_cast<decltype(&ssm_scan_forward_workspace_bytes)>(
      session.function("ssm_scan_forward_workspace_bytes"));
  auto forward =
      reinterpret_cast<decltype(&ssm_scan_forward)>(session.function("ssm_scan_forward"));
  if (!session.error().empty()) return;
  session.check(workspace(&args, &args.workspace_bytes));
  if (args.workspace_bytes > 0) args.workspace = session.scratch(args.workspace_bytes);
  const double relative = relative_limit(out_dtype);
  std::vector<NativeOutput> outputs = {
      output("out", args.out, expected.out, rows, relative),
      output("x", args.x, flat(saved_states(scan, expected), shape.complex), saved, kSums)};
  if (shape.gate) outputs.push_back(output("out_z", args.out_z, expected.out_z, rows, relative));
  run_and_compare(session, comparison, outputs, [&] { session.check(forward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(forward(&args)); }),
                      bytes_of(shape, dtype, shape.gate ? 5 : 3));
}

void check_backward(NativeSession& session, NativeComparison& comparison, const ScanCase& shape,
                    int dtype, const Prepared& prepared) {
  std::mt19937 generator = prepared.generator;
  const ssm::ReferenceScan& scan = prepared.scan;
  const ssm::ReferenceOutput& forward = prepared.output;
  const int dout_dtype = shape.wide ? SSM_FLOAT32 : dtype;
  const std::vector<double> dout =
      random_values(&generator, shape.batch * shape.dim * shape.length, dout_dtype);
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
  std::vector<NativeOutput> outputs = {
      output("du", args.du, expected.du, rows, typed),
      output("ddelta", args.ddelta, expected.ddelta, rows, typed),
      output("dA", args.dA, flat(expected.dA, shape.complex), {shape.dim, shape.states * parts},
             kSums),
      output("dB", args.dB, flat(expected.dB, shape.complex), B.compared, relative_limit(B.dtype)),
      output("dC", args.dC, flat(expected.dC, shape.complex), C.compared, relative_limit(C.dtype))};
  if (shape.gate) {
    outputs.push_back(output("dD", args.dD, expected.dD, {shape.dim}, kSums));
    outputs.push_back(
        output("ddelta_bias", args.ddelta_bias, expected.ddelta_bias, {shape.dim}, kSums));
    // Twice: out comes rounded to the type, and so does the result.
    outputs.push_back(output("dz", args.dz, expected.dz, rows, 2 * typed));
  }
  run_and_compare(session, comparison, outputs, [&] { session.check(backward(&args)); });
  comparison.set_work(session.seconds_of([&] { session.check(backward(&args)); }),
                      bytes_of(shape, dtype, shape.gate ? 8 : 5));
}

}  // namespace

std::vector<NativeCase> scan_native_cases() {
  // Whole rows of 16 bytes and others, few channels and as many as fill a large GPU, one step and
  // chunks: every kernel of the library is reached, on GPUs of 8 multiprocessors and of 132
  // (tests/verify_reach_test.cc).
  std::vector<ScanCase> shapes = {
      {.batch = 2, .dim = 64, .states = 16, .length = 151},
      {.batch = 1, .dim = 48, .states = 8, .groups = 2, .length = 2049, .gate = false},
      {.batch = 2, .dim = 36, .states = 64, .length = 77, .wide = true},
      {.batch = 2, .dim = 40, .states = 5, .length = 33, .variable_B = false},
      {.batch = 2,
       .dim = 24,
       .states = 16,
       .length = 70,
       .gate = false,
       .softplus = false,
       .variable_C = false},
      {.batch = 3, .dim = 32, .states = 1, .length = 130},
      {.batch = 2, .dim = 16, .states = 16, .length = 1},
      {.batch = 2, .dim = 64, .states = 16, .groups = 4, .length = 64, .delta_ratio = 2},
      {.batch = 8, .dim = 544, .states = 8, .length = 33},
      {.batch = 2, .dim = 24, .states = 16, .groups = 2, .length = 77, .complex = true},
      {.batch = 2, .dim = 24, .states = 5, .length = 33, .variable_B = false, .complex = true},
      {.batch = 8, .dim = 1344, .states = 16, .length = 64},
      {.batch = 1, .dim = 16, .states = 16, .length = 1024},
      {.batch = 8, .dim = 544, .states = 3, .length = 33, .gate = false},
      {.batch = 8, .dim = 544, .states = 20, .length = 33},
      {.batch = 1, .dim = 16, .states = 4, .length = 2689},
      {.batch = 1, .dim = 48, .states = 12, .length = 301},
      {.batch = 1, .dim = 16, .states = 1, .groups = 2, .length = 4352},
      {.batch = 1, .dim = 48, .states = 12, .length = 288},
      {.batch = 1, .dim = 16, .states = 7, .length = 288},
      {.batch = 1, .dim = 16, .states = 24, .length = 288},
      {.batch = 1, .dim = 16, .states = 48, .length = 288},
      {.batch = 1, .dim = 8, .states = 72, .length = 288},
      {.batch = 2, .dim = 96, .states = 16, .length = 32},
      {.batch = 2, .dim = 1344, .states = 16, .length = 32},
  };
  unsigned seed = 20;
  for (ScanCase& shape : shapes) shape.seed = ++seed;
  const auto last = std::make_shared<std::unique_ptr<Prepared>>();
  std::vector<NativeCase> cases;
  for (const int dtype : {SSM_FLOAT32, SSM_FLOAT16, SSM_BFLOAT16}) {
    for (const ScanCase& shape : shapes) {
      const auto prepared = [last, shape, dtype]() -> const Prepared& {
        if (!*last || (*last)->seed != shape.seed || (*last)->dtype != dtype) {
          last->reset();
          *last = std::make_unique<Prepared>(shape, dtype);
        }
        return **last;
      };
      cases.push_back({"scan fwd", text_of(shape, dtype),
                       [=](NativeSession& session, NativeComparison& comparison) {
                         check_forward(session, comparison, shape, dtype, prepared());
                       }});
      cases.push_back({"scan bwd", text_of(shape, dtype),
                       [=](NativeSession& session, NativeComparison& comparison) {
                         check_backward(session, comparison, shape, dtype, prepared());
                       }});
    }
  }
  return cases;
}

}  // namespace ssmend
