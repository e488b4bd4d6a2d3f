#include "patch/guard.h"

#include <algorithm>
#include <set>

#include "base/text.h"

namespace ssmend {
namespace {

constexpr std::string_view kIndent = "    ";

bool is_import(const SyntaxTree& tree, int node) {
  return tree.is(node, "import_statement") || tree.is(node, "import_from_statement");
}

// The module an import statement names (the first one of `import a, b`).
std::string imported_module(const SyntaxTree& tree, int node) {
  int module = tree.child_by_field(node, "module_name");
  if (module < 0) module = tree.child_by_field(node, "name");
  if (tree.is(module, "aliased_import")) module = tree.child_by_field(module, "name");
  return module < 0 ? std::string() : std::string(tree.text_of(module));
}

// Names that an import statement gives a value.
std::vector<std::string> bound_names(const SyntaxTree& tree, int node) {
  std::vector<std::string> names;
  int module = tree.child_by_field(node, "module_name");
  for (int child : tree.children(node)) {
    if (child == module) continue;
    if (tree.is(child, "aliased_import")) {
      int alias = tree.child_by_field(child, "alias");
      if (alias >= 0) names.emplace_back(tree.text_of(alias));
    } else if (tree.is(child, "dotted_name")) {
      std::string name(tree.text_of(child));
      names.push_back(module < 0 ? name.substr(0, name.find('.')) : name);
    }
  }
  return names;
}

// Names a handler sets to None; false where it does anything else.
bool none_names(const SyntaxTree& tree, int block, std::set<std::string>& names) {
  for (int statement : tree.meaningful_children(block)) {
    if (tree.is(statement, "pass_statement")) continue;
    std::vector<int> inside = tree.meaningful_children(statement);
    if (!tree.is(statement, "expression_statement") || inside.size() != 1 ||
        !tree.is(inside.front(), "assignment")) {
      return false;
    }
    int assignment = inside.front();
    while (true) {
      int left = tree.child_by_field(assignment, "left");
      for (int node = left; node < tree[left].subtree_end; ++node) {
        if (tree.is(node, "identifier")) names.emplace(tree.text_of(node));
      }
      int right = tree.child_by_field(assignment, "right");
      if (tree.is(right, "assignment")) {
        assignment = right;
        continue;
      }
      for (int node = right; node >= 0 && node < tree[right].subtree_end; ++node) {
        std::string_view kind = tree[node].kind;
        if (kind != "none" && kind != "," && kind != "expression_list" && kind != "tuple" &&
            kind != "(" && kind != ")" && kind != "None") {
          return false;
        }
      }
      break;
    }
  }
  return true;
}

std::string newline_of(std::string_view text) {
  size_t at = text.find_first_of("\r\n");
  if (at == std::string_view::npos || text[at] == '\n') return "\n";
  return text.substr(at).starts_with("\r\n") ? "\r\n" : "\r";
}

class GuardWriter {
 public:
  GuardWriter(const RuleGuard& guard, const SyntaxTree& tree, const NameScopes& scopes,
              const RuleTexts& texts)
      : guard_(guard),
        tree_(tree),
        scopes_(scopes),
        texts_(texts),
        newline_(newline_of(tree.text)) {}

  GuardEdits run() {
    for (int statement : tree_.meaningful_children(0)) {
      if (is_import(tree_, statement)) {
        if (const RuleGuard::Import* import = rule_for(statement)) wrap_bare(statement, *import);
        last_import_ = statement;
      } else if (tree_.is(statement, "try_statement")) {
        split_try(statement);
      }
    }
    add_missing();
    return std::move(result_);
  }

 private:
  [[nodiscard]] const RuleGuard::Import* rule_for(int import) const {
    std::string module = imported_module(tree_, import);
    for (const RuleGuard::Import& one : guard_.imports) {
      if (glob_match(one.module, module)) return &one;
    }
    return nullptr;
  }

  [[nodiscard]] uint32_t end_of_line(uint32_t offset) const {
    size_t end = tree_.text.find_first_of("\r\n", offset);
    return static_cast<uint32_t>(end == std::string::npos ? tree_.text.size() : end);
  }

