// A rule set as it stands in patches/<distribution>/<topic>.json; patches/schema.json describes the
// format and every file is checked against it. The engine knows Python, and nothing about packages:
// module names, arities, helper texts and reasons all come from here.
//
// Fragments in `match` and `replace` are Python with metavariables: `$x` one expression, `$$rest`
// any number of arguments, `$CC` in capitals a name of `bind` (what it means is decided by import
// and scope) or of `derive`, `{TEXT}` on its own a text of the chosen variant.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "patch/pattern.h"

namespace ssmend {

struct RuleBinding {
  std::vector<std::string> names;  // qualified: "causal_conv1d.causal_conv1d_fn"
  std::string fallback;            // name to write where the file binds none of them
  std::string
      rebound;  // why a file that also gives the name another value is left alone; may be empty
};

// One condition on the environment; exactly one kind is set.
struct RuleCondition {
  std::string binary;                // native module ...
  std::string function;              // ... its function has ...
  int parameters = -1;               // ... this many parameters
  std::string file;                  // Python file, relative to the import directories ...
  int exists = -1;                   // ... that is there (1) or not (0)
  std::vector<std::string> defines;  // ... and binds these names at module level
  std::vector<std::string> lacks;    // ... or does not bind these
  std::string distribution;          // a distribution ...
  std::string version;               // ... whose version is ">=5", or "absent"
  std::string python;                // ">=3.10"
  std::string feature;               // a named fact such as "torch.distributed" ...
  bool feature_is = true;            // ... and its value
};

struct MetavariableTest {
  std::vector<std::string> is;      // text equals one of them
  std::vector<std::string> is_not;  // text equals none of them
  std::vector<std::string> glob;    // text matches one of them
};

struct DerivedText {
  std::string from;  // the metavariable whose place in the call it takes
  struct Case {
    std::string is;  // text of `from`; empty: any
    std::string text;
  };
  std::vector<Case> cases;
};

struct RuleEdit {
  std::string id;
  Pattern match;
  std::string replace;  // empty together with has_replace == false: only recognised
  bool has_replace = false;
  std::string refuse;   // why a file with such a call is left alone; empty: it is not
  bool trigger = true;  // a match of it makes the rule set necessary
  std::map<std::string, MetavariableTest> where;
  std::map<std::string, DerivedText> derive;
  std::vector<Pattern> already;       // an ancestor that matches: this place is done
  bool module_level = false;          // only statements of the module itself
  std::vector<std::string> variants;  // only in these; empty: in all
};

// Gives every import of the listed modules its own try statement, so that one failing import does
// not take the other names with it.
struct RuleGuard {
  struct Import {
    std::string module;                     // glob on the imported module: "mamba_ssm.ops.triton.*"
    std::string except;                     // exception expression of the new handler
    std::vector<std::string> handler;       // lines instead of `name = None`; may be {TEXT}
    std::vector<std::string> handler_each;  // lines for every bound name, with $name
    std::vector<std::string> defines;       // names that `handler` gives a value
    std::string add;  // import statement to add where the file has none of this module
  };
  std::string id;
  std::vector<Import> imports;
  bool trigger = false;
};

// `from module import Old` becomes `from module import New as Old`.
struct RuleRename {
  std::string id;
  std::string module;
  std::map<std::string, std::string> names;
};

// Matches of `these` without any of `with`: somebody has changed the others by hand.
struct RuleByHand {
  std::vector<std::string> these;
  std::vector<std::string> with;
  std::string say;
};

struct RuleVariant {
  std::string id;
  std::vector<RuleCondition> when;
  std::vector<std::string> native;  // ids of edits whose matches are right as they stand
  // Python files that the releases of this variant have (true) or lack: what is assumed where a
  // contract is given and there is no environment to look into.
  std::map<std::string, bool> files;
  std::map<std::string, std::vector<std::string>> texts;
};

struct RuleSet {
  std::string id;
  int revision = 1;
  std::string why;
  std::vector<std::string> evidence;
  std::vector<std::string> paths;     // globs on the relative path; where an environment is looked
  bool anywhere = false;              // through; every file of a checkout given by its path
  std::vector<std::string> never;     // globs of files that are left alone
  std::vector<std::string> contains;  // a file without any of these texts is not looked at
  std::map<std::string, RuleBinding> bind;
  std::vector<RuleCondition> when;
  std::vector<RuleVariant> variants;
  std::vector<RuleEdit> edits;
  std::vector<RuleGuard> guards;
  std::vector<RuleRename> renames;
  std::vector<Pattern> allow;  // uses of a bound name that need no edit
  std::string leftover;        // name of `bind` no other use of which may stay
  std::string leftover_says;   // why such a file is refused
  RuleByHand by_hand;
  std::vector<std::string> done_defines;  // functions that only a patched file defines
  // A patched file whose helper functions call by another contract than the installed one is of no
  // use where these conditions hold.
  std::vector<RuleCondition> stale_when;
  std::string stale_says;
  std::map<std::string, std::map<std::string, int>> expect;  // sha256 -> edit id -> count
  std::string file;                                          // where it was read, for messages
};

}  // namespace ssmend
