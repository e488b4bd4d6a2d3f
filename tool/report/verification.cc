#include "report/verification.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "report/escape.h"

namespace ssmend {
namespace {

using State = CheckOutcome::State;
using Json = nlohmann::ordered_json;

constexpr size_t kNameWidth = 44;

std::string shown(std::string_view text, const TextStyle& style) {
  std::string safe = printable(text);
  if (style.utf8) return safe;
  std::erase_if(safe, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  return safe;
}

std::string duration(double seconds) {
  if (seconds >= 10) return fmt::format("{:.0f} s", seconds);
  return seconds >= 0.1 ? fmt::format("{:.2f} s", seconds)
                        : fmt::format("{:.3f} ms", seconds * 1000);
}

std::string measured(const CheckOutcome& outcome) {
  if (!outcome.error || !outcome.limit || *outcome.limit == 0) return "";
  return fmt::format("max error {:.1e}, limit {:.1e}", *outcome.error, *outcome.limit);
}

std::string painted(const char* colour, const std::string& word, const TextStyle& style) {
  return style.colour ? fmt::format("\x1b[1;{}m{}\x1b[0m", colour, word) : word;
}

std::string field(const char* label, const std::string& text, const TextStyle& style) {
  if (text.empty()) return "";
  const std::string left = fmt::format("   = {:<10}", std::string(label) + ":");
  const int column = static_cast<int>(left.size());
  return left + fold(shown(text, style), style.columns, column, column) + "\n";
}

std::string first_bad_element(const CheckOutcome& outcome) {
  if (outcome.found.empty()) return "";
  std::string place;
  for (const int64_t part : outcome.index) {
    place += (place.empty() ? "[" : ", ") + std::to_string(part);
  }
  if (!place.empty()) place = fmt::format(" at {}]", place);
  std::string text = fmt::format("{}{}, reference {}", outcome.found, place, outcome.expected);
  if (outcome.all_elements != 0) {
    text = fmt::format("{} of {} elements are off; first {}", outcome.bad_elements,
                       outcome.all_elements, text);
  }
  return text;
}

std::string help_lines(const CheckOutcome& outcome, const TextStyle& style) {
  std::string text;
  for (const std::string& remedy : outcome.remedies) {
    text += "help: " + fold(shown(remedy, style), style.columns, 6, 6) + "\n";
  }
  return text;
}

std::string wrong_block(const CheckOutcome& outcome, const TextStyle& style) {
  std::string text = painted("31", "error[wrong-result]", style) + ": " +
                     shown(outcome.name, style) + " gives wrong numbers\n";
  text += field("case", outcome.case_text, style);
  text += field("compared", outcome.part, style);
  text += field("found", first_bad_element(outcome), style);
  text += field("error",
                outcome.error
                    ? fmt::format("{:.2e}, limit {:.1e}", *outcome.error, outcome.limit.value_or(0))
                    : "not a finite number",
                style);
  text += field("wrong in", outcome.wrong_parts.size() > 1 ? join(outcome.wrong_parts, ", ") : "",
                style);
  return text + help_lines(outcome, style) + "more: `ssmend explain wrong-result`\n";
}

std::string failed_block(const CheckOutcome& outcome, const TextStyle& style) {
  return painted("31", "error", style) + ": " + shown(outcome.name, style) + " failed\n" +
         field("reason", outcome.reason, style) + help_lines(outcome, style);
}

std::string ok_line(const CheckOutcome& outcome, const TextStyle& style) {
  const std::string numbers = measured(outcome);
  const std::string right = numbers.empty() ? shown(outcome.compared, style) : numbers;
  std::string line = fmt::format("{:<{}}  {:<34}", shown(outcome.name, style), kNameWidth, right);
  if (outcome.seconds > 0) line += fmt::format("{:>10}", duration(outcome.seconds));
  if (!outcome.rate.empty()) line += "  " + outcome.rate;
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return painted("32", "ok", style) + "    " + fold(line, 4096, 6, 6) + "\n";
}

std::string not_checked_line(const CheckOutcome& outcome, const TextStyle& style) {
  return "-     " +
         fold(fmt::format("{:<{}}  not checked: {}", shown(outcome.name, style), kNameWidth,
                          shown(outcome.reason, style)),
              4096, 6, 6) +
         "\n";
}

Json outcome_json(const CheckOutcome& outcome) {
  Json json;
  json["component"] = outcome.component;
  json["check"] = outcome.name;
  json["state"] = check_state_name(outcome.state);
  json["compared"] = outcome.compared;
  json["reason"] = outcome.reason;
  json["gpu_is_missing"] = outcome.gpu_is_missing;
  json["error"] = outcome.error ? Json(*outcome.error) : Json(nullptr);
  json["limit"] = outcome.limit ? Json(*outcome.limit) : Json(nullptr);
  json["seconds"] = outcome.seconds;
  json["rate"] = outcome.rate;
  if (outcome.state == State::kWrong) {
    json["case"] = outcome.case_text;
    json["part"] = outcome.part;
    json["index"] = outcome.index;
    json["found"] = outcome.found;
    json["expected"] = outcome.expected;
    json["bad_elements"] = outcome.bad_elements;
    json["all_elements"] = outcome.all_elements;
    json["wrong_parts"] = outcome.wrong_parts;
  }
  if (!outcome.remedies.empty()) json["remedies"] = outcome.remedies;
  return json;
}

std::string case_xml(const CheckOutcome& outcome) {
  std::string xml =
      fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6f}\"",
                  escape_markup(outcome.component), escape_markup(outcome.name), outcome.seconds);
  if (outcome.state == State::kOk) return xml + "/>\n";
  if (outcome.state == State::kNotChecked) {
    return xml + fmt::format(">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                             escape_markup(outcome.reason));
  }
  return xml + fmt::format(">\n      <failure type=\"{}\">{}</failure>\n    </testcase>\n",
                           outcome.state == State::kWrong ? "wrong-result" : "failed",
                           escape_markup(render_outcome(outcome, TextStyle{})));
}

std::vector<std::string> components_of(const std::vector<CheckOutcome>& outcomes) {
  std::vector<std::string> names;
  for (const CheckOutcome& outcome : outcomes) {
    if (std::find(names.begin(), names.end(), outcome.component) == names.end()) {
      names.push_back(outcome.component);
    }
  }
  return names;
}

}  // namespace

size_t count_outcomes(const std::vector<CheckOutcome>& outcomes, State state) {
  return static_cast<size_t>(std::count_if(outcomes.begin(), outcomes.end(),
                                           [&](const auto& one) { return one.state == state; }));
}

std::string render_outcome(const CheckOutcome& outcome, const TextStyle& style) {
  switch (outcome.state) {
    case State::kOk:
      return ok_line(outcome, style);
    case State::kNotChecked:
      return not_checked_line(outcome, style);
    case State::kWrong:
      return wrong_block(outcome, style);
    case State::kFailed:
      break;
  }
  return failed_block(outcome, style);
}

std::string render_verification(const Verification& verification, const TextStyle& style) {
  std::string text;
  for (const std::string& line : verification.device) text += shown(line, style) + "\n";
  // A kernel that is wrong is so in many cases: after a few of an operation the others are named.
  constexpr size_t kWrongInFull = 3;
  std::map<std::string, size_t> wrong_native;
  std::vector<std::string> more_wrong;
  for (const CheckOutcome& outcome : verification.outcomes) {
    if (outcome.state == State::kWrong && outcome.component == "native" &&
        ++wrong_native[outcome.name.substr(0, outcome.name.rfind(outcome.case_text))] >
            kWrongInFull) {
      more_wrong.push_back(shown(outcome.name, style));
      continue;
    }
    const bool passed = outcome.state == State::kOk || outcome.state == State::kNotChecked;
    if (!style.quiet || !passed) text += render_outcome(outcome, style);
  }
  if (!more_wrong.empty()) {
    text += painted("31", "error[wrong-result]", style) + ": " +
            fmt::format("{} of the kernel library are wrong too (--json has all of each)\n",
                        count_of(more_wrong.size(), "check")) +
            field("checks", join(more_wrong, "; "), style);
  }
  std::vector<std::string> counts;
  const auto add = [&](State state, const char* word) {
    const size_t count = count_outcomes(verification.outcomes, state);
    if (count != 0) counts.push_back(fmt::format("{} {}", count, word));
  };
  add(State::kOk, "ok");
  add(State::kWrong, "wrong");
  add(State::kFailed, "failed");
  const size_t skipped = count_outcomes(verification.outcomes, State::kNotChecked);
  const size_t run = verification.outcomes.size() - skipped;
  add(State::kNotChecked, "not checked");
  return text + fmt::format("Verified {} in {:.1f} s: {}\n", count_of(run, "check"),
                            verification.seconds, counts.empty() ? "nothing" : join(counts, ", "));
}

std::string render_verification_json(const Verification& verification) {
  Json json;
  json["schema"] = "ssmend/verification/1";
  json["environment"] = verification.environment;
  json["device"] = verification.device;
  json["checks"] = Json::array();
  for (const CheckOutcome& outcome : verification.outcomes) {
    json["checks"].push_back(outcome_json(outcome));
  }
  json["ok"] = count_outcomes(verification.outcomes, State::kOk);
  json["wrong"] = count_outcomes(verification.outcomes, State::kWrong);
  json["failed"] = count_outcomes(verification.outcomes, State::kFailed);
  json["not_checked"] = count_outcomes(verification.outcomes, State::kNotChecked);
  json["seconds"] = verification.seconds;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string render_verification_junit(const Verification& verification) {
  std::string body;
  for (const std::string& component : components_of(verification.outcomes)) {
    std::vector<CheckOutcome> own;
    for (const CheckOutcome& outcome : verification.outcomes) {
      if (outcome.component == component) own.push_back(outcome);
    }
    body += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
                        escape_markup(component), own.size(),
                        count_outcomes(own, State::kWrong) + count_outcomes(own, State::kFailed),
                        count_outcomes(own, State::kNotChecked));
    for (const CheckOutcome& outcome : own) body += case_xml(outcome);
    body += "  </testsuite>\n";
  }
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"ssmend verify\">\n" +
         body + "</testsuites>\n";
}

}  // namespace ssmend
