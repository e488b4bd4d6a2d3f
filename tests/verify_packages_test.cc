#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "verify/packages.h"

namespace ssmend {
namespace {

using State = CheckOutcome::State;

constexpr const char* kGood =
    R"({"step": "start"}
{"step": "conv"}
{"check": "conv", "state": "ok", "compared": "x: output", "seconds": 0.5, "error": 1e-7, "limit": 1e-6}
)";

ProcessResult ended(std::string output) {
  ProcessResult result;
  result.exit_code = 0;
  result.standard_output = std::move(output);
  return result;
}

TEST(ReadCheckOutput, one_line_one_outcome) {
  const auto outcomes = read_check_output("causal_conv1d", ended(kGood));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].component, "causal_conv1d");
  EXPECT_EQ(outcomes[0].name, "conv");
  EXPECT_EQ(outcomes[0].state, State::kOk);
  EXPECT_EQ(outcomes[0].error, 1e-7);
  EXPECT_EQ(outcomes[0].limit, 1e-6);
  EXPECT_EQ(outcomes[0].seconds, 0.5);
}

TEST(ReadCheckOutput, wrong_numbers_keep_their_place) {
  const auto outcomes = read_check_output(
      "mamba", ended(R"({"check": "Mamba", "state": "wrong", "error": null, "limit": 1e-3,)"
                     R"( "case": "float16", "part": "d xz", "index": [1, 17, 371], "found": "nan",)"
                     R"( "expected": "-0.2148", "bad": 3, "of": 47616, "wrong_parts": ["d xz"]})"
                     "\n"));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kWrong);
  EXPECT_FALSE(outcomes[0].error.has_value());  // a NaN is no number
  EXPECT_EQ(outcomes[0].index, (std::vector<int64_t>{1, 17, 371}));
  EXPECT_EQ(outcomes[0].found, "nan");
  EXPECT_EQ(outcomes[0].bad_elements, 3u);
  EXPECT_EQ(outcomes[0].all_elements, 47616u);
}

TEST(ReadCheckOutput, a_crash_names_the_last_step) {
  ProcessResult result;
  result.signal = 11;
  result.standard_output = std::string(kGood) + R"({"step": "scan"})" + "\n{\"check\": \"sc";
  const auto outcomes = read_check_output("mamba", result);
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].state, State::kOk);
  EXPECT_EQ(outcomes[1].state, State::kFailed);
  EXPECT_EQ(outcomes[1].name, "scan");
  EXPECT_EQ(outcomes[1].reason, "killed by signal 11 (Segmentation fault) during this step");
}

TEST(ReadCheckOutput, a_crash_in_python_code_has_its_place) {
  ProcessResult result;
  result.standard_output = "{\"step\": \"import x\"}\n";
  result.signal = 11;
  result.standard_error =
      "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
      "  File \"/s/x.py\", line 12 in <module>\n  File \"/s/y.py\", line 3 in f\n";
  const std::vector<CheckOutcome> outcomes = read_check_output("imports", result);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_NE(outcomes[0].reason.find(", in /s/x.py:12) during this step"), std::string::npos)
      << outcomes[0].reason;
}

TEST(ReadCheckOutput, a_timeout_is_a_failure) {
  ProcessResult result;
  result.timed_out = true;
  result.signal = 9;
  result.seconds = 20;
  result.standard_output = R"({"step": "Mamba2"})"
                           "\n";
  const auto outcomes = read_check_output("mamba2", result);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].reason, "no answer within 20 s during this step");
}

TEST(ReadCheckOutput, an_exit_code_brings_the_last_error_line) {
  ProcessResult result;
  result.exit_code = 1;
  result.standard_error = "Traceback\n  ...\nSyntaxError: invalid syntax\n\n";
  const auto outcomes = read_check_output("torch", result);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].name, "torch");
  EXPECT_EQ(outcomes[0].reason, "exit 1: SyntaxError: invalid syntax before the first step");
}

TEST(ReadCheckOutput, silence_is_no_success) {
  const auto outcomes = read_check_output("torch", ended(""));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kFailed);
}

TEST(ReadCheckOutput, hostile_lines_are_no_results) {
  const auto outcomes = read_check_output(
      "torch", ended("[1]\nnull\n\"check\"\n{\"check\": 7, \"state\": [], \"error\": \"1\"}\n"
                     "{\"step\": {}}\n\xff\xfe\n"));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kFailed);
  EXPECT_FALSE(outcomes[0].error.has_value());
}

// A process that answers from memory and keeps what it was asked.
class ToldProcess : public Process {
 public:
  Result<ProcessResult> run(const ProcessRequest& request) override {
    requests.push_back(request);
    return answer;
  }
  std::vector<ProcessRequest> requests;
  ProcessResult answer = ended(kGood);
};

TEST(CheckPackages, what_is_not_installed_is_not_checked_and_not_run) {
  ToldProcess process;
  const auto disk = open_system_disk();
  Environment environment;
  environment.python.executable = "/venv/bin/python";
  CheckScript script;
  script.component = "mamba";
  script.file = "/checks/mamba.py";
  script.modules = {"no_such_module_anywhere"};
  const auto outcomes = check_packages(process, *disk, environment, {script}, {});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kNotChecked);
  EXPECT_EQ(outcomes[0].reason, "no_such_module_anywhere is not installed");
  EXPECT_TRUE(process.requests.empty());
}

