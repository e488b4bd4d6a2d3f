#include <fmt/format.h>

#include "base/text.h"
#include "report/escape.h"
#include "report/html_parts.h"
#include "report/report.h"

namespace ssmend {
namespace {

std::string fact(std::string_view name, const std::string& value) {
  if (value.empty()) return "";
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_markup(name),
                     escape_markup(value));
}

std::string facts_markup(const Inspection& inspection) {
  const Environment& environment = inspection.environment;
  const HostFacts& host = environment.host;
  std::string facts = fact("Python", environment.python.version);
  facts += fact("Machine", host.machine.value);
  facts += fact("System", host.distribution.value);
  facts += fact("glibc", host.glibc.value);
  facts += fact("L4T", host.l4t.value);
  facts += fact("SoC", host.soc.value);
  if (host.gpu_sm.known()) facts += fact("GPU", "sm_" + host.gpu_sm.value);
  facts += fact("NVIDIA driver", host.driver.value);
  facts += fact("CUDA of the driver", host.cuda_driver_api.value);
  facts += fact("driver library", host.driver_library.value);
  for (const Distribution* distribution : main_distributions(inspection)) {
    facts += fact(distribution->name, distribution->version);
  }
  return "<dl class=\"facts\">\n" + facts + "</dl>\n";
}

std::string counts_markup(const std::vector<Inspection>& inspections) {
  std::string items;
  for (const Severity severity : {Severity::kError, Severity::kWarning, Severity::kNote}) {
    const size_t count = count_findings(inspections, severity);
    if (count == 0) continue;
    const char* name = severity_name(severity);
    items += fmt::format("<li class=\"{}\">{}</li>", name, count_of(count, name));
  }
  if (items.empty()) items = "<li class=\"good\">nothing found</li>";
  return "<ul class=\"counts\">" + items + "</ul>\n";
}

std::string list_markup(const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string items;
  for (const std::string& line : lines) items += "<li>" + escape_markup(line) + "</li>\n";
  return fmt::format("<details><summary>{} ({})</summary><ul>\n{}</ul></details>\n", title,
                     lines.size(), items);
}

std::string natives_markup(const Inspection& inspection) {
  std::vector<std::string> lines;
  for (const NativeFile& file : inspection.environment.native_files) {
    if (file.module_name.empty()) continue;
    lines.push_back(file.module_name + "  " + file.path);
  }
  return list_markup("Extensions that were looked at", lines);
}

std::string inspection_markup(const Inspection& inspection, const std::string& id_prefix) {
  std::string markup = fmt::format("<section>\n<h2>{}</h2>\n",
                                   escape_markup(inspection.environment.name_for_people));
  markup += facts_markup(inspection);
  markup += findings_markup(inspection, id_prefix);
  markup += list_markup("Not read", inspection.environment.problems);
  markup += list_markup("Not checked", inspection.not_checked);
  return markup + natives_markup(inspection) + "</section>\n";
}

}  // namespace

std::string render_html(const std::vector<Inspection>& inspections,
                        const std::vector<CheckRow>& checks, const ReportContext& context) {
  std::string body;
  for (size_t i = 0; i < inspections.size(); ++i) {
    body += inspection_markup(inspections[i], fmt::format("e{}", i + 1));
  }
  // The policy keeps the page from loading anything, whatever a text of the target may try.
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src "
      "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>ssmend report</title>\n<style>";
  page += html_style();
  page += "</style>\n</head>\n<body>\n<main>\n<h1>ssmend report</h1>\n";
  page += counts_markup(inspections) + body + check_table(checks, context.checked_on);
  page += fmt::format("<footer>{}<br>ssmend {}</footer>\n</main>\n</body>\n</html>\n",
                      escape_markup(summary_line(inspections)), escape_markup(context.version));
  return page;
}

}  // namespace ssmend
