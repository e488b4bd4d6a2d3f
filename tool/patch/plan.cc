#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "base/text.h"
#include "patch/matching.h"
#include "patch/patch.h"

namespace ssmend {
namespace {

// The graver state of a file that several rule sets look at.
int weight(PatchState state) {
  switch (state) {
    case PatchState::kNotNeeded:
      return 0;
    case PatchState::kAlreadyApplied:
      return 1;
    case PatchState::kApplied:
      return 2;
    case PatchState::kPartlyByHand:
      return 3;
    case PatchState::kRefused:
      return 4;
    case PatchState::kFailed:
      return 5;
  }
  return 5;
}

// A glob fits the path from any of its folders on: "mamba_ssm/ops/x.py" also means the copy in a
// checkout, "fork/mamba_ssm/ops/x.py".
bool fits(const std::vector<std::string>& globs, const std::string& relative) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    return glob_match(glob, relative) || glob_match("*/" + glob, relative);
  });
}

bool concerns(const RuleSet& rules, const std::string& relative, const std::string& content) {
  if (fits(rules.never, relative)) return false;
  if (!rules.anywhere && !fits(rules.paths, relative)) return false;
  return std::any_of(rules.contains.begin(), rules.contains.end(), [&](const std::string& text) {
    return content.find(text) != std::string::npos;
  });
}

std::vector<std::string> comments_of(const SyntaxTree& tree) {
  std::vector<std::string> comments;
  for (int node = 0; node < static_cast<int>(tree.nodes.size()); ++node) {
    if (tree.is(node, "comment")) comments.emplace_back(tree.text_of(node));
  }
  std::sort(comments.begin(), comments.end());
  return comments;
}

// What holds of the environment for every rule set; found out for those that meet a file, once.
class Decisions {
 public:
  Decisions(const std::vector<RuleSet>& rules, const PatchFacts& facts)
      : rules_(rules), facts_(facts), made_(rules.size()) {}

  [[nodiscard]] const std::vector<RuleSet>& rules() const { return rules_; }
  const RuleDecision& of(size_t rule) {
    if (!made_[rule]) made_[rule] = decide_rule_set(rules_[rule], facts_);
    return *made_[rule];
  }

 private:
  const std::vector<RuleSet>& rules_;
  const PatchFacts& facts_;
  std::vector<std::optional<RuleDecision>> made_;
};

class FilePlanner {
 public:
  FilePlanner(Decisions& decisions, FilePatch& patch) : decisions_(decisions), patch_(patch) {}

  // False: no rule has anything to do with this file.
  bool run(std::string content) {
    patch_.before = content;
    std::unique_ptr<ParsedFile> parsed;
    bool looked_at = false;
    for (size_t rule = 0; rule < decisions_.rules().size(); ++rule) {
      if (!concerns(decisions_.rules()[rule], patch_.relative, content)) continue;
      const RuleDecision& decision = decisions_.of(rule);
      if (!parsed) parsed = parse(content, looked_at);
      if (!parsed) return looked_at;
      std::optional<RuleOutcome> outcome = try_rule_set(decision, *parsed);
      if (!outcome) continue;
      if (outcome->state == PatchState::kApplied) {
        std::unique_ptr<ParsedFile> result;
        std::string problem = check_result(decision, *parsed, *outcome, result);
        if (!problem.empty()) {
          outcome->state = PatchState::kFailed;
          outcome->reason = problem;
        } else {
          content = outcome->after;
          patch_.edits.insert(patch_.edits.end(), outcome->edits.begin(), outcome->edits.end());
          parsed = std::move(result);
        }
      }
      bool first = !looked_at;
      looked_at = true;
      note(decision, *outcome, first);
    }
    finish(std::move(content));
    return looked_at;
  }

 private:
  std::unique_ptr<ParsedFile> parse(const std::string& content, bool& looked_at) {
    Result<SyntaxTree> tree = parse_python(content);
    if (!tree || tree->first_error_line != 0) {
      looked_at = true;
      patch_.state = PatchState::kFailed;
      patch_.reason =
          tree ? "line " + std::to_string(tree->first_error_line) + " is not understood as Python"
               : tree.error().message;
      patch_.before.clear();
      return nullptr;
    }
    return std::make_unique<ParsedFile>(std::move(*tree));
  }

