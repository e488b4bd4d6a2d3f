#include "report/report.h"

#include <gtest/gtest.h>

#include "report/compare.h"
#include "report/escape.h"
#include "report/fingerprint.h"
#include "report/html_parts.h"
#include "report/read_checks.h"
#include "report/redact.h"
#include "report/report_samples.h"

namespace ssmend {
namespace {

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Text, a_finding_is_printed_whole) {
  const Inspection inspection = jetson_inspection();
  EXPECT_EQ(
      render_finding(inspection.findings[0], TextStyle{}),
      R"(error[call-contract]: `mamba_ssm` 2.2.4 calls causal_conv1d_fwd with 7 arguments, the installed
    binary takes 8
  --> mamba_ssm/ops/selective_scan_interface.py:209
   = calls:    (x, w, b, None, None, None, True), 2 in this file
   = binary:   causal_conv1d_cuda: 8 parameters, returns None
   = so:       TypeError at the first forward pass; import succeeds
help: `ssmend repair` rewrites the calls (changes 1 file of mamba_ssm)
more: `ssmend explain call-contract`
)");
}

TEST(Text, a_long_label_keeps_a_blank_before_its_text) {
  Finding finding;
  finding.evidence = {{"looked for it", "x.so"}};
  EXPECT_NE(render_finding(finding, TextStyle{}).find("   = looked for it: x.so\n"),
            std::string::npos);
}

TEST(Text, quiet_is_one_line_a_finding_and_the_summary) {
  TextStyle style;
  style.quiet = true;
  EXPECT_EQ(
      render_text({jetson_inspection()}, style),
      R"(error[call-contract]: `mamba_ssm` 2.2.4 calls causal_conv1d_fwd with 7 arguments, the installed
    binary takes 8
error[missing-library]: `causal_conv1d_cuda` needs libc10.so, and no file has that name
warning[module-missing]: `selective_scan_cuda` is imported and not installed
note[load-order]: `causal_conv1d_cuda` must be imported after torch
Checked 2 extensions (41 ELF files) in 0.09 s: 2 errors (call-contract, missing-library), 1 warning
    (module-missing), 1 note
)");
}

TEST(Text, no_line_passes_the_given_width) {
  TextStyle style;
  style.columns = 60;
  const std::string text = render_text({jetson_inspection()}, style);
  size_t start = 0;
  while (start < text.size()) {
    const size_t end = text.find('\n', start);
    const std::string line = text.substr(start, end - start);
    // A word longer than the line stays whole.
    if (line.find(' ', 14) != std::string::npos) {
      EXPECT_LE(line.size(), 60U) << line;
    }
    start = end + 1;
  }
}

TEST(Text, repeats_of_one_code_are_counted) {
  const std::string text = render_text({large_inspection(10)}, TextStyle{});
  EXPECT_EQ(occurrences(text, "warning[bad-file-in-path]"), 8U);
  EXPECT_NE(text.find("2 more of bad-file-in-path (all of them: --json)\n"), std::string::npos);
}

TEST(Text, no_control_byte_of_the_target_reaches_the_terminal) {
  TextStyle style;
  style.utf8 = false;
  for (const char c : render_text({hostile_inspection()}, style)) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  }
}

TEST(Fingerprint, line_version_and_prefix_do_not_count) {
  Inspection before = jetson_inspection();
  Inspection after = jetson_inspection();
  after.findings[0].location.line = 215;
  after.findings[0].title = "`mamba_ssm` 2.2.5 calls causal_conv1d_fwd with 7 arguments";
  after.environment.prefix = "/somewhere/else";
  EXPECT_EQ(finding_fingerprints(before), finding_fingerprints(after));
  after.findings[0].location.path = "mamba_ssm/ops/other.py";
  EXPECT_NE(finding_fingerprints(before)[0], finding_fingerprints(after)[0]);
}

TEST(Fingerprint, is_the_same_for_ever) {
  // Written down: a change would make every finding of every user new again.
  EXPECT_EQ(finding_fingerprints(jetson_inspection())[0], "bfe3a87062cc20f0d49d029c201eb23f");
}

TEST(Fingerprint, equal_findings_of_one_run_differ_by_rank) {
  Inspection inspection = jetson_inspection();
  inspection.findings.push_back(inspection.findings[0]);
  const std::vector<std::string> prints = finding_fingerprints(inspection);
  EXPECT_NE(prints.front(), prints.back());
}

