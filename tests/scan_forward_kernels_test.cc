// The forward scan kernels, run thread by thread on the CPU, against the reference.
#include "scan_forward_kernels.h"

namespace ssm {

float4 shared_words[kSharedWords];

namespace {

// multiprocessors steers the plan: 0 asks for rows, many for time_warps.
template <typename T>
void check_forward(const ScanOptions& options, ScanKernel expected, int multiprocessors,
                   int time_warps, long pitch, bool backwards = false) {
  SCOPED_TRACE("length " + std::to_string(options.length) + " states " +
               std::to_string(options.states));
  const ReferenceScan s = random_scan(options, round_to<T>);
  const ReferenceOutput wanted = reference_scan(s);
  ScanShape shape = shape_of(s, multiprocessors);
  shape.near_rows = expected == ScanKernel::kRows || expected == ScanKernel::kLanes;
  shape.aligned = expected == ScanKernel::kLanes || expected == ScanKernel::kSteps;
  const ScanPlan plan = plan_forward(shape);
  ASSERT_EQ(static_cast<int>(plan.kernel), static_cast<int>(expected));
  ASSERT_EQ(plan.time_warps, time_warps);
  ASSERT_LE(plan.shared_bytes, kSharedWords * 16);
  ScanBuffers<T> buffers(s, pitch, plan.tile);
  buffers.p.time_warps = plan.time_warps;
  buffers.p.channels_per_warp = plan.channels_per_warp;
  if (expected == ScanKernel::kSingle) buffers.take_teams(plan.teams);
  // Chunks first, where the plan has them.
  const ChunkPlan& cut = plan.chunks;
  const bool chunked = cut.count > 1;
  std::vector<float> states = poisoned(s.batch * s.dim * s.states * cut.count);
  std::vector<float> dt_sums = poisoned(s.batch * s.dim * cut.count);
  if (chunked) {
    buffers.p.chunks = {states.data(), nullptr, dt_sums.data(), cut.steps,
                        cut.count,     cut.run, cut.runs,       cut.carried};
    const EndsPlan ends = plan_ends(shape, cut, false);
    const ScanEndsParams q{buffers.p, {}, ends.segments};
    if (lanes_can(shape)) {
      const LanesPlan lanes = plan_lanes(shape, LanesKind::k16, false);
      emulate::run_grid(
          pick_lanes_ends<T>(),
          Uint3{lanes.grid_x, static_cast<unsigned>(s.batch), static_cast<unsigned>(cut.count)},
          lanes.warps * 32, shared_words, lanes.shared_bytes / 16, backwards, buffers.p);
    } else {
      emulate::run_grid(pick_ends<T>(shape.states),
                        Uint3{ends.grid_x, static_cast<unsigned>(s.batch),
                              static_cast<unsigned>(ends.passes * cut.runs)},
                        128, shared_words, ends.shared_bytes / 16, backwards, q);
    }
    if (cut.carried)
      emulate::run_grid(scan_carry, Uint3{ends.carry_grid, 1, 1}, 256, shared_words,
                        ends.carry_shared_bytes / 16, backwards, q);
  }
  const Uint3 grid{
      plan.grid_x, static_cast<unsigned>(s.batch),
      expected == ScanKernel::kSingle ? plan.grid_z : static_cast<unsigned>(cut.count)};
  emulate::run_grid(pick<T>(plan, shape.states), grid, plan.warps * 32, shared_words,
                    plan.shared_bytes / 16, backwards, buffers.p);
  const double tolerance = output_tolerance<T>();
  expect_rows("out", buffers.out, wanted.out, s.length, tolerance);
  if (!s.z.empty()) expect_rows("out_z", buffers.out_z, wanted.out_z, s.length, tolerance);
  expect_values("x", buffers.x, parts(saved_states(s, wanted), false), 3e-5);
}

ScanOptions base() {
  ScanOptions options;
  options.batch = 2;
  options.dim = 40;
  options.length = 70;
  options.groups = 1;
  return options;
}

TEST(scan_forward_kernels, rows_at_every_length) {
  for (long length : {1L, 31L, 32L, 33L, 65L, 129L}) {
    ScanOptions options = base();
    options.length = length;
    check_forward<float>(options, ScanKernel::kRows, 0, 1, length);
  }
}

TEST(scan_forward_kernels, rows_in_chunks) {
  for (long states : {7L, 16L, 33L}) {
    ScanOptions options = base();
    options.states = states;
    options.groups = 2;
    for (long length : {300L, 450L}) {
      options.length = length;
      check_forward<float>(options, ScanKernel::kRows, 132, 1, length);
      if (length == 300) check_forward<F16>(options, ScanKernel::kRows, 132, 1, 304, true);
    }
  }
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 8;
  options.length = 4200;  // across the chunks that x keeps
  options.states = 5;
  check_forward<float>(options, ScanKernel::kRows, 132, 1, 4200);
}

TEST(scan_forward_kernels, rows_of_few_states) {
  for (long states : {2L, 4L}) {
    ScanOptions options = base();
    options.states = states;
    options.groups = 2;
    options.length = 100;
    check_forward<float>(options, ScanKernel::kRows, 0, 1, 100);
    check_forward<BF16>(options, ScanKernel::kRows, 0, 1, 101, true);
  }
}

TEST(scan_forward_kernels, rows_with_every_type_and_order) {
  check_forward<F16>(base(), ScanKernel::kRows, 0, 1, 72);
  check_forward<BF16>(base(), ScanKernel::kRows, 0, 1, 75);
  check_forward<float>(base(), ScanKernel::kRows, 0, 1, 70, true);
}

TEST(scan_forward_kernels, rows_with_other_state_counts_and_groups) {
  for (long states : {5L, 17L, 40L, 128L}) {
    ScanOptions options = base();
    options.states = states;
    options.length = 41;
    check_forward<float>(options, ScanKernel::kRows, 0, 1, 44);
  }
  ScanOptions options = base();
  options.dim = 141;
  options.groups = 3;
  check_forward<float>(options, ScanKernel::kRows, 0, 1, 70);
}

TEST(scan_forward_kernels, rows_without_options) {
  ScanOptions options = base();
  options.softplus = options.bias = options.skip = options.gate = false;
  check_forward<float>(options, ScanKernel::kRows, 0, 1, 70);
}

TEST(scan_forward_kernels, rows_across_a_chunk) {
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 32;
  options.length = 2080;
  options.states = 6;
  check_forward<float>(options, ScanKernel::kRows, 0, 1, 2080);
}

TEST(scan_forward_kernels, lanes) {
  for (long states : {9L, 16L}) {
    ScanOptions options = base();
    options.states = states;
    for (long length : {32L, 96L}) {
      options.length = length;
      check_forward<float>(options, ScanKernel::kLanes, 0, 1, length);
      check_forward<F16>(options, ScanKernel::kLanes, 0, 1, length + 8, true);
    }
    options.dim = 42;  // 21 channels a group: the last warp does some of another's again
    options.groups = 2;
    check_forward<BF16>(options, ScanKernel::kLanes, 0, 1, 96);
  }
  ScanOptions options = base();
  options.length = 64;
  options.softplus = options.bias = options.skip = options.gate = false;
  check_forward<float>(options, ScanKernel::kLanes, 0, 1, 64);
}

TEST(scan_forward_kernels, lanes_of_every_kind) {
  for (long states : {5L, 8L, 29L, 32L, 61L, 64L, 125L, 128L}) {
    ScanOptions options = base();
    options.states = states;
    options.dim = 42;
    options.groups = 2;
    options.length = 64;
    const bool whole = states % 8 == 0;
    if (whole) {
      check_forward<float>(options, ScanKernel::kLanes, 0, 1, 64);
      check_forward<F16>(options, ScanKernel::kLanes, 0, 1, 72, true);
    } else {
      check_forward<BF16>(options, ScanKernel::kLanes, 0, 1, 64);
    }
  }
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 8;
  options.length = 2112;  // across the chunks that x keeps
  options.states = 65;
  check_forward<F16>(options, ScanKernel::kLanes, 0, 1, 2112);
}

// As many lanes as states, where that many warps fill what few channels do not.
TEST(scan_forward_kernels, lanes_of_one_state_each) {
  for (long states : {9L, 16L}) {
    ScanOptions options = base();
    options.states = states;
    options.dim = 48;
    options.groups = 2;
    options.length = 64;
    check_forward<float>(options, ScanKernel::kLanes, 4, 1, 64, states == 9);
    check_forward<BF16>(options, ScanKernel::kLanes, 4, 1, 72, true);
  }
}

TEST(scan_forward_kernels, lanes_in_chunks) {
  ScanOptions options = base();
  options.groups = 2;
  options.length = 480;
  check_forward<float>(options, ScanKernel::kLanes, 6, 1, 480);
  options.batch = 1;
  options.dim = 32;
  options.groups = 1;
  options.states = 9;
  options.length = 2112;  // across the chunks that x keeps
  check_forward<F16>(options, ScanKernel::kLanes, 3, 1, 2112, true);
  check_forward<float>(options, ScanKernel::kLanes, 0, 1, 2112);
}

TEST(scan_forward_kernels, steps) {
  for (long length : {256L, 512L, 2048L, 4096L}) {
    ScanOptions options = base();
    options.batch = 1;
    options.dim = 4;
    options.groups = 2;
    options.states = length == 2048 ? 16 : 37;
    options.length = length;
    check_forward<float>(options, ScanKernel::kSteps, 132, 1, length);
    if (length <= 512) check_forward<F16>(options, ScanKernel::kSteps, 132, 1, length, true);
    if (length == 256) check_forward<BF16>(options, ScanKernel::kSteps, 132, 1, length);
  }
}

TEST(scan_forward_kernels, split_at_every_length) {
  for (long length : {1L, 7L, 31L, 32L, 33L, 64L, 129L, 300L}) {
    ScanOptions options = base();
    options.dim = 5;
    options.length = length;
    check_forward<float>(options, ScanKernel::kSplit, 1, length > 32 ? 1 : 1, length);
  }
}

TEST(scan_forward_kernels, split_over_warps) {
  for (long length : {33L, 520L, 1030L}) {
    ScanOptions options = base();
    options.dim = 3;
    options.length = length;
    check_forward<float>(options, ScanKernel::kSplit, 132, length == 33 ? 2 : 8, length + 3);
    check_forward<F16>(options, ScanKernel::kSplit, 132, length == 33 ? 2 : 8, (length + 7) / 8 * 8,
                       true);
  }
}

TEST(scan_forward_kernels, split_with_fixed_factors) {
  for (int which = 0; which < 3; ++which) {
    ScanOptions options = base();
    options.dim = 6;
    options.variable_B = which & 1;
    options.variable_C = which & 2;
    check_forward<float>(options, ScanKernel::kSplit, 1, 1, 70);
    check_forward<BF16>(options, ScanKernel::kSplit, 64, 4, 72);
  }
}

TEST(scan_forward_kernels, split_with_other_state_counts_and_groups) {
  for (long states : {5L, 16L, 17L, 64L, 256L}) {
    ScanOptions options = base();
    options.dim = 6;
    options.groups = 2;
    options.states = states;
    check_forward<float>(options, ScanKernel::kSplit, 1, 1, 70);
    check_forward<float>(options, ScanKernel::kSplit, 64, 4, 72, true);
  }
}

TEST(scan_forward_kernels, split_across_a_chunk) {
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 2;
  options.length = 2100;
  check_forward<float>(options, ScanKernel::kSplit, 1, 8, 2100);
}

TEST(scan_forward_kernels, single_at_every_length) {
  ScanOptions options = base();
  options.states = 1;
  options.groups = 2;
  for (long length : {1L, 8L, 31L, 49L, 64L, 120L, 131L, 196L, 256L, 300L, 784L}) {
    options.length = length;
    const int time_warps = static_cast<int>((length + 255) / 256);
    check_forward<float>(options, ScanKernel::kSingle, 0, 1, (length + 3) / 4 * 4);
    check_forward<F16>(options, ScanKernel::kSingle, 132, time_warps, (length + 7) / 8 * 8, true);
    check_forward<BF16>(options, ScanKernel::kSingle, 132, time_warps, length + 3);
  }
}

TEST(scan_forward_kernels, single_with_many_channels_to_a_block) {
  ScanOptions options = base();
  options.states = 1;
  options.groups = 2;
  options.dim = 150;
  for (long length : {20L, 49L, 600L}) {
    options.length = length;
    check_forward<float>(options, ScanKernel::kSingle, 1, 1, length);
    check_forward<F16>(options, ScanKernel::kSingle, 4, length == 600 ? 1 : 1, length + 4, true);
  }
}

TEST(scan_forward_kernels, single_without_options) {
  ScanOptions options = base();
  options.states = 1;
  options.softplus = options.bias = options.skip = options.gate = false;
  check_forward<float>(options, ScanKernel::kSingle, 0, 1, 72);
}

TEST(scan_forward_kernels, single_across_a_chunk) {
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 3;
  options.states = 1;
  options.length = 4200;
  check_forward<float>(options, ScanKernel::kSingle, 0, 1, 4200);
  check_forward<float>(options, ScanKernel::kSingle, 1, 6, 4200, true);
  check_forward<F16>(options, ScanKernel::kSingle, 132, 9, 4203);
}

}  // namespace
}  // namespace ssm
