// Markdown for an issue. Everything read from the target stands inside code fences or in table
// cells whose special characters are escaped, so that it can neither become a link nor a mention.
#include <fmt/format.h>

#include "base/text.h"
#include "report/escape.h"
#include "report/report.h"

namespace ssmend {
namespace {

std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : printable(text)) {
    if (std::string_view("\\`*_{}[]<>()#+!|~@&$").find(c) != std::string_view::npos) {
      escaped += '\\';
    }
    escaped += c;
  }
  return escaped;
}

std::string row(std::string_view name, std::string_view value) {
  return value.empty() ? "" : fmt::format("| {} | {} |\n", name, cell(value));
}

std::string fenced(const std::string& text) {
  const std::string fence = fence_for(text);
  return fence + "text\n" + text + fence + "\n";
}

std::string environment_table(const Inspection& inspection) {
  const Environment& environment = inspection.environment;
  const HostFacts& host = environment.host;
  std::string table = "| | |\n|---|---|\n";
  table += row("environment", environment.prefix);
  table += row("Python", environment.python.version);
  table += row("machine", host.machine.value);
  table += row("system", host.distribution.value);
  table += row("glibc", host.glibc.value);
  table += row("L4T", host.l4t.value);
  table += row("SoC", host.soc.value);
  if (host.gpu_sm.known()) table += row("GPU", "sm_" + host.gpu_sm.value);
  table += row("driver", host.driver.value);
  table += row("CUDA of the driver", host.cuda_driver_api.value);
  table += row("driver library", host.driver_library.value);
  for (const Distribution* distribution : main_distributions(inspection)) {
    table += row(cell(distribution->name), distribution->version);
  }
  return table;
}

std::string inspection_markdown(const Inspection& inspection) {
  std::string text = environment_table(inspection) + "\n";
  TextStyle style;
  for (const Finding& finding : inspection.findings) {
    text += fenced(render_finding(finding, style)) + "\n";
  }
  std::string missed;
  for (const std::string& problem : inspection.environment.problems) {
    missed += "not read: " + printable(problem) + "\n";
  }
  for (const std::string& what : inspection.not_checked) {
    missed += "not checked: " + printable(what) + "\n";
  }
  if (!missed.empty()) text += fenced(missed) + "\n";
  return text;
}

}  // namespace

std::string render_markdown(const std::vector<Inspection>& inspections,
                            const ReportContext& context) {
  std::string text = fmt::format("### ssmend {}\n\n", context.version);
  for (const Inspection& inspection : inspections) text += inspection_markdown(inspection);
  return text + summary_line(inspections);
}

}  // namespace ssmend
