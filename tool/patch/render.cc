#include "patch/render.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <vector>

#include "base/text.h"

namespace ssmend {
namespace {

struct Piece {
  bool is_variable = false;
  std::string text;  // literal text, or the metavariable's name
};

std::vector<Piece> pieces_of(std::string_view text) {
  std::vector<Piece> pieces;
  std::string literal;
  for (size_t i = 0; i < text.size();) {
    size_t name = i;
    while (name < text.size() && name < i + 2 && text[name] == '$') ++name;
    size_t end = name;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_'))
      ++end;
    if (name == i || end == name) {
      literal += text[i++];
      continue;
    }
    if (!literal.empty()) pieces.push_back({false, std::move(literal)});
    literal.clear();
    pieces.push_back({true, std::string(text.substr(name, end - name))});
    i = end;
  }
  if (!literal.empty()) pieces.push_back({false, std::move(literal)});
  return pieces;
}

// White space and comments around an argument of the matched call.
struct Surroundings {
  std::string lead;   // from "(" or "," to the argument
  std::string trail;  // from the argument to "," or ")"
};

class Renderer {
 public:
  Renderer(const RuleEdit& edit, const PatternMatch& match, const SyntaxTree& tree,
           const LocalNames& names)
      : edit_(edit), match_(match), tree_(tree), names_(names) {
    collect_surroundings();
    hand_over_dropped_comments();
  }

  std::string run() {
    for (const Piece& piece : pieces_of(edit_.replace)) {
      if (piece.is_variable) {
        write_variable(piece.text);
      } else {
        write_literal(piece.text);
      }
    }
    out_ += pending_;
    return out_;
  }

 private:
  void collect_surroundings() {
    int call = match_.node;
    if (!tree_.is(call, "call")) return;
    int arguments = tree_.child_by_field(call, "arguments");
    if (!tree_.is(arguments, "argument_list")) return;
    std::vector<int> children = tree_.meaningful_children(arguments);
    for (size_t i = 1; i + 1 < children.size(); ++i) {
      if (!tree_[children[i]].named) continue;
      Surroundings around;
      around.lead = between(tree_[children[i - 1]].end, tree_[children[i]].start);
      uint32_t next = tree_[children[i + 1]].start;
      around.trail = between(tree_[children[i]].end, next);
      bool trailing_comma = tree_.is(children[i + 1], ",") && i + 3 == children.size();
      if (trailing_comma) {
        around.trail += between(tree_[children[i + 1]].end, tree_[children[i + 2]].start);
      }
      for (const auto& [name, node] : match_.captures) {
        if (node != children[i]) continue;
        order_.push_back(name);
        around_[name] = around;
      }
    }
  }

  // The metavariable of the match whose place a metavariable of the template takes.
  [[nodiscard]] std::string place_of(const std::string& name) const {
    auto derived = edit_.derive.find(name);
    return derived == edit_.derive.end() ? name : derived->second.from;
  }

  void hand_over_dropped_comments() {
    std::set<std::string> used;
    for (const Piece& piece : pieces_of(edit_.replace)) {
      if (piece.is_variable) used.insert(place_of(piece.text));
    }
    std::string carried;
    std::string last_used;
    for (const std::string& name : order_) {
      Surroundings& around = around_[name];
      if (used.contains(name)) {
        around.lead = carried + around.lead;
        carried.clear();
        last_used = name;
      } else {
        if (around.lead.find('#') != std::string::npos) carried += around.lead;
        if (around.trail.find('#') != std::string::npos) carried += around.trail;
      }
    }
    if (!carried.empty() && !last_used.empty()) {
      around_[last_used].trail = carried + around_[last_used].trail;
    } else if (!order_.empty() && !last_used.empty() && order_.back() != last_used) {
      // The line break before the closing bracket belonged to the argument that went.
      around_[last_used].trail += around_[order_.back()].trail;
    }
  }

  [[nodiscard]] std::string between(uint32_t start, uint32_t end) const {
    return tree_.text.substr(start, end - start);
  }

