// ld.so.cache and the loader's own file, from bytes written here. The rules of the search are held
// against the real loader in tests/conformance.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <fstream>

#include "loader/ld_cache.h"
#include "loader/resolution_json.h"
#include "loader/resolve.h"
#include "loader/system_loader.h"

namespace ssmend {
namespace {

struct Row {
  uint32_t flags;
  std::string name;
  std::string path;
  uint64_t hwcap = 0;
};

std::string cache_bytes(const std::vector<Row>& rows, const std::vector<std::string>& hwcaps = {}) {
  std::string texts;
  std::string table;
  const uint32_t texts_at = static_cast<uint32_t>(48 + 24 * rows.size());
  const auto put = [](std::string& out, uint64_t value, size_t width) {
    out.append(reinterpret_cast<const char*>(&value), width);
  };
  for (const Row& row : rows) {
    put(table, row.flags, 4);
    put(table, texts_at + texts.size(), 4);
    texts += row.name + '\0';
    put(table, texts_at + texts.size(), 4);
    texts += row.path + '\0';
    put(table, 0, 4);
    put(table, row.hwcap, 8);
  }
  std::vector<uint32_t> names;
  for (const std::string& hwcap : hwcaps) {
    names.push_back(static_cast<uint32_t>(texts_at + texts.size()));
    texts += hwcap + '\0';
  }
  while ((texts_at + texts.size()) % 4 != 0) texts += '\0';
  std::string bytes = "glibc-ld.so.cache1.1";
  put(bytes, rows.size(), 4);
  put(bytes, texts.size(), 4);
  put(bytes, 2, 4);
  put(bytes, hwcaps.empty() ? 0 : texts_at + texts.size(), 4);
  bytes.append(12, '\0');
  bytes += table + texts;
  if (!hwcaps.empty()) {
    const uint64_t at = bytes.size();
    put(bytes, 0xeaa42174, 4);
    put(bytes, 1, 4);
    put(bytes, 1, 4);  // tag: hwcaps names
    put(bytes, 0, 4);
    put(bytes, at + 24, 4);
    put(bytes, 4 * names.size(), 4);
    for (const uint32_t name : names) put(bytes, name, 4);
  }
  return bytes;
}

constexpr uint32_t kX86 = 0x303;
constexpr uint32_t kArm = 0xa03;

TEST(LdCache, only_entries_of_the_machine_count) {
  const LdCache cache = parse_ld_cache(cache_bytes({{3, "libx.so", "/i386/libx.so"},
                                                    {kArm, "libx.so", "/arm/libx.so"},
                                                    {kX86, "libx.so", "/x86/libx.so"}}));
  EXPECT_EQ(cache.problem, "");
  EXPECT_EQ(cache.entries.size(), 3U);
  EXPECT_EQ(look_up_ld_cache(cache, "libx.so", kX86, {}, false), "/x86/libx.so");
  EXPECT_EQ(look_up_ld_cache(cache, "libx.so", kArm, {}, false), "/arm/libx.so");
  EXPECT_EQ(look_up_ld_cache(cache, "liby.so", kX86, {}, false), "");
  EXPECT_EQ(count_ld_cache_entries(cache, kArm), 1U);
}

TEST(LdCache, best_active_hwcap_wins_and_others_are_ignored) {
  constexpr uint64_t kExtension = uint64_t{1} << 62;
  const LdCache cache =
      parse_ld_cache(cache_bytes({{kX86, "libx.so", "/v4/libx.so", kExtension | 2},
                                  {kX86, "libx.so", "/v2/libx.so", kExtension | 0},
                                  {kX86, "libx.so", "/v3/libx.so", kExtension | 1},
                                  {kX86, "libx.so", "/libx.so"}},
                                 {"x86-64-v2", "x86-64-v3", "x86-64-v4"}));
  EXPECT_EQ(look_up_ld_cache(cache, "libx.so", kX86, {"x86-64-v3", "x86-64-v2"}, false),
            "/v3/libx.so");
  EXPECT_EQ(look_up_ld_cache(cache, "libx.so", kX86, {}, false), "/libx.so");
}

TEST(LdCache, follows_an_old_table) {
  std::string bytes = "ld.so-1.7.0";
  bytes.resize(12, '\0');
  bytes += std::string("\x01\0\0\0", 4) + std::string(12, '\0') + std::string(4, '\0');
  ASSERT_EQ(bytes.size(), 32U);
  const LdCache cache = parse_ld_cache(bytes + cache_bytes({{kX86, "libx.so", "/libx.so"}}));
  EXPECT_EQ(look_up_ld_cache(cache, "libx.so", kX86, {}, false), "/libx.so");
}

TEST(LdCache, damaged_files_say_so) {
  EXPECT_NE(parse_ld_cache("").problem, "");
  EXPECT_NE(parse_ld_cache("glibc-ld.so.cache1.0").problem, "");
  const std::string whole =
      cache_bytes({{kX86, "libx.so", "/libx.so"}, {kX86, "liby.so", "/liby.so"}});
  EXPECT_EQ(parse_ld_cache(whole.substr(0, 70)).problem,
            "/etc/ld.so.cache: 2 entries, 0 are in the file");
  for (size_t size = 0; size < whole.size(); ++size) (void)parse_ld_cache(whole.substr(0, size));
}

class RootTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/ssmend-loader-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    root_ = pattern;
    ASSERT_EQ(std::system(("mkdir -p " + root_ + "/lib " + root_ + "/etc").c_str()), 0);
    Result<std::unique_ptr<Disk>> disk = open_root_disk(root_);
    ASSERT_TRUE(disk.ok());
    disk_ = std::move(disk).value();
  }
  void TearDown() override { (void)std::system(("rm -rf " + root_).c_str()); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ + name, std::ios::binary) << text;
  }

  std::string root_;
  std::unique_ptr<Disk> disk_;
};

