#include "cli/command.h"
#include "cli/generate.h"

namespace ssmend {

void add_generate_command(CLI::App& app, Selected& selected) {
  auto what = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("generate", "print a completion script or the man page");
  command->add_option("what", *what, "bash, zsh, fish or man")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish", "man"}));
  command->callback([what, &app, &selected] {
    selected.run = [what, &app] {
      const std::vector<DeclaredCommand> commands = declared_commands(app);
      if (*what == "bash") print(bash_completion(commands));
      if (*what == "zsh") print(zsh_completion(commands));
      if (*what == "fish") print(fish_completion(commands));
      if (*what == "man") print(manual_page(commands, SSMEND_VERSION));
      return static_cast<int>(kExitHealthy);
    };
  });
}

}  // namespace ssmend
