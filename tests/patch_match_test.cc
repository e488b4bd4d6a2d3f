// What a name means is decided by import and scope; what a call is, by the syntax tree.
#include "patch_fixture.h"

namespace ssmend {
namespace {

const char kGuard[] =
    "try:\n"
    "    from causal_conv1d import causal_conv1d_fn\n"
    "    import causal_conv1d_cuda\n"
    "except ImportError:\n"
    "    causal_conv1d_fn = None\n"
    "    causal_conv1d_cuda = None\n";

std::string with_guard(const std::string& rest) { return kGuard + rest; }

TEST(PatchMatch, forward_call_of_seven_becomes_keywords_with_the_native_fallback) {
  FilePatch patch = patch_text(
      with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, None, None, None, True)\n"),
      "F");
  EXPECT_EQ(state_of(patch), "applied");
  EXPECT_EQ(line_with(patch.after, "y = "),
            "y = (causal_conv1d_fn(x, w, b, activation=\"silu\") if causal_conv1d_fn is not None "
            "else causal_conv1d_fwd_function(x, w, b, None, None, None, True))");
}

TEST(PatchMatch, activation_flag_may_be_false_or_an_expression) {
  FilePatch patch = patch_text(
      with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, None, False)\n"
                 "z = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, s, a in [\"silu\"])\n"),
      "F");
  EXPECT_EQ(line_with(patch.after, "y = ").substr(0, 46),
            "y = (causal_conv1d_fn(x, w, b, activation=None");
  EXPECT_EQ(line_with(patch.after, "z = "),
            "z = (causal_conv1d_fn(x, w, b, seq_idx=s, activation=\"silu\" if a in [\"silu\"] else "
            "None) if causal_conv1d_fn is not None else causal_conv1d_fwd_function(x, w, b, s, "
            "None, None, a in [\"silu\"]))");
}

TEST(PatchMatch, backward_call_keeps_dx_and_the_number_of_gradients) {
  FilePatch patch = patch_text(
      with_guard("a, b, c = causal_conv1d_cuda.causal_conv1d_bwd(x, w, b, g, dx, True)\n"
                 "d, e, f, *_ = causal_conv1d_cuda.causal_conv1d_bwd(x, w, b, g, None, None, None, "
                 "dx, False, True)\n"
                 "h = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"),
      "F");
  EXPECT_EQ(line_with(patch.after, "a, b, c"),
            "a, b, c = causal_conv1d_bwd_function(x, w, b, g, None, None, None, dx, False, "
            "True)[:3]");
  EXPECT_EQ(line_with(patch.after, "d, e, f"),
            "d, e, f, *_ = causal_conv1d_bwd_function(x, w, b, g, None, None, None, dx, False, "
            "True)");
}

TEST(PatchMatch, aliases_are_followed) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda as native\n"
      "from causal_conv1d import causal_conv1d_fn as conv\n"
      "short = native\n"
      "y = short.causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  EXPECT_EQ(state_of(patch), "applied");
  EXPECT_EQ(line_with(patch.after, "y = "),
            "y = (conv(x, w, b, activation=\"silu\") if conv is not None else "
            "causal_conv1d_fwd_function(x, w, b, None, None, None, True))");
}

TEST(PatchMatch, function_imported_by_name_is_the_same_function) {
  FilePatch patch = patch_text(
      "from causal_conv1d_cuda import causal_conv1d_fwd\n"
      "y = causal_conv1d_fwd(x, w, b, True)\n",
      "C");
  EXPECT_EQ(state_of(patch), "applied");
}

TEST(PatchMatch, other_modules_function_of_the_same_name_stays) {
  const std::string text =
      "from mine import causal_conv1d_cuda\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"
      "def causal_conv1d_fn(x, w, b, act): return x\n"
      "z = causal_conv1d_fn(x, w, b, \"silu\")\n";
  FilePatch patch = patch_text(text, "F");
  EXPECT_EQ(state_of(patch), "not-needed: no rule");
  EXPECT_EQ(patch.after, "");
}

TEST(PatchMatch, local_name_hides_the_import) {
  FilePatch patch = patch_text(
      "import causal_conv1d_cuda\n"
      "def f(causal_conv1d_cuda):\n"
      "    return causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "F");
  EXPECT_EQ(state_of(patch), "not-needed: no rule");
}

TEST(PatchMatch, comments_and_strings_are_no_calls) {
  FilePatch patch =
      patch_text(with_guard("# causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"
                            "s = 'causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)'\n"),
                 "F");
  EXPECT_EQ(state_of(patch), "not-needed: ssm_kernels/__init__.py could not be looked for");
  EXPECT_EQ(patch.after, "");
}

TEST(PatchMatch, calls_of_the_installed_contract_are_not_touched) {
  FilePatch patch = patch_text(
      with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, None, None, None, True)\n"),
      "D");
  EXPECT_EQ(state_of(patch), "not-needed: the calls are right for the installed binary");
  EXPECT_EQ(patch.after, "");
}

