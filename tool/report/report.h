// Rendering: inspections in, text out. Nothing here decides anything; what is not in the structs is
// not in the report.
#pragma once

#include <string>
#include <vector>

#include "diagnose/diagnose.h"

namespace ssmend {

struct TextStyle {
  bool colour = false;
  bool utf8 = true;         // false: bytes beyond ASCII are written as \xNN
  int columns = 100;        // lines are folded here where they can be
  bool quiet = false;       // only the first line of each finding, and the last line
  size_t repeat_limit = 8;  // findings of one code shown in full; the rest are counted
};

// The findings as a person reads them, ending with the summary line.
std::string render_text(const std::vector<Inspection>& inspections, const TextStyle& style);

// One finding, as `render_text` prints it; used by repair and verify too.
std::string render_finding(const Finding& finding, const TextStyle& style);

// "Checked 41 extensions in 0.09 s: 1 error, 1 note"
std::string summary_line(const std::vector<Inspection>& inspections);

// report/schemas/inspection.schema.json describes it.
std::string render_json(const std::vector<Inspection>& inspections);

// SARIF 2.1.0, one run, one result a finding; rule ids are finding codes.
std::string render_sarif(const std::vector<Inspection>& inspections);
// JUnit XML as CI servers read it: one test case a finding code and environment.
std::string render_junit(const std::vector<Inspection>& inspections);
// Workflow commands of GitHub Actions: "::error file=...,line=...,title=...::message".
std::string render_github(const std::vector<Inspection>& inspections);
// For pasting into an issue. `redactions` are (text, replacement) pairs such as home directories.
std::string render_markdown(const std::vector<Inspection>& inspections,
                            const std::vector<std::pair<std::string, std::string>>& redactions);

// Folds `text` at blanks so that no line passes `columns`; later lines start with `indent` blanks.
// `first_column` is where the text begins on its first line. Words longer than a line stay whole.
std::string fold(std::string_view text, int columns, int first_column, int indent);

size_t count_findings(const std::vector<Inspection>& inspections, Severity severity);

}  // namespace ssmend