  std::string handler_lines(const RuleGuard::Import* rule, const std::vector<std::string>& names,
                            bool bare) const {
    std::vector<std::string> lines;
    std::set<std::string> defined;
    if (rule != nullptr && !rule->handler.empty()) {
      for (const std::string& line : rule->handler) {
        bool is_text = line.size() > 2 && line.front() == '{' && line.back() == '}';
        auto text = is_text ? texts_.find(line.substr(1, line.size() - 2)) : texts_.end();
        if (text == texts_.end()) {
          lines.push_back(line);
        } else {
          lines.insert(lines.end(), text->second.begin(), text->second.end());
        }
      }
      defined.insert(rule->defines.begin(), rule->defines.end());
    } else if (rule != nullptr && bare && !rule->handler_each.empty()) {
      for (const std::string& name : names) {
        for (const std::string& line : rule->handler_each) {
          lines.push_back(replace_all(line, "$name", name));
        }
        defined.insert(name);
      }
    }
    for (const std::string& name : names) {
      if (!defined.contains(name)) lines.push_back(name + " = None");
    }
    std::string out;
    for (const std::string& line : lines) {
      out += line.empty() ? std::string(newline_) : std::string(kIndent) + line + newline_;
    }
    return out;
  }

  // "try: ... except ...: ..." with a final line break.
  std::string one_try(const std::string& import_text, const std::string& clause,
                      const std::string& handler) const {
    return "try:" + newline_ + import_text + newline_ + clause + ":" + newline_ + handler;
  }

  void wrap_bare(int statement, const RuleGuard::Import& rule) {
    uint32_t line_end = end_of_line(tree_[statement].end);
    std::string_view after = trim(
        std::string_view(tree_.text).substr(tree_[statement].end, line_end - tree_[statement].end));
    if (!after.empty() && !after.starts_with("#")) return;  // more statements on this line
    std::string text =
        one_try(std::string(kIndent) +
                    tree_.text.substr(tree_[statement].start, line_end - tree_[statement].start),
                "except " + rule.except, handler_lines(&rule, bound_names(tree_, statement), true));
    text.resize(text.size() - newline_.size());
    result_.edits.push_back({tree_[statement].start, line_end, text, guard_.id});
    result_.imports++;
    last_written_ = statement;
  }

  void split_try(int node) {
    int body = tree_.child_by_field(node, "body");
    int clause = -1;
    int clauses = 0;
    bool other_parts = false;
    for (int child : tree_.meaningful_children(node)) {
      if (tree_.is(child, "except_clause")) {
        clause = child;
        ++clauses;
      }
      other_parts |= tree_.is(child, "else_clause") || tree_.is(child, "finally_clause");
    }
    std::vector<int> imports;
    bool concerned = false;
    bool only_imports = true;
    for (int statement : tree_.meaningful_children(body)) {
      if (!is_import(tree_, statement)) {
        only_imports = false;
        continue;
      }
      imports.push_back(statement);
      concerned |= rule_for(statement) != nullptr;
    }
    if (!concerned) return;
    last_import_ = node;
    last_written_ = node;  // what is added goes below the guard, split or not
    if (!only_imports || clauses != 1 || other_parts) return;
    int block = -1;
    for (int child : tree_.children(clause)) {
      if (tree_.is(child, "block")) block = child;
    }
    if (block < 0) return;
    std::set<std::string> names;
    if (!none_names(tree_, block, names)) {
      count_defined(imports, block);
      return;
    }
    const RuleGuard::Import* only = imports.size() == 1 ? rule_for(imports.front()) : nullptr;
    if (imports.size() == 1 && only->handler.empty()) return;  // stands alone already
    write_split(node, clause, block, imports, names);
  }

  void count_defined(const std::vector<int>& imports, int block) {
    for (int statement : tree_.meaningful_children(block)) {
      int name = tree_.child_by_field(statement, "name");
      bool defines =
          tree_.is(statement, "class_definition") || tree_.is(statement, "function_definition");
      if (!defines || name < 0) continue;
      for (int import : imports) {
        std::vector<std::string> bound = bound_names(tree_, import);
        result_.already += std::count(bound.begin(), bound.end(), tree_.text_of(name)) > 0 ? 1 : 0;
      }
    }
  }