TEST(Compare, names_what_came_and_what_went) {
  Inspection old_inspection = jetson_inspection();
  Inspection new_inspection = jetson_inspection();
  new_inspection.findings.erase(new_inspection.findings.begin());  // call-contract is gone
  new_inspection.findings[2].code = "stale-ld-cache";              // was load-order
  const Result<Comparison> comparison =
      compare_with(render_json({old_inspection}), {new_inspection});
  ASSERT_TRUE(comparison.ok());
  const std::string text = render_comparison(comparison.value());
  EXPECT_EQ(occurrences(text, "new   note[stale-ld-cache]: "), 1U) << text;
  EXPECT_EQ(occurrences(text, "gone  error[call-contract]: "), 1U) << text;
  EXPECT_EQ(occurrences(text, "gone  note[load-order]: "), 1U) << text;
  EXPECT_NE(text.find("Compared with the old report: 1 new, 2 gone, 2 as before\n"),
            std::string::npos);
  EXPECT_EQ(comparison->new_errors(), 0U);
}

TEST(Compare, says_why_an_old_report_cannot_be_read) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"not json", "the old report is not JSON"},
      {"[]", "the old report has schema '', wanted 'ssmend/inspection/1'"},
      {R"({"schema":"ssmend/plan/1"})",
       "the old report has schema 'ssmend/plan/1', wanted 'ssmend/inspection/1'"},
      {R"({"schema":"ssmend/inspection/1"})", "the old report has no list 'inspections'"},
      {R"({"schema":"ssmend/inspection/1","inspections":[{"findings":[{}]}]})",
       "the old report has a finding without fingerprint"}};
  for (const auto& [text, message] : cases) {
    const Result<Comparison> comparison = compare_with(text, {});
    ASSERT_FALSE(comparison.ok()) << text;
    EXPECT_EQ(comparison.error().message, message);
  }
}

TEST(Redact, hides_homes_names_and_passwords) {
  const Redactions ann{"/srv/people/ann", "ann", "orin7.lab.example"};
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/srv/people/ann/venv/lib", "~/venv/lib"},
      {"/srv/people/anna/venv", "/srv/people/anna/venv"},
      {"/home/bob/x.py:3", "~/x.py:3"},
      {"/mnt/card/home/bob.b/x", "/mnt/card~/x"},
      {"/Users/Carol/x", "~/x"},
      {"ann said annual and ann-lee, ann.", "USER said annual and ann-lee, USER."},
      {"ssh orin7 or orin7.lab.example", "ssh HOST or HOST"},
      {"https://ann:secret@example.org/p@q", "https://REDACTED@example.org/p@q"},
      {"git+ssh://git@example.org/a", "git+ssh://REDACTED@example.org/a"},
      {"/home/ and nothing", "/home/ and nothing"}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(redact(text, ann), expected);
}

TEST(Redact, ordinary_names_stay) {
  EXPECT_EQ(redact("root user on jetson, root/x of the card", Redactions{"/", "root", "jetson"}),
            "root user on jetson, root/x of the card");
  EXPECT_EQ(
      redact("/srv/runner/venv/x of runner", Redactions{"/srv/runner", "runner", "localhost"}),
      "~/venv/x of runner");
}

TEST(Redact, the_whole_markdown_report_names_nobody) {
  const std::string text = redact(render_markdown({jetson_inspection()}, ReportContext{}),
                                  Redactions{"/home/ann", "ann", "orin7"});
  EXPECT_EQ(occurrences(text, "/home"), 0U);
  EXPECT_EQ(occurrences(text, "| environment | ~/venv |"), 1U);
}

TEST(Html, marks_every_failing_edge_and_counts_the_rest) {
  const Inspection inspection = jetson_inspection();
  const auto& [path, resolution] = *inspection.resolutions.begin();
  const std::string picture = dependency_picture(path, resolution, "g");
  EXPECT_EQ(occurrences(picture, "class=\"edge fails\""), 4U);  // 2 files, 1 symbol, 1 version
  EXPECT_EQ(occurrences(picture, "class=\"edge\""), 4U);        // 3 libraries, "1 more found"
  EXPECT_EQ(occurrences(picture, "libgomp"), 0U);               // leads to no failure
  EXPECT_NE(picture.find("lacks GLIBC_2.38"), std::string::npos);
}

TEST(Html, draws_nothing_where_nothing_fails) {
  EXPECT_EQ(dependency_picture("/x.so", Resolution{}, "g"), "");
}

