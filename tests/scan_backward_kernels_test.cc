// The backward scan kernels, with the pass of the forward kernels that precedes them, run thread by
// thread on the CPU, against the reference's gradients.
#include "scan_gradient_buffers.h"

extern "C" {
void scan_split_f32(ssm::ScanParams);
void scan_split_f16(ssm::ScanParams);
void scan_backward_f32(ssm::ScanBackwardParams);
void scan_backward_f16(ssm::ScanBackwardParams);
void scan_both_ends4_f32(ssm::ScanEndsParams);
void scan_both_ends4_f16(ssm::ScanEndsParams);
void scan_both_ends8_f32(ssm::ScanEndsParams);
void scan_both_ends8_f16(ssm::ScanEndsParams);
void scan_both_ends16_f32(ssm::ScanEndsParams);
void scan_both_ends16_f16(ssm::ScanEndsParams);
void scan_carry(ssm::ScanEndsParams);
void scan_lanes_states16_f32(ssm::ScanParams);
void scan_lanes_states16_f16(ssm::ScanParams);
void scan_gradient4_f32(ssm::ScanBackwardParams);
void scan_gradient4_f16(ssm::ScanBackwardParams);
void scan_gradient8_f32(ssm::ScanBackwardParams);
void scan_gradient8_f16(ssm::ScanBackwardParams);
void scan_gradient16_f32(ssm::ScanBackwardParams);
void scan_gradient16_f16(ssm::ScanBackwardParams);
void scan_single_backward_f32(ssm::ScanBackwardParams);
void scan_single_backward_f16(ssm::ScanBackwardParams);
}

