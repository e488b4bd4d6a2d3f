// JUnit XML in the form that Jenkins, GitLab and GitHub actions read: testsuites, testsuite,
// testcase, failure, system-out. Errors are failures; warnings and notes pass and leave their text
// in system-out, so that a note never turns a build red.
#include <fmt/format.h>

#include <map>

#include "diagnose/codes.h"
#include "report/escape.h"
#include "report/report.h"

namespace ssmend {
namespace {

struct Case {
  std::string code;
  std::vector<const Finding*> errors;
  std::vector<const Finding*> others;
};

std::string text_of(const Finding& finding) {
  TextStyle style;
  return render_finding(finding, style);
}

std::string case_xml(const Case& test) {
  std::string xml = fmt::format("    <testcase classname=\"ssmend\" name=\"{}\" time=\"0\"",
                                escape_markup(test.code));
  if (test.errors.empty() && test.others.empty()) return xml + "/>\n";
  xml += ">\n";
  for (const Finding* finding : test.errors) {
    xml += fmt::format("      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
                       escape_markup(finding->code), escape_markup(finding->title),
                       escape_markup(text_of(*finding)));
  }
  std::string passed;
  for (const Finding* finding : test.others) passed += text_of(*finding);
  if (!passed.empty()) xml += "      <system-out>" + escape_markup(passed) + "</system-out>\n";
  return xml + "    </testcase>\n";
}

// Every code of the table, so that a code which no longer occurs is a test that passes, then the
// codes which the table lacks.
std::vector<Case> cases_of(const Inspection& inspection) {
  std::vector<Case> cases;
  std::map<std::string, size_t> index;
  const auto case_of = [&](const std::string& code) -> Case& {
    const auto [known, added] = index.try_emplace(code, cases.size());
    if (added) cases.push_back({code, {}, {}});
    return cases[known->second];
  };
  for (const CodeInfo& info : all_codes()) case_of(info.code);
  for (const Finding& finding : inspection.findings) {
    Case& test = case_of(finding.code);
    (finding.severity == Severity::kError ? test.errors : test.others).push_back(&finding);
  }
  return cases;
}

std::string suite_xml(const Inspection& inspection, size_t& tests, size_t& failures) {
  const std::vector<Case> cases = cases_of(inspection);
  size_t failed = 0;
  std::string body;
  for (const Case& test : cases) {
    failed += !test.errors.empty();
    body += case_xml(test);
  }
  std::string missed;
  for (const std::string& problem : inspection.environment.problems) {
    missed += "not read: " + problem + "\n";
  }
  for (const std::string& text : inspection.not_checked) missed += "not checked: " + text + "\n";
  if (!missed.empty()) body += "    <system-out>" + escape_markup(missed) + "</system-out>\n";
  tests += cases.size();
  failures += failed;
  return fmt::format(
      "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" "
      "time=\"{:.3f}\">\n{}  </testsuite>\n",
      escape_markup(inspection.environment.prefix), cases.size(), failed, inspection.seconds, body);
}

}  // namespace

std::string render_junit(const std::vector<Inspection>& inspections) {
  size_t tests = 0;
  size_t failures = 0;
  double seconds = 0;
  std::string suites;
  for (const Inspection& inspection : inspections) {
    suites += suite_xml(inspection, tests, failures);
    seconds += inspection.seconds;
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"ssmend\" tests=\"{}\" "
      "failures=\"{}\" errors=\"0\" time=\"{:.3f}\">\n{}</testsuites>\n",
      tests, failures, seconds, suites);
}

}  // namespace ssmend
