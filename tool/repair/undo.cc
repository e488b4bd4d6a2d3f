#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "repair/roll_back.h"
#include "repair/transaction.h"

namespace ssmend {
namespace {

// Left by a run that was killed between making the folder and anything in it.
Result<void> remove_empty_state(Disk& disk, const RepairScope& scope) {
  const std::string state = state_directory(scope);
  const Result<FileStat> there = disk.lstat(state);
  if (!there.ok() || !there->is_directory()) return {};
  const Result<std::vector<DirectoryEntry>> entries = disk.list(state);
  if (!entries.ok()) return entries.error();
  return entries->empty() ? disk.remove_directory(state) : Result<void>();
}

}  // namespace

bool needs_recovery(const std::vector<Transaction>& transactions) {
  return std::any_of(transactions.begin(), transactions.end(), [](const Transaction& each) {
    return each.phase != TransactionPhase::kCommitted;
  });
}

Result<UndoReport> recover(Disk& disk, const RepairScope& scope) {
  UndoReport report;
  const Result<std::vector<Transaction>> transactions = list_transactions(disk, scope);
  if (!transactions.ok()) return transactions.error();
  for (auto each = transactions->rbegin(); each != transactions->rend(); ++each) {
    if (each->phase == TransactionPhase::kCommitted) continue;
    if (Result<void> back = roll_back(disk, scope, *each, report); !back.ok()) {
      return std::move(back).error().with_context(
          "an earlier run that was interrupted could not be "
          "given back");
    }
  }
  if (Result<void> removed = remove_empty_state(disk, scope); !removed.ok()) {
    return std::move(removed).error();
  }
  return report;
}

Result<UndoReport> undo_all(Disk& disk, const RepairScope& scope) {
  Result<UndoReport> report = recover(disk, scope);
  if (!report.ok()) return report;
  report->transactions = 0;
  const Result<std::vector<Transaction>> transactions = list_transactions(disk, scope);
  if (!transactions.ok()) return transactions.error();
  for (auto each = transactions->rbegin(); each != transactions->rend(); ++each) {
    Result<void> marked =
        disk.replace_atomically(path_join(each->directory, "undoing"), "", WriteOptions());
    if (!marked.ok()) return std::move(marked).error();
    if (Result<void> back = roll_back(disk, scope, *each, *report); !back.ok()) {
      return std::move(back).error();
    }
  }
  return report;
}

Result<StatusReport> read_status(const Disk& disk, const RepairScope& scope) {
  StatusReport status;
  const Result<std::vector<Transaction>> transactions = list_transactions(disk, scope);
  if (!transactions.ok()) return transactions.error();
  status.interrupted = needs_recovery(*transactions);
  for (const Transaction& transaction : *transactions) {
    if (transaction.phase != TransactionPhase::kCommitted) continue;
    Result<Journal> journal = read_journal_of(disk, transaction);
    if (!journal.ok()) return std::move(journal).error();
    StatusReport::Repair repair;
    for (const JournalEntry& entry : journal->entries) {
      const bool write = entry.kind == JournalEntry::Kind::kWrite;
      if (!write && entry.kind != JournalEntry::Kind::kMoveAside) continue;
      StatusEntry line;
      line.path = entry.path;
      line.kind = journal_kind_name(entry.kind);
      const Result<FileState> now = file_state(disk, entry.path);
      const bool there = now.ok() && now->exists;
      if (write ? !there || now->sha256 != entry.new_sha256 : there) {
        line.state = StatusEntry::State::kLost;
        line.reason = !there ? "gone" : write ? "changed since" : "is there again";
        ++repair.lost;
      }
      repair.files.push_back(std::move(line));
    }
    repair.actions = std::move(journal->actions);
    status.repairs.push_back(std::move(repair));
  }
  return status;
}

}  // namespace ssmend
