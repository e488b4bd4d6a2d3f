#include "verify/packages.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/text.h"

namespace ssmend {
namespace {

using Json = nlohmann::json;
using State = CheckOutcome::State;

std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<double> number_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::vector<std::string> texts_of(const Json& json, const char* key) {
  std::vector<std::string> texts;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) return texts;
  for (const Json& entry : *found) {
    if (entry.is_string()) texts.push_back(entry.get<std::string>());
  }
  return texts;
}

State state_of(const std::string& name) {
  if (name == "ok") return State::kOk;
  if (name == "wrong") return State::kWrong;
  if (name == "not-checked") return State::kNotChecked;
  return State::kFailed;
}

CheckOutcome outcome_of(const std::string& component, const Json& line) {
  CheckOutcome outcome;
  outcome.component = component;
  outcome.name = text_of(line, "check");
  outcome.state = state_of(text_of(line, "state"));
  outcome.compared = text_of(line, "compared");
  outcome.reason = text_of(line, "reason");
  outcome.gpu_is_missing = line.value("gpu_is_missing", false);
  outcome.error = number_of(line, "error");
  outcome.limit = number_of(line, "limit");
  outcome.seconds = number_of(line, "seconds").value_or(0);
  outcome.case_text = text_of(line, "case");
  outcome.part = text_of(line, "part");
  outcome.found = text_of(line, "found");
  outcome.expected = text_of(line, "expected");
  outcome.bad_elements = static_cast<uint64_t>(number_of(line, "bad").value_or(0));
  outcome.all_elements = static_cast<uint64_t>(number_of(line, "of").value_or(0));
  outcome.wrong_parts = texts_of(line, "wrong_parts");
  const auto index = line.find("index");
  if (index != line.end() && index->is_array()) {
    for (const Json& part : *index) {
      if (part.is_number_integer()) outcome.index.push_back(part.get<int64_t>());
    }
  }
  return outcome;
}

std::string last_line(const std::string& text) {
  std::string last;
  for (const std::string& line : split_lines(text)) {
    if (!trim(line).empty()) last = std::string(trim(line));
  }
  return last;
}

// Where Python's fault handler saw a crash: `, in file.py:12`; empty where it saw none.
std::string place_of_crash(const std::string& standard_error) {
  constexpr std::string_view kFile = "File \"";
  constexpr std::string_view kLine = "\", line ";
  const size_t stack = standard_error.find("(most recent call first)");
  const size_t file = standard_error.find(kFile, stack == std::string::npos ? 0 : stack);
  if (stack == std::string::npos || file == std::string::npos) return "";
  const size_t begin = file + kFile.size();
  const size_t end = standard_error.find(kLine, begin);
  if (end == std::string::npos) return "";
  const size_t number = end + kLine.size();
  const size_t digits = standard_error.find_first_not_of("0123456789", number) - number;
  return fmt::format(", in {}:{}", standard_error.substr(begin, end - begin),
                     standard_error.substr(number, digits));
}

// Why the process itself is a failure; empty where it ended as it should.
std::string abnormal_end(const ProcessResult& result) {
  if (result.timed_out) return fmt::format("no answer within {:.0f} s", result.seconds);
  if (result.signal != 0) {
    return fmt::format("killed by signal {} ({}{})", result.signal, ::strsignal(result.signal),
                       place_of_crash(result.standard_error));
  }
  if (result.exit_code == 0) return "";
  const std::string said = last_line(result.standard_error);
  return fmt::format("exit {}{}", result.exit_code, said.empty() ? "" : ": " + said);
}

CheckOutcome not_checked(const CheckScript& script, std::string reason) {
  CheckOutcome outcome;
  outcome.component = script.component;
  outcome.name = script.component;
  if (!script.arguments.empty() && script.arguments.back() != script.component) {
    outcome.name += " " + script.arguments.back();
  }
  outcome.state = State::kNotChecked;
  outcome.reason = std::move(reason);
  return outcome;
}

CheckScript script_of(const Json& row, const std::string& directory) {
  CheckScript script;
  script.component = text_of(row, "name");
  const std::string file = text_of(row, "script");
  if (!file.empty()) script.file = path_join(directory, file);
  script.arguments = texts_of(row, "arguments");
  script.modules = texts_of(row, "modules");
  script.checkout = text_of(row, "checkout");
  script.timeout_seconds = number_of(row, "timeout_seconds").value_or(300);
  script.needs_gpu = row.value("needs_gpu", false);
  return script;
}

std::string checkout_of(const CheckScript& script, const PackageCheckRequest& request) {
  const auto found = request.checkouts.find(script.checkout);
  return found == request.checkouts.end() ? "" : found->second;
}

// Why there is nothing to run; empty where there is.
std::string obstacle(const Disk& disk, const Environment& environment, const CheckScript& script,
                     const PackageCheckRequest& request) {
  if (environment.python.executable.empty()) return "the environment has no interpreter to run";
  if (disk.is_mounted_root()) return "a mounted root file system is never run";
  for (const std::string& module : script.modules) {
    if (environment.find_module(disk, module).empty()) return module + " is not installed";
  }
  if (!script.checkout.empty() && checkout_of(script, request).empty()) {
    return fmt::format("no checkout given (--{} DIR)", script.checkout);
  }
  return "";
}

std::vector<CheckOutcome> run_script(Process& process, const Environment& environment,
                                     const CheckScript& script,
                                     const PackageCheckRequest& request) {
  ProcessRequest run;
  // -B: a check must not leave bytecode behind in the environment that it looks at.
  run.argv = {environment.python.executable, "-B", "-X", "faulthandler", script.file};
  run.argv.insert(run.argv.end(), script.arguments.begin(), script.arguments.end());
  if (!script.checkout.empty()) run.argv.push_back(checkout_of(script, request));
  run.extra_environment = {"SSMEND_CHECK_DEVICE=" + request.device, "PYTHONUNBUFFERED=1"};
  run.unset_environment = {"PYTHONSTARTUP", "PYTHONINSPECT"};
  run.timeout_seconds =
      request.timeout_seconds > 0 ? request.timeout_seconds : script.timeout_seconds;
  if (request.on_step) {
    run.on_line = [&](std::string_view line) {
      const Json json = Json::parse(line, nullptr, false);
      if (!json.is_object()) return;
      const std::string step = text_of(json, "step");
      if (!step.empty() && step != "start") request.on_step(script.component, step);
    };
    request.on_step(script.component, "starting");
  }
  Result<ProcessResult> result = process.run(run);
  if (!result.ok()) {
    CheckOutcome failed = not_checked(script, format_error(result.error()));
    failed.state = State::kFailed;
    return {failed};
  }
  return read_check_output(script.component, *result);
}

// A script with what came of it, in the order of the table.
struct Planned {
  const CheckScript* script = nullptr;
  std::vector<CheckOutcome> outcomes;  // empty: not run yet
};

// Those of `planned` that are still to run and need a GPU, or need none.
void run_side_by_side(Process& process, const Environment& environment,
                      const PackageCheckRequest& request, bool on_the_gpu,
                      std::vector<Planned>& planned) {
  std::vector<Planned*> waiting;
  for (Planned& each : planned) {
    if (each.outcomes.empty() && each.script->needs_gpu == on_the_gpu) waiting.push_back(&each);
  }
  std::mutex telling;
  PackageCheckRequest one_tells = request;
  if (request.on_step) {
    one_tells.on_step = [&](const std::string& component, const std::string& step) {
      const std::lock_guard<std::mutex> lock(telling);
      request.on_step(component, step);
    };
  }
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < waiting.size(); i = next++) {
      waiting[i]->outcomes = run_script(process, environment, *waiting[i]->script, one_tells);
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(request.at_a_time, waiting.size()); ++i) {
    others.emplace_back(work);
  }
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace

const char* check_state_name(CheckOutcome::State state) {
  switch (state) {
    case State::kOk:
      return "ok";
    case State::kWrong:
      return "wrong";
    case State::kFailed:
      return "failed";
    case State::kNotChecked:
      return "not-checked";
  }
  return "failed";
}

Result<std::vector<CheckScript>> load_check_scripts(const Disk& disk,
                                                    const std::string& directory) {
  const std::string path = path_join(directory, "checks.json");
  const Result<std::string> content = disk.read(path);
  if (!content.ok()) return Error(content.error()).with_context("the table of checks is missing");
  const Json json = Json::parse(*content, nullptr, false);
  if (!json.is_object() || text_of(json, "schema") != "ssmend/checks/1") {
    return Error(path + ": is no ssmend/checks/1 document");
  }
  std::vector<CheckScript> scripts;
  const auto rows = json.find("components");
  if (rows == json.end() || !rows->is_array()) return Error(path + ": has no list `components`");
  for (const Json& row : *rows) {
    CheckScript script = row.is_object() ? script_of(row, directory) : CheckScript{};
    if (script.component.empty() || script.file.empty()) {
      return Error(fmt::format("{}: row {} has no name or no script", path, scripts.size() + 1));
    }
    scripts.push_back(std::move(script));
  }
  return scripts;
}

std::vector<std::string> component_names(const std::vector<CheckScript>& scripts) {
  std::vector<std::string> names;
  for (const CheckScript& script : scripts) {
    if (std::find(names.begin(), names.end(), script.component) == names.end()) {
      names.push_back(script.component);
    }
  }
  return names;
}

std::vector<CheckOutcome> read_check_output(const std::string& component,
                                            const ProcessResult& result) {
  std::vector<CheckOutcome> outcomes;
  std::string step;
  for (const std::string& line : split_lines(result.standard_output)) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;  // the last line of a process that was killed may be half
    if (json.contains("step")) {
      step = text_of(json, "step");
    } else if (json.contains("check")) {
      outcomes.push_back(outcome_of(component, json));
    }
  }
  std::string reason = abnormal_end(result);
  if (reason.empty() && outcomes.empty()) reason = "ended without a result";
  if (reason.empty()) return outcomes;
  CheckOutcome failed;
  failed.component = component;
  failed.name = step.empty() || step == "start" ? component : step;
  failed.reason = step.empty() ? reason + " before the first step" : reason + " during this step";
  failed.seconds = result.seconds;
  outcomes.push_back(std::move(failed));
  return outcomes;
}