TEST(PatchMatch, unknown_function_is_refused_with_its_line) {
  FilePatch patch =
      patch_text(with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"
                            "z = causal_conv1d_cuda.causal_conv1d_fwd_cond(x, w, b, True, s)\n"),
                 "F");
  EXPECT_EQ(state_of(patch),
            "refused: line 8: causal_conv1d_cuda.causal_conv1d_fwd_cond with 5 arguments: unknown "
            "function or number of arguments of causal_conv1d_cuda; this file may belong to an "
            "extension of its own");
  EXPECT_EQ(patch.after, "");
}

TEST(PatchMatch, starred_arguments_are_refused) {
  FilePatch patch =
      patch_text(with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(*args)\n"), "F");
  EXPECT_EQ(patch.state, PatchState::kRefused);
}

TEST(PatchMatch, unknown_contract_is_refused_and_says_so) {
  FilePatch patch =
      patch_text(with_guard("y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"), "none");
  EXPECT_EQ(state_of(patch),
            "refused: causal_conv1d_cuda is not installed, its contract is not known");
}

TEST(PatchMatch, file_patched_in_part_by_hand_is_left_alone) {
  FilePatch forward_done = patch_text(
      with_guard("y = causal_conv1d_fn(x, w, b, activation='silu')\n"
                 "a, b, c, *_ = causal_conv1d_cuda.causal_conv1d_bwd(x, w, b, g, None, None, None, "
                 "dx, False, True)\n"),
      "F");
  EXPECT_EQ(forward_done.state, PatchState::kPartlyByHand);
  FilePatch own_function = patch_text(
      "try:\n"
      "    from causal_conv1d import causal_conv1d_fn\n"
      "    import causal_conv1d_cuda\n"
      "except ImportError:\n"
      "    def causal_conv1d_fn(x, w, b, act): return x\n"
      "    causal_conv1d_cuda = None\n"
      "y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n",
      "F");
  EXPECT_EQ(state_of(own_function),
            "partly-applied-by-hand: line 5: causal_conv1d_fn is also given a value of this file's "
            "own: somebody has changed it by hand");
}

TEST(PatchMatch, second_run_changes_nothing_in_any_contract) {
  for (const char* contract : {"A", "B", "C", "D", "E", "F"}) {
    FilePatch first = patch_text(
        with_guard("def f(ctx):\n"
                   "    assert causal_conv1d_cuda is not None, 'install it'\n"
                   "    y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, s, None, None, True)\n"
                   "    y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, s, True)\n"
                   "    y = causal_conv1d_cuda.causal_conv1d_fwd(x, w, b, True)\n"
                   "    a, b, c = causal_conv1d_cuda.causal_conv1d_bwd(x, w, b, g, s, dx, True)\n"),
        contract);
    ASSERT_EQ(state_of(first), "applied") << contract;
    FilePatch second = patch_text(first.after, contract);
    EXPECT_EQ(state_of(second), "already-applied") << contract;
    EXPECT_EQ(second.after, "");
  }
}

TEST(PatchMatch, positional_activation_becomes_a_keyword_where_seq_idx_stands_fourth) {
  const std::string text =
      "from causal_conv1d import causal_conv1d_fn\n"
      "y = causal_conv1d_fn(x, w, b, \"silu\")\n"
      "z = causal_conv1d_fn(x, w, None, None, None, None, 'silu')\n"
      "s = causal_conv1d_fn(x, w, b, seq_idx)\n";
  FilePatch patch = patch_text(text, "F");
  EXPECT_EQ(line_with(patch.after, "y = "), "y = causal_conv1d_fn(x, w, b, activation=\"silu\")");
  EXPECT_EQ(line_with(patch.after, "z = "),
            "z = causal_conv1d_fn(x, w, None, seq_idx=None, activation='silu')");
  EXPECT_EQ(line_with(patch.after, "s = "), "s = causal_conv1d_fn(x, w, b, seq_idx)");
  EXPECT_EQ(state_of(patch_text("from causal_conv1d import causal_conv1d_fn\n"
                                "y = causal_conv1d_fn(x, w, b, \"silu\")\n",
                                "A")),
            "not-needed: the calls are right for the installed binary");
}

}  // namespace
}  // namespace ssmend
