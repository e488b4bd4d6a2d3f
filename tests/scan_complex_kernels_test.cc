// The scan kernels for a complex A, run thread by thread on the CPU, against the reference: values,
// what x keeps, and gradients.
#include "scan_gradient_buffers.h"

#include "scan/scan_complex_plan.h"

extern "C" {
void scan_complex_f32(ssm::ScanParams);
void scan_complex_f16(ssm::ScanParams);
void scan_complex_bf16(ssm::ScanParams);
void scan_complex_backward_f32(ssm::ScanBackwardParams);
void scan_complex_backward_f16(ssm::ScanBackwardParams);
void scan_complex_backward_bf16(ssm::ScanBackwardParams);
}

namespace ssm {

float4 shared_words[kSharedWords];

namespace {

template <typename T, typename F>
F of_type(F f32, F f16, F bf16) {
  return std::is_same_v<T, float> ? f32 : std::is_same_v<T, F16> ? f16 : bf16;
}

ScanShape complex_shape(const ReferenceScan& s) {
  ScanShape shape = shape_of(s, 1);
  return shape;
}

template <typename T>
void run_forward(const ReferenceScan& s, const ScanParams& params, bool backwards) {
  const ComplexPlan plan = plan_complex_forward(complex_shape(s), params.chunked != 0);
  ASSERT_LE(plan.shared_bytes, 48u * 1024);
  emulate::run_grid(of_type<T>(scan_complex_f32, scan_complex_f16, scan_complex_bf16),
                    Uint3{plan.grid_x, static_cast<unsigned>(s.batch), plan.grid_z},
                    plan.warps * 32, shared_words, plan.shared_bytes / 16, backwards, params);
}

template <typename T>
void check_forward(ScanOptions options, long pitch, bool backwards = false) {
  SCOPED_TRACE("length " + std::to_string(options.length) + " states " +
               std::to_string(options.states));
  options.complex = true;
  const ReferenceScan s = random_scan(options, round_to<T>);
  const ReferenceOutput wanted = reference_scan(s);
  ScanBuffers<T> buffers(s, pitch, kComplexTileSteps);
  run_forward<T>(s, buffers.p, backwards);
  const double tolerance = output_tolerance<T>();
  expect_rows("out", buffers.out, wanted.out, s.length, tolerance);
  if (!s.z.empty()) expect_rows("out_z", buffers.out_z, wanted.out_z, s.length, tolerance);
  expect_values("x", buffers.x, parts(saved_states(s, wanted), true), 3e-5);
}

template <typename T>
void check_backward(ScanOptions options, long pitch, bool deterministic = true, bool chunked = true,
                    bool backwards = false) {
  SCOPED_TRACE("length " + std::to_string(options.length) + " states " +
               std::to_string(options.states) + " dim " + std::to_string(options.dim));
  options.complex = true;
  const ReferenceScan s = random_scan(options, round_to<T>);
  const ReferenceOutput forward = reference_scan(s);
  const ReferenceValues dout = random_dout(s, options.seed, round_to<T>);
  const ReferenceGradients wanted = reference_scan_gradients(s, forward, dout);

  ScanBuffers<T> buffers(s, pitch, kComplexTileSteps);
  buffers.x = store_as<float>(parts(saved_states(s, forward), true));
  ScanParams states = buffers.p;
  states.out.data = states.z.data = nullptr;
  states.tile_states = buffers.tile_states.data();
  states.x = chunked ? buffers.x.data() : nullptr;
  states.chunked = chunked;
  run_forward<T>(s, states, backwards);

  const ComplexPlan plan = plan_complex_backward(complex_shape(s), deterministic);
  ASSERT_LE(plan.shared_bytes, 48u * 1024);
  GradientBuffers<T> gradients(s, buffers.p, forward, dout, pitch, plan.slots, plan.atomic);
  gradients.q.scan.tile_states = buffers.tile_states.data();
  emulate::run_grid(
      of_type<T>(scan_complex_backward_f32, scan_complex_backward_f16, scan_complex_backward_bf16),
      Uint3{plan.grid_x, static_cast<unsigned>(s.batch), 1}, plan.warps * 32, shared_words,
      plan.shared_bytes / 16, backwards, gradients.q);

  const double tolerance = std::is_same_v<T, float> ? 2e-4 : std::is_same_v<T, F16> ? 3e-3 : 2e-2;
  gradients.expect(s, wanted, tolerance);
  if (!s.z.empty()) expect_rows("out_z", buffers.out_z, forward.out_z, s.length, tolerance);
}

ScanOptions base() {
  ScanOptions options;
  options.batch = 2;
  options.dim = 6;
  options.length = 150;
  options.states = 3;
  options.groups = 2;
  return options;
}

TEST(scan_complex_kernels, every_length) {
  for (long length : {1L, 3L, 127L, 128L, 129L, 270L}) {
    ScanOptions options = base();
    options.length = length;
    check_forward<float>(options, length);
    check_backward<float>(options, length);
  }
}

TEST(scan_complex_kernels, every_type_and_order) {
  check_forward<F16>(base(), 152);
  check_forward<BF16>(base(), 151, true);
  check_backward<F16>(base(), 152);
  check_backward<BF16>(base(), 151, true, true, true);
}

TEST(scan_complex_kernels, without_options) {
  ScanOptions options = base();
  options.softplus = options.bias = options.skip = options.gate = false;
  check_forward<float>(options, 152);
  check_backward<float>(options, 152);
}

TEST(scan_complex_kernels, fixed_factors) {
  for (int which = 0; which < 3; ++which) {
    ScanOptions options = base();
    options.variable_B = which & 1;
    options.variable_C = which & 2;
    check_forward<float>(options, 152);
    check_backward<float>(options, 152);
  }
}

TEST(scan_complex_kernels, state_counts) {
  for (long states : {1L, 33L, 256L}) {
    ScanOptions options = base();
    options.batch = 1;
    options.dim = options.groups = 2;
    options.length = 130;
    options.states = states;
    check_forward<float>(options, 130);
    check_backward<float>(options, 130, true, true, states == 33);
  }
}

TEST(scan_complex_kernels, many_channels_by_atomics) {
  ScanOptions options = base();
  options.dim = 86;  // 43 of a group: 6 blocks, the last with 3 channels
  options.batch = 1;
  options.length = 20;
  const ComplexPlan plan = [&] {
    ScanOptions complex = options;
    complex.complex = true;
    return plan_complex_backward(complex_shape(random_scan(complex, round_to<float>)), false);
  }();
  EXPECT_TRUE(plan.atomic);
  EXPECT_EQ(plan.grid_x, 12u);
  check_backward<float>(options, 20, false);
  check_backward<float>(options, 20, true);
}

TEST(scan_complex_kernels, several_chunks) {
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 2;
  options.groups = 1;
  options.length = 4200;
  options.states = 2;
  check_forward<float>(options, 4200);
  check_backward<float>(options, 4200, true, true);
  check_backward<float>(options, 4200, true, false);
}

}  // namespace
}  // namespace ssm
