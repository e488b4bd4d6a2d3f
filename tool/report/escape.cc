#include "report/escape.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace ssmend {

std::string printable_lines(std::string_view text) {
  std::string safe;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    safe += printable(text.substr(start, end - start));
    if (end == text.size()) break;
    safe += '\n';
    start = end + 1;
  }
  return safe;
}

std::string escape_markup(std::string_view text) {
  std::string escaped;
  for (const char c : printable_lines(text)) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string escape_uri_path(std::string_view path) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/+@";
  std::string uri;
  for (const char c : path) {
    if (kPlain.find(c) != std::string_view::npos) {
      uri += c;
    } else {
      uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return uri;
}

std::string escape_github_message(std::string_view text) {
  std::string escaped = replace_all(printable_lines(text), "%", "%25");
  escaped = replace_all(std::move(escaped), "\r", "%0D");
  return replace_all(std::move(escaped), "\n", "%0A");
}

std::string escape_github_property(std::string_view text) {
  std::string escaped = replace_all(escape_github_message(text), ":", "%3A");
  return replace_all(std::move(escaped), ",", "%2C");
}

std::string fence_for(std::string_view text) {
  size_t longest = 0;
  size_t run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return std::string(std::max<size_t>(3, longest + 1), '`');
}

}  // namespace ssmend
