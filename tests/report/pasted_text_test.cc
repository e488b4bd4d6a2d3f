#include "diagnose/pasted_text.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/text.h"
#include "diagnose/codes.h"

namespace ssmend {
namespace {

using Captures = std::vector<std::pair<std::string, std::string>>;

std::vector<std::vector<std::string>> real_texts() {
  std::ifstream file(std::string(SSMEND_SOURCE_DIR) + "/tests/report/real_texts.tsv");
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.front() != '#') rows.push_back(split(line, '\t'));
  }
  return rows;
}

TEST(PastedText, real_texts_of_issue_threads_are_recognised) {
  const std::vector<std::vector<std::string>> rows = real_texts();
  ASSERT_GE(rows.size(), 40U);
  for (const std::vector<std::string>& row : rows) {
    ASSERT_EQ(row.size(), 3U) << row.front();
    const std::vector<RecognisedText> found = recognise(row[2]);
    ASSERT_EQ(found.size(), 1U) << row[2];
    EXPECT_EQ(found[0].meaning->id, row[0]) << row[1] << ": " << row[2];
  }
}

TEST(PastedText, every_code_of_the_table_exists_and_every_row_helps) {
  std::set<std::string> ids;
  for (const TextMeaning& meaning : all_text_meanings()) {
    EXPECT_TRUE(ids.insert(meaning.id).second) << meaning.id;
    EXPECT_FALSE(meaning.patterns.empty()) << meaning.id;
    EXPECT_FALSE(meaning.can_be.empty() && meaning.cause.empty()) << meaning.id;
    for (const PossibleCause& cause : meaning.can_be) {
      EXPECT_NE(find_code(cause.code), nullptr) << meaning.id << ": " << cause.code;
      EXPECT_FALSE(cause.told.empty()) << meaning.id;
    }
  }
}

TEST(PastedText, ordinary_lines_mean_nothing) {
  EXPECT_TRUE(recognise("Traceback (most recent call last):\n"
                        "  File \"/x/mamba_ssm/__init__.py\", line 3, in <module>\n"
                        "    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn\n"
                        "Collecting mamba-ssm\n\nSuccessfully installed torch-2.6.0\n")
                  .empty());
}

TEST(PastedText, names_the_missing_library_and_counts_repeats) {
  const std::vector<RecognisedText> found = recognise(
      "first\r\nImportError: libfoo.so.3: cannot open shared object file\r\n"
      "ImportError: libfoo.so.3: cannot open shared object file\n"
      "ImportError: libbar.so: cannot open shared object file");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].line, 2);
  EXPECT_EQ(found[0].repeats, 2);
  EXPECT_EQ(found[0].captures, (Captures{{"library", "libfoo.so.3"}}));
  EXPECT_EQ(found[1].line, 4);
}

TEST(PastedText, placeholders_take_as_much_as_the_rest_allows) {
  Captures captures;
  EXPECT_TRUE(match_pattern("lib{rest}: gone", "x liba:b: gone", &captures));
  EXPECT_EQ(captures, (Captures{{"rest", "a:b"}}));
  EXPECT_TRUE(match_pattern("'{name:ab}'", "'a' 'abc'", &captures));
  EXPECT_EQ(captures, (Captures{{"name", "abc"}}));
  EXPECT_FALSE(match_pattern("lib{rest}: gone", "lib: gone", nullptr));
  EXPECT_FALSE(match_pattern("{name:ab}", "ac", nullptr));
  EXPECT_FALSE(match_pattern("text", "", nullptr));
}

TEST(PastedText, a_long_hostile_line_ends_soon) {
  std::string line(1 << 20, 'a');
  line += ": cannot open shared object file";
  EXPECT_TRUE(recognise(line).empty());  // cut before the text
  std::string short_line(1900, ':');
  short_line += ": cannot open shared object file";
  EXPECT_EQ(recognise(short_line).size(), 1U);
}

}  // namespace
}  // namespace ssmend
