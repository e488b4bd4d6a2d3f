#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "cli/inspection.h"
#include "report/compare.h"
#include "report/read_checks.h"
#include "report/redact.h"
#include "report/report.h"

namespace ssmend {
namespace {

struct ReportOptions {
  TargetOptions target;
  std::string gpu;
  std::string html;
  std::string json;
  std::string sarif;
  std::string junit;
  std::string github;
  std::string markdown;
  std::string checks;
  std::string compare;
  std::string compare_json;
  bool no_redact = false;
};

std::string working_directory() {
  std::array<char, PATH_MAX> here;
  return ::getcwd(here.data(), here.size()) == nullptr ? "" : here.data();
}

// The checkout around the working directory, where there is one.
std::string repository_root() {
  const std::unique_ptr<Disk> disk = open_system_disk();
  std::string directory = working_directory();
  while (directory.size() > 1) {
    if (disk->exists(path_join(directory, ".git"))) return directory;
    directory = std::string(directory_name(directory));
  }
  return "";
}

Redactions running_user() {
  Redactions redactions;
  redactions.home_directory = environment_variable("HOME");
  redactions.user_name = environment_variable("USER");
  if (const passwd* user = ::getpwuid(::getuid()); user != nullptr) {
    if (redactions.home_directory.empty()) redactions.home_directory = user->pw_dir;
    if (redactions.user_name.empty()) redactions.user_name = user->pw_name;
  }
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) redactions.host_name = host.data();
  return redactions;
}

// "-" is standard output.
Result<void> write_report(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  if (path == "-") {
    print(text);
    return {};
  }
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return Error(printable(path) + ": cannot be written: " + std::strerror(errno), errno);
  return {};
}

Result<std::string> read_given_file(const std::string& path) {
  return open_system_disk()->read(normal_path(path_join(working_directory(), path)));
}

struct Checks {
  std::vector<CheckRow> rows;
  std::vector<std::string> device;
};

Result<Checks> read_checks_file(const std::string& path) {
  if (path.empty()) return Checks{};
  Result<std::string> text = read_given_file(path);
  if (!text.ok()) return std::move(text).error();
  Result<std::vector<CheckRow>> rows = read_check_rows(*text);
  if (rows.ok()) return Checks{std::move(rows).value(), read_check_device(*text)};
  return std::move(rows).error().with_context("--checks " + printable(path));
}

Result<void> write_reports(const ReportOptions& options, const Checks& checks,
                           const std::vector<Inspection>& inspections) {
  const ReportContext context{SSMEND_VERSION, repository_root(), checks.device};
  // Each is rendered only where it is asked for.
  const std::vector<std::pair<const std::string&, std::function<std::string()>>> formats = {
      {options.html, [&] { return render_html(inspections, checks.rows, context); }},
      {options.json, [&] { return render_json(inspections); }},
      {options.sarif, [&] { return render_sarif(inspections, context); }},
      {options.junit, [&] { return render_junit(inspections); }},
      {options.github, [&] { return render_github(inspections, context); }},
      {options.markdown, [&] {
         const std::string text = render_markdown(inspections, context);
         return options.no_redact ? text : redact(text, running_user());
       }}};
  for (const auto& [path, render] : formats) {
    if (path.empty()) continue;
    Result<void> written = write_report(path, render());
    if (!written.ok()) return written;
  }
  return {};
}

Result<Comparison> compare_with_file(const std::string& path,
                                     const std::vector<Inspection>& inspections) {
  Result<std::string> old = read_given_file(path);
  if (!old.ok()) return std::move(old).error();
  Result<Comparison> comparison = compare_with(*old, inspections);
  if (comparison.ok()) return comparison;
  return std::move(comparison).error().with_context("--compare " + printable(path));
}

int run_report(const ReportOptions& options) {
  const std::vector<std::string> outputs = {options.html,        options.json,   options.sarif,
                                            options.junit,       options.github, options.markdown,
                                            options.compare_json};
  size_t to_standard_output = 0;
  bool any = !options.compare.empty();
  for (const std::string& path : outputs) {
    to_standard_output += path == "-";
    any = any || !path.empty();
  }
  if (!any)
    return fail(
        Error("report: give at least one of --html, --json, --sarif, --junit, "
              "--github, --markdown, --compare"));
  if (to_standard_output > 1) return fail(Error("report: only one report can go to '-'"));

  // Before the long work: a wrong file name is said at once.
  const Result<Checks> checks = read_checks_file(options.checks);
  if (!checks.ok()) return fail(checks.error());
  Result<std::vector<Inspection>> inspections =
      inspect_environments(options.target, options.gpu, probe_terminal().error_is_terminal);
  if (!inspections.ok()) return fail(inspections.error());
  const Result<void> written = write_reports(options, *checks, *inspections);
  if (!written.ok()) return fail(written.error());
  if (options.compare.empty()) {
    return count_findings(*inspections, Severity::kError) == 0 ? kExitHealthy : kExitBroken;
  }

  const Result<Comparison> comparison = compare_with_file(options.compare, *inspections);
  if (!comparison.ok()) return fail(comparison.error());
  const Result<void> compared =
      write_report(options.compare_json, render_comparison_json(*comparison));
  if (!compared.ok()) return fail(compared.error());
  // Where a report has standard output, the words go beside it.
  const std::string words = render_comparison(*comparison);
  if (to_standard_output == 0) {
    print(words);
  } else {
    print_progress(words);
  }
  return comparison->new_errors() == 0 ? kExitHealthy : kExitBroken;
}

}  // namespace

void add_report_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = app.add_subcommand(
      "report", "write what inspect finds to files, for people and for CI; '-' is standard output");
  add_target_options(*command, options->target);
  command->add_option("--gpu", options->gpu, "judge GPU code for this one, such as sm_87");
  command->add_option("--html", options->html, "one self-contained page")->type_name("FILE");
  command
      ->add_option("--checks", options->checks, "what `ssmend verify --json` wrote, for the page")
      ->type_name("VERIFY.json");
  command->add_option("--json", options->json, "everything, with a schema")->type_name("FILE");
  command->add_option("--sarif", options->sarif, "SARIF 2.1.0")->type_name("FILE");
  command->add_option("--junit", options->junit, "JUnit XML")->type_name("FILE");
  command->add_option("--github", options->github, "annotations for GitHub Actions")
      ->type_name("FILE");
  command
      ->add_option("--markdown", options->markdown,
                   "for an issue, without home folders, user and host names")
      ->type_name("FILE");
  command->add_flag("--no-redact", options->no_redact, "leave the names in the Markdown");
  CLI::Option* compare =
      command
          ->add_option("--compare", options->compare,
                       "say what changed since this JSON report; exit 1 for new errors only")
          ->type_name("OLD.json");
  command->add_option("--compare-json", options->compare_json, "the comparison as JSON")
      ->type_name("FILE")
      ->needs(compare);
  command->callback(
      [options, &selected] { selected.run = [options] { return run_report(*options); }; });
}

}  // namespace ssmend
