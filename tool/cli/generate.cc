#include "cli/generate.h"

#include <fmt/format.h>

#include "base/text.h"

namespace ssmend {
namespace {

bool wants_file(const DeclaredOption& option) {
  static const std::vector<std::string> kFileOptions = {
      "--python", "--site-packages", "--root",   "--html",     "--sarif",   "--json",
      "--junit",  "--checks",        "--github", "--markdown", "--compare", "--compare-json",
      "--loaded", "--program",       "--recipe", "--yolo",     "--vmamba"};
  for (const std::string& name : option.names) {
    for (const std::string& file : kFileOptions) {
      if (name == file) return true;
    }
  }
  return option.names.empty();
}

void add_command(const CLI::App& app, const std::string& name,
                 std::vector<DeclaredCommand>& commands) {
  DeclaredCommand command;
  command.name = name;
  command.description = app.get_description();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    DeclaredOption declared;
    for (const std::string& text : option->get_snames()) declared.names.push_back("-" + text);
    for (const std::string& text : option->get_lnames()) declared.names.push_back("--" + text);
    declared.description = option->get_description();
    const bool flag = option->get_items_expected_max() == 0;
    if (!flag) {
      declared.value = option->get_type_name();
      const std::string single = option->get_single_name();
      if (declared.names.empty()) declared.value = single;
    }
    command.options.push_back(std::move(declared));
  }
  const auto visible = [](const CLI::App* sub) { return !sub->get_group().empty(); };
  const std::vector<const CLI::App*> subs = app.get_subcommands(visible);
  for (const CLI::App* sub : subs) command.commands.push_back(sub->get_name());
  commands.push_back(std::move(command));
  for (const CLI::App* sub : subs) {
    add_command(*sub, name.empty() ? sub->get_name() : name + " " + sub->get_name(), commands);
  }
}

// Words that may follow the command: its option names and subcommands.
std::vector<std::string> words_of(const DeclaredCommand& command) {
  std::vector<std::string> words = command.commands;
  for (const DeclaredOption& option : command.options) {
    words.insert(words.end(), option.names.begin(), option.names.end());
  }
  return words;
}

std::string quote_single(const std::string& text) {
  return "'" + replace_all(text, "'", "'\\''") + "'";
}

// zsh's _arguments ends a description at ']' and a field at ':'.
std::string zsh_text(const std::string& text) {
  std::string escaped = replace_all(text, "\\", "\\\\");
  escaped = replace_all(std::move(escaped), "[", "\\[");
  escaped = replace_all(std::move(escaped), "]", "\\]");
  return replace_all(std::move(escaped), ":", "\\:");
}

std::string roff(const std::string& text) {
  std::string escaped = replace_all(text, "\\", "\\e");
  escaped = replace_all(std::move(escaped), "-", "\\-");
  // A line that begins with one of these would be a request.
  if (!escaped.empty() && (escaped.front() == '.' || escaped.front() == '\'')) {
    escaped.insert(0, "\\&");
  }
  return escaped;
}

std::string roff_options(const DeclaredCommand& command) {
  std::string text;
  for (const DeclaredOption& option : command.options) {
    std::vector<std::string> names;
    for (const std::string& name : option.names) names.push_back("\\fB" + roff(name) + "\\fR");
    std::string head = join(names, ", ");
    if (!option.value.empty()) {
      head += (head.empty() ? "" : " ") + ("\\fI" + roff(option.value) + "\\fR");
    }
    text += ".TP\n" + head + "\n" + roff(option.description) + "\n";
  }
  return text;
}

}  // namespace

std::vector<DeclaredCommand> declared_commands(const CLI::App& app) {
  std::vector<DeclaredCommand> commands;
  add_command(app, "", commands);
  return commands;
}

