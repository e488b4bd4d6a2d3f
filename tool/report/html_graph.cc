// The dependency picture: an indented tree, one row a library, because a tree of long names stays
// readable on a telephone where a layered graph does not.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "report/escape.h"
#include "report/html_parts.h"

namespace ssmend {
namespace {

constexpr int kRowHeight = 40;
constexpr int kBoxHeight = 28;
constexpr int kIndent = 26;
constexpr int kMargin = 10;
constexpr double kCharacterWidth = 7.9;     // of 13 px monospace
constexpr size_t kSymbolsShown = 4;         // of one library
constexpr size_t kQuietChildrenShown = 12;  // direct dependencies that are all right
constexpr size_t kNameLimit = 64;           // longer names are cut in the middle

struct Row {
  int depth = 0;
  int parent = -1;  // index of the row
  std::string text;
  std::string note;  // small, behind the box
  bool box = true;
  bool fails = false;
};

std::string cut_middle(const std::string& text) {
  if (text.size() <= kNameLimit) return text;
  const size_t half = (kNameLimit - 3) / 2;
  return text.substr(0, half) + "..." + text.substr(text.size() - half);
}

class Tree {
 public:
  Tree(const std::string& root, const Resolution& resolution) : resolution_(resolution) {
    root_ = root;
    for (const LoadedLibrary& library : resolution.libraries) {
      if (library.path == root) continue;
      children_[owner_of(library.needed_by)].push_back(&library);
    }
    for (const MissingLibrary& missing : resolution.missing) mark(missing.needed_by);
    for (const UndefinedSymbol& symbol : resolution.undefined) mark(symbol.needed_by);
    for (const VersionProblem& problem : resolution.versions) mark(problem.needed_by);
  }

  std::vector<Row> rows() {
    rows_.clear();
    rows_.push_back({0, -1, cut_middle(std::string(base_name(root_))), "", true, false});
    add_failures(root_, 0);
    add_children(root_, 0);
    return rows_;
  }

 private:
  // `needed_by` may be a path or the name under which a library was asked for.
  std::string owner_of(const std::string& needed_by) const {
    if (needed_by.empty()) return root_;
    for (const LoadedLibrary& library : resolution_.libraries) {
      if (library.path == needed_by || library.name == needed_by) return library.path;
    }
    return needed_by == base_name(root_) ? root_ : needed_by;
  }

  // The library and everything above it lead to a failure.
  void mark(const std::string& needed_by) {
    std::string path = owner_of(needed_by);
    while (leads_.insert(path).second && path != root_) {
      const auto library =
          std::find_if(resolution_.libraries.begin(), resolution_.libraries.end(),
                       [&](const LoadedLibrary& candidate) { return candidate.path == path; });
      if (library == resolution_.libraries.end()) break;
      path = owner_of(library->needed_by);
    }
  }

  void add_children(const std::string& path, int row) {
    size_t quiet = 0;
    size_t hidden = 0;
    for (const LoadedLibrary* library : children_[path]) {
      const bool leads = leads_.count(library->path) != 0;
      if (!leads && (path != root_ || ++quiet > kQuietChildrenShown)) {
        ++hidden;
        continue;
      }
      const int child = static_cast<int>(rows_.size());
      rows_.push_back({rows_[static_cast<size_t>(row)].depth + 1, row,
                       cut_middle(printable(base_name(library->path))), library->rule, true,
                       false});
      if (!leads) continue;
      add_failures(library->path, child);
      if (visited_.insert(library->path).second) add_children(library->path, child);
    }
    if (hidden != 0) {
      rows_.push_back({rows_[static_cast<size_t>(row)].depth + 1, row,
                       fmt::format("{} more found", hidden), "", false, false});
    }
  }

