// Whether a rule set is for this environment: its conditions against the facts. Three answers, for
// what is not known must not be taken for what is not so.
#pragma once

#include <string>
#include <vector>

#include "patch/patch.h"
#include "patch/rules.h"

namespace ssmend {

struct Decision {
  enum class Answer { kYes, kNo, kUnknown };
  Answer answer = Answer::kYes;
  std::string reason;  // of kNo and kUnknown: the condition and what was found
};

Decision decide(const std::vector<RuleCondition>& conditions, const PatchFacts& facts);

// The first variant whose conditions hold; nullptr, with the reason, where none does.
const RuleVariant* choose_variant(const RuleSet& rules, const PatchFacts& facts,
                                  std::string& reason);

}  // namespace ssmend
