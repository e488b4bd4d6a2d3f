// Import guards. `try: import a; import b / except ImportError: a = b = None` loses `a` whenever
// `b` cannot be imported. A RuleGuard gives each import its own try statement, wraps imports that
// stand bare, replaces handlers, and adds imports that other edits of the rule set need.
//
// A try statement is only taken apart where nothing can get lost: its body is imports alone, it has
// one except clause and no else or finally, and the clause gives names the value None and no more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "patch/rules.h"

namespace ssmend {

struct TextEdit {
  uint32_t start = 0;  // byte range in the file
  uint32_t end = 0;
  std::string text;
  std::string id;  // of the edit in the rule set
};

struct GuardEdits {
  std::vector<TextEdit> edits;
  int imports = 0;      // imports of the listed modules that are rewritten
  int already = 0;      // imports whose handler defines what it has to
  std::string problem;  // why the guard cannot be written here; empty: it can
};

using RuleTexts = std::map<std::string, std::vector<std::string>>;  // of the chosen variant

GuardEdits plan_guard(const RuleGuard& guard, const SyntaxTree& tree, const NameScopes& scopes,
                      const RuleTexts& texts);

}  // namespace ssmend
