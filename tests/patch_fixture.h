// The rules of this repository on a text, for the tests of tool/patch.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "patch/patch.h"
#include "patch/rules.h"

namespace ssmend {

inline const std::vector<RuleSet>& repository_rules() {
  static const std::vector<RuleSet> kRules = [] {
    const std::unique_ptr<Disk> disk = open_system_disk();
    Result<std::vector<RuleSet>> rules = load_rules(*disk, SSMEND_SOURCE_DIR "/patches");
    if (!rules) ADD_FAILURE() << format_error(rules.error());
    return rules ? std::move(*rules) : std::vector<RuleSet>();
  }();
  return kRules;
}

// Not looked at by any rule: state kNotNeeded and the reason "no rule".
inline FilePatch patch_text(const std::string& text, const std::string& contract,
                            const std::string& relative = "mamba_ssm/ops/x.py") {
  PatchFacts facts = facts_of_contract(repository_rules(), contract).value_or(PatchFacts());
  std::optional<FilePatch> patch = patch_content(repository_rules(), facts, relative, text);
  if (patch) return *patch;
  FilePatch none;
  none.reason = "no rule";
  return none;
}

// The line of `text` that holds `part`, without the line break.
inline std::string line_with(const std::string& text, const std::string& part) {
  size_t at = text.find(part);
  if (at == std::string::npos) return "no line with " + part;
  size_t start = text.rfind('\n', at) + 1;
  return text.substr(start, text.find('\n', at) - start);
}

inline std::string state_of(const FilePatch& patch) {
  return std::string(patch_state_name(patch.state)) +
         (patch.reason.empty() ? "" : ": " + patch.reason);
}

}  // namespace ssmend
