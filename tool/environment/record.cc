#include "environment/record.h"

#include <charconv>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr size_t kMaxProblems = 10;

// One CSV row from `at`: quotes as RFC 4180, a row ends at a line break outside quotes.
std::vector<std::string> next_row(std::string_view text, size_t* at) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  while (*at < text.size()) {
    const char c = text[*at];
    ++*at;
    if (quoted) {
      if (c != '"') {
        cells.back() += c;
      } else if (*at < text.size() && text[*at] == '"') {
        cells.back() += '"';
        ++*at;
      } else {
        quoted = false;
      }
      continue;
    }
    if (c == '\n') break;
    if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  if (!cells.back().empty() && cells.back().back() == '\r') cells.back().pop_back();
  return cells;
}

}  // namespace

RecordText parse_record(std::string_view text, const std::string& site_directory,
                        const std::string& prefix) {
  RecordText record;
  size_t suppressed = 0;
  const auto problem = [&](size_t line, const std::string& what) {
    if (record.problems.size() < kMaxProblems) {
      record.problems.push_back("RECORD: line " + std::to_string(line) + " " + what);
    } else {
      ++suppressed;
    }
  };
  size_t at = 0;
  size_t line = 0;
  while (at < text.size()) {
    ++line;
    std::vector<std::string> cells = next_row(text, &at);
    if (cells.size() == 1 && cells[0].empty()) continue;
    RecordEntry entry;
    entry.raw = cells[0];
    if (entry.raw.empty()) {
      problem(line, "has no path");
      continue;
    }
    if (entry.raw.find('\0') != std::string::npos) {
      problem(line, "has a NUL byte in its path");
      continue;
    }
    entry.path = normal_path(path_join(site_directory, entry.raw));
    if (!is_inside(entry.path, prefix)) {
      problem(line, "climbs out of the environment: " + printable(entry.raw));
      continue;
    }
    const std::string hash_name = "sha256=";
    if (cells.size() > 1 && cells[1].rfind(hash_name, 0) == 0) {
      entry.sha256 = cells[1].substr(hash_name.size());
    }
    if (cells.size() > 2 && !cells[2].empty()) {
      uint64_t size = 0;
      const char* end = cells[2].data() + cells[2].size();
      const std::from_chars_result parsed = std::from_chars(cells[2].data(), end, size);
      if (parsed.ec == std::errc() && parsed.ptr == end) {
        entry.size_bytes = size;
      } else {
        problem(line, "has no number as its size: " + printable(cells[2]));
      }
    }
    record.entries.push_back(std::move(entry));
  }
  if (suppressed != 0) {
    record.problems.push_back("RECORD: " + count_of(suppressed, "more problem"));
  }
  return record;
}

}  // namespace ssmend
