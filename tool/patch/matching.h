// One rule set against the bytes of one file: which edits match, whether they are needed, and the
// file as it would be. Nothing here reads or writes a file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "patch/conditions.h"
#include "patch/patch.h"
#include "patch/rules.h"

namespace ssmend {

// What was found out about the environment for a rule set; the same for every file.
struct RuleDecision {
  const RuleSet* rules = nullptr;
  Decision when;
  const RuleVariant* variant = nullptr;  // nullptr: the rule set has none, or none holds
  std::string no_variant;                // why none holds
  bool stale_counts = false;             // helpers of another contract are of no use here
};
RuleDecision decide_rule_set(const RuleSet& rules, const PatchFacts& facts);

struct ParsedFile {
  SyntaxTree tree;
  NameScopes scopes;
  explicit ParsedFile(SyntaxTree parsed) : tree(std::move(parsed)), scopes(tree) {}
  ParsedFile(const ParsedFile&) = delete;
  ParsedFile& operator=(const ParsedFile&) = delete;
};

struct RuleOutcome {
  PatchState state = PatchState::kNotNeeded;
  std::string reason;
  std::vector<PatchEdit> edits;
  std::string after;  // kApplied only
};

// nullopt: the rule set has nothing to do with this file.
std::optional<RuleOutcome> try_rule_set(const RuleDecision& decision, const ParsedFile& file);

}  // namespace ssmend
