// The scan kernels for a complex A, run thread by thread on the CPU, against the reference: values,
// what x keeps, and gradients.
#include "scan_buffers.h"

#include "scan/scan_complex_plan.h"

extern "C" {
void scan_complex_f32(ssm::ScanParams);
void scan_complex_f16(ssm::ScanParams);
void scan_complex_bf16(ssm::ScanParams);
void scan_complex_backward_f32(ssm::ScanBackwardParams);
void scan_complex_backward_f16(ssm::ScanBackwardParams);
void scan_complex_backward_bf16(ssm::ScanBackwardParams);
void scan_finish(ssm::ScanFinishParams);
}

namespace ssm {

float4 shared_words[kSharedWords];

namespace {

template <typename T, typename F>
F of_type(F f32, F f16, F bf16) {
  return std::is_same_v<T, float> ? f32 : std::is_same_v<T, F16> ? f16 : bf16;
}

ScanShape shape_of(const ReferenceScan& s) {
  ScanShape shape;
  shape.batch = s.batch;
  shape.dim = s.dim;
  shape.length = s.length;
  shape.states = static_cast<int>(s.states);
  shape.groups = static_cast<int>(s.groups);
  shape.complex = true;
  return shape;
}

std::vector<double> pairs(const ReferenceComplex& values) {
  std::vector<double> result;
  for (const auto& value : values) {
    result.push_back(value.real());
    result.push_back(value.imag());
  }
  return result;
}

// (product of all decays, state) of every state after every 2048 steps and the last.
ReferenceComplex saved_states(const ReferenceScan& s, const ReferenceOutput& forward) {
  const long chunks = (s.length + kScanChunk - 1) / kScanChunk;
  ReferenceComplex x;
  for (long row = 0; row < s.batch * s.dim; ++row) {
    for (long chunk = 0; chunk < chunks; ++chunk) {
      const long last = std::min((chunk + 1) * kScanChunk, s.length) - 1;
      double sum = 0;
      for (long t = 0; t <= last; ++t) {
        double dt = s.delta[row * s.length + t];
        if (!s.delta_bias.empty()) dt += s.delta_bias[row % s.dim];
        sum += s.softplus ? std::log1p(std::exp(dt)) : dt;
      }
      for (long n = 0; n < s.states; ++n) {
        x.push_back(std::exp(sum * s.A[row % s.dim * s.states + n]));
        x.push_back(forward.state[(row * s.length + last) * s.states + n]);
      }
    }
  }
  return x;
}

template <typename T>
void run_forward(const ReferenceScan& s, const ScanParams& params, bool backwards) {
  const ComplexPlan plan = plan_complex_forward(shape_of(s), params.chunked != 0);
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
  expect_values("x", buffers.x, pairs(saved_states(s, wanted)), 3e-5);
}

template <typename T>
void check_backward(ScanOptions options, long pitch, bool deterministic = true, bool chunked = true,
                    bool backwards = false) {
  SCOPED_TRACE("length " + std::to_string(options.length) + " states " +
               std::to_string(options.states) + " dim " + std::to_string(options.dim));
  options.complex = true;
  const ReferenceScan s = random_scan(options, round_to<T>);
  const ReferenceOutput forward = reference_scan(s);
  std::mt19937 generator(options.seed + 100);
  std::normal_distribution<double> normal;
  ReferenceValues dout_values(s.u.size());
  for (double& value : dout_values) value = round_to<T>(normal(generator));
  const ReferenceGradients wanted = reference_scan_gradients(s, forward, dout_values);

  ScanBuffers<T> buffers(s, pitch, kComplexTileSteps);
  buffers.x = store_as<float>(pairs(saved_states(s, forward)));
  ScanParams states = buffers.p;
  states.out.data = states.z.data = nullptr;
  states.tile_states = buffers.tile_states.data();
  states.x = chunked ? buffers.x.data() : nullptr;
  states.chunked = chunked;
  run_forward<T>(s, states, backwards);

  const ComplexPlan plan = plan_complex_backward(shape_of(s), deterministic);
  ASSERT_LE(plan.shared_bytes, 48u * 1024);
  const long rows = s.batch * s.dim;
  RowBuffer<T> dout = padded_rows<T>(dout_values, s.length, pitch);
  RowBuffer<T> out = padded_rows<T>(forward.out, s.length, pitch);
  RowBuffer<T> du = poisoned_rows<T>(rows, pitch), ddelta = poisoned_rows<T>(rows, pitch),
               dz = poisoned_rows<T>(rows, pitch);
  const auto partial = [&](const ReferenceComplex& values, bool variable) {
    const size_t count = 2 * (variable ? values.size() * plan.slots : rows * s.states);
    return plan.atomic && variable ? std::vector<float>(count, 0.0f) : poisoned(count);
  };
  std::vector<float> dB_parts = partial(s.B, s.variable_B), dC_parts = partial(s.C, s.variable_C),
                     dA_parts = poisoned(2 * rows * s.states), dD_parts = poisoned(rows),
                     dbias_parts = poisoned(rows);
  ScanBackwardParams q{};
  q.scan = buffers.p;
  q.scan.out = out.rows(s.dim);
  q.scan.out_is_float = std::is_same_v<T, float>;
  q.scan.tile_states = buffers.tile_states.data();
  q.dout = dout.rows(s.dim);
  q.du = du.rows(s.dim);
  q.ddelta = ddelta.rows(s.dim);
  q.dz = dz.rows(s.dim);
  q.dB = dB_parts.data();
  q.dC = dC_parts.data();
  q.dA = dA_parts.data();
  if (q.scan.D) q.dD = dD_parts.data();
  if (q.scan.delta_bias) q.ddelta_bias = dbias_parts.data();
  q.slots = plan.slots;
  q.atomic = plan.atomic;
  emulate::run_grid(
      of_type<T>(scan_complex_backward_f32, scan_complex_backward_f16, scan_complex_backward_bf16),
      Uint3{plan.grid_x, static_cast<unsigned>(s.batch), 1}, plan.warps * 32, shared_words,
      plan.shared_bytes / 16, backwards, q);

  std::vector<float> dA(2 * s.A.size()), dB(2 * s.B.size()), dC(2 * s.C.size()), dD(s.D.size()),
      dbias(s.delta_bias.size());
  const auto sum = [](const std::vector<float>& from, std::vector<float>& to) {
    const long long count = static_cast<long long>(to.size());
    return ScanSum{from.data(), count ? to.data() : nullptr,
                   count ? static_cast<long long>(from.size()) / count : 0, count, kFloat32};
  };
  const ScanFinishParams finish{{sum(dA_parts, dA), sum(dB_parts, dB), sum(dC_parts, dC),
                                 sum(dD_parts, dD), sum(dbias_parts, dbias)}};
  emulate::run_grid(scan_finish, Uint3{2, 5, 1}, 64, shared_words, kFinishSharedBytes / 16, false,
                    finish);

  const double tolerance = std::is_same_v<T, float> ? 2e-4 : std::is_same_v<T, F16> ? 3e-3 : 2e-2;
  expect_rows("du", du, wanted.du, s.length, tolerance);
  expect_rows("ddelta", ddelta, wanted.ddelta, s.length, tolerance);
  if (!s.z.empty()) {
    expect_rows("dz", dz, wanted.dz, s.length, tolerance);
    expect_rows("out_z", buffers.out_z, forward.out_z, s.length, tolerance);
  }
  expect_values("dA", dA, pairs(wanted.dA), tolerance);
  expect_values("dB", dB, pairs(wanted.dB), tolerance);
  expect_values("dC", dC, pairs(wanted.dC), tolerance);
  expect_values("dD", dD, wanted.dD, tolerance);
  expect_values("ddelta_bias", dbias, wanted.ddelta_bias, tolerance);
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
    return plan_complex_backward(shape_of(random_scan(complex, round_to<float>)), false);
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