std::string bash_completion(const std::vector<DeclaredCommand>& commands) {
  std::string text =
      "# bash completion for ssmend\n"
      "_ssmend() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local command= word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$command $word\" in\n";
  for (const DeclaredCommand& command : commands) {
    if (command.name.empty()) continue;
    const size_t last = command.name.rfind(' ');
    const bool nested = last != std::string::npos;
    text += fmt::format("      {}) command={} ;;\n",
                        quote_single(nested ? command.name : " " + command.name),
                        quote_single(command.name));
  }
  text +=
      "    esac\n"
      "  done\n"
      "  case \"$previous\" in\n";
  std::vector<std::string> files;
  for (const DeclaredCommand& command : commands) {
    for (const DeclaredOption& option : command.options) {
      if (option.value.empty() || option.names.empty() || !wants_file(option)) continue;
      for (const std::string& name : option.names) {
        if (std::find(files.begin(), files.end(), name) == files.end()) files.push_back(name);
      }
    }
  }
  text += "    " + join(files, "|") + ") COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n";
  text +=
      "  esac\n"
      "  local words=\n"
      "  case \"$command\" in\n";
  for (const DeclaredCommand& command : commands) {
    text += fmt::format("    {}) words={} ;;\n", quote_single(command.name),
                        quote_single(join(words_of(command), " ")));
  }
  text +=
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [[ $current == -* ]] || COMPREPLY+=($(compgen -f -- \"$current\"))\n"
      "}\n"
      "complete -o filenames -F _ssmend ssmend\n";
  return text;
}

std::string zsh_completion(const std::vector<DeclaredCommand>& commands) {
  std::string text =
      "#compdef ssmend\n"
      "_ssmend() {\n"
      "  local command= index=1 last=1\n"
      "  while (( ++index < CURRENT )); do\n"
      "    case \"$command $words[index]\" in\n";
  for (const DeclaredCommand& command : commands) {
    if (command.name.empty()) continue;
    const bool nested = command.name.find(' ') != std::string::npos;
    text += fmt::format("      {}) command={} last=$index ;;\n",
                        quote_single(nested ? command.name : " " + command.name),
                        quote_single(command.name));
  }
  text +=
      "    esac\n"
      "  done\n"
      // _arguments takes a command's name for an argument that no specification allows.
      "  words=(\"${(@)words[last,-1]}\")\n"
      "  (( CURRENT -= last - 1 ))\n"
      "  case \"$command\" in\n";
  for (const DeclaredCommand& command : commands) {
    text += fmt::format("    {})\n      _arguments", quote_single(command.name));
    for (const DeclaredOption& option : command.options) {
      const char* action = wants_file(option) ? ":_files" : ":";
      if (option.names.empty()) {
        text += " \\\n        " +
                quote_single(fmt::format("*:{}{}", zsh_text(option.description), action));
        continue;
      }
      for (const std::string& name : option.names) {
        std::string spec = fmt::format("{}[{}]", name, zsh_text(option.description));
        if (!option.value.empty()) spec += fmt::format(":{}{}", zsh_text(option.value), action);
        text += " \\\n        " + quote_single(spec);
      }
    }
    if (!command.commands.empty()) {
      text += " \\\n        " + quote_single("*:command:(" + join(command.commands, " ") + ")");
    }
    text += "\n      ;;\n";
  }
  return text + "  esac\n}\n_ssmend \"$@\"\n";
}

std::string fish_completion(const std::vector<DeclaredCommand>& commands) {
  std::string text = "# fish completion for ssmend\n";
  for (const DeclaredCommand& command : commands) {
    const std::string condition =
        command.name.empty()
            ? "__fish_use_subcommand"
            : "__fish_seen_subcommand_from " + command.name.substr(command.name.rfind(' ') + 1);
    for (const DeclaredOption& option : command.options) {
      if (option.names.empty()) continue;
      text += fmt::format("complete -c ssmend -n '{}'", condition);
      for (const std::string& name : option.names) {
        text += name.rfind("--", 0) == 0 ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (!option.value.empty()) text += wants_file(option) ? " -r -F" : " -r -f";
      text += " -d " + quote_single(option.description) + "\n";
    }
    for (const DeclaredCommand& sub : commands) {
      const std::string prefix = command.name.empty() ? "" : command.name + " ";
      if (sub.name.empty() || sub.name.rfind(prefix, 0) != 0) continue;
      const std::string last = sub.name.substr(prefix.size());
      if (last.find(' ') != std::string::npos) continue;
      text += fmt::format("complete -c ssmend -n '{}' -f -a {} -d {}\n", condition, last,
                          quote_single(sub.description));
    }
  }
  return text;
}

std::string manual_page(const std::vector<DeclaredCommand>& commands, const std::string& version) {
  std::string text = fmt::format(".TH SSMEND 1 \"\" \"ssmend {}\"\n", roff(version));
  text += ".SH NAME\nssmend \\- mend Python environments whose Mamba / SSM extensions fail\n";
  text += ".SH SYNOPSIS\n.B ssmend\n.I command\n[options]\n.SH DESCRIPTION\n";
  text += roff(commands.front().description) + "\n";
  text += roff_options(commands.front());
  text += ".SH COMMANDS\n";
  for (const DeclaredCommand& command : commands) {
    if (command.name.empty()) continue;
    text += ".SS ssmend " + roff(command.name) + "\n" + roff(command.description) + "\n";
    text += roff_options(command);
  }
  text += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : std::vector<std::pair<std::string, std::string>>{
           {"0", "healthy or repaired"},
           {"1", "something is, or stays, broken"},
           {"2", "ssmend itself failed, or bad usage"},
           {"3", "no GPU where one was required"},
           {"4", "changed and healthy, with --detailed-exitcode"},
           {"130", "interrupted"}}) {
    text += ".TP\n" + code + "\n" + roff(meaning) + "\n";
  }
  text += ".SH ENVIRONMENT\n.TP\nSSMEND_DATA\nfolder with ssmend's patches, recipes and kernels\n";
  return text + ".TP\nNO_COLOR\nno colour where it is set\n";
}

}  // namespace ssmend
