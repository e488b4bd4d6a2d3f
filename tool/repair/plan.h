// Plan: what a repair would do, complete before anything is written. Pure: facts in, actions out.
#pragma once

#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "patch/patch.h"

namespace ssmend {

// One file that is to come, change or go. Content is held here, so that apply only writes.
struct FileChange {
  enum class Kind { kWrite, kRemove, kMoveAside };
  Kind kind = Kind::kWrite;
  std::string path;      // absolute path of the target
  std::string content;   // kWrite
  uint32_t mode = 0644;  // of a new file; one that is replaced keeps its own
  // kMoveAside: given back by undo only while this path is still there (its package's RECORD).
  std::string only_with;
};

struct Action {
  enum class Kind { kPatch, kInstall, kMoveAside, kShim };
  Kind kind = Kind::kPatch;
  std::string title;                      // "mamba_ssm/ops/selective_scan_interface.py"
  std::string summary;                    // "5 edits"
  std::vector<std::string> for_findings;  // codes; empty where no finding names the patched file
  std::vector<std::string> rules;         // of a patch: ids of the rule sets that change the file
  std::vector<FileChange> changes;
  std::string question;  // to be asked before this one: "x.py belongs to an editable install: ..."
};

struct Plan {
  std::string environment_prefix;
  std::vector<Action> actions;
  std::vector<FilePatch> patches;       // with those that change nothing, for the report
  std::vector<Finding> remaining;       // findings that no action of this plan cures
  std::vector<std::string> refusals;    // why nothing may be written here, if anything
  std::vector<FileChange> bookkeeping;  // RECORD files of the packages that change
  std::vector<std::string> stale_pycs;  // files to remove with the patched sources
  [[nodiscard]] bool empty() const { return actions.empty(); }
};

const char* action_kind_name(Action::Kind kind);  // "patch", "install", "move aside", "shim"

}  // namespace ssmend
