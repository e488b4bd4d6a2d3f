#include "report/redact.h"

#include <array>
#include <cctype>

#include "base/text.h"

namespace ssmend {
namespace {

// Account and machine names that say nothing about a person and occur as plain words in reports.
constexpr std::array<std::string_view, 10> kOrdinaryNames = {
    "root", "user", "users", "home", "localhost", "jetson", "ubuntu", "nvidia", "python", "runner"};

bool is_word_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool worth_hiding(std::string_view name) {
  if (name.size() < 3) return false;
  for (const std::string_view ordinary : kOrdinaryNames) {
    if (name == ordinary) return false;
  }
  return true;
}

std::string replace_word(std::string_view text, std::string_view word, std::string_view with) {
  std::string replaced;
  size_t start = 0;
  while (true) {
    const size_t hit = text.find(word, start);
    if (hit == std::string_view::npos) break;
    const size_t end = hit + word.size();
    const bool alone = (hit == 0 || !is_word_byte(text[hit - 1])) &&
                       (end == text.size() || !is_word_byte(text[end]));
    replaced += text.substr(start, hit - start);
    replaced += alone ? with : word;
    start = end;
  }
  replaced += text.substr(start);
  return replaced;
}

// A directory as a path prefix: what follows must not go on with the same name, and it must not be
// the middle of another path.
std::string replace_directory(std::string_view text, std::string_view directory) {
  std::string replaced;
  size_t start = 0;
  while (true) {
    const size_t hit = text.find(directory, start);
    if (hit == std::string_view::npos) break;
    const size_t end = hit + directory.size();
    const bool whole = (hit == 0 || !is_word_byte(text[hit - 1])) &&
                       (end == text.size() || (!is_word_byte(text[end]) && text[end] != '.'));
    replaced += text.substr(start, hit - start);
    replaced += whole ? std::string_view("~") : directory;
    start = end;
  }
  replaced += text.substr(start);
  return replaced;
}

// "/home/NAME" and "/Users/NAME", whoever NAME is.
std::string replace_homes(std::string_view text, std::string_view parent) {
  std::string replaced;
  size_t start = 0;
  while (true) {
    const size_t hit = text.find(parent, start);
    if (hit == std::string_view::npos) break;
    const size_t name = hit + parent.size();
    size_t end = name;
    while (end < text.size() && (is_word_byte(text[end]) || text[end] == '.')) ++end;
    const bool whole = end > name;  // also below a mounted root: /mnt/jetson/home/ann
    replaced += text.substr(start, hit - start);
    replaced += whole ? std::string_view("~") : text.substr(hit, end - hit);
    start = end;
  }
  replaced += text.substr(start);
  return replaced;
}

std::string replace_credentials(std::string_view text) {
  std::string replaced;
  size_t start = 0;
  while (true) {
    const size_t hit = text.find("://", start);
    if (hit == std::string_view::npos) break;
    const size_t authority = hit + 3;
    const size_t end = std::min(text.find_first_of("/?# \t\n\"'<>`", authority), text.size());
    const size_t at = text.substr(0, end).rfind('@');
    replaced += text.substr(start, authority - start);
    start = authority;
    if (at != std::string_view::npos && at >= authority) {
      replaced += "REDACTED";
      start = at;
    }
  }
  replaced += text.substr(start);
  return replaced;
}

}  // namespace

std::string redact(std::string_view text, const Redactions& redactions) {
  std::string safe = replace_credentials(text);
  if (redactions.home_directory.size() > 1) {
    safe = replace_directory(safe, redactions.home_directory);
  }
  safe = replace_homes(safe, "/home/");
  safe = replace_homes(safe, "/Users/");
  const std::string& host = redactions.host_name;
  if (worth_hiding(host)) safe = replace_word(safe, host, "HOST");
  const std::string label = host.substr(0, host.find('.'));
  if (worth_hiding(label)) safe = replace_word(safe, label, "HOST");
  if (worth_hiding(redactions.user_name)) {
    safe = replace_word(safe, redactions.user_name, "USER");
  }
  return safe;
}

}  // namespace ssmend
