// Source rules: data from patches/ matched and applied on the syntax tree of Python files. Pure:
// takes bytes and facts, gives bytes; nothing is written here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

enum class PatchState {
  kApplied,
  kAlreadyApplied,
  kNotNeeded,
  kPartlyByHand,  // some edits are there by somebody else's hand; nothing is changed
  kRefused,
  kFailed,
};

const char* patch_state_name(PatchState state);  // "applied", "already-applied", ...

// What the preconditions of a rule set are judged by: read from the environment, or given by
// `ssmend patch --contract F`.
struct PatchFacts {
  struct Function {
    int parameters = 0;
    bool returns_none = false;
  };
  // module -> function -> contract; a module that is there but unreadable maps to an empty map.
  std::map<std::string, std::map<std::string, Function>> binaries;
  std::map<std::string, std::string> distributions;  // normalised name -> version
  std::string python_version;                        // "3.10"
  // Named facts that only the inspection can know: "torch.distributed" -> is it compiled in. A name
  // that is not here is unknown, and a rule that asks for it does nothing.
  std::map<std::string, bool> features;
  // Answers "which names does this importable file define at module level" for paths relative to
  // the import directories, such as "causal_conv1d/cpp_functions.py"; nullopt: no such file.
  const class PythonFiles* files = nullptr;
  // Where `files` is not set: files that the releases of a given contract have (true) or lack.
  std::map<std::string, bool> assumed_files;
};

// Reads Python files of the environment (or of a checkout) for preconditions.
class PythonFiles {
 public:
  virtual ~PythonFiles() = default;
  virtual std::optional<std::string> read(const std::string& relative_path) const = 0;
};

struct PatchEdit {
  std::string rule;  // rule set id
  std::string edit;  // edit id inside it
  int line = 0;      // in the file before
  std::string before;
  std::string after;
};

struct FilePatch {
  std::string path;      // absolute
  std::string relative;  // to the import directory or to the given folder
  PatchState state = PatchState::kNotNeeded;
  std::string reason;              // for refused, failed, partly by hand, not needed: why
  std::vector<std::string> rules;  // ids of the rule sets that changed it or are in it already
  std::vector<PatchEdit> edits;
  std::string before;  // bytes; empty where nothing changes
  std::string after;
};

struct RuleSet;  // patch/rules.h

struct PatchTarget {
  std::string path;      // absolute, to read
  std::string relative;  // "mamba_ssm/ops/selective_scan_interface.py"
};

// Loads and checks every rule file under `directory` (patches/ of the installation), by name.
Result<std::vector<RuleSet>> load_rules(const Disk& disk, const std::string& directory);

// Python files that rules may concern: of an environment, below its import directories (only the
// packages that rules name are walked) ...
std::vector<PatchTarget> environment_targets(const Disk& disk, const std::vector<RuleSet>& rules,
                                             const std::vector<std::string>& site_directories);
// ... or every Python file of a folder (or the file itself), for a checkout outside any
// environment.
Result<std::vector<PatchTarget>> folder_targets(const Disk& disk, const std::string& path);

// The facts of `--contract F`: the causal_conv1d_cuda that releases of that letter have (facts of
// the call contract table; the letters are in patches/, as variants). nullopt: no such letter.
std::optional<PatchFacts> facts_of_contract(const std::vector<RuleSet>& rules,
                                            const std::string& letter);

// Adds to the contract of a binary given by its file what its releases have beside it.
void assume_release(const std::vector<RuleSet>& rules, PatchFacts& facts);

// The bytes of one file; nullopt: no rule has anything to do with it.
std::optional<FilePatch> patch_content(const std::vector<RuleSet>& rules, const PatchFacts& facts,
                                       const std::string& relative, std::string content);

// One FilePatch for each target that any rule looks at, in the order of `targets`.
std::vector<FilePatch> plan_patches(const Disk& disk, const std::vector<RuleSet>& rules,
                                    const PatchFacts& facts,
                                    const std::vector<PatchTarget>& targets);

}  // namespace ssmend
