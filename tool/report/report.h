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

// "Checked 41 extensions (132 ELF files) in 0.09 s: 1 error (call-contract), 1 note": the last line
// says what it is about, for a log of which only the end is seen.
std::string summary_line(const std::vector<Inspection>& inspections);

// report/schemas/inspection.schema.json describes it.
std::string render_json(const std::vector<Inspection>& inspections);

// What the formats for machines want to know beyond the inspections.
struct ReportContext {
  std::string version;     // of ssmend
  std::string repository;  // absolute path of the checkout that CI works in; empty: none
  // Of the checks on the page: library, GPU and images, or how many planted faults were found.
  std::vector<std::string> checked_on;
};

// SARIF 2.1.0, one run, one result a finding; rule ids are finding codes. A file inside
// `repository` is named relative to it (base %SRCROOT%), one of an installed package relative to
// its import directory.
std::string render_sarif(const std::vector<Inspection>& inspections, const ReportContext& context);
// JUnit XML as CI servers read it: one test suite an environment, one test case a finding code.
std::string render_junit(const std::vector<Inspection>& inspections);
// Workflow commands of GitHub Actions: "::error file=...,line=...,title=...::message".
std::string render_github(const std::vector<Inspection>& inspections, const ReportContext& context);

// For pasting into an issue; `redact` (report/redact.h) is run over it by the caller.
std::string render_markdown(const std::vector<Inspection>& inspections,
                            const ReportContext& context);

// One numeric check of a kernel or a package, as the HTML page draws it.
struct CheckRow {
  std::string name;   // "conv1d fwd  bf16  2x64x151 w4 silu"
  std::string state;  // "ok", "wrong", "failed", "not-checked"
  double error = 0;   // measured; with `limit` 0 there is no number to draw
  double limit = 0;   // largest error that passes
  double milliseconds = 0;
  std::string note;  // why it was skipped or failed
};

// One self-contained page: no script, no network, no file beside it.
std::string render_html(const std::vector<Inspection>& inspections,
                        const std::vector<CheckRow>& checks, const ReportContext& context);

// Folds `text` at blanks so that no line passes `columns`; later lines start with `indent` blanks.
// `first_column` is where the text begins on its first line. Words longer than a line stay whole.
std::string fold(std::string_view text, int columns, int first_column, int indent);

// The distributions worth naming at a glance: those a finding is about, those that own a native
// module which can be imported by a plain name, and torch. In the order of the environment.
std::vector<const Distribution*> main_distributions(const Inspection& inspection);

size_t count_findings(const std::vector<Inspection>& inspections, Severity severity);

}  // namespace ssmend
