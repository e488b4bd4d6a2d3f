#include "verify/inject.h"

#include <gtest/gtest.h>

namespace ssmend {
namespace {

using State = CheckOutcome::State;

const PlantedFault kFault = {"swapped", "B for C", "scan fwd", "/faults/swapped.pack"};
const PlantedFault kControl = {"control", "nothing is planted", "", ""};

std::string report_of(const std::string& checks) { return R"({"checks": [)" + checks + "]}"; }

constexpr const char* kConvOk = R"({"check": "conv1d fwd float32", "state": "ok"})";
constexpr const char* kScanOk = R"({"check": "scan fwd float32", "state": "ok"})";
constexpr const char* kScanWrong =
    R"({"check": "scan fwd float16", "state": "wrong", "part": "out", "index": [0, 3, 1]})";
constexpr const char* kConvWrong =
    R"({"check": "conv1d fwd float16", "state": "wrong", "part": "out", "index": [0]})";

TEST(JudgeFault, found_by_a_check_of_its_operation) {
  const CheckOutcome outcome =
      judge_fault(kFault, report_of(std::string(kConvOk) + "," + kScanOk + "," + kScanWrong), 1.5);
  EXPECT_EQ(outcome.state, State::kOk);
  EXPECT_EQ(outcome.name, "swapped");
  EXPECT_EQ(outcome.compared,
            "found by 1 of 2 checks of scan fwd; first scan fwd float16: out[0,3,1]");
  EXPECT_EQ(outcome.seconds, 1.5);
}

TEST(JudgeFault, all_ok_is_a_fault_not_found) {
  const CheckOutcome outcome = judge_fault(kFault, report_of(kScanOk), 1);
  EXPECT_EQ(outcome.state, State::kFailed);
  EXPECT_EQ(outcome.reason, "not found: B for C (1 of 1 checks of scan fwd ok)");
}

TEST(JudgeFault, another_operation_that_is_wrong_does_not_count) {
  const CheckOutcome outcome =
      judge_fault(kFault, report_of(std::string(kConvWrong) + "," + kScanOk), 1);
  EXPECT_EQ(outcome.state, State::kFailed);
  EXPECT_NE(outcome.reason.find("but wrong: conv1d fwd float16: out[0]"), std::string::npos);
}

TEST(JudgeFault, a_failed_check_counts_as_found) {
  const CheckOutcome outcome =
      judge_fault(kFault, report_of(R"({"check": "scan fwd float16", "state": "failed"})"), 1);
  EXPECT_EQ(outcome.state, State::kOk);
}

TEST(JudgeFault, the_control_must_be_right_throughout) {
  EXPECT_EQ(judge_fault(kControl, report_of(std::string(kConvOk) + "," + kScanOk), 1).state,
            State::kOk);
  EXPECT_EQ(judge_fault(kControl, report_of(std::string(kConvOk) + "," + kScanWrong), 1).state,
            State::kFailed);
  EXPECT_EQ(judge_fault(kControl, report_of(""), 1).state, State::kFailed);
}

TEST(JudgeFault, without_a_gpu_nothing_is_said) {
  const CheckOutcome outcome =
      judge_fault(kControl,
                  report_of(R"({"check": "kernel library", "state": "not-checked",)"
                            R"( "reason": "no driver", "gpu_is_missing": true})"),
                  1);
  EXPECT_EQ(outcome.state, State::kNotChecked);
  EXPECT_TRUE(outcome.gpu_is_missing);
}

TEST(JudgeFault, no_report_is_no_success) {
  EXPECT_EQ(judge_fault(kFault, "", 1).state, State::kFailed);
  EXPECT_EQ(judge_fault(kFault, "[]", 1).state, State::kFailed);
}

TEST(LoadFaults, a_row_without_its_pack_is_an_error) {
  const auto disk = open_system_disk();
  const auto faults = load_faults(*disk, std::string(SSMEND_SOURCE_DIR) + "/tests/inject");
  ASSERT_FALSE(faults.ok());
  EXPECT_NE(format_error(faults.error()).find("dropped-activation.pack: is not there"),
            std::string::npos);
}

}  // namespace
}  // namespace ssmend
