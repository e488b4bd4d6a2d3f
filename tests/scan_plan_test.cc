// Which kernel a shape gets, and that every plan can be launched.
#include "scan/scan_plan.h"

#include <gtest/gtest.h>

namespace ssm {
namespace {

constexpr int kH100 = 132;
constexpr int kOrin = 16;
constexpr unsigned kSmallestShared = 64 * 1024;  // of a block on sm_75, the least of those served

ScanShape shape(int64_t batch, int64_t dim, int64_t length, int states, int multiprocessors) {
  ScanShape s;
  s.batch = batch;
  s.dim = dim;
  s.length = length;
  s.states = states;
  s.multiprocessors = multiprocessors;
  return s;
}

TEST(scan_plan, many_channels_are_scanned_in_sequence) {
  const ScanPlan plan = plan_forward(shape(8, 2048, 2048, 16, kH100));
  EXPECT_EQ(plan.kernel, ScanKernel::kRows);
  EXPECT_EQ(plan.warps, 8);
  EXPECT_EQ(plan.grid_x, 32u);
}

TEST(scan_plan, whole_tiles_in_aligned_rows) {
  ScanShape s = shape(8, 2048, 2048, 16, kH100);
  s.aligned = true;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kLanes);
  EXPECT_EQ(plan_forward(s).grid_x, 64u);
  EXPECT_TRUE(plan_backward(s, false).sequential);
  s.length = 2047;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kRows);
  EXPECT_FALSE(plan_backward(s, false).sequential);
  s.length = 2048;
  s.batch = 1;
  s.dim = 256;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kSteps);
  EXPECT_EQ(plan_forward(s).warps, 8);
  EXPECT_FALSE(plan_backward(s, false).sequential);
  s.length = 512;
  EXPECT_EQ(plan_forward(s).warps, 2);
  s.multiprocessors = 16;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kLanes);
}

TEST(scan_plan, lanes_by_states_and_channels) {
  const auto plan_of = [](int64_t batch, int64_t dim, int states) {
    ScanShape s = shape(batch, dim, 4096, states, kH100);
    s.aligned = true;
    return plan_forward(s);
  };
  EXPECT_EQ(plan_of(8, 2048, 5).lanes, LanesKind::k8);
  EXPECT_EQ(plan_of(8, 2048, 9).lanes, LanesKind::k16);
  EXPECT_EQ(plan_of(8, 2048, 17).lanes, LanesKind::k32);
  EXPECT_EQ(plan_of(2, 2048, 64).lanes, LanesKind::k64);
  EXPECT_EQ(plan_of(2, 2048, 64).chunks.count, 1);  // 2 channels a warp: they fill the GPU
  EXPECT_EQ(plan_of(1, 1024, 64).lanes, LanesKind::k64);
  EXPECT_EQ(plan_of(1, 1024, 64).kernel,
            ScanKernel::kLanes);  // half of it is better than two walks
  EXPECT_EQ(plan_of(1, 1024, 64).chunks.count, 1);
  EXPECT_EQ(plan_of(1, 512, 64).kernel, ScanKernel::kSteps);
  EXPECT_EQ(plan_of(1, 1024, 16).kernel, ScanKernel::kSteps);
  EXPECT_EQ(plan_of(2, 2048, 65).lanes, LanesKind::k128);
  EXPECT_EQ(plan_of(2, 2048, 129).kernel, ScanKernel::kSplit);
  EXPECT_EQ(plan_of(8, 2048, 4).kernel, ScanKernel::kRows);
  // A lane for every state where that many warps fill the GPU; else chunks.
  EXPECT_EQ(plan_of(2, 1536, 16).lanes, LanesKind::k16Wide);
  EXPECT_EQ(plan_of(2, 1536, 16).chunks.count, 1);
  EXPECT_EQ(plan_of(1, 2048, 16).lanes, LanesKind::k16);
  EXPECT_GT(plan_of(1, 2048, 16).chunks.count, 1);
}

TEST(scan_plan, few_channels_are_cut_into_chunks) {
  const ScanPlan one_batch = plan_forward(shape(1, 2048, 8192, 16, kH100));
  EXPECT_EQ(one_batch.kernel, ScanKernel::kRows);
  EXPECT_GT(one_batch.chunks.count, 1);
  const ScanPlan small = plan_forward(shape(1, 256, 2048, 16, kH100));
  EXPECT_GT(small.chunks.count, one_batch.chunks.count);
  EXPECT_EQ(kScanChunk % small.chunks.steps, 0);
  EXPECT_EQ(plan_forward(shape(8, 2048, 2048, 16, kH100)).chunks.count, 1);
}

TEST(scan_plan, one_batch_fills_a_small_gpu) {
  const ScanPlan plan = plan_forward(shape(1, 2048, 2048, 16, kOrin));
  EXPECT_EQ(plan.kernel, ScanKernel::kRows);
  EXPECT_EQ(plan.chunks.count, 1);
}

TEST(scan_plan, a_short_length_is_not_split_further_than_its_tiles) {
  ScanShape s = shape(1, 64, 40, 16, kH100);
  EXPECT_EQ(plan_forward(s).chunks.count, 1);
  s.near_rows = false;
  EXPECT_EQ(plan_forward(s).time_warps, 2);
  s.length = 32;
  EXPECT_EQ(plan_forward(s).time_warps, 1);
}

