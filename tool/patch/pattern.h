// A Python fragment with metavariables, and how it is found in a file. Comparison is on the syntax
// tree: white space, comments, line breaks and a trailing comma do not matter, quotes neither.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "patch/scope.h"
#include "patch/syntax.h"

namespace ssmend {

struct Pattern {
  SyntaxTree tree;
  int root = -1;  // the expression or statement

  [[nodiscard]] bool empty() const { return root < 0; }
};

Result<Pattern> compile_pattern(const std::string& fragment);

// The name of the metavariable that this pattern node is ("x" for `$x`); empty where it is none.
std::string metavariable_of(const Pattern& pattern, int node);
bool is_rest_of(const Pattern& pattern, int node);  // `$$x`

struct PatternMatch {
  int node = -1;  // in the file's tree
  std::map<std::string, int> captures;
  std::map<std::string, std::vector<int>> rests;  // `$$x`: the arguments or statements it took
};

// Qualified names that each bound metavariable may stand for.
using BoundNames = std::map<std::string, std::vector<std::string>>;

// True where the pattern matches exactly at `node`; fills `match`.
bool match_at(const Pattern& pattern, const SyntaxTree& tree, const NameScopes& scopes,
              const BoundNames& bound, int node, PatternMatch& match);

}  // namespace ssmend
