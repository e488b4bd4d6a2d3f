#include "patch/matching.h"

#include <algorithm>
#include <set>

#include "base/sha256.h"
#include "base/text.h"
#include "patch/guard.h"
#include "patch/render.h"

namespace ssmend {
namespace {

struct Found {
  const RuleEdit* edit = nullptr;
  PatternMatch match;
  bool native = false;  // right as it stands for the chosen variant
};

std::string one_line(std::string_view text, size_t limit = 72) {
  std::string out;
  for (char byte : text) {
    bool space = byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
    if (space && (out.empty() || out.back() == ' ')) continue;
    out += space ? ' ' : byte;
  }
  if (out.size() > limit) out = out.substr(0, limit - 3) + "...";
  return printable(out);
}

class RuleRun {
 public:
  RuleRun(const RuleDecision& decision, const ParsedFile& file)
      : decision_(decision), rules_(*decision.rules), tree_(file.tree), scopes_(file.scopes) {
    for (const auto& [name, binding] : rules_.bind) {
      bound_[name] = binding.names;
      names_[name] = binding.fallback;
      for (const std::string& qualified : binding.names) {
        std::string local = scopes_.module_name_of(qualified);
        if (local.empty()) continue;
        names_[name] = local;
        break;
      }
    }
  }

  std::optional<RuleOutcome> run() {
    find_done_functions();
    find_matches();
    plan_guards_and_renames();
    bool needed = guard_trigger_ > 0 || !rename_edits_.empty();
    bool wrong_call = false;
    for (const Found& one : found_) wrong_call |= one.edit->trigger && !one.native;
    needed |= wrong_call;
    std::string unknown_use = refused_call();
    if (unknown_use.empty()) unknown_use = leftover_use();
    if (!needed && unknown_use.empty()) return unneeded();
    if (decision_.when.answer != Decision::Answer::kYes)
      return outcome(PatchState::kNotNeeded, decision_.when.reason);
    if (!rules_.variants.empty() && decision_.variant == nullptr)
      return outcome(PatchState::kRefused, decision_.no_variant);
    if (!unknown_use.empty()) return outcome(PatchState::kRefused, unknown_use);
    std::string by_hand = work_of_another_hand(wrong_call);
    if (!by_hand.empty()) return outcome(PatchState::kPartlyByHand, by_hand);
    if (!guard_problem_.empty()) return outcome(PatchState::kRefused, guard_problem_);
    return rewrite();
  }

 private:
  static RuleOutcome outcome(PatchState state, std::string reason) {
    RuleOutcome result;
    result.state = state;
    result.reason = std::move(reason);
    return result;
  }

  std::optional<RuleOutcome> unneeded() {
    if (decision_.stale_counts && decision_.variant != nullptr && helpers_are_stale()) {
      return outcome(PatchState::kRefused, rules_.stale_says);
    }
    if (already_ > 0 || !done_functions_.empty()) return outcome(PatchState::kAlreadyApplied, "");
    for (const Found& one : found_) {
      if (one.native)
        return outcome(PatchState::kNotNeeded, "the calls are right for the installed binary");
    }
    return std::nullopt;
  }

  bool helpers_are_stale() {
    std::vector<Found> outside;
    outside.swap(found_);
    for (int function : done_functions_) {
      for (int node = function; node < tree_[function].subtree_end; ++node) match_node(node);
    }
    found_.swap(outside);
    return std::any_of(outside.begin(), outside.end(),
                       [](const Found& one) { return !one.native; });
  }

  void find_done_functions() {
    for (int node = 0; node < static_cast<int>(tree_.nodes.size()); ++node) {
      if (!tree_.is(node, "function_definition")) continue;
      int name = tree_.child_by_field(node, "name");
      if (name >= 0 && std::count(rules_.done_defines.begin(), rules_.done_defines.end(),
                                  tree_.text_of(name)) > 0) {
        done_functions_.insert(node);
      }
    }
  }

