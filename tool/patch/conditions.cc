#include "patch/conditions.h"

#include <algorithm>

#include "base/text.h"
#include "base/version.h"

namespace ssmend {
namespace {

using Answer = Decision::Answer;

Decision yes_or(bool holds, std::string reason) {
  return {holds ? Answer::kYes : Answer::kNo, holds ? std::string() : std::move(reason)};
}

Decision decide_binary(const RuleCondition& condition, const PatchFacts& facts) {
  auto module = facts.binaries.find(condition.binary);
  if (condition.exists >= 0) {
    bool there = module != facts.binaries.end();
    return yes_or(there == (condition.exists == 1),
                  condition.binary + (there ? " is installed" : " is not installed"));
  }
  if (module == facts.binaries.end()) {
    return {Answer::kUnknown, condition.binary + " is not installed, its contract is not known"};
  }
  auto function = module->second.find(condition.function);
  if (function == module->second.end()) {
    return {Answer::kUnknown, "the contract of " + condition.binary + "." + condition.function +
                                  " could not be read from the binary"};
  }
  return yes_or(function->second.parameters == condition.parameters,
                condition.binary + "." + condition.function + " takes " +
                    std::to_string(function->second.parameters) + " arguments");
}

Decision decide_file(const RuleCondition& condition, const PatchFacts& facts) {
  if (facts.files == nullptr) {
    auto assumed = facts.assumed_files.find(condition.file);
    if (condition.exists < 0 || assumed == facts.assumed_files.end())
      return {Answer::kUnknown, condition.file + " could not be looked for"};
    return yes_or(assumed->second == (condition.exists == 1),
                  "releases with this contract " +
                      std::string(assumed->second ? "have " : "have no ") + condition.file);
  }
  std::optional<std::string> content = facts.files->read(condition.file);
  if (condition.exists >= 0) {
    return yes_or(content.has_value() == (condition.exists == 1),
                  condition.file + (content ? " is there" : " is not there"));
  }
  if (!content) return {Answer::kNo, condition.file + " is not there"};
  // A name that the text does not hold is not bound: most files need no parsing for that.
  auto absent = [&](const std::string& name) { return content->find(name) == std::string::npos; };
  for (const std::string& name : condition.defines) {
    if (absent(name)) return {Answer::kNo, condition.file + " does not define " + name};
  }
  if (condition.defines.empty() &&
      std::all_of(condition.lacks.begin(), condition.lacks.end(), absent)) {
    return {};
  }
  Result<SyntaxTree> tree = parse_python(std::move(*content));
  if (!tree || tree->first_error_line != 0) {
    return {Answer::kUnknown, condition.file + " could not be read as Python"};
  }
  NameScopes scopes(*tree);
  std::vector<std::string> names = scopes.module_names();
  auto has = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : condition.defines) {
    if (!has(name)) return {Answer::kNo, condition.file + " does not define " + name};
  }
  for (const std::string& name : condition.lacks) {
    if (has(name)) return {Answer::kNo, condition.file + " defines " + name};
  }
  return {};
}

Decision decide_distribution(const RuleCondition& condition, const PatchFacts& facts) {
  if (facts.distributions.empty()) {
    return {Answer::kUnknown, "the version of " + condition.distribution + " is not known"};
  }
  auto found = facts.distributions.find(normalized_distribution_name(condition.distribution));
  bool there = found != facts.distributions.end();
  std::string what = condition.distribution +
                     (there ? " " + found->second + " is installed" : " is not installed");
  if (condition.version == "absent") return yes_or(!there, what);
  return yes_or(there && satisfies_pep440(found->second, condition.version), what);
}

Decision decide_one(const RuleCondition& condition, const PatchFacts& facts) {
  if (!condition.binary.empty()) return decide_binary(condition, facts);
  if (!condition.file.empty()) return decide_file(condition, facts);
  if (!condition.distribution.empty()) return decide_distribution(condition, facts);
  if (!condition.python.empty()) {
    if (facts.python_version.empty())
      return {Answer::kUnknown, "the version of Python is not known"};
    return yes_or(satisfies_pep440(facts.python_version, condition.python),
                  "Python is " + facts.python_version);
  }
  auto feature = facts.features.find(condition.feature);
  if (feature == facts.features.end()) {
    return {Answer::kUnknown, "not known whether " + condition.feature + " is there"};
  }
  return yes_or(feature->second == condition.feature_is,
                condition.feature + (feature->second ? " is there" : " is not there"));
}

}  // namespace

Decision decide(const std::vector<RuleCondition>& conditions, const PatchFacts& facts) {
  Decision result;
  for (const RuleCondition& condition : conditions) {
    Decision one = decide_one(condition, facts);
    if (one.answer == Answer::kNo) return one;
    if (one.answer == Answer::kUnknown) result = one;
  }
  return result;
}

const RuleVariant* choose_variant(const RuleSet& rules, const PatchFacts& facts,
                                  std::string& reason) {
  for (const RuleVariant& variant : rules.variants) {
    Decision decision = decide(variant.when, facts);
    if (decision.answer == Answer::kYes) return &variant;
    if (reason.empty() || decision.answer == Answer::kUnknown) reason = decision.reason;
  }
  return nullptr;
}

}  // namespace ssmend
