// A finding is what is wrong with the user's environment, as data. Rules make them, reports render
// them; nothing between looks at their text.
#pragma once

#include <string>
#include <vector>

namespace ssmend {

enum class Severity { kError, kWarning, kNote };

struct Evidence {
  std::string label;  // "calls", "binary", "searched": one word, the left column of the report
  std::string text;
};

struct Remedy {
  std::string text;     // "`ssmend repair` rewrites the 4 forward and 2 backward calls"
  std::string changes;  // what it changes: "2 files of mamba_ssm"
};

struct Location {
  std::string path;  // relative to the import directory where it lies in one, else absolute
  int line = 0;      // 0: the whole file
};

struct Finding {
  std::string code;  // a row of the table in diagnose/codes.h
  Severity severity = Severity::kError;
  std::string subject;       // distribution or module the finding is about: "mamba_ssm"
  std::string subject_path;  // absolute path of the file, empty where it is no file
  std::string title;         // one sentence without the code
  Location location;
  std::vector<Evidence> evidence;
  std::vector<std::string> ruled_out;
  std::string meaning;  // "TypeError at the first forward pass; import succeeds"
  std::vector<Remedy> remedies;
  std::vector<std::string> links;  // issue threads or documentation: "state-spaces/mamba#660"
  // What the planner needs to know, as name -> value pairs: {"module","causal_conv1d_cuda"}.
  std::vector<std::pair<std::string, std::string>> details;

  [[nodiscard]] std::string detail(std::string_view name) const;  // empty where it is not there
};

const char* severity_name(Severity severity);  // "error", "warning", "note"

}  // namespace ssmend
