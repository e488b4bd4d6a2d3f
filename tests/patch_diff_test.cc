#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "patch/diff.h"

namespace ssmend {
namespace {

TEST(Diff, same_bytes_give_nothing) { EXPECT_EQ(unified_diff("a\n", "a\n", "a", "b"), ""); }

TEST(Diff, changed_line_has_three_lines_around_it) {
  EXPECT_EQ(
      unified_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n", "a/x", "b/x"),
      "--- a/x\n+++ b/x\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

TEST(Diff, empty_side_and_missing_line_break_are_said) {
  EXPECT_EQ(unified_diff("", "1\n", "a", "b"), "--- a\n+++ b\n@@ -0,0 +1 @@\n+1\n");
  EXPECT_EQ(unified_diff("1\n2", "1\n2\n", "a", "b"),
            "--- a\n+++ b\n@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+2\n");
}

TEST(Diff, far_changes_are_two_hunks) {
  std::string before, after;
  for (int i = 0; i < 40; ++i) {
    before += std::to_string(i) + "\n";
    if (i != 5) after += std::to_string(i) + "\n";
    if (i == 30) after += "new\n";
  }
  EXPECT_EQ(unified_diff(before, after, "a", "b"),
            "--- a\n+++ b\n@@ -3,7 +3,6 @@\n 2\n 3\n 4\n-5\n 6\n 7\n 8\n"
            "@@ -29,6 +28,7 @@\n 28\n 29\n 30\n+new\n 31\n 32\n 33\n");
}

// GNU patch is the judge: it must turn the old text into the new one, exactly.
TEST(Diff, gnu_patch_applies_random_diffs) {
  if (std::system("patch --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no GNU patch";
  char name[] = "/tmp/ssmend-diff-XXXXXX";
  const std::string folder = ::mkdtemp(name);
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::string before, after;
    int lines = static_cast<int>(random() % 40);
    for (int i = 0; i < lines; ++i) {
      std::string line =
          std::to_string(random() % 7) + (i + 1 == lines && round % 3 == 0 ? "" : "\n");
      unsigned what = random() % 8;
      before += what == 0 ? "" : line;
      after += what == 1 ? "" : what == 2 ? "changed\n" : line;
    }
    if (before == after) continue;
    std::ofstream(folder + "/x", std::ios::binary) << before;
    std::ofstream(folder + "/d", std::ios::binary) << unified_diff(before, after, "a/x", "b/x");
    const std::string command =
        "cd " + folder + " && patch --quiet --binary -o y x d 2> /dev/null > /dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << unified_diff(before, after, "a/x", "b/x");
    std::ifstream result(folder + "/y", std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(result), {}), after);
  }
  ASSERT_EQ(std::system(("rm -r " + folder).c_str()), 0);
}

}  // namespace
}  // namespace ssmend
