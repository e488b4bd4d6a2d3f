#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "elf/contract.h"
#include "elf/source_contract.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

struct ContractOptions {
  std::string path;
  std::string root;
  std::string libclang;
  bool json = false;
};

nlohmann::ordered_json contract_json(const ModuleContract& contract) {
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
  return json;
}

std::string contracts_json(const std::vector<ModuleContract>& contracts) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const ModuleContract& contract : contracts) json.push_back(contract_json(contract));
  if (contracts.size() == 1) json = nlohmann::ordered_json(json.front());
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

bool is_source(const Disk& disk, const std::string& path) {
  if (disk.is_directory(path)) return true;
  for (const char* pattern : {"*.cpp", "*.cc", "*.cxx", "*.cu"}) {
    if (glob_match(pattern, path)) return true;
  }
  return false;
}

Result<std::vector<ModuleContract>> read_contracts(const Disk& disk,
                                                   const ContractOptions& options) {
  if (!is_source(disk, options.path)) {
    Result<ModuleContract> contract = read_contract(disk, options.path);
    if (!contract.ok()) return std::move(contract).error();
    return std::vector<ModuleContract>{std::move(contract).value()};
  }
  std::string library = options.libclang;
  if (library.empty()) library = environment_variable("SSMEND_LIBCLANG");
  const Result<Libclang> libclang = Libclang::open(library);
  if (!libclang.ok()) return libclang.error();
  return read_source_contracts(disk, *libclang, options.path);
}

int run_contract(const ContractOptions& options) {
  Result<std::unique_ptr<Disk>> disk = open_target_disk(options.root);
  if (!disk.ok()) return fail(disk.error());
  const Result<std::vector<ModuleContract>> contracts = read_contracts(**disk, options);
  if (!contracts.ok()) return fail(contracts.error());
  if (options.json) {
    print(contracts_json(*contracts));
  } else if (contracts->empty()) {
    print(printable(options.path) + ": no source here has a PYBIND11_MODULE\n");
  }
  size_t functions = 0;
  for (const ModuleContract& contract : *contracts) {
    functions += contract.functions.size();
    if (options.json) continue;
    if (contracts->size() > 1) print(printable(contract.module_path) + "\n");
    print(render_contract(contract));
  }
  return functions == 0 ? kExitBroken : kExitHealthy;
}

}  // namespace

void add_contract_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<ContractOptions>();
  CLI::App* command =
      app.add_subcommand("contract", "the functions a native module binds, with their parameters");
  command
      ->add_option("path", options->path, "a module (.so), or its C++ sources: a folder or a file")
      ->required();
  command->add_option("--root", options->root, "a mounted root file system");
  command->add_option("--libclang", options->libclang,
                      "the libclang that reads sources (default: SSMEND_LIBCLANG, else the newest "
                      "installed)");
  command->add_flag("--json", options->json, "as JSON");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_contract(*options); }; });
}

}  // namespace ssmend
