#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "cli/command.h"

namespace ssmend {
std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Terminal probe_terminal() {
  Terminal terminal;
  terminal.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  terminal.error_is_terminal = ::isatty(STDERR_FILENO) == 1;
  terminal.colour = terminal.out_is_terminal && environment_variable("NO_COLOR").empty() &&
                    environment_variable("TERM") != "dumb";
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = to_lower(environment_variable(name));
    if (locale.empty()) continue;
    terminal.utf8 =
        locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
    break;  // the first that is set decides, as in setlocale(3)
  }
  winsize size{};
  if (terminal.out_is_terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
      size.ws_col >= 40) {
    terminal.columns = std::min<int>(100, size.ws_col);
  }
  return terminal;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_progress(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

int fail(const Error& error) {
  print_progress("error: " + format_error(error) + "\n");
  return kExitFailed;
}

}  // namespace ssmend
