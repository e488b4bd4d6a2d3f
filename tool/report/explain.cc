#include "report/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "elf/demangle.h"

namespace ssmend {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "ssmend/explanation/1";

std::string item(std::string_view label, std::string_view text, const TextStyle& style) {
  const std::string left = fmt::format("   = {:<10} ", std::string(label) + ":");
  const int column = static_cast<int>(left.size());
  return left + fold(printable(text), style.columns, column, column) + "\n";
}

std::string help(std::string_view text, const TextStyle& style) {
  return "help: " + fold(printable(text), style.columns, 6, 6) + "\n";
}

// The commands that tell the causes apart. Two cannot be seen from files.
std::string next_step(const TextMeaning& meaning) {
  const auto needs_gpu = [](const PossibleCause& cause) {
    return cause.code == "wrong-result" || cause.code == "dtype-rule";
  };
  if (meaning.can_be.empty()) return "";
  if (std::all_of(meaning.can_be.begin(), meaning.can_be.end(), needs_gpu)) {
    return "`ssmend verify` runs the packages and says where it happens";
  }
  return meaning.can_be.size() == 1 ? "`ssmend inspect` reads the files and says whether it is so"
                                    : "`ssmend inspect` reads the files and says which it is";
}

std::string captured_symbol(const RecognisedText& text) {
  for (const auto& [name, value] : text.captures) {
    if (name == "symbol") return demangle(value);
  }
  return "";
}

std::string render_one(const RecognisedText& text, const TextStyle& style) {
  const TextMeaning& meaning = *text.meaning;
  std::string shown = fmt::format("line {}: ", text.line);
  shown += fold(printable(text.text), style.columns, static_cast<int>(shown.size()), 8) + "\n";
  if (text.repeats > 1) shown += item("repeats", count_of(text.repeats, "line"), style);
  const std::string demangled = captured_symbol(text);
  if (!demangled.empty()) shown += item("symbol", demangled, style);
  if (!meaning.cause.empty()) shown += item("cause", meaning.cause, style);
  for (const PossibleCause& cause : meaning.can_be) {
    shown += item("can be", cause.code + ", told by: " + cause.told, style);
  }
  for (const std::string& remedy : meaning.remedies) shown += help(remedy, style);
  const std::string step = next_step(meaning);
  if (!step.empty()) shown += help(step, style);
  return shown;
}

}  // namespace

std::string render_code(const CodeInfo& info, const TextStyle& style) {
  std::string text = fmt::format("{}[{}]: ", severity_name(info.severity), info.code);
  text += fold(printable(info.title), style.columns, static_cast<int>(text.size()), 4) + "\n";
  if (!info.meaning.empty()) text += item("so", info.meaning, style);
  for (const std::string& evidence : info.evidence) text += item("told by", evidence, style);
  for (const std::string& remedy : info.remedies) text += help(remedy, style);
  for (const std::string& link : info.links) text += item("see", link, style);
  return text;
}

std::string render_code_list(const std::vector<CodeInfo>& codes, const TextStyle& style) {
  std::string text;
  for (const CodeInfo& info : codes) {
    const std::string left = fmt::format("{:<8} {:<22} ", severity_name(info.severity), info.code);
    const int column = static_cast<int>(left.size());
    text += left + fold(printable(info.title), style.columns, column, column) + "\n";
  }
  return text;
}

std::string render_recognised(const std::vector<RecognisedText>& texts, const TextStyle& style) {
  std::string shown;
  for (const RecognisedText& text : texts) shown += render_one(text, style) + "\n";
  return shown + (texts.empty() ? "No text that ssmend knows; `ssmend inspect` looks at the files "
                                  "all the same\n"
                                : "Recognised " + count_of(texts.size(), "text") + "\n");
}

std::string render_codes_json(const std::vector<CodeInfo>& codes) {
  Json json = {{"schema", kSchema}, {"codes", Json::array()}};
  for (const CodeInfo& info : codes) {
    json["codes"].push_back({{"code", info.code},
                             {"severity", severity_name(info.severity)},
                             {"title", info.title},
                             {"meaning", info.meaning},
                             {"evidence", info.evidence},
                             {"remedies", info.remedies},
                             {"links", info.links}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string render_recognised_json(const std::vector<RecognisedText>& texts) {
  Json json = {{"schema", kSchema}, {"texts", Json::array()}};
  for (const RecognisedText& text : texts) {
    Json captures = Json::object();
    for (const auto& [name, value] : text.captures) captures[name] = value;
    Json causes = Json::array();
    for (const PossibleCause& cause : text.meaning->can_be) {
      causes.push_back({{"code", cause.code}, {"told_by", cause.told}});
    }
    json["texts"].push_back({{"id", text.meaning->id},
                             {"line", text.line},
                             {"repeats", text.repeats},
                             {"text", text.text},
                             {"captures", captures},
                             {"can_be", causes},
                             {"cause", text.meaning->cause},
                             {"remedies", text.meaning->remedies}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ssmend
