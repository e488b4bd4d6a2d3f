#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "elf/contract.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

struct ContractOptions {
  std::string path;
  std::string root;
  bool json = false;
};

std::string contract_json(const ModuleContract& contract) {
  nlohmann::ordered_json json;
  json["schema"] = "ssmend-contract";
  json["schema_version"] = 1;
  json["module"] = contract.module_path;
  json["accepts_every_contract"] = contract.accepts_every_contract;
  json["functions"] = nlohmann::ordered_json::array();
  for (const BoundFunction& function : contract.functions) {
    json["functions"].push_back(
        {{"name", function.name},
         {"arity", function.arity_known ? nlohmann::ordered_json(function.arity()) : nullptr},
         {"parameters", function.parameters},
         {"returns", function.return_type.empty() ? nlohmann::ordered_json(nullptr)
                                                  : nlohmann::ordered_json(function.return_type)},
         {"witness", function.witness}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string render_contract(const ModuleContract& contract) {
  std::string text;
  for (const BoundFunction& function : contract.functions) {
    if (!function.arity_known) {
      text += fmt::format("{}: parameters not known  ({})\n", printable(function.name),
                          function.witness);
      continue;
    }
    const std::string result = function.return_type.empty() ? "not known" : function.return_type;
    text +=
        fmt::format("{}: {}, returns {}  ({})\n", printable(function.name),
                    count_of(function.arity(), "parameter"), printable(result), function.witness);
    for (size_t i = 0; i < function.parameters.size(); ++i) {
      text += fmt::format("  {:>3}  {}\n", i + 1, printable(function.parameters[i]));
    }
  }
  if (contract.functions.empty()) text += "no bound function was found\n";
  return text;
}

int run_contract(const ContractOptions& options) {
  Result<std::unique_ptr<Disk>> disk = open_target_disk(options.root);
  if (!disk.ok()) return fail(disk.error());
  const Result<ModuleContract> contract = read_contract(**disk, options.path);
  if (!contract.ok()) return fail(contract.error());
  print(options.json ? contract_json(*contract) : render_contract(*contract));
  return contract->functions.empty() ? kExitBroken : kExitHealthy;
}

}  // namespace

void add_contract_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<ContractOptions>();
  CLI::App* command =
      app.add_subcommand("contract", "the functions a native module binds, with their parameters");
  command->add_option("path", options->path, "a module (.so)")->required();
  command->add_option("--root", options->root, "a mounted root file system");
  command->add_flag("--json", options->json, "as JSON");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_contract(*options); }; });
}

}  // namespace ssmend
