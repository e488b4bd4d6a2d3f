#include "patch/pattern.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr std::string_view kOne = "mv_one_";    // `$x`
constexpr std::string_view kRest = "mv_rest_";  // `$$x`

bool is_name_byte(char byte) {
  return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_';
}

// Everything that matters for comparison: no comments, no comma before a closing bracket.
std::vector<int> compared_children(const SyntaxTree& tree, int node) {
  std::vector<int> children = tree.meaningful_children(node);
  for (size_t i = 0; i + 1 < children.size(); ++i) {
    std::string_view next = tree[children[i + 1]].kind;
    if (tree.is(children[i], ",") && (next == ")" || next == "]" || next == "}")) {
      children.erase(children.begin() + static_cast<long>(i));
      break;
    }
  }
  return children;
}

class Matcher {
 public:
  Matcher(const Pattern& pattern, const SyntaxTree& tree, const NameScopes& scopes,
          const BoundNames& bound, PatternMatch& match)
      : pattern_(pattern), tree_(tree), scopes_(scopes), bound_(bound), match_(match) {}

  bool same(int wanted, int node) {
    std::string name = metavariable_of(pattern_, wanted);
    if (!name.empty() && !is_rest_of(pattern_, wanted)) return capture(name, node);
    if (pattern_.tree.is(wanted, "attribute") || pattern_.tree.is(wanted, "identifier")) {
      std::string bound_name;
      std::string rest = attribute_chain(wanted, bound_name);
      if (!bound_name.empty()) return is_bound(bound_name, rest, node);
    }
    if (pattern_.tree[wanted].kind != tree_[node].kind) return false;
    if (pattern_.tree.is(wanted, "string")) {
      return string_content(pattern_.tree, wanted) == string_content(tree_, node);
    }
    std::vector<int> left = compared_children(pattern_.tree, wanted);
    std::vector<int> right = compared_children(tree_, node);
    if (left.empty() || right.empty()) {
      return left.empty() && right.empty() && pattern_.tree.text_of(wanted) == tree_.text_of(node);
    }
    return same_lists(left, right);
  }

 private:
  // "$CC.causal_conv1d_fwd": bound_name "CC", result ".causal_conv1d_fwd".
  std::string attribute_chain(int wanted, std::string& bound_name) const {
    if (pattern_.tree.is(wanted, "identifier")) {
      std::string name = metavariable_of(pattern_, wanted);
      if (!name.empty() && bound_.contains(name)) bound_name = name;
      return {};
    }
    int object = pattern_.tree.child_by_field(wanted, "object");
    int attribute = pattern_.tree.child_by_field(wanted, "attribute");
    if (object < 0 || attribute < 0) return {};
    if (!pattern_.tree.is(object, "attribute") && !pattern_.tree.is(object, "identifier"))
      return {};
    std::string rest = attribute_chain(object, bound_name);
    if (bound_name.empty()) return {};
    return rest + "." + std::string(pattern_.tree.text_of(attribute));
  }

  bool is_bound(const std::string& name, const std::string& rest, int node) {
    // Most calls are of other functions: the last name tells, before any scope is looked at.
    if (!rest.empty() && tree_.is(node, "attribute")) {
      int last = tree_.child_by_field(node, "attribute");
      if (last < 0 || tree_.text_of(last) != std::string_view(rest).substr(rest.rfind('.') + 1)) {
        return false;
      }
    }
    std::string qualified = scopes_.qualified_name(node);
    if (qualified.empty()) return false;
    const std::vector<std::string>& wanted = bound_.at(name);
    bool found = std::any_of(wanted.begin(), wanted.end(),
                             [&](const std::string& one) { return qualified == one + rest; });
    if (found && !match_.captures.contains(name)) {
      // The object the name stands for, without the attributes that the pattern spells out.
      int object = node;
      for (size_t i = 0; i < rest.size(); ++i) {
        if (rest[i] == '.' && tree_.is(object, "attribute")) {
          object = tree_.child_by_field(object, "object");
        }
      }
      match_.captures[name] = object;
    }
    return found;
  }

  bool capture(const std::string& name, int node) {
    auto bound = bound_.find(name);
    if (bound != bound_.end()) return is_bound(name, "", node);
    std::string_view kind = tree_[node].kind;
    if (!tree_[node].named || kind == "keyword_argument" || kind == "list_splat" ||
        kind == "dictionary_splat") {
      return false;  // the number and order of the arguments would not be known
    }
    auto [found, fresh] = match_.captures.emplace(name, node);
    return fresh || tree_.text_of(found->second) == tree_.text_of(node);
  }

