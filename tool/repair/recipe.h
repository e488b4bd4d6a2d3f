// Recipes (recipes/*.json, recipes/schema.json): what is known of a kind of host. Chosen by
// evidence and never by a guess: a condition on something unknown does not hold, and where no
// recipe's conditions hold, the one without conditions ("generic") is taken.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "diagnose/finding.h"
#include "environment/environment.h"

namespace ssmend {

struct Recipe {
  std::string id;  // "jetpack-6"
  std::string title;
  std::string why;
  std::map<std::string, std::string> when;                // "l4t" -> ">=36,<37"
  std::map<std::string, std::vector<std::string>> among;  // "soc" -> names, one of them
  struct Expected {
    std::string code;
    std::string because;
  };
  std::vector<Expected> expects;    // usual findings, causes first
  std::vector<std::string> keep;    // distributions whose files no plan changes
  std::vector<std::string> checks;  // components of `ssmend verify` that mean something here
  std::vector<std::string> notes;   // one sentence each, for people
};

struct RecipeChoice {
  const Recipe* recipe = nullptr;
  std::string reason;  // "L4T 36.4.3 from /etc/nv_tegra_release", or "--recipe"
};

// Each file checked against schema.json of the same folder; an error names the file and the place.
Result<std::vector<Recipe>> load_recipes(const Disk& disk, const std::string& directory);

// `wanted`: --recipe, or empty. An unknown name is an error with the known ones.
Result<RecipeChoice> choose_recipe(const Disk& disk, const std::vector<Recipe>& recipes,
                                   const Environment& environment, const std::string& wanted);

// The place of a code in `expects`, -1 where the recipe does not expect it.
int expected_place(const Recipe& recipe, std::string_view code);

// Causes first, as this host has them: within one severity the expected findings in the recipe's
// order, then the others as they were. What is planned first and named first follows from it.
void order_findings(const Recipe& recipe, std::vector<Finding>* findings);

// What the recipe says about the findings of a host. Notes are no faults and are left out.
struct Expectation {
  std::vector<Recipe::Expected> met;  // in the recipe's order
  std::vector<std::string> others;    // codes that are not usual here, each once
};
Expectation compare_expected(const Recipe& recipe, const std::vector<Finding>& findings);

}  // namespace ssmend