  // What must hold for every rewritten file; the reason where it does not. `result` is the file as
  // it then is, for the rules that follow.
  static std::string check_result(const RuleDecision& decision, const ParsedFile& before,
                                  const RuleOutcome& outcome, std::unique_ptr<ParsedFile>& result) {
    Result<SyntaxTree> tree = parse_python(outcome.after);
    if (!tree) return tree.error().message;
    if (tree->first_error_line != 0) {
      return "rule " + decision.rules->id + " would break the syntax at line " +
             std::to_string(tree->first_error_line);
    }
    std::vector<std::string> old_comments = comments_of(before.tree);
    std::vector<std::string> new_comments = comments_of(*tree);
    if (!std::includes(new_comments.begin(), new_comments.end(), old_comments.begin(),
                       old_comments.end())) {
      return "rule " + decision.rules->id + " would lose a comment";
    }
    result = std::make_unique<ParsedFile>(std::move(*tree));
    std::optional<RuleOutcome> again = try_rule_set(decision, *result);
    if (again && again->state != PatchState::kAlreadyApplied &&
        again->state != PatchState::kNotNeeded) {
      return "rule " + decision.rules->id + ": a second run would not leave the file alone" +
             (again->reason.empty() ? "" : " (" + again->reason + ")");
    }
    return {};
  }

  void note(const RuleDecision& decision, const RuleOutcome& outcome, bool first) {
    // A rule that finds its work done by the rule before it has no part in the change.
    bool already = outcome.state == PatchState::kAlreadyApplied && patch_.edits.empty();
    if (outcome.state == PatchState::kApplied || already) {
      patch_.rules.push_back(decision.rules->id);
    }
    if (first || weight(outcome.state) > weight(patch_.state)) {
      patch_.state = outcome.state;
      patch_.reason = outcome.reason;
    }
  }

  void finish(std::string content) {
    // A file that one rule refuses is left alone by all.
    bool change = patch_.state == PatchState::kApplied && content != patch_.before;
    if (change) {
      patch_.after = std::move(content);
      return;
    }
    patch_.before.clear();
    patch_.edits.clear();
    if (weight(patch_.state) > weight(PatchState::kApplied)) patch_.rules.clear();
  }

  Decisions& decisions_;
  FilePatch& patch_;
};

}  // namespace

const char* patch_state_name(PatchState state) {
  switch (state) {
    case PatchState::kApplied:
      return "applied";
    case PatchState::kAlreadyApplied:
      return "already-applied";
    case PatchState::kNotNeeded:
      return "not-needed";
    case PatchState::kPartlyByHand:
      return "partly-applied-by-hand";
    case PatchState::kRefused:
      return "refused";
    case PatchState::kFailed:
      return "failed";
  }
  return "failed";
}

std::optional<FilePatch> patch_content(const std::vector<RuleSet>& rules, const PatchFacts& facts,
                                       const std::string& relative, std::string content) {
  Decisions decisions(rules, facts);
  FilePatch patch;
  patch.relative = relative;
  if (!FilePlanner(decisions, patch).run(std::move(content))) return std::nullopt;
  return patch;
}

std::vector<FilePatch> plan_patches(const Disk& disk, const std::vector<RuleSet>& rules,
                                    const PatchFacts& facts,
                                    const std::vector<PatchTarget>& targets) {
  Decisions decisions(rules, facts);

  std::vector<FilePatch> patches;
  for (const PatchTarget& target : targets) {
    FilePatch patch;
    patch.path = target.path;
    patch.relative = target.relative;
    Result<std::string> content = disk.read(target.path);
    if (!content) {
      patch.state = PatchState::kFailed;
      patch.reason = content.error().message;
      patches.push_back(std::move(patch));
      continue;
    }
    if (FilePlanner(decisions, patch).run(std::move(*content))) patches.push_back(std::move(patch));
  }
  return patches;
}

}  // namespace ssmend
