// Writes the replacement of a match. Argument text moves as bytes: for the first use of an argument
// that includes the white space and the comments around it, so that the layout of the call stays;
// further uses get the bare text. Comments of arguments that are dropped go to the next argument.
#pragma once

#include <map>
#include <string>

#include "patch/rules.h"

namespace ssmend {

// What metavariables in capitals are written as: the local name of a bound object.
using LocalNames = std::map<std::string, std::string>;

std::string render(const RuleEdit& edit, const PatternMatch& match, const SyntaxTree& tree,
                   const LocalNames& names);

}  // namespace ssmend
