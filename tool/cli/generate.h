// Shell completions and the manual page, made from the options that CLI11 knows, so that neither
// can fall behind them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ssmend {

// One option or subcommand as a person types it; hidden ones are left out.
struct DeclaredOption {
  std::vector<std::string> names;  // "-q", "--quiet"; empty: a positional
  std::string value;               // "FILE", "TEXT"; empty: a flag
  std::string description;
};

struct DeclaredCommand {
  std::string name;  // "kernels list"; empty: ssmend itself
  std::string description;
  std::vector<DeclaredOption> options;
  std::vector<std::string> commands;  // names of its subcommands, the last word of each
};

// The program itself first, then every subcommand, depth first.
std::vector<DeclaredCommand> declared_commands(const CLI::App& app);

std::string bash_completion(const std::vector<DeclaredCommand>& commands);
std::string zsh_completion(const std::vector<DeclaredCommand>& commands);
std::string fish_completion(const std::vector<DeclaredCommand>& commands);
std::string manual_page(const std::vector<DeclaredCommand>& commands, const std::string& version);

}  // namespace ssmend
