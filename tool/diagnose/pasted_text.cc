#include "diagnose/pasted_text.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "diagnose/embedded.h"

namespace ssmend {
namespace {

// A traceback can hold printed tensors in one line; what is behind this is no error text.
constexpr size_t kLineLimit = 2000;

bool ends_run(char c) {
  return std::string_view(" \t\"'`()[]<>,").find(c) != std::string_view::npos;
}

using Captures = std::vector<std::pair<std::string, std::string>>;

struct Placeholder {
  std::string_view name;
  std::string_view start;
  size_t length = 0;  // of the placeholder in the pattern, braces included
};

std::optional<Placeholder> placeholder_at(std::string_view pattern) {
  if (pattern.empty() || pattern.front() != '{') return std::nullopt;
  const size_t end = pattern.find('}');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view inside = pattern.substr(1, end - 1);
  const size_t colon = inside.find(':');
  const bool has_start = colon != std::string_view::npos;
  return Placeholder{inside.substr(0, colon), has_start ? inside.substr(colon + 1) : "", end + 1};
}

// The pattern at the start of `line`.
bool match_here(std::string_view pattern, std::string_view line, Captures& captures) {
  while (!pattern.empty()) {
    const std::optional<Placeholder> placeholder = placeholder_at(pattern);
    if (!placeholder) {
      if (line.empty() || line.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      line.remove_prefix(1);
      continue;
    }
    if (line.substr(0, placeholder->start.size()) != placeholder->start) return false;
    size_t length = 0;
    while (length < line.size() && !ends_run(line[length])) ++length;
    const std::string_view rest = pattern.substr(placeholder->length);
    const size_t before = captures.size();
    // Longest first: "libc10{rest}: cannot" must take all of "_cuda.so".
    for (size_t take = length; take > 0 && take >= placeholder->start.size(); --take) {
      captures.emplace_back(placeholder->name, line.substr(0, take));
      if (match_here(rest, line.substr(take), captures)) return true;
      captures.resize(before);
    }
    return false;
  }
  return true;
}

// The longest piece of the pattern without placeholders: a line that lacks it cannot match, which
// keeps a log of a million lines cheap.
std::string_view longest_literal(std::string_view pattern) {
  std::string_view longest;
  while (!pattern.empty()) {
    const size_t end = std::min(pattern.find('{'), pattern.size());
    if (end > longest.size()) longest = pattern.substr(0, end);
    pattern.remove_prefix(end);
    const std::optional<Placeholder> placeholder = placeholder_at(pattern);
    if (!pattern.empty()) pattern.remove_prefix(placeholder ? placeholder->length : 1);
  }
  return longest;
}

std::vector<TextMeaning> load() {
  std::vector<TextMeaning> meanings;
  for (const nlohmann::json& row : nlohmann::json::parse(embedded::kTexts)) {
    TextMeaning meaning;
    meaning.id = row["id"].get<std::string>();
    meaning.patterns = row["patterns"].get<std::vector<std::string>>();
    for (const nlohmann::json& cause : row["can_be"]) {
      meaning.can_be.push_back(
          {cause["code"].get<std::string>(), cause["told"].get<std::string>()});
    }
    meaning.cause = row.value("cause", "");
    meaning.remedies = row["remedies"].get<std::vector<std::string>>();
    meanings.push_back(std::move(meaning));
  }
  return meanings;
}

// The first row of the table that matches: rows go from the special to the general.
std::optional<RecognisedText> recognise_line(std::string_view line) {
  for (const TextMeaning& meaning : all_text_meanings()) {
    for (const std::string& pattern : meaning.patterns) {
      RecognisedText found;
      if (!match_pattern(pattern, line, &found.captures)) continue;
      found.meaning = &meaning;
      found.text = std::string(trim(line));
      return found;
    }
  }
  return std::nullopt;
}

}  // namespace

bool match_pattern(std::string_view pattern, std::string_view line, Captures* captures) {
  if (line.find(longest_literal(pattern)) == std::string_view::npos) return false;
  for (size_t start = 0; start < line.size(); ++start) {
    Captures found;
    if (!match_here(pattern, line.substr(start), found)) continue;
    if (captures != nullptr) *captures = std::move(found);
    return true;
  }
  return false;
}

const std::vector<TextMeaning>& all_text_meanings() {
  static const std::vector<TextMeaning> meanings = load();
  return meanings;
}

std::vector<RecognisedText> recognise(std::string_view text) {
  std::vector<RecognisedText> recognised;
  std::map<std::pair<std::string, Captures>, size_t> known;
  int number = 0;
  for (const std::string& line : split_lines(text)) {
    ++number;
    std::optional<RecognisedText> found =
        recognise_line(std::string_view(line).substr(0, kLineLimit));
    if (!found) continue;
    const auto [entry, added] =
        known.try_emplace({found->meaning->id, found->captures}, recognised.size());
    if (!added) {
      ++recognised[entry->second].repeats;
      continue;
    }
    found->line = number;
    recognised.push_back(std::move(*found));
  }
  return recognised;
}

}  // namespace ssmend