TEST(CheckPackages, without_an_interpreter_nothing_is_checked) {
  ToldProcess process;
  const auto disk = open_system_disk();
  CheckScript script;
  script.component = "torch";
  script.file = "/checks/torch.py";
  const auto outcomes = check_packages(process, *disk, Environment{}, {script}, {});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kNotChecked);
  EXPECT_EQ(outcomes[0].reason, "the environment has no interpreter to run");
}

TEST(CheckPackages, the_interpreter_writes_no_bytecode_and_gets_its_arguments) {
  ToldProcess process;
  const auto disk = open_system_disk();
  Environment environment;
  environment.python.executable = "/venv/bin/python";
  CheckScript script;
  script.component = "ss2d";
  script.file = "/checks/ss2d.py";
  script.arguments = {"one"};
  script.checkout = "yolo";
  script.timeout_seconds = 12;
  PackageCheckRequest request;
  request.checkouts["yolo"] = "/yolo";
  request.components = {"ss2d"};
  const auto outcomes = check_packages(process, *disk, environment, {script}, request);
  ASSERT_EQ(process.requests.size(), 1u);
  EXPECT_EQ(process.requests[0].argv,
            (std::vector<std::string>{"/venv/bin/python", "-B", "-X", "faulthandler",
                                      "/checks/ss2d.py", "one", "/yolo"}));
  EXPECT_EQ(process.requests[0].timeout_seconds, 12);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kOk);
}

CheckScript script_for(const std::string& component, bool needs_gpu) {
  CheckScript script;
  script.component = component;
  script.file = "/checks/" + component + ".py";
  script.needs_gpu = needs_gpu;
  return script;
}

TEST(CheckPackages, where_torch_sees_no_gpu_nothing_that_needs_one_is_started) {
  ToldProcess process;
  process.answer = ended(
      R"({"check": "torch and the GPU", "state": "not-checked", "reason": "torch sees no GPU",)"
      R"( "gpu_is_missing": true})"
      "\n");
  const auto disk = open_system_disk();
  Environment environment;
  environment.python.executable = "/venv/bin/python";
  const std::vector<CheckScript> scripts = {script_for("mamba", true), script_for("torch", false)};
  const auto outcomes = check_packages(process, *disk, environment, scripts, {});
  ASSERT_EQ(process.requests.size(), 1u);
  EXPECT_EQ(process.requests[0].argv.back(), "/checks/torch.py");
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].component, "mamba");
  EXPECT_EQ(outcomes[0].state, State::kNotChecked);
  EXPECT_EQ(outcomes[0].reason, "torch sees no GPU");
  EXPECT_TRUE(outcomes[0].gpu_is_missing);

  PackageCheckRequest alone;
  alone.components = {"mamba"};
  check_packages(process, *disk, environment, scripts, alone);
  ASSERT_EQ(process.requests.size(), 2u);
  EXPECT_EQ(process.requests[1].argv.back(), "/checks/mamba.py");
}

// Answers only once as many as `together` are being run.
class MeetingProcess : public Process {
 public:
  Result<ProcessResult> run(const ProcessRequest& request) override {
    std::unique_lock<std::mutex> lock(mutex);
    most = std::max(most, ++running);
    changed.notify_all();
    changed.wait_for(lock, std::chrono::seconds(10), [&] { return most >= together; });
    --running;
    return ended(R"({"check": ")" + request.argv.back() + R"(", "state": "ok"})" + "\n");
  }
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0, most = 0, together = 2;
};

TEST(CheckPackages, scripts_run_side_by_side_and_are_told_in_the_order_of_the_table) {
  MeetingProcess process;
  const auto disk = open_system_disk();
  Environment environment;
  environment.python.executable = "/venv/bin/python";
  PackageCheckRequest request;
  request.at_a_time = 2;
  std::vector<CheckScript> scripts;
  for (const char* name : {"a", "b", "c", "d"}) scripts.push_back(script_for(name, *name < 'c'));
  const auto outcomes = check_packages(process, *disk, environment, scripts, request);
  EXPECT_EQ(process.most, 2);
  ASSERT_EQ(outcomes.size(), 4u);
  for (size_t i = 0; i < outcomes.size(); ++i) EXPECT_EQ(outcomes[i].name, scripts[i].file);
}

TEST(CheckPackages, an_interpreter_that_cannot_start_is_a_failure) {
  const auto process = open_system_process();
  const auto disk = open_system_disk();
  Environment environment;
  environment.python.executable = "/nonexistent/python";
  CheckScript script;
  script.component = "torch";
  script.file = "/checks/torch.py";
  const auto outcomes = check_packages(*process, *disk, environment, {script}, {});
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].state, State::kFailed);
}

TEST(LoadCheckScripts, the_table_of_this_repository) {
  const auto disk = open_system_disk();
  const auto scripts =
      load_check_scripts(*disk, std::string(SSMEND_SOURCE_DIR) + "/recipes/checks");
  ASSERT_TRUE(scripts.ok()) << format_error(scripts.error());
  EXPECT_EQ(component_names(*scripts),
            (std::vector<std::string>{"torch", "imports", "causal_conv1d", "selective_scan",
                                      "mamba", "mamba2", "ss2d", "vmamba"}));
  for (const CheckScript& script : *scripts) EXPECT_TRUE(disk->exists(script.file)) << script.file;
}

}  // namespace
}  // namespace ssmend