namespace ssm {

float4 shared_words[kSharedWords];

namespace {

struct Backward {
  int multiprocessors = 1;  // many ask for time warps
  int time_warps = 1;       // expected
  bool deterministic = true;
  bool chunked = true;
  bool backwards = false;
  bool tiles = true;        // where they can
  bool sequential = false;  // expected
};

template <typename T>
void check_backward(const ScanOptions& options, long pitch, const Backward& how) {
  SCOPED_TRACE("length " + std::to_string(options.length) + " states " +
               std::to_string(options.states) + " dim " + std::to_string(options.dim));
  constexpr bool kFloat = std::is_same_v<T, float>;
  const ReferenceScan s = random_scan(options, round_to<T>);
  const ReferenceOutput forward = reference_scan(s);
  const ReferenceValues dout = random_dout(s, options.seed, round_to<T>);
  const ReferenceGradients wanted = reference_scan_gradients(s, forward, dout);

  ScanShape shape = shape_of(s, how.multiprocessors);
  shape.near_rows = how.tiles;
  shape.aligned = how.sequential;
  const ScanBackwardPlan plan = plan_backward(shape, how.deterministic);
  const bool tiled = plan.kernel == ScanKernel::kTiles;
  const bool single = plan.kernel == ScanKernel::kSingle;
  ASSERT_EQ(single, s.states == 1 && s.variable_B && s.variable_C);
  ASSERT_EQ(tiled, !single && how.tiles && s.states <= 128 && s.variable_B && s.variable_C);
  ASSERT_EQ(plan.sequential, how.sequential);
  ASSERT_EQ(plan.time_warps, tiled ? 1 : how.time_warps);
  ASSERT_LE(plan.shared_bytes, kSharedWords * 16);
  ScanBuffers<T> buffers(s, pitch, plan.tile);
  ScanParams& p = buffers.p;

  // The states, as the forward pass left them in x, then before every tile.
  const long chunks = (s.length + kScanChunk - 1) / kScanChunk;
  for (long row = 0; row < s.batch * s.dim; ++row) {
    for (long chunk = 0; chunk < chunks; ++chunk) {
      const long last = std::min((chunk + 1) * kScanChunk, s.length) - 1;
      for (long n = 0; n < s.states; ++n) {
        buffers.x[((row * chunks + chunk) * s.states + n) * 2 + 1] =
            static_cast<float>(forward.state[(row * s.length + last) * s.states + n].real());
      }
    }
  }
  const ScanPlan states_plan = plan_states(shape, how.chunked);
  ScanParams states = p;
  states.out.data = states.z.data = nullptr;
  states.tile_states = buffers.tile_states.data();
  states.chunked = how.chunked;
  states.time_warps = states_plan.time_warps;
  if (!how.chunked) states.x = nullptr;
  const auto states_kernel = kFloat ? scan_split_f32 : scan_split_f16;
  if (!tiled && !single) {
    emulate::run_grid(states_kernel,
                      Uint3{states_plan.grid_x, static_cast<unsigned>(s.batch),
                            how.chunked ? static_cast<unsigned>(chunks) : 1},
                      states_plan.warps * 32, shared_words, states_plan.shared_bytes / 16,
                      how.backwards, states);
  }

  GradientBuffers<T> gradients(s, p, forward, dout, pitch, plan.slots, plan.atomic,
                               tiled    ? plan.chunks.runs
                               : single ? p.tiles
                                        : 1);
  ScanBackwardParams& q = gradients.q;
  q.scan.tile_states = buffers.tile_states.data();
  q.scan.time_warps = plan.time_warps;
  q.scan.channels_per_warp = plan.channels_per_warp;
  if (tiled) buffers.gradient_alignment(pitch);
  q.scan.rows_aligned = p.rows_aligned;
  std::vector<float> adjoints = poisoned(buffers.tile_states.size()),
                     dt_sums = poisoned(s.batch * s.dim * p.tiles);
  if (tiled) {
    const ChunkPlan& c = plan.chunks;
    q.scan.chunks = {p.tiles > 1 ? buffers.tile_states.data() : nullptr,
                     plan.sequential ? nullptr : adjoints.data(),
                     dt_sums.data(),
                     c.steps,
                     c.count,
                     c.run,
                     c.runs,
                     1};
    ASSERT_EQ(c.count, p.tiles);
    if (plan.sequential) {
      const LanesPlan lanes = plan_lanes(shape, LanesKind::k16, false);
      emulate::run_grid(kFloat ? scan_lanes_states16_f32 : scan_lanes_states16_f16,
                        Uint3{lanes.grid_x, static_cast<unsigned>(s.batch), 1}, lanes.warps * 32,
                        shared_words, lanes.shared_bytes / 16, how.backwards, q.scan);
    } else if (p.tiles > 1) {
      const EndsPlan ends_plan = plan_ends(shape, c, true);
      ScanEndsParams ends{q.scan, q.dout, ends_plan.segments};
      ends.scan.x = nullptr;
      using Ends = void (*)(ScanEndsParams);
      const Ends ends_kernels[] = {kFloat ? scan_both_ends4_f32 : scan_both_ends4_f16,
                                   kFloat ? scan_both_ends8_f32 : scan_both_ends8_f16,
                                   kFloat ? scan_both_ends16_f32 : scan_both_ends16_f16};
      const Ends ends_kernel = ends_kernels[pass_index(shape.states)];
      emulate::run_grid(ends_kernel,
                        Uint3{ends_plan.grid_x, static_cast<unsigned>(s.batch),
                              static_cast<unsigned>(ends_plan.passes * c.runs)},
                        ends_plan.warps * 32, shared_words, ends_plan.shared_bytes / 16,
                        how.backwards, ends);
      emulate::run_grid(scan_carry, Uint3{ends_plan.carry_grid, 1, 1}, 256, shared_words,
                        ends_plan.carry_shared_bytes / 16, how.backwards, ends);
    }
  }
  if (single) {
    buffers.take_teams(plan.teams);
    q.scan.teams = p.teams;
  }
  using Kernel = void (*)(ScanBackwardParams);
  const Kernel tile_kernels[] = {kFloat ? scan_gradient4_f32 : scan_gradient4_f16,
                                 kFloat ? scan_gradient8_f32 : scan_gradient8_f16,
                                 kFloat ? scan_gradient16_f32 : scan_gradient16_f16};
  const Kernel kernel = tiled    ? tile_kernels[pass_index(shape.states)]
                        : single ? (kFloat ? scan_single_backward_f32 : scan_single_backward_f16)
                                 : (kFloat ? scan_backward_f32 : scan_backward_f16);
  emulate::run_grid(
      kernel,
      Uint3{plan.grid_x, static_cast<unsigned>(s.batch),
            single ? plan.grid_z : static_cast<unsigned>(tiled ? plan.chunks.runs : 1)},
      plan.warps * 32, shared_words, plan.shared_bytes / 16, how.backwards, q);

  const double tolerance = kFloat ? 2e-4 : 2e-3;
  gradients.expect(s, wanted, tolerance);
  if (!s.z.empty()) expect_rows("out_z", buffers.out_z, forward.out_z, s.length, tolerance);
}

ScanOptions base() {
  ScanOptions options;
  options.batch = 2;
  options.dim = 10;
  options.length = 70;
  return options;
}

TEST(scan_backward_kernels, tiles_at_every_length) {
  for (long length : {1L, 31L, 32L, 33L, 65L, 129L}) {
    ScanOptions options = base();
    options.length = length;
    check_backward<float>(options, length, {});
    check_backward<F16>(options, (length + 7) / 8 * 8, {132, 1, true, true, true});
  }
}

TEST(scan_backward_kernels, tiles_from_the_end) {
  for (long states : {9L, 16L}) {
    ScanOptions options = base();
    options.length = states == 9 ? 64 : 160;
    options.dim = 42;
    options.groups = 2;
    options.states = states;
    Backward how;
    how.sequential = true;
    check_backward<float>(options, options.length, how);
    how.backwards = true;
    check_backward<F16>(options, options.length, how);
  }
}

TEST(scan_backward_kernels, tiles_with_other_state_counts_and_groups) {
  for (long states : {3L, 8L, 16L, 20L, 128L}) {
    ScanOptions options = base();
    options.groups = 2;
    options.dim = states == 16 ? 70 : 10;
    options.batch = 1;
    options.states = states;
    check_backward<float>(options, 70, {});
    options.dim = 10;
    options.batch = 2;
    options.length = 600;
    if (states > 16) continue;
    check_backward<float>(options, 601, {4, 1, true, true, false});
    check_backward<F16>(options, 601, {4, 1, false, true, true});
  }
}

TEST(scan_backward_kernels, every_length) {
  for (long length : {1L, 31L, 32L, 33L, 65L, 129L}) {
    ScanOptions options = base();
    options.length = length;
    check_backward<float>(options, length, {1, 1, true, true, false, false});
  }
}

TEST(scan_backward_kernels, many_channels_in_each_warp_and_atomics) {
  ScanOptions options = base();
  options.dim = 150;
  options.groups = 2;
  Backward how;
  how.multiprocessors = 0;
  how.tiles = false;
  check_backward<float>(options, 72, how);
  how.deterministic = false;
  check_backward<float>(options, 72, how);
  check_backward<F16>(options, 72, how);
}

TEST(scan_backward_kernels, time_warps) {
  Backward how;
  how.multiprocessors = 132;
  how.time_warps = 4;
  how.tiles = false;
  for (long length : {200L, 520L}) {
    ScanOptions options = base();
    options.dim = 3;
    options.length = length;
    check_backward<float>(options, length + 2, how);
    how.backwards = true;
    check_backward<F16>(options, (length + 7) / 8 * 8, how);
  }
}

TEST(scan_backward_kernels, without_options) {
  ScanOptions options = base();
  options.softplus = options.bias = options.skip = options.gate = false;
  check_backward<float>(options, 70, {});
}

TEST(scan_backward_kernels, fixed_factors) {
  for (int which = 0; which < 3; ++which) {
    ScanOptions options = base();
    options.variable_B = which & 1;
    options.variable_C = which & 2;
    check_backward<float>(options, 70, {});
    check_backward<float>(options, 70, {132, 4, true, true, false});
  }
}

TEST(scan_backward_kernels, other_state_counts_and_groups) {
  for (long states : {5L, 17L, 64L, 256L}) {
    ScanOptions options = base();
    options.groups = 2;
    options.states = states;
    check_backward<float>(options, 70, {1, 1, true, true, false, false});
  }
}

TEST(scan_backward_kernels, several_chunks) {
  ScanOptions options = base();
  options.batch = 1;
  options.dim = 2;
  options.length = 4200;
  check_backward<float>(options, 4200, {1, 4, true, true, false, false});
  check_backward<float>(options, 4200, {1, 4, true, false, false, false});
}

TEST(scan_backward_kernels, few_states) {
  for (long states : {2L, 4L}) {
    for (long length : {1L, 49L, 300L}) {
      ScanOptions options = base();
      options.groups = 2;
      options.states = states;
      options.length = length;
      check_backward<float>(options, length, {});
      check_backward<F16>(options, (length + 7) / 8 * 8, {1, 1, true, true, false, false});
    }
  }
}

TEST(scan_backward_kernels, single_at_every_length) {
  ScanOptions options = base();
  options.states = 1;
  options.groups = 2;
  for (long length : {1L, 8L, 31L, 49L, 64L, 131L, 256L, 300L, 784L}) {
    options.length = length;
    const int time_warps = static_cast<int>((length + 255) / 256);
    check_backward<float>(options, (length + 3) / 4 * 4, {1, time_warps});
    check_backward<F16>(options, (length + 7) / 8 * 8, {132, time_warps, true, true, true});
    check_backward<F16>(options, length + 1, {132, time_warps});
  }
}

TEST(scan_backward_kernels, single_with_many_channels_to_a_block) {
  ScanOptions options = base();
  options.states = 1;
  options.groups = 2;
  options.dim = 150;
  for (long length : {20L, 49L, 300L}) {
    options.length = length;
    check_backward<float>(options, length, {1, length == 300 ? 2 : 1});
  }
}

TEST(scan_backward_kernels, single_without_options) {
  ScanOptions options = base();
  options.states = 1;
  options.softplus = options.bias = options.skip = options.gate = false;
  check_backward<float>(options, 72, {});
}

TEST(scan_backward_kernels, single_in_tiles) {
  ScanOptions options = base();
  options.states = 1;
  options.batch = 1;
  options.dim = 2;
  options.length = 6200;
  check_backward<float>(options, 6200, {1, 8});
  check_backward<F16>(options, 6203, {1, 8, true, true, true});
}

}  // namespace
}  // namespace ssm
