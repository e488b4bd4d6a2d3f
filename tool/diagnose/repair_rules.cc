// What somebody's earlier repair has left behind (earlier-repair): start-up hooks, Python stubs
// that shadow a native module, backup files, changed files that RECORD knows in another form.
#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.h"
#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

void report(DiagnoseContext& context, const std::string& path, const std::string& says,
            Severity severity, const std::string& kind) {
  Finding finding = make_finding("earlier-repair");
  finding.severity = severity;
  finding.subject = std::string(base_name(path));
  finding.subject_path = path;
  finding.location.path = context.shown(path);
  finding.title = fmt::format("`{}` is left of an earlier repair: {}", context.shown(path), says);
  finding.evidence.push_back({"file", path});
  finding.details.emplace_back("path", path);
  finding.details.emplace_back("kind", kind);
  finding.remedies.push_back(
      kind == "backup"
          ? Remedy{"nothing imports it, and `pip uninstall` would leave it behind: delete it when "
                   "all works; where it is the file that the package installed, `ssmend repair` "
                   "starts from it",
                   "1 file"}
          : Remedy{"move it away: `ssmend repair` does so, `ssmend undo` brings it back",
                   "1 file"});
  context.add(std::move(finding));
}

bool is_owned(const Environment& environment, const std::string& path) {
  return std::any_of(environment.distributions.begin(), environment.distributions.end(),
                     [&](const Distribution& distribution) {
                       return std::any_of(
                           distribution.files.begin(), distribution.files.end(),
                           [&](const RecordEntry& entry) { return entry.path == path; });
                     });
}

// Start-up code that no distribution installed: one finding a file.
void judge_marks(DiagnoseContext& context) {
  for (const std::string& directory : context.environment().site_directories) {
    const Result<std::vector<DirectoryEntry>> entries = context.disk.list(directory);
    if (!entries.ok()) continue;
    std::vector<std::string> told;
    for (const RepairMark& mark : knowledge().repair_marks) {
      for (const DirectoryEntry& entry : *entries) {
        if (!glob_match(mark.file, entry.name)) continue;
        const std::string path = path_join(directory, entry.name);
        if (std::find(told.begin(), told.end(), path) != told.end()) continue;
        const Result<std::string> text = context.disk.read(path, 4 << 20);
        if (!text.ok() || text->find(mark.contains) == std::string::npos) continue;
        if (is_owned(context.environment(), path)) continue;
        told.push_back(path);
        report(context, path, mark.says, Severity::kWarning, "start-up");
      }
    }
  }
}

// A native module's name given by a Python file: before or instead of the real one.
void judge_stubs(DiagnoseContext& context) {
  for (const NativeModuleInfo& native : knowledge().native_modules) {
    const std::string file = context.environment().find_module(context.disk, native.name);
    const bool python = glob_match("*.py", file) || glob_match("*.pyc", file);
    if (!python) continue;
    const bool owned = is_owned(context.environment(), file);
    if (owned) continue;  // a distribution that provides the module in Python
    const bool shadows =
        std::any_of(context.modules.begin(), context.modules.end(),
                    [&](const ModuleState& module) { return module.name == native.name; });
    report(context, file,
           shadows ? "a Python stub that shadows the native module"
                   : "a Python stub in the place of a native module",
           Severity::kWarning, "stub");
  }
}

void judge_backups(DiagnoseContext& context) {
  std::string last;
  for (const SourceFile& source : context.sources) {
    const std::string folder(directory_name(source.path));
    if (folder == last) continue;
    last = folder;
    const Result<std::vector<DirectoryEntry>> entries = context.disk.list(folder);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : *entries) {
      for (const char* pattern :
           {"*.py.bak", "*.py.backup", "*.py.orig", "*.bak.py", "*.py.bak.*"}) {
        if (!glob_match(pattern, entry.name)) continue;
        report(context, path_join(folder, entry.name), "a copy of the file before the change",
               Severity::kNote, "backup");
        break;
      }
    }
  }
}

// Sources that are not what their distribution installed. ssmend's own patches update RECORD.
void judge_changed(DiagnoseContext& context) {
  for (const SourceFile& source : context.sources) {
    if (source.owner == nullptr || source.owner->editable) continue;
    for (const RecordEntry& entry : source.owner->files) {
      if (entry.path != source.path || entry.sha256.empty()) continue;
      const std::string digest = sha256_record(*source.python.text);
      if (digest == entry.sha256) break;
      Finding finding = make_finding("earlier-repair");
      finding.severity = Severity::kNote;
      finding.subject = source.owner->name;
      finding.subject_path = source.path;
      finding.location.path = source.relative;
      finding.title = fmt::format("`{}` is not the file that {} {} installed", source.relative,
                                  source.owner->name, source.owner->version);
      finding.evidence.push_back({"record", "sha256=" + entry.sha256});
      finding.evidence.push_back({"file", "sha256=" + digest});
      finding.meaning =
          "Somebody has changed it by hand; a rewrite may meet text it does not know.";
      finding.details.emplace_back("path", source.path);
      finding.details.emplace_back("kind", "changed");
      context.add(std::move(finding));
      break;
    }
  }
}

}  // namespace

void judge_repairs(DiagnoseContext& context) {
  judge_marks(context);
  judge_stubs(context);
  judge_backups(context);
  judge_changed(context);
}

}  // namespace ssmend