  bool same_lists(const std::vector<int>& left, const std::vector<int>& right) {
    size_t at = 0;
    for (size_t i = 0; i < left.size(); ++i, ++at) {
      int wanted = left[i];
      if (is_rest_of(pattern_, wanted)) {
        // Takes all that is left but what follows it in the pattern (the closing bracket).
        size_t after = left.size() - i - 1;
        if (right.size() < at + after) return false;
        std::vector<int> taken(right.begin() + static_cast<long>(at),
                               right.end() - static_cast<long>(after));
        at = right.size() - after - 1;
        std::erase_if(taken, [&](int node) { return tree_.is(node, ","); });
        match_.rests[metavariable_of(pattern_, wanted)] = taken;
        continue;
      }
      // `f($a, $$rest)` also means `f(x)`: the comma goes with the rest.
      bool comma_of_rest =
          pattern_.tree.is(wanted, ",") && i + 1 < left.size() && is_rest_of(pattern_, left[i + 1]);
      if (comma_of_rest && (at >= right.size() || !tree_.is(right[at], ","))) {
        --at;
        continue;
      }
      if (at >= right.size() || !same(wanted, right[at])) return false;
    }
    return at == right.size();
  }

  static std::string string_content(const SyntaxTree& tree, int node) {
    std::string_view text = tree.text_of(node);
    size_t quote = text.find_first_of("\"'");
    if (quote == std::string_view::npos) return std::string(text);
    std::string_view prefix = text.substr(0, quote);
    char mark = text[quote];
    size_t width = text.substr(quote).starts_with(std::string(3, mark)) ? 3 : 1;
    if (text.size() < quote + 2 * width) return std::string(text);
    return to_lower(prefix) + ":" +
           std::string(text.substr(quote + width, text.size() - quote - 2 * width));
  }

  const Pattern& pattern_;
  const SyntaxTree& tree_;
  const NameScopes& scopes_;
  const BoundNames& bound_;
  PatternMatch& match_;
};

}  // namespace

std::string metavariable_of(const Pattern& pattern, int node) {
  if (!pattern.tree.is(node, "identifier") && !pattern.tree.is(node, "expression_statement"))
    return {};
  std::string_view text = pattern.tree.text_of(node);
  if (!std::all_of(text.begin(), text.end(), is_name_byte)) return {};
  if (text.starts_with(kOne)) return std::string(text.substr(kOne.size()));
  if (text.starts_with(kRest)) return std::string(text.substr(kRest.size()));
  return {};
}

bool is_rest_of(const Pattern& pattern, int node) {
  return pattern.tree.text_of(node).starts_with(kRest) && !metavariable_of(pattern, node).empty();
}

Result<Pattern> compile_pattern(const std::string& fragment) {
  std::string python;
  for (size_t i = 0; i < fragment.size(); ++i) {
    if (fragment[i] != '$') {
      python += fragment[i];
      continue;
    }
    bool rest = i + 1 < fragment.size() && fragment[i + 1] == '$';
    size_t name = i + (rest ? 2 : 1);
    if (name >= fragment.size() || !is_name_byte(fragment[name])) {
      return Error("pattern `" + fragment + "`: `$` without a name at " + std::to_string(i));
    }
    python += rest ? kRest : kOne;
    i = name - 1;
  }
  Result<SyntaxTree> tree = parse_python(python);
  if (!tree) return std::move(tree).error();
  Pattern pattern;
  pattern.tree = std::move(*tree);
  std::vector<int> statements = pattern.tree.meaningful_children(0);
  if (pattern.tree.first_error_line != 0 || statements.size() != 1) {
    return Error("pattern `" + fragment + "`: no single Python expression or statement");
  }
  pattern.root = statements.front();
  if (pattern.tree.is(pattern.root, "expression_statement")) {
    std::vector<int> inside = pattern.tree.meaningful_children(pattern.root);
    if (inside.size() == 1) pattern.root = inside.front();
  }
  return pattern;
}

bool match_at(const Pattern& pattern, const SyntaxTree& tree, const NameScopes& scopes,
              const BoundNames& bound, int node, PatternMatch& match) {
  match = PatternMatch();
  match.node = node;
  return Matcher(pattern, tree, scopes, bound, match).same(pattern.root, node);
}

}  // namespace ssmend