  // A comment or line break after an argument goes before the bracket or comma that follows.
  void write_literal(const std::string& text) {
    size_t stop = pending_.empty() ? std::string::npos : text.find_first_of(",)");
    if (stop == std::string::npos) {
      out_ += text;
      return;
    }
    out_ += text.substr(0, stop) + pending_ + text.substr(stop);
    pending_.clear();
  }

  void write_variable(const std::string& name) {
    std::string place = place_of(name);
    size_t separator = out_.find_last_of("(,");
    std::string before;
    if (separator != std::string::npos) before = trim(std::string_view(out_).substr(separator + 1));
    // A closing bracket since then: the metavariable stands outside the argument list.
    bool is_argument = separator != std::string::npos && before.find(')') == std::string::npos;
    auto around = around_.find(place);
    if (is_argument && around != around_.end() && written_.insert(place).second) {
      out_ = out_.substr(0, separator + 1) + around->second.lead + before + text_of(name);
      pending_ += around->second.trail;
      return;
    }
    out_ += text_of(name);
  }

  [[nodiscard]] std::string text_of(const std::string& name) const {
    auto derived = edit_.derive.find(name);
    if (derived != edit_.derive.end()) return derived_text(derived->second);
    auto capture = match_.captures.find(name);
    if (capture != match_.captures.end()) {
      std::string_view kind = tree_[capture->second].kind;
      std::string text(tree_.text_of(capture->second));
      bool weak =
          kind == "conditional_expression" || kind == "lambda" || kind == "named_expression";
      return weak ? "(" + text + ")" : text;
    }
    auto rest = match_.rests.find(name);
    if (rest != match_.rests.end()) {
      if (rest->second.empty()) return {};
      return between(tree_[rest->second.front()].start, tree_[rest->second.back()].end);
    }
    auto local = names_.find(name);
    return local == names_.end() ? name : local->second;
  }

  [[nodiscard]] std::string derived_text(const DerivedText& derived) const {
    auto from = match_.captures.find(derived.from);
    if (from == match_.captures.end()) return {};
    std::string_view text = tree_.text_of(from->second);
    for (const DerivedText::Case& one : derived.cases) {
      if (!one.is.empty() && text != one.is) continue;
      std::string result;
      for (const Piece& piece : pieces_of(one.text)) {
        result += piece.is_variable ? text_of(piece.text) : piece.text;
      }
      return result;
    }
    return {};
  }

  const RuleEdit& edit_;
  const PatternMatch& match_;
  const SyntaxTree& tree_;
  const LocalNames& names_;
  std::vector<std::string> order_;  // captured arguments in the order of the call
  std::map<std::string, Surroundings> around_;
  std::set<std::string> written_;
  std::string out_;
  std::string pending_;
};

// Kinds that bind weaker than a call and need brackets inside a larger expression.
bool is_weak(std::string_view text) {
  Result<SyntaxTree> tree = parse_python(std::string(text));
  if (!tree || tree->first_error_line != 0) return false;
  std::vector<int> statements = tree->meaningful_children(0);
  if (statements.size() != 1 || !tree->is(statements.front(), "expression_statement")) return false;
  std::vector<int> inside = tree->meaningful_children(statements.front());
  if (inside.size() != 1) return false;
  static const std::set<std::string_view> kWeak = {"boolean_operator", "conditional_expression",
                                                   "not_operator", "comparison_operator", "lambda"};
  return kWeak.contains((*tree)[inside.front()].kind);
}

bool takes_any_expression(std::string_view kind) {
  static const std::set<std::string_view> kKinds = {
      "if_statement",     "elif_clause",          "while_statement",
      "argument_list",    "assignment",           "return_statement",
      "assert_statement", "expression_statement", "parenthesized_expression"};
  return kKinds.contains(kind);
}

}  // namespace

std::string render(const RuleEdit& edit, const PatternMatch& match, const SyntaxTree& tree,
                   const LocalNames& names) {
  std::string text = Renderer(edit, match, tree, names).run();
  int parent = tree[match.node].parent;
  if (parent >= 0 && !takes_any_expression(tree[parent].kind) && is_weak(text)) {
    return "(" + text + ")";
  }
  return text;
}

}  // namespace ssmend
