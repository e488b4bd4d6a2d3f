// Recipes are data: every file valid, every name in it known elsewhere, and the choice by evidence.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/json_schema.h"
#include "diagnose/codes.h"
#include "repair/recipe.h"
#include "repair_fixture.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;

const std::string kRecipes = std::string(SSMEND_SOURCE_DIR) + "/recipes";

class Recipes : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::vector<Recipe>> loaded = load_recipes(*disk_, kRecipes);
    ASSERT_TRUE(loaded.ok()) << format_error(loaded.error());
    recipes_ = std::move(loaded).value();
  }

  std::string chosen(const Environment& environment, const std::string& wanted = "") {
    const Result<RecipeChoice> choice = choose_recipe(*disk_, recipes_, environment, wanted);
    if (!choice.ok()) return format_error(choice.error());
    return choice->recipe->id + ": " + choice->reason;
  }

  static Environment jetson(const std::string& l4t, const std::string& source) {
    Environment environment;
    environment.host.l4t = {l4t, source};
    environment.host.soc = {"tegra234", "/proc/device-tree/compatible"};
    return environment;
  }

  std::unique_ptr<Disk> disk_ = open_system_disk();
  std::vector<Recipe> recipes_;
};

TEST_F(Recipes, every_code_and_every_check_is_known) {
  const std::string checks = read_file(kRecipes + "/checks/checks.json");
  ASSERT_EQ(recipes_.size(), 6u);
  for (const Recipe& recipe : recipes_) {
    for (const Recipe::Expected& expected : recipe.expects) {
      EXPECT_NE(find_code(expected.code), nullptr) << recipe.id << ": " << expected.code;
    }
    for (const std::string& check : recipe.checks) {
      EXPECT_NE(checks.find("\"name\": \"" + check + "\""), std::string::npos)
          << recipe.id << ": " << check;
    }
  }
}

TEST_F(Recipes, soc_and_l4t_are_independent_so_l4t_decides) {
  EXPECT_EQ(chosen(jetson("36.4.3", "/etc/nv_tegra_release")),
            "jetpack-6: a Jetson, L4T 36.4.3 from /etc/nv_tegra_release");
  EXPECT_EQ(chosen(jetson("35.6.1", "dpkg")), "jetpack-5: a Jetson, L4T 35.6.1 from dpkg");
  EXPECT_EQ(chosen(jetson("39.2", "dpkg")), "jetpack-7: a Jetson, L4T 39.2 from dpkg");
}

TEST_F(Recipes, a_release_that_no_recipe_knows_gets_the_generic_one) {
  EXPECT_EQ(chosen(jetson("32.7.4", "dpkg")), "generic: no other recipe fits");
  EXPECT_EQ(chosen(jetson("41.0", "dpkg")), "generic: no other recipe fits");
  // A Jetson's chip, but nothing that says which release: never a guess.
  EXPECT_EQ(chosen(jetson("", "")), "generic: no other recipe fits");
}

TEST_F(Recipes, a_driver_makes_a_server) {
  Environment environment;
  environment.host.driver = {"580.159.04", "/proc/driver/nvidia/version"};
  EXPECT_EQ(chosen(environment), "server: driver 580.159.04, no Jetson");
}

TEST_F(Recipes, a_mounted_root_without_a_driver_is_an_image) {
  const std::string root = temporary_directory();
  Result<std::unique_ptr<Disk>> mounted = open_root_disk(root);
  ASSERT_TRUE(mounted.ok());
  disk_ = std::move(mounted).value();
  EXPECT_EQ(chosen(Environment()), "ci-image: no driver, a mounted root, no Jetson");
  EXPECT_EQ(chosen(jetson("36.4.3", "/etc/nv_tegra_release")),
            "jetpack-6: a Jetson, L4T 36.4.3 from /etc/nv_tegra_release");
  fs::remove_all(root);
}

TEST_F(Recipes, the_user_decides_over_the_evidence_and_only_among_what_there_is) {
  EXPECT_EQ(chosen(jetson("36.4.3", "x"), "server"), "server: --recipe");
  EXPECT_EQ(chosen(jetson("36.4.3", "x"), "jetpack-4"),
            "--recipe jetpack-4: no such recipe; there are ci-image, generic, jetpack-5, "
            "jetpack-6, jetpack-7, server");
}

TEST_F(Recipes, expected_findings_come_first_in_the_order_of_the_recipe_and_others_are_told) {
  const auto finding = [](const std::string& code, Severity severity) {
    Finding made;
    made.code = code;
    made.severity = severity;
    return made;
  };
  // As the diagnosis sorts them: by severity, then by its own table.
  std::vector<Finding> findings = {
      finding("wrong-machine", Severity::kError),  finding("torch-mismatch", Severity::kError),
      finding("module-missing", Severity::kError), finding("call-contract", Severity::kError),
      finding("torch-mismatch", Severity::kError), finding("static-tls", Severity::kWarning),
      finding("import-guard", Severity::kWarning), finding("load-order", Severity::kNote),
      finding("kernels-alone", Severity::kNote)};
  const auto order = [&](const std::string& id) {
    const Result<RecipeChoice> choice = choose_recipe(*disk_, recipes_, Environment(), id);
    std::vector<Finding> sorted = findings;
    order_findings(*choice->recipe, &sorted);
    std::string codes;
    for (const Finding& each : sorted) codes += each.code + " ";
    const Expectation expectation = compare_expected(*choice->recipe, findings);
    codes += "| met";
    for (const Recipe::Expected& each : expectation.met) codes += " " + each.code;
    codes += " | others";
    for (const std::string& code : expectation.others) codes += " " + code;
    return codes;
  };
  EXPECT_EQ(order("jetpack-6"),
            "call-contract module-missing wrong-machine torch-mismatch torch-mismatch "
            "import-guard static-tls load-order kernels-alone "
            "| met call-contract import-guard module-missing wrong-machine "
            "| others torch-mismatch static-tls");
  EXPECT_EQ(order("server"),
            "call-contract torch-mismatch torch-mismatch wrong-machine module-missing "
            "import-guard static-tls load-order kernels-alone "
            "| met call-contract import-guard torch-mismatch "
            "| others wrong-machine module-missing static-tls");
}

TEST_F(Recipes, a_wrong_file_is_refused_with_its_place) {
  const std::string directory = temporary_directory();
  fs::copy(kRecipes + "/schema.json", directory + "/schema.json");
  write_file(directory + "/odd.json", R"({"schema": "ssmend-recipe/1", "id": "odd"})");
  const Result<std::vector<Recipe>> loaded = load_recipes(*disk_, directory);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message.rfind(directory + "/odd.json: ", 0), 0u);
  fs::remove_all(directory);
}

}  // namespace
}  // namespace ssmend