std::vector<CheckOutcome> check_packages(Process& process, const Disk& disk,
                                         const Environment& environment,
                                         const std::vector<CheckScript>& scripts,
                                         const PackageCheckRequest& request) {
  std::vector<Planned> chosen;
  for (const CheckScript& script : scripts) {
    const std::vector<std::string>& wanted = request.components;
    if (!wanted.empty() &&
        std::find(wanted.begin(), wanted.end(), script.component) == wanted.end()) {
      continue;
    }
    chosen.push_back({&script, {}});
    if (std::string reason = obstacle(disk, environment, script, request); !reason.empty()) {
      chosen.back().outcomes.push_back(not_checked(script, std::move(reason)));
    }
  }
  run_side_by_side(process, environment, request, false, chosen);
  const CheckOutcome* no_gpu = nullptr;
  for (const Planned& planned : chosen) {
    for (const CheckOutcome& outcome : planned.outcomes) {
      if (outcome.gpu_is_missing) no_gpu = &outcome;
    }
  }
  if (no_gpu != nullptr) {
    const std::string reason = no_gpu->reason;
    for (Planned& planned : chosen) {
      if (!planned.outcomes.empty() || !planned.script->needs_gpu) continue;
      planned.outcomes.push_back(not_checked(*planned.script, reason));
      planned.outcomes.back().gpu_is_missing = true;
    }
  }
  run_side_by_side(process, environment, request, true, chosen);
  std::vector<CheckOutcome> outcomes;
  for (Planned& planned : chosen) {
    std::move(planned.outcomes.begin(), planned.outcomes.end(), std::back_inserter(outcomes));
  }
  return outcomes;
}

}  // namespace ssmend
