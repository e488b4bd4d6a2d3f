#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "base/disk.h"
#include "base/process.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/version.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = fs::temp_directory_path() / "ssmend-base-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

TEST(Text, normal_path_resolves_dots_and_stops_at_the_root) {
  EXPECT_EQ(normal_path("/a//b/./../c"), "/a/c");
  EXPECT_EQ(normal_path("/../../etc"), "/etc");
  EXPECT_EQ(normal_path("../x"), "../x");
  EXPECT_EQ(normal_path("a/.."), ".");
}

TEST(Text, is_inside_does_not_confuse_a_common_prefix_with_a_directory) {
  EXPECT_TRUE(is_inside("/a/b", "/a"));
  EXPECT_FALSE(is_inside("/ab", "/a"));
  EXPECT_TRUE(is_inside("/x", "/"));
}

TEST(Text, printable_escapes_control_bytes_and_broken_utf8) {
  EXPECT_EQ(printable("a\x1b[31m\xff"), "a\\x1b[31m\\xff");
  EXPECT_EQ(printable("\xc3\xa4"), "\xc3\xa4");
}

TEST(Text, glob_star_crosses_slashes) {
  EXPECT_TRUE(glob_match("*.so.*", "a/libx.so.1"));
  EXPECT_FALSE(glob_match("*.so", "libx.so.1"));
  EXPECT_TRUE(glob_match("a?c", "abc"));
}

TEST(Bytes, a_read_outside_gives_zero_and_is_remembered) {
  ByteView view(std::string_view("\x01\x02\x03\x04", 4));
  EXPECT_EQ(view.u32(0), 0x04030201u);
  EXPECT_FALSE(view.bad());
  EXPECT_EQ(view.u32(1), 0u);
  EXPECT_TRUE(view.bad());
  EXPECT_FALSE(view.has(~uint64_t{0}, 2));
}

TEST(Version, pep440_orders_as_the_specification_lists) {
  const std::vector<std::string> ordered = {
      "1.0.dev1",  "1.0a1.dev1",     "1.0a1",     "1.0b2", "1.0rc1", "1.0",
      "1.0+local", "1.0.post1.dev2", "1.0.post1", "1.1",   "1!0.1"};
  for (size_t i = 0; i < ordered.size(); ++i) {
    for (size_t j = 0; j < ordered.size(); ++j) {
      const int order = compare_pep440(ordered[i], ordered[j]);
      EXPECT_EQ(order < 0, i < j) << ordered[i] << " " << ordered[j];
      EXPECT_EQ(order == 0, i == j) << ordered[i] << " " << ordered[j];
    }
  }
  EXPECT_EQ(compare_pep440("1.0", "1.0.0"), 0);
}

TEST(Version, specifiers_hold_for_nvidias_version_strings) {
  EXPECT_TRUE(satisfies_pep440("2.5.0a0+872d972e41.nv24.08", ">=2.4"));
  EXPECT_FALSE(satisfies_pep440("2.5.0a0+872d972e41.nv24.08", ">=2.5"));
  EXPECT_TRUE(satisfies_pep440("2.2.6.post3", ">=2.2.5,<2.3"));
  EXPECT_TRUE(satisfies_pep440("1.5.0.post8", "==1.5.*"));
  EXPECT_FALSE(satisfies_pep440("1.5.0.post8", "==1.5.0"));
  EXPECT_TRUE(satisfies_pep440("2.5+cu121", "==2.5"));
  EXPECT_TRUE(satisfies_pep440("2.3.1", "~=2.2"));
  EXPECT_FALSE(satisfies_pep440("3.0", "~=2.2"));
  EXPECT_FALSE(is_valid_specifier("about 2"));
}

TEST(Version, dotted_numbers_compare_as_numbers) {
  EXPECT_LT(compare_dotted("2.9", "2.31"), 0);
  EXPECT_EQ(compare_dotted("12", "12.0"), 0);
}

TEST(Sha256, matches_the_published_vectors) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256_record(""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
}

TEST(RootDisk, follows_absolute_links_inside_the_root_only) {
  const TemporaryDirectory root;
  write(root / "usr/lib/libx.so", "inside");
  fs::create_symlink("/usr/lib", root / "lib");
  fs::create_symlink("../../../../usr/lib/libx.so", root / "climbs");
  fs::create_symlink("loop", root / "loop");
  const std::unique_ptr<Disk> disk = std::move(open_root_disk(root.path())).value();
  EXPECT_EQ(*disk->read("/lib/libx.so"), "inside");
  EXPECT_EQ(*disk->read("/climbs"), "inside");
  EXPECT_EQ(*disk->real_path("/lib/libx.so"), "/usr/lib/libx.so");
  EXPECT_FALSE(disk->exists("/etc/passwd"));
  EXPECT_EQ(disk->read("/loop").error().system_errno, ELOOP);
}

TEST(SystemDisk, replacing_makes_a_new_inode_and_leaves_a_hard_link_alone) {
  const TemporaryDirectory directory;
  write(directory / "a.py", "old");
  fs::create_hard_link(directory / "a.py", directory / "twin.py");
  const std::unique_ptr<Disk> disk = open_system_disk();
  WriteOptions options;
  options.mode = 0640;
  options.mtime_seconds = 1000;
  options.mtime_nanoseconds = 5;
  ASSERT_TRUE(disk->replace_atomically(directory / "a.py", "new", options).ok());
  EXPECT_EQ(*disk->read(directory / "a.py"), "new");
  EXPECT_EQ(*disk->read(directory / "twin.py"), "old");
  const FileStat found = *disk->stat(directory / "a.py");
  EXPECT_EQ(found.mode, 0640u);
  EXPECT_EQ(found.mtime_seconds, 1000);
  EXPECT_EQ(found.mtime_nanoseconds, 5);
  EXPECT_EQ(disk->list(directory.path())->size(), 2u);  // no temporary file left
}

TEST(SystemDisk, a_directory_or_a_pipe_is_no_file_to_read) {
  const TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo((directory / "pipe.so").c_str(), 0600), 0);
  const std::unique_ptr<Disk> disk = open_system_disk();
  EXPECT_EQ(disk->open(directory.path()).error().system_errno, EISDIR);
  EXPECT_FALSE(disk->open(directory / "pipe.so").ok());
}

TEST(Process, gives_output_exit_code_and_input) {
  ProcessRequest request;
  request.argv = {"/bin/sh", "-c", "read x; echo got $x; echo bad >&2; exit 3"};
  request.standard_input = "this\n";
  std::vector<std::string> lines;
  request.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  const ProcessResult result = *open_system_process()->run(request);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.standard_output, "got this\n");
  EXPECT_EQ(result.standard_error, "bad\n");
  EXPECT_EQ(lines, std::vector<std::string>{"got this"});
}

TEST(Process, ends_a_child_that_outlasts_its_time_and_names_signals) {
  ProcessRequest request;
  request.argv = {"/bin/sh", "-c", "sleep 30"};
  request.timeout_seconds = 0.2;
  const ProcessResult late = *open_system_process()->run(request);
  EXPECT_TRUE(late.timed_out);
  EXPECT_LT(late.seconds, 10);
  request.argv = {"/bin/sh", "-c", "kill -SEGV $$"};
  request.timeout_seconds = 10;
  EXPECT_EQ(open_system_process()->run(request)->signal, SIGSEGV);
  request.argv = {"/no/such/program"};
  EXPECT_FALSE(open_system_process()->run(request).ok());
}

}  // namespace
}  // namespace ssmend
