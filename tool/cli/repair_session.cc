#include "cli/repair_session.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace ssmend {

RepairSession open_session(Target& target, const Environment& environment, const std::string& gpu) {
  RepairSession session;
  session.target = &target;
  session.scope = scope_of(*target.disk, environment);
  session.request = target.request;
  session.request.all = false;
  session.request.python.clear();
  session.request.site_packages.clear();
  if (environment.kind == EnvironmentKind::kBareDirectory &&
      !environment.site_directories.empty()) {
    session.request.site_packages = environment.site_directories.front();
  } else if (environment.kind == EnvironmentKind::kVirtual ||
             environment.kind == EnvironmentKind::kConda || environment.python.executable.empty()) {
    session.request.python = environment.prefix;
  } else {
    session.request.python = environment.python.executable;
  }
  session.diagnose_options.library_path = target.library_path;
  session.diagnose_options.gpu = gpu;
  return session;
}

Result<Inspection> inspect_session(const RepairSession& session, const Disk& disk) {
  Result<std::vector<Environment>> environments = discover_environments(disk, session.request);
  if (!environments.ok()) return std::move(environments).error();
  if (environments->empty()) return Error(session.scope.name_for_people + ": no environment");
  return diagnose(disk, std::move(environments->front()), session.diagnose_options);
}

Result<PlanRequest> plan_request(const RepairSession& session, const Disk& data_disk,
                                 const std::string& payload, std::vector<std::string> only) {
  PlanRequest request;
  request.disk = session.target->disk.get();
  request.data_disk = &data_disk;
  request.scope = session.scope;
  request.only = std::move(only);
  request.ssmend_version = SSMEND_VERSION;
  request.inspect = [&session](const Disk& disk) { return inspect_session(session, disk); };
  Result<std::string> patches = data_directory("patches");
  if (!patches.ok()) return std::move(patches).error();
  Result<std::vector<RuleSet>> rules = load_rules(data_disk, *patches);
  if (!rules.ok()) return std::move(rules).error();
  request.rules = std::move(rules).value();
  std::string kernels = payload;
  if (kernels.empty()) {
    Result<std::string> found = data_directory("kernels");
    if (found.ok()) kernels = std::move(found).value();
  }
  if (!kernels.empty()) {
    Result<std::vector<Payload>> payloads = load_payloads(data_disk, kernels);
    if (!payloads.ok()) return std::move(payloads).error();
    request.payloads = std::move(payloads).value();
  }
  return request;
}

Result<std::optional<int64_t>> source_date_epoch() {
  const char* text = std::getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr || *text == '\0') return std::optional<int64_t>();
  if (!is_all_digits(text) || std::string_view(text).size() > 18) {
    return Error(std::string("SOURCE_DATE_EPOCH: not a number of seconds: ") + printable(text));
  }
  return std::optional<int64_t>(std::strtoll(text, nullptr, 10));
}

struct SignalsHeld::Saved {
  sigset_t mask;
};

SignalsHeld::SignalsHeld() : saved_(new Saved) {
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  sigaddset(&held, SIGTERM);
  sigaddset(&held, SIGHUP);
  sigprocmask(SIG_BLOCK, &held, &saved_->mask);
}

SignalsHeld::~SignalsHeld() {
  sigprocmask(SIG_SETMASK, &saved_->mask, nullptr);
  delete saved_;
}

bool can_ask() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1; }

bool ask(const std::string& question) {
  std::fflush(stdout);
  print_progress(question + " [y/N] ");
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar()) {
    answer += static_cast<char>(c);
  }
  answer = to_lower(trim(answer));
  return answer == "y" || answer == "yes";
}

TextStyle text_style(bool quiet) {
  const Terminal terminal = probe_terminal();
  TextStyle style;
  style.colour = terminal.colour;
  style.utf8 = terminal.utf8;
  style.columns = terminal.columns;
  style.quiet = quiet;
  return style;
}

}  // namespace ssmend
