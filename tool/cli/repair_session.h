// What repair, undo, status and `kernels install` share: one environment with its scope, looking at
// it again on another disk, the data a plan is made from, and asking the person.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "repair/planner.h"
#include "repair/transaction.h"
#include "report/report.h"

namespace ssmend {

struct RepairSession {
  Target* target = nullptr;
  RepairScope scope;
  EnvironmentRequest request;  // finds exactly this environment
  DiagnoseOptions diagnose_options;
};

RepairSession open_session(Target& target, const Environment& environment, const std::string& gpu);

// Discovers and diagnoses the session's environment on `disk`.
Result<Inspection> inspect_session(const RepairSession& session, const Disk& disk);

// The request for the planner, with ssmend's own rules and kernel libraries loaded. `payload`:
// folder given by --payload, or empty. A missing kernels folder is no error: there are no drop-ins.
Result<PlanRequest> plan_request(const RepairSession& session, const Disk& data_disk,
                                 const std::string& payload, std::vector<std::string> only);

// SOURCE_DATE_EPOCH; nothing where it is unset, an error where it is no number.
Result<std::optional<int64_t>> source_date_epoch();

// Holds SIGINT and SIGTERM while it lives: a transaction is short, and is ended rather than cut.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  struct Saved;
  Saved* saved_;
};

bool can_ask();                         // standard input and error are a terminal
bool ask(const std::string& question);  // "... [y/N] "

TextStyle text_style(bool quiet);

}  // namespace ssmend
