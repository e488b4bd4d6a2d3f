#include "patch/diff.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ssmend {
namespace {

std::vector<std::string_view> lines_with_ends(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t end = text.find('\n');
    size_t length = end == std::string_view::npos ? text.size() : end + 1;
    lines.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return lines;
}

struct Step {
  char kind;  // ' ', '-', '+'
  size_t old_line;
  size_t new_line;
};

using Lines = std::vector<std::string_view>;

// Myers, "An O(ND) Difference Algorithm and Its Variations" (1986): the greedy form, remembering
// the furthest reaching paths of every step. D is small here, for edits are few.
std::vector<Step> shortest_edit(const Lines& before, const Lines& after) {
  const int64_t rows = static_cast<int64_t>(before.size());
  const int64_t columns = static_cast<int64_t>(after.size());
  const int64_t most = rows + columns;
  std::vector<int64_t> reach(static_cast<size_t>(2 * most + 3), 0);
  std::vector<std::vector<int64_t>> trace;
  auto at = [&](int64_t diagonal) -> int64_t& {
    return reach[static_cast<size_t>(diagonal + most + 1)];
  };
  for (int64_t steps = 0; steps <= most; ++steps) {
    // Only the diagonals -steps-1 .. steps+1 are read when the path is walked back.
    std::vector<int64_t> row;
    for (int64_t diagonal = -steps - 1; diagonal <= steps + 1; ++diagonal)
      row.push_back(at(diagonal));
    trace.push_back(std::move(row));
    for (int64_t diagonal = -steps; diagonal <= steps; diagonal += 2) {
      bool down = diagonal == -steps || (diagonal != steps && at(diagonal - 1) < at(diagonal + 1));
      int64_t x = down ? at(diagonal + 1) : at(diagonal - 1) + 1;
      int64_t y = x - diagonal;
      while (x < rows && y < columns &&
             before[static_cast<size_t>(x)] == after[static_cast<size_t>(y)]) {
        ++x;
        ++y;
      }
      at(diagonal) = x;
      if (x < rows || y < columns) continue;
      std::vector<Step> path;
      for (int64_t back = steps; back >= 0; --back) {
        const std::vector<int64_t>& saved = trace[static_cast<size_t>(back)];
        auto old_reach = [&](int64_t k) { return saved[static_cast<size_t>(k + back + 1)]; };
        int64_t k = x - y;
        bool from_above = k == -back || (k != back && old_reach(k - 1) < old_reach(k + 1));
        int64_t previous = from_above ? k + 1 : k - 1;
        int64_t previous_x = back == 0 ? 0 : old_reach(previous);
        int64_t previous_y = back == 0 ? 0 : previous_x - previous;
        while (x > previous_x && y > previous_y) {
          --x;
          --y;
          path.push_back({' ', static_cast<size_t>(x), static_cast<size_t>(y)});
        }
        if (back == 0) break;
        if (from_above) {
          path.push_back({'+', static_cast<size_t>(x), static_cast<size_t>(--y)});
        } else {
          path.push_back({'-', static_cast<size_t>(--x), static_cast<size_t>(y)});
        }
      }
      std::reverse(path.begin(), path.end());
      return path;
    }
  }
  return {};
}

std::string range(size_t start, size_t count) {
  // An empty range names the line before it.
  std::string text = std::to_string(count == 0 ? start : start + 1);
  return count == 1 ? text : text + "," + std::to_string(count);
}

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after, std::string_view old_name,
                         std::string_view new_name, int context) {
  if (before == after) return {};
  Lines old_lines = lines_with_ends(before);
  Lines new_lines = lines_with_ends(after);
  std::vector<Step> steps = shortest_edit(old_lines, new_lines);
  std::string out = "--- " + std::string(old_name) + "\n+++ " + std::string(new_name) + "\n";
  size_t at = 0;
  const auto margin = static_cast<size_t>(context);
  while (at < steps.size()) {
    if (steps[at].kind == ' ') {
      ++at;
      continue;
    }
    size_t start = at > margin ? at - margin : 0;
    size_t end = at;
    size_t last_change = at;
    while (end < steps.size() && end <= last_change + 2 * margin) {
      if (steps[end].kind != ' ') last_change = end;
      ++end;
    }
    end = std::min(steps.size(), last_change + margin + 1);
    size_t old_count = 0;
    size_t new_count = 0;
    std::string body;
    for (size_t i = start; i < end; ++i) {
      const Step& step = steps[i];
      std::string_view line =
          step.kind == '+' ? new_lines[step.new_line] : old_lines[step.old_line];
      old_count += step.kind != '+' ? 1 : 0;
      new_count += step.kind != '-' ? 1 : 0;
      body += step.kind;
      body += line;
      if (!line.ends_with('\n')) body += "\n\\ No newline at end of file\n";
    }
    out += "@@ -" + range(steps[start].old_line, old_count) + " +" +
           range(steps[start].new_line, new_count) + " @@\n" + body;
    at = end;
  }
  return out;
}

}  // namespace ssmend
