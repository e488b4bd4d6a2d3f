// ssmend: options in, one command run, its exit code out. The order of the stages
//   discover -> read -> resolve -> diagnose -> plan -> apply -> verify -> report
// is written down in the command files, which alone call one stage after another.
#include <csignal>
#include <cstdio>
#include <exception>

#include "cli/command.h"

#ifndef SSMEND_VERSION
#error "the build defines SSMEND_VERSION"
#endif

namespace ssmend {
namespace {

void declare_commands(CLI::App& app, Selected& selected) {
  add_inspect_command(app, selected);
  add_report_command(app, selected);
  add_explain_command(app, selected);
  add_patch_command(app, selected);
  add_repair_command(app, selected);
  add_undo_command(app, selected);
  add_status_command(app, selected);
  add_kernels_command(app, selected);
  add_verify_command(app, selected);
  add_resolve_command(app, selected);
  add_contract_command(app, selected);
  add_generate_command(app, selected);
}

// CLI11 gives 0 for --help and --version and codes above 100 for what it could not parse.
int exit_code_of(const CLI::App& app, const CLI::ParseError& error) {
  return app.exit(error) == 0 ? kExitHealthy : kExitFailed;
}

int run(int argc, char** argv) {
  CLI::App app("Mends Python environments whose Mamba / SSM extensions do not load or do not work.",
               "ssmend");
  app.set_version_flag("--version", version_text);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  Selected selected;
  declare_commands(app, selected);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return exit_code_of(app, error);
  }
  return selected.run();
}

}  // namespace
}  // namespace ssmend

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // `ssmend inspect | head` ends with a write error, not a signal
  int code = ssmend::kExitFailed;
  try {
    code = ssmend::run(argc, argv);
  } catch (const std::exception& exception) {
    // Stages report through Result; what arrives here is a defect of ssmend or a lack of memory.
    std::fprintf(stderr, "error: ssmend failed: %s\n", exception.what());
  }
  if (std::fflush(stdout) != 0 && code == ssmend::kExitHealthy) {
    std::fprintf(stderr, "error: standard output could not be written\n");
    code = ssmend::kExitFailed;
  }
  return code;
}