TEST(scan_plan, what_rows_cannot_do_is_split) {
  ScanShape s = shape(8, 2048, 512, 16, kH100);
  s.variable_B = false;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kSplit);
  EXPECT_EQ(plan_backward(s, false).kernel, ScanKernel::kSplit);
  s.states = 1;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kSplit);
  EXPECT_EQ(plan_backward(s, false).kernel, ScanKernel::kSplit);
  s = shape(8, 2048, 512, 16, kH100);
  s.delta_ratio = 2;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kSplit);
  s = shape(8, 2048, 512, 16, kH100);
  s.near_rows = false;
  EXPECT_EQ(plan_forward(s).kernel, ScanKernel::kSplit);
  EXPECT_EQ(plan_forward(shape(8, 2048, 512, 256, kH100)).kernel, ScanKernel::kSplit);
  EXPECT_EQ(plan_forward(shape(8, 4, 512, 16, kH100)).kernel, ScanKernel::kSplit);
}

TEST(scan_plan, every_channel_has_a_warp_and_every_block_fits) {
  for (int multiprocessors : {8, kOrin, kH100}) {
    for (int64_t dim : {1, 7, 96, 2048}) {
      for (int64_t batch : {1, 16}) {
        for (int states : {2, 5, 16, 17, 64, 128, 256}) {
          ScanShape s = shape(batch, dim, 704, states, multiprocessors);
          s.aligned = true;
          EXPECT_LE(plan_forward(s).shared_bytes, kSmallestShared) << dim << " " << states;
          s.aligned = false;
          const ScanPlan plan = plan_forward(s);
          const int64_t channels = plan.kernel == ScanKernel::kRows ? 8 : 1;
          EXPECT_GE(plan.grid_x * (plan.warps / plan.time_warps) * channels, dim);
          EXPECT_LE(plan.shared_bytes, kSmallestShared) << dim << " " << states;
          const ScanBackwardPlan back = plan_backward(s, false);
          EXPECT_GE(int64_t{back.grid_x} * (back.warps / back.time_warps) * back.channels_per_warp,
                    dim);
          EXPECT_LE(back.shared_bytes, kSmallestShared) << dim << " " << states;
        }
      }
    }
  }
}

TEST(scan_plan, one_state_lies_along_the_length) {
  // A long row of few channels: as many warps as its tiles of 256 steps.
  ScanPlan plan = plan_forward(shape(1, 384, 3136, 1, kH100));
  EXPECT_EQ(plan.kernel, ScanKernel::kSingle);
  EXPECT_EQ(plan.time_warps, 7);
  EXPECT_EQ(plan.warps, 7);
  EXPECT_EQ(plan.grid_x, 384u);
  // Many channels: a warp each.
  plan = plan_forward(shape(64, 384, 3136, 1, kH100));
  EXPECT_EQ(plan.time_warps, 1);
  EXPECT_EQ(plan.warps, 4);
  // A short row: eight lanes each.
  plan = plan_forward(shape(64, 3072, 49, 1, kH100));
  EXPECT_EQ(plan.teams.segment_bits, 3);
  EXPECT_EQ(plan_forward(shape(64, 3072, 17, 1, kH100)).teams.segment_bits, 2);
  EXPECT_EQ(plan_forward(shape(64, 3072, 129, 1, kH100)).teams.segment_bits, 5);
  // One block holds a row of 4096 steps; longer ones need the states between.
  EXPECT_EQ(plan_backward(shape(1, 384, 4096, 1, kH100), false).time_warps, 16);
  EXPECT_FALSE(plan_backward(shape(1, 384, 4096, 1, kH100), false).needs_states);
  EXPECT_EQ(plan_backward(shape(1, 384, 4097, 1, kH100), false).time_warps, 8);
  EXPECT_TRUE(plan_backward(shape(1, 384, 4097, 1, kH100), false).needs_states);
}

TEST(scan_plan, one_state_gives_every_block_its_own_buffer) {
  for (int64_t length : {0, 1, 49, 784, 65536}) {
    for (int64_t dim : {0, 1, 96, 3072}) {
      for (int multiprocessors : {8, kH100}) {
        const ScanShape s = shape(8, dim, length, 1, multiprocessors);
        const ScanBackwardPlan back = plan_backward(s, false);
        EXPECT_FALSE(back.atomic);
        EXPECT_EQ(back.slots, back.group_blocks);
        EXPECT_LE(back.shared_bytes, kSmallestShared);
        EXPECT_LE(plan_forward(s).shared_bytes, kSmallestShared);
        EXPECT_LE(back.warps, 16);
        const ScanTeams& teams = back.teams;
        EXPECT_EQ(teams.time_warps << teams.channel_bits, back.warps);
        const int64_t at_once = int64_t{32} >> teams.segment_bits << teams.channel_bits;
        EXPECT_GE(back.grid_x * at_once * teams.rounds, dim);
      }
    }
  }
}

TEST(scan_plan, deterministic_gives_every_block_its_own_buffer) {
  const ScanShape s = shape(8, 2048, 2048, 16, kH100);
  const ScanBackwardPlan loose = plan_backward(s, false);
  EXPECT_TRUE(loose.atomic);
  EXPECT_LT(loose.slots, loose.group_blocks);
  const ScanBackwardPlan fixed = plan_backward(s, true);
  EXPECT_FALSE(fixed.atomic);
  EXPECT_EQ(fixed.slots, fixed.group_blocks);
}

}  // namespace
}  // namespace ssm
