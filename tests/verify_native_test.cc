// The native check's judgement and its report, without a GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "report/verification.h"
#include "ssm_kernels.h"
#include "verify/native_check.h"

namespace ssmend {
namespace {

using State = CheckOutcome::State;

CheckOutcome fresh() {
  CheckOutcome outcome;
  outcome.component = "native";
  outcome.name = "scan fwd float16 2x64x151 n16";
  outcome.case_text = "float16 2x64x151 n16";
  outcome.state = State::kOk;
  return outcome;
}

TEST(NativeComparison, error_and_limit_are_of_one_element) {
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  // The larger error lies at the larger value, where it is the smaller part of its limit.
  comparison.compare("out", {100.5, 1.09}, {100, 1}, {2}, 0.1, 0);
  EXPECT_EQ(outcome.state, State::kOk);
  EXPECT_NEAR(*outcome.error, 0.09, 1e-12);
  EXPECT_NEAR(*outcome.limit, 0.1, 1e-12);
}

TEST(NativeComparison, the_first_bad_element_has_its_place) {
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  comparison.compare("out", {1, 2, 3, 4, 5, 7}, {1, 2, 3, 4, 5, 6}, {2, 3}, 0, 0.5);
  EXPECT_EQ(outcome.state, State::kWrong);
  EXPECT_EQ(outcome.part, "out");
  EXPECT_EQ(outcome.index, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(outcome.found, "7");
  EXPECT_EQ(outcome.expected, "6");
  EXPECT_EQ(outcome.bad_elements, 1u);
  EXPECT_EQ(outcome.all_elements, 6u);
  EXPECT_FALSE(comparison.right_so_far());
}

TEST(NativeComparison, a_nan_is_wrong_and_no_number) {
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  comparison.compare("out", {NAN, 1}, {0, 1}, {2}, 1, 1);
  comparison.compare("x", {1.2}, {1}, {1}, 1, 1);
  EXPECT_EQ(outcome.state, State::kWrong);
  EXPECT_FALSE(outcome.error.has_value());
  EXPECT_EQ(outcome.found, "nan");
  EXPECT_EQ(outcome.wrong_parts, (std::vector<std::string>{"out"}));
}

TEST(NativeComparison, exact_parts_allow_nothing) {
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  comparison.compare("state", {1, 2}, {1, 2}, {2}, 0, 0);
  EXPECT_EQ(outcome.state, State::kOk);
  comparison.compare("state", {1, 2}, {1, std::nextafter(2.0, 3.0)}, {2}, 0, 0);
  EXPECT_EQ(outcome.state, State::kWrong);
}

TEST(NativeComparison, a_later_run_says_which) {
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  comparison.compare("out", {1}, {1}, {1}, 0, 0.1);
  comparison.begin_run(3);
  comparison.compare("out", {2}, {1}, {1}, 0, 0.1);
  EXPECT_EQ(outcome.part, "out (run 3 of the same input)");
}

TEST(NativeCases, every_operation_and_type_has_some_and_none_has_another_name) {
  for (const std::string& operation : native_operations()) {
    for (const char* dtype : {"float32", "float16", "bfloat16"}) {
      int count = 0;
      for (const NativeCase& one : native_cases()) {
        count += one.name == operation && one.case_text.rfind(dtype, 0) == 0;
      }
      EXPECT_GE(count, 2) << operation << " " << dtype;
    }
  }
}

NativeGpu gpu() {
  NativeGpu gpu;
  gpu.images = {{"conv1d_forward", "sm_90 image", true, false, {"compute_87"}},
                {"scan_rows", "sm_90 image", true, false, {"compute_87"}},
                {"scan_split", "sm_90 image", true, false, {"compute_87", "sm_80"}},
                {"scan_update", "sm_90 image", true, true, {}}};
  return gpu;
}

TEST(NativeRemedies, other_images_of_the_operation_each_once) {
  const std::vector<std::string> remedies = native_remedies(gpu(), "scan fwd");
  ASSERT_EQ(remedies.size(), 3u);
  EXPECT_EQ(remedies[0],
            "`SSM_KERNELS_IMAGE=compute_87 ssmend verify --native --operation \"scan fwd\"` tries "
            "another image; where that one is right, the variable serves the packages too");
  EXPECT_NE(remedies[1].find("SSM_KERNELS_IMAGE=sm_80"), std::string::npos);
  EXPECT_EQ(remedies[2], "`ssmend undo` takes back an installed kernel library");
}

TEST(NativeRemedies, an_image_made_here_is_the_first_suspect) {
  const std::vector<std::string> remedies = native_remedies(gpu(), "scan update");
  ASSERT_EQ(remedies.size(), 3u);
  EXPECT_NE(remedies[0].find("move local_images.pack"), std::string::npos);
  EXPECT_EQ(remedies[1], "this library has no other image that this GPU runs");
}

Verification wrong_one() {
  Verification verification;
  CheckOutcome outcome = fresh();
  NativeComparison comparison(&outcome);
  comparison.compare("out", {1, NAN}, {1, -0.2148}, {1, 2}, 0, 0.1);
  outcome.remedies = {"`ssmend undo` takes back an installed kernel library"};
  verification.outcomes.push_back(std::move(outcome));
  CheckOutcome skipped;
  skipped.component = "torch";
  skipped.name = "torch and the GPU";
  skipped.state = State::kNotChecked;
  skipped.reason = "torch sees no GPU";
  verification.outcomes.push_back(std::move(skipped));
  return verification;
}

TEST(RenderVerification, a_wrong_result_leads_somewhere) {
  EXPECT_EQ(render_verification(wrong_one(), TextStyle{}),
            "error[wrong-result]: scan fwd float16 2x64x151 n16 gives wrong numbers\n"
            "   = case:     float16 2x64x151 n16\n"
            "   = compared: out\n"
            "   = found:    1 of 2 elements are off; first nan at [0, 1], reference -0.2148\n"
            "   = error:    not a finite number\n"
            "help: `ssmend undo` takes back an installed kernel library\n"
            "more: `ssmend explain wrong-result`\n"
            "-     torch and the GPU                             not checked: torch sees no GPU\n"
            "Verified 1 check in 0.0 s: 1 wrong, 1 not checked\n");
}

TEST(RenderVerification, many_wrong_cases_of_one_operation_are_capped) {
  Verification verification = wrong_one();
  const CheckOutcome wrong = verification.outcomes.front();
  for (const char* other : {"a", "b", "c", "d"}) {
    CheckOutcome outcome = wrong;
    outcome.case_text = other;
    outcome.name = std::string("scan fwd ") + other;
    verification.outcomes.push_back(outcome);
  }
  CheckOutcome another = wrong;
  another.case_text = "e";
  another.name = "scan bwd e";
  verification.outcomes.push_back(another);
  const std::string text = render_verification(verification, TextStyle{});
  EXPECT_NE(text.find("scan fwd b gives wrong numbers\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("scan fwd c gives wrong numbers\n"), std::string::npos) << text;
  EXPECT_NE(text.find("scan bwd e gives wrong numbers\n"), std::string::npos) << text;
  EXPECT_NE(
      text.find(
          "error[wrong-result]: 2 checks of the kernel library are wrong too (--json has all of "
          "each)\n   = checks:   scan fwd c; scan fwd d\n"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("6 wrong"), std::string::npos) << text;
}

TEST(RenderVerification, junit_counts_and_escapes) {
  const std::string xml = render_verification_junit(wrong_one());
  EXPECT_NE(xml.find("<testsuite name=\"native\" tests=\"1\" failures=\"1\" skipped=\"0\">"),
            std::string::npos);
  EXPECT_NE(xml.find("<testsuite name=\"torch\" tests=\"1\" failures=\"0\" skipped=\"1\">"),
            std::string::npos);
  EXPECT_NE(xml.find("<failure type=\"wrong-result\">error[wrong-result]: scan fwd"),
            std::string::npos);
  EXPECT_NE(xml.find("<skipped message=\"torch sees no GPU\"/>"), std::string::npos);
}

}  // namespace
}  // namespace ssmend
