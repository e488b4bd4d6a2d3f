#include "repair/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json_schema.h"
#include "base/text.h"
#include "base/version.h"
#include "elf/elf_facts.h"

namespace ssmend {
namespace {

using nlohmann::json;

Recipe read_recipe(const json& value) {
  Recipe recipe;
  recipe.id = value.at("id").get<std::string>();
  recipe.title = value.at("title").get<std::string>();
  recipe.why = value.at("why").get<std::string>();
  for (const auto& [name, condition] : value.at("when").items()) {
    if (condition.is_array()) {
      recipe.among[name] = condition.get<std::vector<std::string>>();
    } else if (condition.is_boolean()) {
      recipe.when[name] = condition.get<bool>() ? "yes" : "no";
    } else {
      recipe.when[name] = condition.get<std::string>();
    }
  }
  for (const json& each : value.at("expects")) {
    recipe.expects.push_back(
        {each.at("code").get<std::string>(), each.at("because").get<std::string>()});
  }
  recipe.keep = value.at("keep").get<std::vector<std::string>>();
  recipe.checks = value.at("checks").get<std::vector<std::string>>();
  if (value.contains("notes")) recipe.notes = value.at("notes").get<std::vector<std::string>>();
  return recipe;
}

// Being built or run as a container image, by the marks that Docker and Podman leave, or an image
// that lies mounted and is not running.
std::optional<std::string> image_evidence(const Disk& disk) {
  if (disk.is_mounted_root()) return "a mounted root";
  for (const char* mark : {"/.dockerenv", "/run/.containerenv"}) {
    if (disk.exists(mark)) return mark;
  }
  return std::nullopt;
}

// What the condition is judged by, as text for people; nullopt: it does not hold.
std::optional<std::string> holds(const Disk& disk, const Environment& environment,
                                 const std::string& name, const std::string& wanted) {
  const HostFacts& host = environment.host;
  const auto within = [&](const std::string& label, const std::string& value,
                          const std::string& source) -> std::optional<std::string> {
    if (value.empty() || !satisfies_pep440(value, wanted)) return std::nullopt;
    return label + " " + value + (source.empty() ? "" : " from " + source);
  };
  if (name == "l4t") return within("L4T", host.l4t.value, host.l4t.source);
  if (name == "python") return within("Python", environment.python.version, "");
  if (name == "torch") {
    const Distribution* torch = environment.find_distribution("torch");
    if (torch == nullptr || !glob_match(wanted, torch->version)) return std::nullopt;
    return "torch " + torch->version;
  }
  if (name == "driver") {
    if (host.driver.known() != (wanted == "present")) return std::nullopt;
    return host.driver.known() ? "driver " + host.driver.value : "no driver";
  }
  if (name == "jetson") {
    const bool jetson = host.l4t.known() || host.soc.value.rfind("tegra", 0) == 0;
    if (jetson != (wanted == "yes")) return std::nullopt;
    return jetson ? "a Jetson" : "no Jetson";
  }
  if (name == "image") {
    const std::optional<std::string> evidence = image_evidence(disk);
    if (evidence.has_value() != (wanted == "yes")) return std::nullopt;
    return evidence ? evidence : "no image";
  }
  return std::nullopt;
}

std::optional<std::string> is_among(const Environment& environment, const std::string& name,
                                    const std::vector<std::string>& wanted) {
  std::string value = environment.host.soc.value;
  if (name == "machine") {
    value = environment.python.machine != 0 ? machine_name(environment.python.machine)
                                            : environment.host.machine.value;
  }
  if (std::find(wanted.begin(), wanted.end(), value) == wanted.end()) return std::nullopt;
  return value;
}

}  // namespace

Result<std::vector<Recipe>> load_recipes(const Disk& disk, const std::string& directory) {
  const Result<std::string> schema = disk.read(path_join(directory, "schema.json"));
  if (!schema.ok()) return schema.error();
  const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries.ok()) return entries.error();
  std::vector<Recipe> recipes;
  for (const DirectoryEntry& entry : *entries) {
    if (!entry.name.ends_with(".json") || entry.name == "schema.json") continue;
    const std::string path = path_join(directory, entry.name);
    const Result<std::string> text = disk.read(path);
    if (!text.ok()) return text.error();
    const std::vector<std::string> problems = check_json(*schema, *text);
    if (!problems.empty()) return Error(path + ": " + problems.front());
    try {
      recipes.push_back(read_recipe(json::parse(*text)));
    } catch (const json::exception& problem) {
      return Error(path + ": not a recipe: " + problem.what());
    }
    if (recipes.back().id + ".json" != entry.name) {
      return Error(path + ": its id is " + recipes.back().id + ", expected the file's name");
    }
  }
  return recipes;
}

Result<RecipeChoice> choose_recipe(const Disk& disk, const std::vector<Recipe>& recipes,
                                   const Environment& environment, const std::string& wanted) {
  RecipeChoice choice;
  std::vector<std::string> known;
  size_t most = 0;
  for (const Recipe& recipe : recipes) {
    known.push_back(recipe.id);
    if (!wanted.empty()) {
      if (recipe.id == wanted) choice = {&recipe, "--recipe"};
      continue;
    }
    std::vector<std::string> evidence;
    bool all = true;
    for (const auto& [name, condition] : recipe.when) {
      const std::optional<std::string> by = holds(disk, environment, name, condition);
      all = all && by.has_value();
      if (by) evidence.push_back(*by);
    }
    for (const auto& [name, names] : recipe.among) {
      const std::optional<std::string> by = is_among(environment, name, names);
      all = all && by.has_value();
      if (by) evidence.push_back(*by);
    }
    if (!all || (choice.recipe != nullptr && evidence.size() <= most)) continue;
    most = evidence.size();
    choice = {&recipe, evidence.empty() ? "no other recipe fits" : join(evidence, ", ")};
  }
  if (choice.recipe == nullptr) {
    return Error((wanted.empty() ? "no recipe fits this host"
                                 : "--recipe " + printable(wanted) + ": no such recipe") +
                 "; there are " + join(known, ", "));
  }
  return choice;
}

int expected_place(const Recipe& recipe, std::string_view code) {
  for (size_t index = 0; index < recipe.expects.size(); ++index) {
    if (recipe.expects[index].code == code) return static_cast<int>(index);
  }
  return -1;
}

void order_findings(const Recipe& recipe, std::vector<Finding>* findings) {
  const auto place = [&](const Finding& finding) {
    const int expected = expected_place(recipe, finding.code);
    return expected < 0 ? recipe.expects.size() : static_cast<size_t>(expected);
  };
  std::stable_sort(findings->begin(), findings->end(), [&](const Finding& a, const Finding& b) {
    return a.severity != b.severity ? a.severity < b.severity : place(a) < place(b);
  });
}

Expectation compare_expected(const Recipe& recipe, const std::vector<Finding>& findings) {
  Expectation expectation;
  for (const Recipe::Expected& expected : recipe.expects) {
    if (std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
          return finding.severity != Severity::kNote && finding.code == expected.code;
        })) {
      expectation.met.push_back(expected);
    }
  }
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kNote || expected_place(recipe, finding.code) >= 0 ||
        std::find(expectation.others.begin(), expectation.others.end(), finding.code) !=
            expectation.others.end()) {
      continue;
    }
    expectation.others.push_back(finding.code);
  }
  return expectation;
}

}  // namespace ssmend
