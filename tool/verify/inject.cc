#include "verify/inject.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/process.h"
#include "base/text.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using State = CheckOutcome::State;

constexpr double kTimeoutSeconds = 180;

std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

CheckOutcome outcome_of(const PlantedFault& fault, State state) {
  CheckOutcome outcome;
  outcome.component = "inject";
  outcome.name = fault.name;
  outcome.case_text = fault.what;
  outcome.state = state;
  return outcome;
}

CheckOutcome failed(const PlantedFault& fault, std::string reason) {
  CheckOutcome outcome = outcome_of(fault, State::kFailed);
  outcome.reason = std::move(reason);
  return outcome;
}

CheckOutcome run_one(const std::string& program, const std::string& library,
                     const PlantedFault& fault) {
  std::string folder = (fs::temp_directory_path() / "ssmend-inject-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return failed(fault, folder + ": cannot be made");
  const std::string copy = path_join(folder, "libssm_kernels.so");
  std::error_code error;
  fs::copy_file(library, copy, error);
  if (!error && !fault.pack.empty()) {
    fs::copy_file(fault.pack, path_join(folder, "local_images.pack"), error);
  }
  CheckOutcome outcome = failed(fault, folder + ": " + error.message());
  if (!error) {
    ProcessRequest request;
    request.argv = {program, "verify", "--native", "--library", copy, "--json"};
    if (!fault.operation.empty()) {
      request.argv.insert(request.argv.end(), {"--operation", fault.operation});
    }
    request.unset_environment = {"SSM_KERNELS_IMAGE"};
    request.timeout_seconds = kTimeoutSeconds;
    const Result<ProcessResult> result = open_system_process()->run(request);
    outcome = result.ok() ? judge_fault(fault, result->standard_output, result->seconds)
                          : failed(fault, format_error(result.error()));
  }
  fs::remove_all(folder, error);
  return outcome;
}

}  // namespace

Result<std::vector<PlantedFault>> load_faults(const Disk& disk, const std::string& directory) {
  const std::string path = path_join(directory, "faults.json");
  const Result<std::string> content = disk.read(path);
  if (!content.ok()) return Error(content.error()).with_context("the planted faults are missing");
  const Json json = Json::parse(*content, nullptr, false);
  if (!json.is_object() || text_of(json, "schema") != "ssmend/faults/1" ||
      !json.contains("faults") || !json["faults"].is_array()) {
    return Error(path + ": is no ssmend/faults/1 document");
  }
  std::vector<PlantedFault> faults;
  for (const Json& row : json["faults"]) {
    PlantedFault fault;
    fault.name = text_of(row, "name");
    fault.what = text_of(row, "what");
    fault.operation = text_of(row, "operation");
    fault.pack = path_join(directory, fault.name + ".pack");
    if (!disk.exists(fault.pack)) return Error(fault.pack + ": is not there");
    faults.push_back(std::move(fault));
  }
  return faults;
}

CheckOutcome judge_fault(const PlantedFault& fault, const std::string& json, double seconds) {
  const Json report = Json::parse(json, nullptr, false);
  if (!report.is_object() || !report.contains("checks") || !report["checks"].is_array()) {
    return failed(fault, "the check of this library gave no report");
  }
  struct Count {
    size_t wrong = 0, all = 0;
  };
  std::map<std::string, Count> counts;
  std::string first;
  std::string elsewhere;
  for (const Json& check : report["checks"]) {
    const std::string name = text_of(check, "check");
    const std::string state = text_of(check, "state");
    if (state == "not-checked") {
      CheckOutcome outcome = outcome_of(fault, State::kNotChecked);
      outcome.reason = text_of(check, "reason");
      outcome.gpu_is_missing = check.value("gpu_is_missing", false);
      return outcome;
    }
    const bool own = !fault.operation.empty() && name.rfind(fault.operation + " ", 0) == 0;
    Count& count = counts[own ? fault.operation : "others"];
    ++count.all;
    if (state == "ok") continue;
    ++count.wrong;
    std::string& place = own ? first : elsewhere;
    if (place.empty()) {
      const std::string element = check.contains("index") ? check["index"].dump() : "";
      place =
          fmt::format("{}: {}{}", name, state == "wrong" ? text_of(check, "part") : state, element);
    }
  }
  const Count own = counts[fault.operation];
  const Count others = counts["others"];
  if (fault.pack.empty()) {
    if (others.all == 0) return failed(fault, "the library as it is: nothing was checked");
    if (others.wrong != 0) {
      return failed(fault, "the library as it is: wrong already, " + elsewhere);
    }
    CheckOutcome outcome = outcome_of(fault, State::kOk);
    outcome.compared = fmt::format("all {} checks ok with nothing planted", others.all);
    outcome.seconds = seconds;
    return outcome;
  }
  if (own.wrong == 0) {
    return failed(fault, fmt::format("not found: {} ({} of {} checks of {} ok{})", fault.what,
                                     own.all - own.wrong, own.all, fault.operation,
                                     elsewhere.empty() ? "" : "; but wrong: " + elsewhere));
  }
  CheckOutcome outcome = outcome_of(fault, State::kOk);
  outcome.compared = fmt::format("found by {} of {} checks of {}; first {}", own.wrong, own.all,
                                 fault.operation, first);
  outcome.seconds = seconds;
  return outcome;
}

std::vector<CheckOutcome> check_faults(const std::string& program, const std::string& library_path,
                                       const std::vector<PlantedFault>& faults) {
  const size_t at_a_time = std::clamp<size_t>(std::thread::hardware_concurrency(), 2, 16);
  std::vector<PlantedFault> all = faults;
  all.insert(all.begin(), PlantedFault{"control", "nothing is planted", "", ""});
  std::vector<CheckOutcome> outcomes;
  for (size_t begin = 0; begin < all.size(); begin += at_a_time) {
    std::vector<std::future<CheckOutcome>> running;
    for (size_t i = begin; i < std::min(begin + at_a_time, all.size()); ++i) {
      running.push_back(std::async(std::launch::async, run_one, program, library_path, all[i]));
    }
    for (std::future<CheckOutcome>& one : running) outcomes.push_back(one.get());
    if (begin == 0 && outcomes.front().state != State::kOk) return {outcomes.front()};
  }
  return outcomes;
}

}  // namespace ssmend
