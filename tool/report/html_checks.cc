// Numeric checks as bars. Errors are drawn as a share of their limit, so that rows of different
// types compare; a tick marks the limit. Times share one linear axis.
#include <fmt/format.h>

#include <algorithm>

#include "report/escape.h"
#include "report/html_parts.h"

namespace ssmend {
namespace {

constexpr int kBarWidth = 120;

// `share` of `full`; what is beyond the axis ends at its edge and is marked by colour and by text.
std::string bar(double share, double tick, bool fails) {
  const int width = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarWidth + 0.5);
  std::string svg = fmt::format(
      "<svg width=\"{0}\" height=\"12\" viewBox=\"0 0 {0} 12\" aria-hidden=\"true\"><rect "
      "class=\"track\" width=\"{0}\" height=\"12\" rx=\"2\"/><rect class=\"bar{1}\" width=\"{2}\" "
      "height=\"12\" rx=\"2\"/>",
      kBarWidth, fails ? " fails" : "", width);
  if (tick > 0) {
    const int x = static_cast<int>(tick * kBarWidth);
    svg += fmt::format("<path class=\"limit\" d=\"M{} 0V12\"/>", x);
  }
  return svg + "</svg>";
}

}  // namespace

std::string check_table(const std::vector<CheckRow>& checks,
                        const std::vector<std::string>& checked_on) {
  if (checks.empty()) return "";
  double slowest = 0;
  for (const CheckRow& check : checks) slowest = std::max(slowest, check.milliseconds);
  std::string lines;
  std::string images;  // a dozen lines that are usually all alike
  size_t image_count = 0;
  for (const std::string& line : checked_on) {
    const bool image = line.rfind("Image ", 0) == 0;
    image_count += image;
    (image ? images : lines) += escape_markup(line) + "<br>";
  }
  if (!lines.empty()) lines = "<p class=\"soft\">" + lines + "</p>\n";
  if (!images.empty()) {
    lines +=
        fmt::format("<details><summary>Images ({})</summary><p class=\"soft\">{}</p></details>\n",
                    image_count, images);
  }
  std::string rows;
  for (const CheckRow& check : checks) {
    const bool good = check.state == "ok";
    const bool fails = !good && check.state != "not-checked";
    std::string error_cell;
    std::string error_bar;
    if (check.limit > 0) {
      error_cell = fmt::format("{:.2g} of {:.2g}", check.error, check.limit);
      // The axis ends at 1.25 limits; the negation also catches an error that is not a number.
      const bool inside = check.error <= 1.25 * check.limit;
      error_bar = bar(inside ? check.error / (1.25 * check.limit) : 1.0, 0.8, fails);
    }
    std::string time_cell;
    if (check.milliseconds > 0) {
      time_cell = fmt::format("{:.3f} ms {}", check.milliseconds,
                              bar(check.milliseconds / slowest, 0, false));
    }
    rows += fmt::format(
        "<tr><td class=\"{}\">{}</td><td>{}{}</td><td class=\"number\">{}</td><td>{}</td><td "
        "class=\"number\">{}</td></tr>\n",
        good ? "ok" : (fails ? "bad" : "soft"), escape_markup(check.state),
        escape_markup(check.name),
        check.note.empty() ? ""
                           : "<br><span class=\"soft\">" + escape_markup(check.note) + "</span>",
        error_cell, error_bar, time_cell);
  }
  return "<h2>Checks</h2>\n" + lines +
         "<p class=\"soft\">The first bar is the error, its tick the largest that "
         "passes; the second is the time.</p>\n<div class=\"scroll\" tabindex=\"0\"><table "
         "class=\"checks\"><thead><tr><th>Result</th>"
         "<th>Check</th><th>Error</th><th>of its limit</th><th>Time</th></tr></thead><tbody>\n" +
         rows + "</tbody></table></div>\n";
}

}  // namespace ssmend