  bool passes(const RuleEdit& edit, const PatternMatch& match) const {
    for (const auto& [name, test] : edit.where) {
      auto capture = match.captures.find(name);
      if (capture == match.captures.end()) return false;
      std::string text(tree_.text_of(capture->second));
      auto equals = [&](const std::string& one) { return one == text; };
      auto globs = [&](const std::string& one) { return glob_match(one, text); };
      if (!test.is.empty() && std::none_of(test.is.begin(), test.is.end(), equals)) return false;
      if (std::any_of(test.is_not.begin(), test.is_not.end(), equals)) return false;
      if (!test.glob.empty() && std::none_of(test.glob.begin(), test.glob.end(), globs))
        return false;
    }
    return true;
  }

  bool in_variant(const RuleEdit& edit) const {
    if (edit.variants.empty()) return true;
    return decision_.variant != nullptr &&
           std::count(edit.variants.begin(), edit.variants.end(), decision_.variant->id) > 0;
  }

  bool is_already(const RuleEdit& edit, int node) const {
    for (const Pattern& pattern : edit.already) {
      int up = node;
      for (int level = 0; level < 4 && up >= 0; ++level, up = tree_[up].parent) {
        PatternMatch unused;
        if (match_at(pattern, tree_, scopes_, bound_, up, unused)) return true;
      }
    }
    return false;
  }

  void find_matches() {
    for (int node = 0; node < static_cast<int>(tree_.nodes.size());) {
      if (done_functions_.contains(node)) {
        node = tree_[node].subtree_end;
        continue;
      }
      node = match_node(node) ? tree_[node].subtree_end : node + 1;
    }
  }

  int statement_of(int node) const {
    while (node > 0 && !tree_[node].kind.ends_with("_statement")) node = tree_[node].parent;
    return node;
  }

  bool match_node(int node) {
    if (!tree_[node].named) return false;
    for (const RuleEdit& edit : rules_.edits) {
      // Kinds are the grammar's own strings: the same kind is the same address.
      if (edit.match.tree[edit.match.root].kind.data() != tree_[node].kind.data()) continue;
      if (!in_variant(edit)) continue;
      if (edit.module_level && tree_[statement_of(node)].parent != 0) continue;
      Found found;
      if (!match_at(edit.match, tree_, scopes_, bound_, node, found.match) ||
          !passes(edit, found.match))
        continue;
      if (is_already(edit, node)) {
        ++already_;
        return false;
      }
      found.edit = &edit;
      found.native =
          decision_.variant != nullptr && std::count(decision_.variant->native.begin(),
                                                     decision_.variant->native.end(), edit.id) > 0;
      found_.push_back(std::move(found));
      return true;
    }
    return false;
  }

  void plan_guards_and_renames() {
    static const RuleTexts kNoTexts;
    for (const RuleGuard& guard : rules_.guards) {
      GuardEdits planned =
          plan_guard(guard, tree_, scopes_,
                     decision_.variant == nullptr ? kNoTexts : decision_.variant->texts);
      if (guard.trigger) {
        guard_trigger_ += planned.imports;
        already_ += planned.already;
      }
      if (guard_problem_.empty()) guard_problem_ = planned.problem;
      guard_edits_.insert(guard_edits_.end(), planned.edits.begin(), planned.edits.end());
    }
    for (const RuleRename& rename : rules_.renames) {
      for (int node = 0; node < static_cast<int>(tree_.nodes.size()); ++node) {
        if (tree_.is(node, "import_from_statement")) rename_import(rename, node);
      }
    }
  }

