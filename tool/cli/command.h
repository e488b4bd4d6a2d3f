// How the commands of ssmend plug into main: every command file has one `add_..._command` function
// that declares its options on CLI11 and leaves what is to run in `Selected`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/disk.h"
#include "base/result.h"
#include "diagnose/diagnose.h"
#include "environment/environment.h"

namespace ssmend {

// design.md's exit codes.
enum ExitCode : int {
  kExitHealthy = 0,
  kExitBroken = 1,
  kExitFailed = 2,   // ssmend itself failed, or bad usage
  kExitNoGpu = 3,    // a GPU was required
  kExitChanged = 4,  // --detailed-exitcode: changed and healthy
  // `patch --detailed-exitcode`, instead of kExitBroken: the gravest state of a file.
  kExitPartlyByHand = 5,
  kExitRefused = 6,
  kExitPatchFailed = 7,
  kExitWouldPatch = 8,
  kExitInterrupted = 130,
};

// What the terminal can show; standard output and standard error apart.
struct Terminal {
  bool out_is_terminal = false;
  bool error_is_terminal = false;
  bool colour = false;  // of standard output: a terminal, NO_COLOR unset, TERM not dumb
  bool utf8 = false;    // by LC_ALL, LC_CTYPE, LANG
  int columns = 100;    // never above 100
};
Terminal probe_terminal();

// Of ssmend's own process; empty where it is not set.
std::string environment_variable(const char* name);

struct Selected {
  std::function<int()> run;  // set by the subcommand that was given
};

// Options that choose the environment; the same on every command that looks at one.
struct TargetOptions {
  std::string python;
  std::string site_packages;
  std::string root;
  bool all = false;
};
void add_target_options(CLI::App& command, TargetOptions& options);

// The disk (the running system or --root) and the environments on it, or a message on standard
// error and an exit code.
struct Target {
  std::unique_ptr<Disk> disk;
  std::vector<Environment> environments;
  EnvironmentRequest request;  // how they were found, to find one again on a changed tree
  std::string library_path;    // LD_LIBRARY_PATH of this process; empty for a mounted root
};
Result<Target> open_target(const TargetOptions& options);
Result<std::unique_ptr<Disk>> open_target_disk(const std::string& root);

// Directory of ssmend's own data on the running system: "patches", "recipes", "kernels". Looked for
// in $SSMEND_DATA, then ../share/ssmend beside the running executable (build tree and installed
// layout are alike).
Result<std::string> data_directory(const std::string& name);

// Prints "error: ..." with its causes on standard error; gives kExitFailed.
int fail(const Error& error);
void print(const std::string& text);           // standard output
void print_progress(const std::string& text);  // standard error

// Version, build, kernel images and rule revisions, for --version.
std::string version_text();

void add_inspect_command(CLI::App& app, Selected& selected);
void add_explain_command(CLI::App& app, Selected& selected);
void add_report_command(CLI::App& app, Selected& selected);
void add_generate_command(CLI::App& app, Selected& selected);
void add_patch_command(CLI::App& app, Selected& selected);
void add_repair_command(CLI::App& app, Selected& selected);
void add_undo_command(CLI::App& app, Selected& selected);
void add_status_command(CLI::App& app, Selected& selected);
void add_kernels_command(CLI::App& app, Selected& selected);
void add_verify_command(CLI::App& app, Selected& selected);
void add_resolve_command(CLI::App& app, Selected& selected);
void add_contract_command(CLI::App& app, Selected& selected);

}  // namespace ssmend