  void write_split(int node, int clause, int block, const std::vector<int>& imports,
                   const std::set<std::string>& none) {
    // "except ImportError": to the colon.
    uint32_t colon = tree_[block].start;
    for (int child : tree_.children(clause)) {
      if (tree_.is(child, ":")) colon = tree_[child].start;
    }
    std::string old_clause(trim(
        std::string_view(tree_.text).substr(tree_[clause].start, colon - tree_[clause].start)));
    bool import_errors_only =
        old_clause == "except ImportError" || old_clause == "except ModuleNotFoundError";
    uint32_t end = end_of_line(tree_[tree_.meaningful_children(block).back()].end);
    std::vector<std::string> loose;  // comments that belong to no import
    for (int comment = node; comment < static_cast<int>(tree_.nodes.size()); ++comment) {
      if (tree_[comment].start >= end) break;
      if (!tree_.is(comment, "comment")) continue;
      if (tree_[comment].start > end_of_line(tree_[imports.back()].end)) {
        loose.emplace_back(tree_.text_of(comment));
      }
    }
    std::set<std::string> bound;
    std::string text;
    uint32_t from = tree_[node].start;
    for (int import : imports) {
      const RuleGuard::Import* rule = rule_for(import);
      std::vector<std::string> names = bound_names(tree_, import);
      bound.insert(names.begin(), names.end());
      std::string body;
      for (int comment = node; tree_[comment].start < tree_[import].start; ++comment) {
        if (tree_.is(comment, "comment") && tree_[comment].start >= from) {
          body += std::string(kIndent) + std::string(tree_.text_of(comment)) + newline_;
        }
      }
      uint32_t line_end = end_of_line(tree_[import].end);
      body += std::string(kIndent) +
              tree_.text.substr(tree_[import].start, line_end - tree_[import].start);
      from = line_end;
      // Names that the old handler gave no value at all.
      bool unset =
          rule != nullptr && std::none_of(names.begin(), names.end(),
                                          [&](const auto& name) { return none.contains(name); });
      bool each = unset && !rule->handler_each.empty();
      std::string new_clause =
          rule != nullptr && (import_errors_only || each) ? "except " + rule->except : old_clause;
      std::string handler;
      bool is_last = import == imports.back();
      if (is_last) {
        for (const std::string& comment : loose)
          handler += std::string(kIndent) + comment + newline_;
        for (const std::string& name : none) {
          if (!bound.contains(name)) handler += std::string(kIndent) + name + " = None" + newline_;
        }
      }
      text += one_try(body, new_clause, handler + handler_lines(rule, names, each));
      result_.imports += rule != nullptr ? 1 : 0;
    }
    text.resize(text.size() - newline_.size());
    result_.edits.push_back({tree_[node].start, end, text, guard_.id});
  }

  void add_missing() {
    std::string text;
    for (const RuleGuard::Import& rule : guard_.imports) {
      if (rule.add.empty()) continue;
      Result<SyntaxTree> added = parse_python(rule.add);
      if (!added || added->first_error_line != 0) continue;
      std::vector<std::string> names = bound_names(*added, added->meaningful_children(0).front());
      bool missing = false;
      for (const std::string& name : names) {
        std::vector<NameBinding> bindings = scopes_.module_bindings(name);
        missing |= bindings.empty();
        for (const NameBinding& binding : bindings) {
          if (binding.kind != NameBinding::Kind::kImport &&
              binding.kind != NameBinding::Kind::kNone) {
            result_.problem = "line " + std::to_string(tree_.line_of(binding.node)) + " gives `" +
                              name + "` a value of its own";
          }
        }
      }
      if (!missing) continue;
      text += newline_ + one_try(std::string(kIndent) + rule.add, "except " + rule.except,
                                 handler_lines(&rule, names, true));
      text.resize(text.size() - newline_.size());
    }
    if (text.empty()) return;
    int after = last_written_ >= 0 ? last_written_ : last_import_;
    for (TextEdit& edit : result_.edits) {
      if (after >= 0 && edit.start == tree_[after].start) {
        edit.text += text;
        return;
      }
    }
    uint32_t at = after >= 0 ? end_of_line(tree_[after].end) : 0;
    if (after < 0) {
      result_.problem = "no import statement to add a guard to";
      return;
    }
    result_.edits.push_back({at, at, text, guard_.id});
  }

  const RuleGuard& guard_;
  const SyntaxTree& tree_;
  const NameScopes& scopes_;
  const RuleTexts& texts_;
  const std::string newline_;
  int last_import_ = -1;
  int last_written_ = -1;
  GuardEdits result_;
};

}  // namespace

GuardEdits plan_guard(const RuleGuard& guard, const SyntaxTree& tree, const NameScopes& scopes,
                      const RuleTexts& texts) {
  return GuardWriter(guard, tree, scopes, texts).run();
}

}  // namespace ssmend
