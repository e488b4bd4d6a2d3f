#include "base/text.h"
#include "cli/command.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"

namespace ssmend {
namespace {

using nlohmann::json;

struct UndoOptions {
  TargetOptions target;
  bool yes = false;
  bool dry_run = false;
  bool json = false;
};

// "repair of 3 files: patch mamba_ssm/ops/x.py, ..."
Result<bool> undo_one(Target& target, const Environment& environment, const UndoOptions& options,
                      json& report) {
  Disk& disk = *target.disk;
  const RepairScope scope = open_session(target, environment, "").scope;
  const std::string name = printable(environment.name_for_people);
  report = json{{"environment", environment.prefix}, {"changed", false}};
  const auto say = [&](const std::string& text) {
    if (!options.json) print(text);
  };
  if (scope.base.empty()) return Error(name + ": has no import directory");
  std::unique_ptr<DirectoryLock> lock;
  if (!options.dry_run) {
    Result<std::unique_ptr<DirectoryLock>> held = lock_scope(disk, scope);
    if (!held.ok()) return std::move(held).error();
    lock = std::move(held).value();
  }
  const Result<std::vector<Transaction>> transactions = list_transactions(disk, scope);
  if (!transactions.ok()) return transactions.error();
  if (transactions->empty() && !disk.exists(state_directory(scope))) {
    say("Nothing to undo in " + name + "\n");
    return false;
  }
  size_t files = 0;
  for (const Transaction& transaction : *transactions) {
    if (transaction.phase == TransactionPhase::kNoJournal) continue;
    const Result<Journal> journal = read_journal_of(disk, transaction);
    if (!journal.ok()) return journal.error();
    for (const JournalEntry& entry : journal->entries) {
      files += entry.kind == JournalEntry::Kind::kMakeDirectory ? 0 : 1;
    }
  }
  const std::string what = count_of(files, "file") + " of " + name;
  if (options.dry_run) {
    report["would_give_back"] = files;
    say("Would give back " + what + "\nNothing was changed\n");
    return false;
  }
  if (!options.yes) {
    if (!can_ask() || options.json) {
      return Error("nobody can be asked here: --yes undoes, --dry-run only says what");
    }
    if (!ask("Give back " + what + "?")) {
      say("Nothing was changed\n");
      return false;
    }
  }
  const SignalsHeld held;
  const Result<UndoReport> undone = undo_all(disk, scope);
  if (!undone.ok()) return undone.error();
  say("Gave back " + count_of(undone->files_given_back, "file") + " and removed " +
      count_of(undone->files_removed, "new file") + " in " + name + "\n");
  for (const std::string& left : undone->left) say("left: " + left + "\n");
  report["changed"] = true;
  report["given_back"] = undone->files_given_back;
  report["removed"] = undone->files_removed;
  report["left"] = undone->left;
  return true;
}

int run_undo(const UndoOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());
  bool failed = false;
  json reports = json::array();
  for (const Environment& environment : target->environments) {
    json report;
    const Result<bool> undone = undo_one(*target, environment, options, report);
    if (!undone.ok()) {
      fail(undone.error());
      failed = true;
      report["error"] = format_error(undone.error());
    }
    reports.push_back(std::move(report));
  }
  if (options.json) print(to_text(json{{"schema", "ssmend-undo/1"}, {"undone", reports}}));
  return failed ? kExitFailed : kExitHealthy;
}

}  // namespace

void add_undo_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<UndoOptions>();
  CLI::App* command = app.add_subcommand("undo", "give back what repair changed, to the byte");
  add_target_options(*command, options->target);
  command->add_flag("-y,--yes", options->yes, "without asking");
  command->add_flag("--dry-run", options->dry_run, "say what would be given back");
  command->add_flag("--json", options->json, "the result as JSON; never asks");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_undo(*options); }; });
}

}  // namespace ssmend