TEST(Html, a_cycle_of_libraries_ends) {
  Resolution resolution;
  for (const auto& [path, by] : std::vector<std::pair<std::string, std::string>>{
           {"/r.so", ""}, {"/a.so", "/b.so"}, {"/b.so", "/a.so"}}) {
    LoadedLibrary library;
    library.path = path;
    library.needed_by = by;
    resolution.libraries.push_back(library);
  }
  MissingLibrary missing;
  missing.name = "libgone.so";
  missing.needed_by = "/a.so";
  resolution.missing = {missing};
  EXPECT_NE(dependency_picture("/r.so", resolution, "g"), "");
}

TEST(Html, calls_with_another_number_of_arguments_are_marked) {
  const std::string table = contract_table(jetson_inspection(), "causal_conv1d_cuda");
  EXPECT_EQ(occurrences(table, "<span class=\"bad\">"), 4U);  // 3 drifted, 1 function is not there
  EXPECT_EQ(occurrences(table, "The binary has no such function"), 1U);
  EXPECT_EQ(contract_table(jetson_inspection(), "selective_scan_cuda"), "");
}

TEST(Html, bars_show_the_share_of_the_limit) {
  const std::string table = check_table(sample_checks());
  // 0.0039 of 0.0156 is a quarter of the limit; the limit stands at 96 of 120 pixels.
  EXPECT_NE(table.find("0.0039 of 0.016"), std::string::npos);
  EXPECT_EQ(occurrences(table, "<rect class=\"bar\" width=\"24\""), 1U);
  EXPECT_EQ(occurrences(table, "<rect class=\"bar fails\" width=\"120\""), 1U);
  EXPECT_EQ(check_table({}), "");
}

TEST(Checks, what_was_checked_and_what_was_compared_are_on_the_page) {
  const std::string_view json = R"({"schema":"ssmend/verification/1",
    "device":["Library /x.so","Image   scan: sm_90","Image   conv: sm_90","11 of 11 planted faults were found"],
    "checks":[{"component":"inject","check":"stale-dx","state":"ok","compared":"found by 9 of 30",
               "error":null,"limit":null,"seconds":5}]})";
  const Result<std::vector<CheckRow>> rows = read_check_rows(json);
  ASSERT_TRUE(rows.ok());
  const std::string table = check_table(*rows, read_check_device(json));
  EXPECT_EQ(occurrences(table, "Library /x.so<br>11 of 11 planted faults were found<br>"), 1U);
  EXPECT_EQ(occurrences(table, "<summary>Images (2)</summary>"), 1U);
  EXPECT_EQ(occurrences(table, "found by 9 of 30"), 1U);
}

TEST(Checks, are_read_from_what_verify_wrote) {
  const Result<std::vector<CheckRow>> rows = read_check_rows(R"({"schema":"ssmend/verification/1",
    "checks":[{"component":"scan","check":"fwd","state":"ok","error":0.5,"limit":2,"seconds":0.25},
              {"component":"scan","check":"bwd","state":"wrong","error":null,"limit":2,
               "part":"dA","found":"nan","expected":"1"},
              {"component":"mamba","check":"x","state":"not-checked","limit":2,"reason":"no GPU"}]})");
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 3U);
  EXPECT_EQ((*rows)[0].name, "scan: fwd");
  EXPECT_EQ((*rows)[0].error, 0.5);
  EXPECT_EQ((*rows)[0].milliseconds, 250);
  EXPECT_NE((*rows)[1].error, (*rows)[1].error);  // a NaN
  EXPECT_EQ((*rows)[1].note, "dA: found nan, expected 1");
  EXPECT_EQ((*rows)[2].limit, 0);
  // A NaN fills the bar and is marked.
  EXPECT_EQ(occurrences(check_table(*rows), "<rect class=\"bar fails\" width=\"120\""), 1U);
  EXPECT_EQ(read_check_rows("[]").error().message,
            "the checks have schema '', wanted 'ssmend/verification/1'");
}

TEST(Escape, each_format_its_own) {
  EXPECT_EQ(escape_markup("<a b='c'>&\x01\n"), "&lt;a b=&#39;c&#39;&gt;&amp;\\x01\n");
  EXPECT_EQ(escape_uri_path("a b/\xC3\xA4:?#[x]"), "a%20b/%C3%A4%3A%3F%23%5Bx%5D");
  EXPECT_EQ(escape_github_property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
  EXPECT_EQ(escape_github_message("a:b,c%\n"), "a:b,c%25%0A");
  EXPECT_EQ(fence_for("no ticks"), "```");
  EXPECT_EQ(fence_for("a ```` b"), "`````");
}

}  // namespace
}  // namespace ssmend