  void add_failures(const std::string& path, int row) {
    const int depth = rows_[static_cast<size_t>(row)].depth + 1;
    for (const MissingLibrary& missing : resolution_.missing) {
      if (owner_of(missing.needed_by) != path) continue;
      const std::string note = missing.fatal_file ? "file cannot be loaded" : "not found";
      rows_.push_back({depth, row, cut_middle(printable(missing.name)), note, true, true});
    }
    for (const VersionProblem& problem : resolution_.versions) {
      if (owner_of(problem.needed_by) != path) continue;
      rows_.push_back({depth, row, cut_middle(printable(base_name(problem.provider))),
                       "lacks " + problem.version, true, true});
    }
    size_t symbols = 0;
    for (const UndefinedSymbol& symbol : resolution_.undefined) {
      if (owner_of(symbol.needed_by) != path || ++symbols > kSymbolsShown) continue;
      const std::string& name = symbol.demangled.empty() ? symbol.symbol : symbol.demangled;
      rows_.push_back({depth, row, cut_middle(printable(name)), "undefined", true, true});
    }
    if (symbols > kSymbolsShown) {
      rows_.push_back(
          {depth, row, fmt::format("{} more undefined", symbols - kSymbolsShown), "", false, true});
    }
  }

  const Resolution& resolution_;
  std::string root_;
  std::map<std::string, std::vector<const LoadedLibrary*>> children_;
  std::set<std::string> leads_;
  std::set<std::string> visited_;
  std::vector<Row> rows_;
};

int text_width(const std::string& text) {
  return static_cast<int>(static_cast<double>(text.size()) * kCharacterWidth);
}

std::string row_markup(const Row& row, size_t index) {
  const int x = kMargin + row.depth * kIndent;
  const int y = kMargin + static_cast<int>(index) * kRowHeight;
  const int middle = y + kBoxHeight / 2;
  const char* fails = row.fails ? " fails" : "";
  const int box_width = text_width(row.text) + 16;
  std::string svg;
  if (row.parent >= 0) {
    const int from_x = kMargin + (row.depth - 1) * kIndent + 12;
    const int from_y = kMargin + row.parent * kRowHeight + kBoxHeight;
    svg += fmt::format("<path class=\"edge{}\" d=\"M{} {}V{}H{}\"/>", fails, from_x, from_y, middle,
                       x);
  }
  if (row.box) {
    svg +=
        fmt::format("<rect class=\"box{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>",
                    fails, x, y, box_width, kBoxHeight);
  }
  svg += fmt::format("<text{} x=\"{}\" y=\"{}\">{}</text>",
                     row.fails ? " class=\"fails\"" : (row.box ? "" : " class=\"quiet\""), x + 8,
                     middle + 5, escape_markup(row.text));
  if (!row.note.empty()) {
    svg += fmt::format("<text class=\"{}\" x=\"{}\" y=\"{}\">{}{}</text>",
                       row.fails ? "fails" : "quiet", x + box_width + 8, middle + 5,
                       row.fails ? "\xE2\x9C\x97 " : "", escape_markup(row.note));
  }
  return svg;
}

}  // namespace

std::string dependency_picture(const std::string& path, const Resolution& resolution,
                               const std::string& element_id) {
  if (resolution.missing.empty() && resolution.undefined.empty() && resolution.versions.empty()) {
    return "";
  }
  const std::vector<Row> rows = Tree(path, resolution).rows();
  int width = 0;
  std::string body;
  std::vector<std::string> failures;
  // Failing edges last, so that they lie on top of the others.
  for (const bool fails : {false, true}) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const Row& row = rows[i];
      if (row.fails != fails) continue;
      width = std::max(width, 2 * kMargin + row.depth * kIndent + text_width(row.text) + 32 +
                                  text_width(row.note) + 16);
      body += row_markup(row, i);
      if (fails && row.box) failures.push_back(row.text + " " + row.note);
    }
  }
  const int height = 2 * kMargin + static_cast<int>(rows.size()) * kRowHeight - 12;
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\"><svg id=\"{0}\" role=\"img\" "
      "aria-labelledby=\"{0}-title {0}-text\" width=\"{1}\" height=\"{2}\" "
      "viewBox=\"0 0 {1} {2}\" xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{0}-title\">What "
      "{3} loads</title><desc id=\"{0}-text\">{4}</desc>{5}</svg></div>\n",
      escape_markup(element_id), width, height, escape_markup(base_name(path)),
      escape_markup(join(failures, "; ")), body);
}

}  // namespace ssmend
