// The decode step's kernel, run thread by thread on the CPU, against the reference.
#include "scan_buffers.h"
// (before the kernels' own headers)
#include "scan/scan_step.h"

extern "C" {
void scan_update(ssm::ScanUpdateParams);
void scan_step_f32(ssm::ScanStepParams);
void scan_step_f16(ssm::ScanStepParams);
void scan_step_f32_batches(ssm::ScanStepParams);
void scan_step_bf16_batches(ssm::ScanStepParams);
void scan_step_f32_f16_batches(ssm::ScanStepParams);
void scan_step_f32_bf16(ssm::ScanStepParams);
}

namespace ssm {

float4 shared_words[kSharedWords];

namespace {

template <typename T>
constexpr int kTypeOf = std::is_same_v<T, float> ? kFloat32
                        : std::is_same_v<T, F16> ? kFloat16
                                                 : kBFloat16;

template <typename T>
ScanView view(std::vector<T>& data, long batch, long head, long channel, long state, bool quads) {
  return {data.empty() ? nullptr : data.data(),
          batch,
          head,
          static_cast<int>(channel),
          static_cast<int>(state),
          kTypeOf<T>,
          quads};
}

using Kernel = void (*)(ScanUpdateParams);
using Step = void (*)(ScanStepParams);

// One head, one group. `quads`: rows may be read four states at a time. `step`, where there is one,
// takes `rows` batches a thread.
template <typename S, typename T>
void check(Kernel kernel, long states, int lane_bits, bool quads, bool options, Step step = nullptr,
           long rows = 1) {
  SCOPED_TRACE("states " + std::to_string(states));
  ScanOptions wanted_options;
  wanted_options.batch = rows == 1 ? 3 : 6;
  wanted_options.dim = 37;
  wanted_options.length = 1;
  wanted_options.states = states;
  wanted_options.softplus = wanted_options.bias = wanted_options.skip = wanted_options.gate =
      options;
  const ReferenceScan s = random_scan(wanted_options, round_to<T>);
  std::mt19937 generator(9);
  std::normal_distribution<double> normal;
  const size_t count = static_cast<size_t>(s.batch * s.dim * states);
  ReferenceComplex next(count);
  std::vector<S> state(count);
  for (size_t i = 0; i < count; ++i) {
    state[i] = from_float<S>(static_cast<float>(normal(generator)));
    next[i] = to_float(state[i]);
  }
  const ReferenceValues out_wanted = reference_state_update(s, next);

  std::vector<T> x = store_as<T>(s.u), dt = store_as<T>(s.delta), z = store_as<T>(s.z);
  std::vector<T> B = factor_values<T>(s.B, false), C = factor_values<T>(s.C, false);
  std::vector<float> A = factor_values<float>(s.A, false), D = store_as<float>(s.D),
                     bias = store_as<float>(s.delta_bias);
  RowBuffer<T> out = poisoned_rows<T>(s.batch * s.dim, 1);
  ScanUpdateParams p{};
  p.state = view(state, s.dim * states, 0, states, 1, quads);
  p.x = view(x, s.dim, 0, 1, 0, false);
  p.dt = view(dt, s.dim, 0, 1, 0, false);
  p.z = view(z, s.dim, 0, 1, 0, false);
  p.out = view(out.data, s.dim, 0, 1, 0, false);
  p.A = view(A, 0, 0, states, 1, quads);
  p.B = view(B, states, 0, 0, 1, quads);
  p.C = view(C, states, 0, 0, 1, quads);
  p.D = view(D, 0, 0, 1, 0, false);
  p.dt_bias = view(bias, 0, 0, 1, 0, false);
  p.dim = static_cast<int>(s.dim);
  p.states = static_cast<int>(states);
  p.group_heads = 1;
  p.lane_bits = lane_bits;
  p.softplus = s.softplus;
  const unsigned blocks = static_cast<unsigned>(((s.dim << lane_bits) + 127) / 128);
  const unsigned turns = static_cast<unsigned>((s.batch + rows - 1) / rows);
  if (step) {
    emulate::run_grid(step, Uint3{blocks, 1, turns}, 128, shared_words, 1, false,
                      step_params(p, static_cast<int>(s.batch), p.lane_bits));
  } else {
    emulate::run_grid(kernel, Uint3{blocks, 1, turns}, 128, shared_words, 1, false, p);
  }
  expect_rows("out", out, out_wanted, 1, output_tolerance<T>());
  std::vector<float> found;
  std::vector<double> expected;
  for (size_t i = 0; i < count; ++i) {
    found.push_back(to_float(state[i]));
    expected.push_back(next[i].real());
  }
  expect_values("state", found, expected, output_tolerance<S>());
}

TEST(scan_update_kernel, states_and_types) {
  check<float, float>(scan_update, 16, 2, true, true);
  check<float, F16>(scan_update, 16, 2, false, true);
  check<F16, F16>(scan_update, 16, 2, true, false);
  check<BF16, BF16>(scan_update, 40, 3, true, true);
  check<BF16, BF16>(scan_update, 7, 2, false, true);
  check<float, BF16>(scan_update, 100, 4, true, true);
  check<F16, float>(scan_update, 1, 2, false, true);
}

TEST(scan_update_kernel, steps_of_known_types) {
  check<float, float>(nullptr, 16, 2, true, true, scan_step_f32);
  check<F16, F16>(nullptr, 64, 3, true, true, scan_step_f16);
  check<float, BF16>(nullptr, 128, 5, true, true, scan_step_f32_bf16);
  check<float, float>(nullptr, 16, 2, true, true, scan_step_f32_batches, 4);
  check<BF16, BF16>(nullptr, 320, 5, true, false, scan_step_bf16_batches, 4);
  check<float, F16>(nullptr, 12, 2, true, true, scan_step_f32_f16_batches, 4);
}

TEST(scan_update_kernel, rows_by_index) {
  std::vector<float> state = {1, 2, 3, 4, 5, 6, 7, 8}, x = {1, 1}, dt = {1, 1}, A = {0},
                     one = {1, 1, 1, 1}, out = {9, 9};
  std::vector<int> rows = {1, -1};
  ScanUpdateParams p{};
  p.state = view(state, 4, 0, 4, 1, true);
  p.x = view(x, 1, 0, 0, 0, false);
  p.dt = view(dt, 1, 0, 0, 0, false);
  p.out = view(out, 1, 0, 0, 0, false);
  p.A = view(A, 0, 0, 0, 0, false);  // one decay for every state
  p.B = p.C = view(one, 0, 0, 0, 0, false);
  p.rows = rows.data();
  p.dim = 1;
  p.states = 4;
  p.group_heads = 1;
  p.lane_bits = 2;
  emulate::run_grid(scan_update, Uint3{1, 1, 2}, 128, shared_words, 1, false, p);
  EXPECT_EQ(out, (std::vector<float>{6 + 7 + 8 + 9, 0}));
  EXPECT_EQ(state, (std::vector<float>{1, 2, 3, 4, 6, 7, 8, 9}));

  out = {9, 9};
  p.lane_bits = 0;
  emulate::run_grid(scan_step_f32_batches, Uint3{1, 1, 1}, 128, shared_words, 1, false,
                    step_params(p, 2, p.lane_bits));
  EXPECT_EQ(out, (std::vector<float>{7 + 8 + 9 + 10, 0}));
  EXPECT_EQ(state, (std::vector<float>{1, 2, 3, 4, 7, 8, 9, 10}));
}

}  // namespace
}  // namespace ssm