  void rename_import(const RuleRename& rename, int statement) {
    int module = tree_.child_by_field(statement, "module_name");
    if (module < 0 || tree_.text_of(module) != rename.module) return;
    for (int child : tree_.children(statement)) {
      bool aliased = tree_.is(child, "aliased_import");
      int name_node = aliased ? tree_.child_by_field(child, "name") : child;
      if (child == module || name_node < 0 || !tree_.is(name_node, "dotted_name")) continue;
      std::string name(tree_.text_of(name_node));
      for (const auto& [old_name, new_name] : rename.names) {
        if (name == old_name) {
          std::string text = aliased ? new_name : new_name + " as " + old_name;
          rename_edits_.push_back({tree_[name_node].start, tree_[name_node].end, text, rename.id});
        }
        bool done = aliased && name == new_name &&
                    tree_.text_of(tree_.child_by_field(child, "alias")) == old_name;
        if (done) ++already_;
      }
    }
  }

  std::string refused_call() const {
    for (const Found& one : found_) {
      if (one.edit->refuse.empty()) continue;
      return "line " + std::to_string(tree_.line_of(one.match.node)) + ": " + one.edit->refuse;
    }
    return {};
  }

  // A use of the module that neither an edit nor `allow` accounts for, as a reason; empty: none.
  std::string leftover_use() const {
    auto wanted = bound_.find(rules_.leftover);
    if (wanted == bound_.end()) return {};
    std::set<int> covered;
    for (const Found& one : found_) covered.insert(one.match.node);
    for (int node = 0; node < static_cast<int>(tree_.nodes.size()); ++node) {
      if (done_functions_.contains(node)) {
        node = tree_[node].subtree_end - 1;
        continue;
      }
      if (!tree_.is(node, "identifier") || !stands_for(node, wanted->second)) continue;
      if (is_accounted_for(node, covered)) continue;
      return describe_use(node);
    }
    return {};
  }

  bool stands_for(int node, const std::vector<std::string>& qualified) const {
    std::string name = scopes_.qualified_name(node);
    if (name.empty()) return false;
    for (const std::string& one : qualified) {
      if (name == one || name.starts_with(one + ".")) return true;
    }
    return false;
  }

  bool is_accounted_for(int node, const std::set<int>& covered) const {
    std::string_view role = tree_[node].field;
    int parent = tree_[node].parent;
    if (role == "name" || role == "attribute" || tree_.is(parent, "keyword_argument")) {
      if (role != "value") return true;  // not a use of the variable
    }
    if (tree_.ancestor(node, "import_statement") >= 0 ||
        tree_.ancestor(node, "import_from_statement") >= 0 ||
        tree_.ancestor(node, "global_statement") >= 0) {
      return true;
    }
    for (int up = node; up >= 0; up = tree_[up].parent) {
      if (covered.contains(up)) return true;
      int above = tree_[up].parent;
      if (tree_.is(above, "assignment") && tree_[up].field == "left")
        return true;  // gives it a value
      // Another name for it, whose uses are looked at in their turn.
      if (tree_.is(above, "assignment") && tree_[up].field == "right" &&
          !scopes_.qualified_name(tree_.child_by_field(above, "left")).empty()) {
        return true;
      }
      for (const Pattern& pattern : rules_.allow) {
        PatternMatch unused;
        if (match_at(pattern, tree_, scopes_, bound_, up, unused)) return true;
      }
      if (tree_[up].kind.ends_with("_statement")) break;
    }
    return false;
  }

  std::string describe_use(int node) const {
    int call = node;
    while (tree_.is(tree_[call].parent, "attribute")) call = tree_[call].parent;
    std::string text =
        "line " + std::to_string(tree_.line_of(node)) + ": " + one_line(tree_.text_of(call));
    int parent = tree_[call].parent;
    if (tree_.is(parent, "call") && tree_[call].field == "function") {
      int count = 0;
      int arguments = tree_.child_by_field(parent, "arguments");
      for (int child : tree_.meaningful_children(arguments)) count += tree_[child].named ? 1 : 0;
      text += " with " + count_of(static_cast<size_t>(count), "argument");
    }
    return text + ": " + rules_.leftover_says;
  }