constexpr uint16_t kAarch64 = 183;

TEST_F(RootTest, loader_tells_directories_version_and_tokens) {
  using namespace std::string_literals;
  write("/lib/ld-linux-aarch64.so.1",
        "junk\0/lib/aarch64-linux-gnu/\0/usr/lib/aarch64-linux-gnu/\0/lib/\0/usr/lib/\0"
        "ld.so (Ubuntu GLIBC 2.35-0ubuntu3.8) stable release version 2.35.\n\0"s);
  const SystemLoader loader = read_system_loader(*disk_, "", 64, kAarch64);
  EXPECT_TRUE(loader.found);
  EXPECT_EQ(loader.version, "2.35");
  EXPECT_EQ(loader.lib_token, "lib/aarch64-linux-gnu");
  EXPECT_EQ(loader.platform_token, "aarch64");
  EXPECT_EQ(loader.default_directories,
            (std::vector<std::string>{"/lib/aarch64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/",
                                      "/lib/", "/usr/lib/"}));
  EXPECT_EQ(loader.subdirectories.front(), "tls/aarch64/atomics/");
  EXPECT_EQ(loader.subdirectories.back(), "");
  EXPECT_EQ(loader.subdirectories.size(), 8U);
}

TEST_F(RootTest, glibc_2_37_searches_no_legacy_subdirectories) {
  using namespace std::string_literals;
  write("/lib/ld-linux-aarch64.so.1",
        "\0/lib64/\0/usr/lib64/\0GNU C stable release version 2.39.\0"s);
  const SystemLoader loader = read_system_loader(*disk_, "", 64, kAarch64);
  EXPECT_EQ(loader.version, "2.39");
  EXPECT_EQ(loader.lib_token, "lib64");
  EXPECT_EQ(loader.subdirectories, std::vector<std::string>{""});
}

TEST_F(RootTest, a_file_that_is_not_there_is_an_answer) {
  ElfCache cache(*disk_, {.symbols = true});
  const Resolution resolution = resolve(cache, {}, "/lib/libnone.so");
  EXPECT_FALSE(resolution.loads);
  EXPECT_NE(resolution.reason.find("No such file or directory"), std::string::npos);
  const nlohmann::ordered_json json = resolution_json("/lib/libnone.so", {}, resolution);
  EXPECT_EQ(json["loads"], false);
  EXPECT_TRUE(json["program"].is_null());
}

}  // namespace
}  // namespace ssmend
