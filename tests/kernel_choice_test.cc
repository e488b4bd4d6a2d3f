// Which image serves which GPU, the pack reader, and the tilings: the kernel library's pure parts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "conv1d/layout.h"
#include "core/choose.h"
#include "core/pack.h"

namespace ssm {
namespace {

ssm_image cubin(int sm, int compiler, bool local = false) {
  ssm_image image = {};
  image.unit = "conv1d_forward";
  image.kind = SSM_CUBIN;
  image.sm = sm;
  image.compiler = compiler;
  image.local = local ? 1 : 0;
  return image;
}

ssm_image ptx(int sm, int isa) {
  ssm_image image = cubin(sm, 11080);
  image.kind = SSM_PTX;
  image.ptx_isa = isa;
  return image;
}

// What the build embeds.
std::vector<ssm_image> shipped() {
  std::vector<ssm_image> images;
  for (const int sm : {72, 75, 80, 87, 90}) images.push_back(cubin(sm, 11080));
  images.push_back(ptx(87, 78));
  for (const int sm : {100, 110, 120}) images.push_back(cubin(sm, 13000));
  return images;
}

struct Choice {
  std::string image;  // "sm_87", "compute_87", "none"
  std::string reason;
};

Choice choose(const std::vector<ssm_image>& images, int sm, int driver,
              const char* forced = nullptr) {
  int index = -1;
  char reason[512];
  const ssm_status status =
      choose_image(images.data(), static_cast<int>(images.size()), "conv1d_forward", sm, driver,
                   forced, &index, reason, sizeof reason);
  if (status != SSM_OK) return {"none", reason};
  const ssm_image& image = images[static_cast<size_t>(index)];
  return {(image.kind == SSM_PTX ? "compute_" : "sm_") + std::to_string(image.sm), reason};
}

TEST(kernel_choice, the_exact_image_is_taken_with_its_reason) {
  const Choice orin = choose(shipped(), 87, 12060);
  EXPECT_EQ(orin.image, "sm_87");
  EXPECT_EQ(orin.reason, "sm_87 image, made for this GPU (NVRTC 11.8, driver for CUDA 12.6)");
}

TEST(kernel_choice, jetpack_5_6_and_7_take_the_same_orin_image) {
  EXPECT_EQ(choose(shipped(), 87, 11040).image, "sm_87");
  EXPECT_EQ(choose(shipped(), 87, 12020).image, "sm_87");
  EXPECT_EQ(choose(shipped(), 87, 13020).image, "sm_87");
}

TEST(kernel_choice, an_earlier_minor_version_serves_the_family) {
  EXPECT_EQ(choose(shipped(), 103, 13000).image, "sm_100");
  EXPECT_EQ(choose(shipped(), 121, 13000).image, "sm_120");
  EXPECT_EQ(choose(shipped(), 86, 12000).image, "sm_80");
  EXPECT_EQ(choose(shipped(), 89, 12000).image, "sm_80");
  EXPECT_EQ(choose({cubin(80, 11080), cubin(86, 11080)}, 89, 12000).image, "sm_86");
}

TEST(kernel_choice, tegra_takes_its_exact_sm_and_lends_it_to_nobody) {
  const Choice orin = choose({cubin(80, 11080), cubin(86, 11080)}, 87, 12060);
  EXPECT_EQ(orin.image, "none");
  EXPECT_EQ(orin.reason,
            "no image of conv1d_forward runs on sm_87 with a driver for CUDA 12.6; sm_80 code does "
            "not serve sm_87: Tegra takes its exact SM; sm_86 code does not serve sm_87: Tegra "
            "takes its exact SM");
  EXPECT_EQ(choose({cubin(87, 11080)}, 89, 12060).image, "none");
  EXPECT_EQ(choose({cubin(72, 11080), ptx(72, 78)}, 75, 12060).image, "compute_72");
  EXPECT_EQ(choose({cubin(100, 13000), ptx(87, 78)}, 101, 13000).image, "compute_87");
}

TEST(kernel_choice, a_driver_of_cuda_12_takes_the_ptx_on_blackwell) {
  const Choice choice = choose(shipped(), 120, 12080);
  EXPECT_EQ(choice.image, "compute_87");
  EXPECT_EQ(choice.reason,
            "compute_87 PTX 7.8, compiled by the driver (NVRTC 11.8, driver for CUDA 12.8); sm_120 "
            "made by CUDA 13.0 needs a driver for CUDA 13.0");
}

TEST(kernel_choice, ptx_needs_a_driver_that_knows_its_version) {
  EXPECT_EQ(choose({ptx(80, 78)}, 86, 11070).image, "none");
  EXPECT_EQ(choose({ptx(80, 78)}, 86, 11080).image, "compute_80");
  EXPECT_EQ(choose({ptx(80, 74)}, 86, 11040).image, "compute_80");
  EXPECT_EQ(choose({ptx(80, 87)}, 86, 12070).image, "none");
  EXPECT_EQ(choose({ptx(80, 87)}, 86, 12080).image, "compute_80");
  EXPECT_EQ(choose({ptx(80, 90)}, 86, 12090).image, "none");
  EXPECT_EQ(choose({ptx(90, 78)}, 86, 13000).image, "none");
}

TEST(kernel_choice, a_hopper_image_needs_the_driver_of_11_8) {
  EXPECT_EQ(choose(shipped(), 90, 11070).image, "none");
  EXPECT_EQ(choose(shipped(), 90, 11080).image, "sm_90");
}

TEST(kernel_choice, an_image_built_on_this_machine_comes_first) {
  std::vector<ssm_image> images = shipped();
  images.push_back(cubin(87, 12060, true));
  const Choice choice = choose(images, 87, 12060);
  EXPECT_EQ(choice.image, "sm_87");
  EXPECT_NE(choice.reason.find("NVRTC 12.6"), std::string::npos);
  EXPECT_NE(choice.reason.find("; built on this machine"), std::string::npos);
}

TEST(kernel_choice, of_equals_the_older_toolkit_is_taken) {
  const Choice choice = choose({cubin(90, 13000), cubin(90, 11080)}, 90, 13000);
  EXPECT_NE(choice.reason.find("NVRTC 11.8"), std::string::npos);
}

TEST(kernel_choice, one_image_can_be_forced) {
  EXPECT_EQ(choose(shipped(), 90, 13000, "compute_87").image, "compute_87");
  EXPECT_EQ(choose(shipped(), 90, 13000, "sm_80").image, "none");
}

TEST(kernel_choice, an_unknown_unit_has_no_image) {
  int index = 0;
  char reason[200];
  const std::vector<ssm_image> images = shipped();
  EXPECT_EQ(choose_image(images.data(), static_cast<int>(images.size()), "other", 90, 13000, "",
                         &index, reason, sizeof reason),
            SSM_NO_IMAGE);
  EXPECT_STREQ(reason,
               "no image of other runs on sm_90 with a driver for CUDA 13.0: the library has no "
               "image of it");
}

std::string record(const std::string& unit, const std::string& image, uint32_t kind = 0) {
  PackHeader header = {};
  memcpy(header.magic, kPackMagic, sizeof kPackMagic);
  unit.copy(header.unit, kPackUnitBytes);
  header.kind = kind;
  header.size_bytes = image.size();
  header.stored_bytes = image.size();
  std::string text(reinterpret_cast<const char*>(&header), sizeof header);
  text += image;
  text.append((16 - image.size() % 16) % 16, '\0');
  return text;
}

int count_records(const std::string& pack) {
  size_t offset = 0;
  PackHeader header;
  const uint8_t* image = nullptr;
  int count = 0;
  while (next_record(reinterpret_cast<const uint8_t*>(pack.data()), pack.size(), &offset, &header,
                     &image)) {
    ++count;
  }
  return count;
}

TEST(kernel_pack, records_follow_each_other) {
  EXPECT_EQ(count_records(record("a", "12345") + record("b", std::string(16, 'x'))), 2);
}

TEST(kernel_pack, a_cut_or_false_record_ends_the_pack) {
  const std::string good = record("a", "12345");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(count_records(good.substr(0, size)), 0) << size;
  }
  std::string longer = good;
  longer[80 + 7] = '\x7f';  // stored bytes beyond the file
  EXPECT_EQ(count_records(longer), 0);
  EXPECT_EQ(count_records(record(std::string(kPackUnitBytes, 'u'), "12345")), 0);
  EXPECT_EQ(count_records(record("a", "12345", 2)), 0);
}

std::string unpacked(const std::string& block, uint64_t size, uint32_t method = kPackLz4) {
  PackHeader header = {};
  header.method = method;
  header.size_bytes = size;
  header.stored_bytes = block.size();
  std::string image(size, '?');
  const bool ok = unpack_image(header, reinterpret_cast<const uint8_t*>(block.data()),
                               reinterpret_cast<uint8_t*>(image.data()));
  return ok ? image : "refused";
}

// Made by xz 5.4: "abcabcabcabcz", raw LZMA1 with lc = 0, lp = 4, pb = 4.
const std::string kLzmaStream("\x00\x30\x98\x88\x73\x84\x7a\x84\x1f\xff\xff\xff\xbe\0\0\0", 16);

TEST(kernel_pack, an_lzma_stream_is_unpacked) {
  EXPECT_EQ(unpacked(kLzmaStream, 13, kPackLzma), "abcabcabcabcz");
}

TEST(kernel_pack, a_bad_lzma_stream_is_refused) {
  EXPECT_EQ(unpacked(kLzmaStream, 12, kPackLzma), "refused");
  EXPECT_EQ(unpacked(kLzmaStream, 14, kPackLzma), "refused");
  for (size_t size = 1; size < 13; ++size) {
    EXPECT_EQ(unpacked(kLzmaStream.substr(0, size), 13, kPackLzma), "refused") << size;
  }
  // Whatever stands in it, it ends within its 13 bytes; only the end marker's last bits are free.
  for (size_t at = 0; at < 12; ++at) {
    for (int flip = 1; flip < 256; ++flip) {
      std::string stream = kLzmaStream;
      stream[at] = static_cast<char>(stream[at] ^ flip);
      EXPECT_NE(unpacked(stream, 13, kPackLzma), "abcabcabcabcz") << at << " " << flip;
    }
  }
}

// By hand, from the LZ4 block format: 3 literals, a match of 9 at distance 3, 1 literal.
TEST(kernel_pack, a_block_is_unpacked) {
  EXPECT_EQ(unpacked(std::string("\x35\x61\x62\x63\x03\x00\x10z", 8), 13), "abcabcabcabcz");
}

TEST(kernel_pack, a_false_block_is_refused) {
  const std::string good("\x35\x61\x62\x63\x03\x00\x10z", 8);
  for (size_t size = 1; size < good.size(); ++size) {
    EXPECT_EQ(unpacked(good.substr(0, size), 13), "refused") << size;
  }
  EXPECT_EQ(unpacked(good, 12), "refused");
  EXPECT_EQ(unpacked(good, 14), "refused");
  EXPECT_EQ(unpacked(std::string("\x35\x61\x62\x63\x04\x00\x10z", 8), 13), "refused");
  EXPECT_EQ(unpacked(std::string("\x35\x61\x62\x63\x00\x00\x10z", 8), 13), "refused");
  EXPECT_EQ(unpacked(std::string("\xf0\xff\xff\xff", 4), 13), "refused");
}

ssm_tensor tensor_at(uintptr_t address, int64_t b, int64_t d, int64_t l, int64_t sb, int64_t sd,
                     int64_t sl) {
  ssm_tensor tensor = {};
  tensor.data = reinterpret_cast<void*>(address);
  tensor.dtype = SSM_FLOAT16;
  tensor.rank = 3;
  const int64_t sizes[] = {b, d, l};
  const int64_t strides[] = {sb, sd, sl};
  std::copy(sizes, sizes + 3, tensor.size);
  std::copy(strides, strides + 3, tensor.stride);
  return tensor;
}

int64_t chunks_of(const RowShape& shape) {
  const int64_t per_chunk = 16 / shape.element_bytes;
  return ((shape.aligned ? 0 : per_chunk - 1) + shape.length + per_chunk - 1) / per_chunk;
}

void expect_cover(const RowShape& shape, const RowTiling& tiling) {
  const int64_t needed = chunks_of(shape);
  ASSERT_GE(int64_t{tiling.tiles} * tiling.chunks, needed) << shape.length;
  ASSERT_LT(int64_t{tiling.tiles - 1} * tiling.chunks, needed) << shape.length;
  ASSERT_EQ(tiling.chunks % 8, 0) << shape.length;
  ASSERT_GE(tiling.groups, 1) << shape.length;
  ASSERT_LE(tiling.groups, shape.batch) << shape.length;
}

TEST(conv1d_layout, tiles_cover_the_row_and_fit_the_lanes) {
  for (const int64_t bytes : {2, 4}) {
    for (const bool aligned : {true, false}) {
      for (int64_t length = 1; length < 20000; length += length < 3000 ? 1 : 37) {
        const RowShape shape = {8, 512, length, bytes, aligned};
        const RowTiling tiling = tile_row(shape, 5);
        expect_cover(shape, tiling);
        ASSERT_LE(tiling.chunks, 5 * 32) << length;
      }
    }
  }
}

// The steps of a walk reach every chunk of its tile and, where another tile follows, the chunk
// after.
TEST(conv1d_layout, walks_cover_the_row_and_the_chunk_after_a_tile) {
  for (const int64_t rows : {1, 64, 6000, 100000}) {
    for (const int64_t bytes : {2, 4}) {
      for (int64_t length = 1; length < 70000; length += length < 600 ? 1 : 373) {
        const RowShape shape = {1, rows, length, bytes, false};
        const RowTiling tiling = walk_row(shape, rows == 64 ? 8 : 132);
        expect_cover(shape, tiling);
        ASSERT_TRUE(tiling.team == 1 || tiling.team == 2 || tiling.team == 4);
        const int64_t reached = int64_t{tiling.steps} * tiling.team * 32;
        ASSERT_GE(reached, tiling.tiles == 1 ? chunks_of(shape) : tiling.chunks + 1) << length;
        ASSERT_GE(tiling.chunks, tiling.tiles == 1 ? 1 : 24) << length;
      }
    }
  }
}

TEST(conv1d_layout, short_rows_share_warps_and_few_long_ones_are_cut) {
  EXPECT_LE(walk_row({64, 384, 196, 2, false}, 132).groups, 16);
  EXPECT_EQ(walk_row({8, 4096, 2048, 2, true}, 132).tiles, 1);
  EXPECT_EQ(walk_row({8, 4096, 2048, 4, true}, 132).groups, 4);
  EXPECT_GT(walk_row({1, 16, 65536, 4, true}, 132).tiles, 8);
  // The fastest of those measured on an H100: a round of warps that is nearly empty costs a round.
  EXPECT_EQ(walk_row({2, 2048, 8192, 2, true}, 132).tiles, 4);
  EXPECT_EQ(walk_row({4, 768, 4096, 2, true}, 132).tiles, 1);
  EXPECT_EQ(walk_row({2, 5120, 4096, 2, true}, 132).tiles, 1);
  EXPECT_EQ(walk_row({2, 2048, 8192, 4, true}, 132).tiles, 1);
  EXPECT_EQ(tile_row({8, 4096, 2048, 2, true}, 5).groups, 8);
  EXPECT_LT(tile_row({64, 384, 196, 2, false}, 5).groups, 64);
}

TEST(conv1d_layout, the_end_of_a_view_is_that_of_its_last_element) {
  const ssm_tensor view = tensor_at(4096, 2, 8, 100, 16 * 100, 100, 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(end_of(view)), 4096u + 2 * (16 * 100 + 7 * 100 + 99 + 1));
}

TEST(conv1d_layout, rows_of_one_misalignment_are_seen) {
  const ssm_tensor odd = tensor_at(4096, 2, 8, 2047, 8 * 2047, 2047, 1);
  EXPECT_TRUE(rows_misaligned_alike(odd, tensor_at(8192, 2, 8, 2047, 8 * 2047, 2047, 1)));
  EXPECT_TRUE(rows_misaligned_alike(odd, tensor_at(8192, 2, 8, 2047, 16 * 2047, 2047 + 16, 1)));
  EXPECT_FALSE(rows_misaligned_alike(odd, tensor_at(8194, 2, 8, 2047, 8 * 2047, 2047, 1)));
  EXPECT_FALSE(rows_misaligned_alike(odd, tensor_at(8192, 2, 8, 2047, 8 * 2048, 2048, 1)));
  EXPECT_FALSE(rows_aligned(odd));
}

TEST(conv1d_layout, channels_need_aligned_positions) {
  EXPECT_TRUE(channels_aligned(tensor_at(4096, 2, 64, 10, 640, 1, 64)));
  EXPECT_FALSE(channels_aligned(tensor_at(4098, 2, 64, 10, 640, 1, 64)));
  EXPECT_FALSE(channels_aligned(tensor_at(4096, 2, 60, 10, 600, 1, 60)));
  EXPECT_FALSE(channels_aligned(tensor_at(4096, 2, 64, 10, 640, 10, 1)));
}

TEST(conv1d_layout, channel_blocks_cover_the_length_and_have_256_threads) {
  for (const int64_t vectors : {1, 8, 9, 16, 17, 1024}) {
    for (const int64_t length : {1, 64, 65, 2047, 32768}) {
      const ChannelTiling tiling = tile_channels(1, vectors, length);
      EXPECT_EQ(tiling.lanes * tiling.tiles_per_block, 256);
      EXPECT_GT(tiling.positions, 3);
      EXPECT_GE(tiling.channel_groups * tiling.lanes, vectors);
      EXPECT_GE(tiling.tile_groups * tiling.tiles_per_block * tiling.positions, length);
    }
  }
}

}  // namespace
}  // namespace ssm
