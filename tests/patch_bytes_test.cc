// Bytes that a patch has no business with stay as they are: comments, layout, line ends, a byte
// order mark, encodings, a missing final line break.
#include "base/text.h"
#include "patch/syntax.h"
#include "patch_fixture.h"

namespace ssmend {
namespace {

TEST(PatchBytes, comments_and_layout_inside_a_call_stay) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(\n"
      "    x,  # the input\n"
      "    w, b,\n"
      "    None,  # no sequences\n"
      "    None, None,\n"
      "    True,  # silu\n"
      ")  # end\n"
      "z = 1\n",
      "F");
  ASSERT_EQ(state_of(patch), "applied");
  size_t start = patch.after.find("y = ");
  EXPECT_EQ(patch.after.substr(start),
            "y = (causal_conv1d_fn(\n"
            "    x,  # the input\n"
            "    w, b,\n"
            "    activation=\"silu\"  # silu\n"
            ") if causal_conv1d_fn is not None else causal_conv1d_fwd_function(x, w, b,\n"
            "    None,  # no sequences\n"
            "    None, None, True))  # end\n"
            "z = 1\n");
}

TEST(PatchBytes, crlf_stays_and_new_lines_have_it) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\r\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\r\n",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_EQ(replace_all(patch.after, "\r\n", "").find_first_of("\r\n"), std::string::npos);
}

TEST(PatchBytes, missing_final_line_break_stays_missing) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_TRUE(patch.after.ends_with("True))"));
  FilePatch import_last = patch_text("y = 1\nimport causal_conv1d_cuda", "C");
  EXPECT_EQ(state_of(import_last), "not-needed: no rule");
}

TEST(PatchBytes, byte_order_mark_stays) {
  FilePatch patch = patch_text(
      "\xef\xbb\xbfimport causal_conv1d_cuda\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_TRUE(patch.after.starts_with("\xef\xbb\xbftry:\n    import causal_conv1d_cuda\n"));
}

TEST(PatchBytes, latin1_and_utf8_text_stays) {
  FilePatch latin = patch_text(
      "# -*- coding: latin-1 -*-\n"
      "import causal_conv1d_cuda\n"
      "name = 'M\xfcller'  # gr\xfc\xdf\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  ASSERT_EQ(state_of(latin), "applied");
  EXPECT_NE(latin.after.find("name = 'M\xfcller'  # gr\xfc\xdf\n"), std::string::npos);
  FilePatch chinese = patch_text(
      "import causal_conv1d_cuda\n"
      "\xe5\x8d\xb7\xe7\xa7\xaf = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)  # "
      "\xe5\x8d\xb7\n",
      "C");
  ASSERT_EQ(state_of(chinese), "applied");
  EXPECT_NE(chinese.after.find("\n\xe5\x8d\xb7\xe7\xa7\xaf = (causal_conv1d_fn(x, w, b, "),
            std::string::npos);
}

TEST(PatchBytes, carriage_returns_alone_are_line_ends) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\r"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\r",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_EQ(patch.after.find('\n'), std::string::npos);
}

TEST(PatchBytes, file_that_does_not_parse_fails_with_its_line) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\n"
      "def f(:\n"
      "    pass\n",
      "F");
  EXPECT_EQ(state_of(patch), "failed: line 2 is not understood as Python");
}

TEST(PatchBytes, utf16_is_refused_and_not_guessed) {
  std::string text = "\xff\xfe";
  for (char byte : std::string("import causal_conv1d_cuda\n")) text += std::string(1, byte) + '\0';
  Result<SyntaxTree> tree = parse_python(text);
  ASSERT_FALSE(tree.ok());
  EXPECT_EQ(tree.error().message, "source holds NUL bytes: UTF-16, or no Python source");
}

TEST(PatchBytes, guard_is_split_and_keeps_its_comments) {
  FilePatch patch = patch_text(
      "try:\n"
      "    # fast path\n"
      "    from causal_conv1d import causal_conv1d_fn  # wrapper\n"
      "    import causal_conv1d_cuda\n"
      "except ImportError:\n"
      "    # slow path\n"
      "    causal_conv1d_fn, causal_conv1d_cuda = None, None\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "A");
  EXPECT_EQ(state_of(patch), "not-needed: the calls are right for the installed binary");
  patch = patch_text(
      "try:\n"
      "    # fast path\n"
      "    from causal_conv1d import causal_conv1d_fn  # wrapper\n"
      "    import causal_conv1d_cuda\n"
      "except ImportError:\n"
      "    # slow path\n"
      "    causal_conv1d_fn, causal_conv1d_cuda = None, None\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_EQ(patch.after.substr(0, patch.after.find("try:\n    from causal_conv1d.cpp")),
            "try:\n"
            "    # fast path\n"
            "    from causal_conv1d import causal_conv1d_fn  # wrapper\n"
            "except (ImportError, AttributeError, TypeError):\n"
            "    causal_conv1d_fn = None\n"
            "try:\n"
            "    import causal_conv1d_cuda\n"
            "except ImportError:\n"
            "    # slow path\n"
            "    causal_conv1d_cuda = None\n");
}

TEST(PatchBytes, guard_that_does_more_is_not_taken_apart) {
  FilePatch patch = patch_text(
      "try:\n"
      "    import causal_conv1d_cuda\n"
      "    from causal_conv1d import causal_conv1d_fn\n"
      "except ImportError:\n"
      "    print('slow')\n"
      "    causal_conv1d_fn = causal_conv1d_cuda = None\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  ASSERT_EQ(state_of(patch), "applied");
  EXPECT_TRUE(patch.after.starts_with("try:\n    import causal_conv1d_cuda\n    from causal"));
  EXPECT_NE(patch.after.find("    print('slow')\n"), std::string::npos);
}

}  // namespace
}  // namespace ssmend