  std::string work_of_another_hand(bool wrong_call) const {
    if (!wrong_call) return {};
    for (const auto& [name, binding] : rules_.bind) {
      if (binding.rebound.empty()) continue;
      for (const NameBinding& one : scopes_.module_bindings(names_.at(name))) {
        bool other =
            one.kind == NameBinding::Kind::kDefinition || one.kind == NameBinding::Kind::kOther;
        if (!other) continue;
        return "line " + std::to_string(tree_.line_of(one.node)) + ": " + names_.at(name) + " " +
               binding.rebound;
      }
    }
    if (!done_functions_.empty()) {
      return "line " + std::to_string(tree_.line_of(*done_functions_.begin())) +
             ": the functions that the repair adds are there, and calls that it would have changed "
             "as well";
    }
    std::set<std::string> ids;
    for (const Found& one : found_) ids.insert(one.edit->id);
    auto any = [&](const std::vector<std::string>& wanted) {
      return std::any_of(wanted.begin(), wanted.end(),
                         [&](const std::string& id) { return ids.contains(id); });
    };
    if (!rules_.by_hand.with.empty() && any(rules_.by_hand.these) && !any(rules_.by_hand.with)) {
      return rules_.by_hand.say;
    }
    return {};
  }

  RuleOutcome rewrite() {
    std::vector<TextEdit> edits = guard_edits_;
    edits.insert(edits.end(), rename_edits_.begin(), rename_edits_.end());
    std::map<std::string, int> counts;
    for (const Found& one : found_) {
      ++counts[one.edit->id];
      if (!one.edit->has_replace) continue;
      const SyntaxNode& node = tree_[one.match.node];
      edits.push_back(
          {node.start, node.end, render(*one.edit, one.match, tree_, names_), one.edit->id});
    }
    auto expected = rules_.expect.find(sha256_hex(tree_.text));
    if (expected != rules_.expect.end()) {
      for (const auto& [id, count] : expected->second) {
        if (counts[id] == count) continue;
        return outcome(PatchState::kFailed, "expected " + std::to_string(count) + " of edit " + id +
                                                " in this known file, found " +
                                                std::to_string(counts[id]));
      }
    }
    std::sort(edits.begin(), edits.end(),
              [](const TextEdit& a, const TextEdit& b) { return a.start < b.start; });
    RuleOutcome result = outcome(PatchState::kApplied, "");
    uint32_t from = 0;
    for (const TextEdit& edit : edits) {
      if (edit.start < from)
        return outcome(PatchState::kFailed,
                       "two edits overlap at line " + std::to_string(tree_.line_at(edit.start)));
      std::string before = tree_.text.substr(edit.start, edit.end - edit.start);
      result.after += tree_.text.substr(from, edit.start - from) + edit.text;
      result.edits.push_back({rules_.id, edit.id, tree_.line_at(edit.start), before, edit.text});
      from = edit.end;
    }
    result.after += tree_.text.substr(from);
    return result;
  }

  const RuleDecision& decision_;
  const RuleSet& rules_;
  const SyntaxTree& tree_;
  const NameScopes& scopes_;
  BoundNames bound_;
  LocalNames names_;
  std::set<int> done_functions_;
  std::vector<Found> found_;
  std::vector<TextEdit> guard_edits_;
  std::vector<TextEdit> rename_edits_;
  std::string guard_problem_;
  int guard_trigger_ = 0;
  int already_ = 0;
};

}  // namespace

RuleDecision decide_rule_set(const RuleSet& rules, const PatchFacts& facts) {
  RuleDecision decision;
  decision.rules = &rules;
  decision.when = decide(rules.when, facts);
  decision.variant = choose_variant(rules, facts, decision.no_variant);
  decision.stale_counts =
      !rules.stale_when.empty() && decide(rules.stale_when, facts).answer == Decision::Answer::kYes;
  return decision;
}

std::optional<RuleOutcome> try_rule_set(const RuleDecision& decision, const ParsedFile& file) {
  return RuleRun(decision, file).run();
}

}  // namespace ssmend
