#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "report/escape.h"
#include "report/html_parts.h"

namespace ssmend {
namespace {

// `code` between backticks becomes <code>; all else is text.
std::string with_code(std::string_view text) {
  std::string markup;
  bool inside = false;
  size_t start = 0;
  while (true) {
    const size_t tick = text.find('`', start);
    const std::string part = escape_markup(text.substr(start, tick - start));
    if (tick == std::string_view::npos) return markup + (inside ? "`" : "") + part;
    markup += part;
    // A backtick without a partner is printed as it is.
    const bool partner = inside || text.find('`', tick + 1) != std::string_view::npos;
    markup += !partner ? "`" : (inside ? "</code>" : "<code>");
    inside = partner && !inside;
    start = tick + 1;
  }
}

std::string link_markup(const std::string& link) {
  const std::string text = escape_markup(link);
  if (link.rfind("https://", 0) != 0) return text;  // no other scheme becomes clickable
  return fmt::format("<a href=\"{0}\" rel=\"noreferrer\">{0}</a>", text);
}

std::string evidence_markup(const Finding& finding) {
  std::string items;
  const auto item = [&items](const std::string& label, const std::string& text) {
    items += fmt::format("<li><span class=\"label\">{}</span><span>{}</span></li>\n",
                         escape_markup(label), with_code(text));
  };
  for (const Evidence& evidence : finding.evidence) item(evidence.label, evidence.text);
  for (const std::string& ruled_out : finding.ruled_out) item("ruled out", ruled_out);
  for (const std::string& link : finding.links) {
    items += fmt::format("<li><span class=\"label\">see</span><span>{}</span></li>\n",
                         link_markup(link));
  }
  if (items.empty()) return "";
  const size_t count = finding.evidence.size() + finding.ruled_out.size();
  return fmt::format(
      "<details><summary>Evidence ({})</summary><ol class=\"evidence\">\n{}</ol></details>\n",
      count, items);
}

std::string signature(const BoundFunction& function) {
  std::string items;
  for (const std::string& parameter : function.parameters) {
    items += "<li><code>" + escape_markup(parameter) + "</code></li>";
  }
  const std::string returns = function.return_type.empty() ? "unknown" : function.return_type;
  return fmt::format("<h4>{}</h4><ol>{}</ol><p class=\"soft\">returns <code>{}</code></p>",
                     escape_markup(function.name), items, escape_markup(returns));
}

}  // namespace

std::string contract_table(const Inspection& inspection, const std::string& module) {
  const auto contract = inspection.contracts.find(module);
  if (contract == inspection.contracts.end()) return "";
  std::map<std::string, std::vector<const CallSite*>> calls;  // by function
  for (const CallSite& call : inspection.call_sites) {
    if (call.module == module) calls[call.function].push_back(&call);
  }
  std::string markup;
  for (const auto& [name, sites] : calls) {
    const auto bound = std::find_if(
        contract->second.functions.begin(), contract->second.functions.end(),
        [&name = name](const BoundFunction& function) { return function.name == name; });
    const bool found = bound != contract->second.functions.end();
    std::string items;
    for (const CallSite* site : sites) {
      const bool differs = found && bound->arity_known && !site->star &&
                           site->arguments != static_cast<int>(bound->arity());
      items += fmt::format(
          "<li><span class=\"path\">{}:{}</span><br><span class=\"{}\">{}{}</span> "
          "<code>{}</code></li>\n",
          escape_markup(site->relative), site->line, differs || !found ? "bad" : "ok",
          differs || !found ? "\xE2\x9C\x97 " : "\xE2\x9C\x93 ",
          site->star ? "an unknown number of arguments"
                     : count_of(static_cast<size_t>(site->arguments), "argument"),
          escape_markup(site->text));
    }
    markup += fmt::format("<div><h4>{} is called</h4><ul>\n{}</ul></div>\n<div>{}</div>\n",
                          escape_markup(name), items,
                          found ? signature(*bound) : "<h4>The binary has no such function</h4>");
  }
  if (markup.empty()) return "";
  return "<details open><summary>Calls beside the binary's contract</summary><div "
         "class=\"calls\">\n" +
         markup + "</div></details>\n";
}

std::string findings_markup(const Inspection& inspection, const std::string& id_prefix) {
  std::string markup;
  std::set<std::string> drawn_files;
  std::set<std::string> drawn_modules;
  size_t number = 0;
  for (const Finding& finding : inspection.findings) {
    const std::string id = fmt::format("{}f{}", id_prefix, ++number);
    const char* severity = severity_name(finding.severity);
    markup += fmt::format(
        "<article class=\"{0}\" id=\"{1}\"><span class=\"tag\">{0}: {2}</span>\n<h3>{3}</h3>\n",
        severity, id, escape_markup(finding.code), with_code(finding.title));
    if (!finding.location.path.empty()) {
      const std::string line =
          finding.location.line > 0 ? fmt::format(":{}", finding.location.line) : "";
      markup +=
          fmt::format("<p class=\"path\">{}{}</p>\n", escape_markup(finding.location.path), line);
    }
    if (!finding.meaning.empty()) markup += "<p>" + with_code(finding.meaning) + "</p>\n";
    for (const Remedy& remedy : finding.remedies) {
      markup += "<p class=\"help\">" + with_code(remedy.text);
      if (!remedy.changes.empty()) {
        markup += " <span class=\"soft\">(changes " + with_code(remedy.changes) + ")</span>";
      }
      markup += "</p>\n";
    }
    // One picture a file and one table a module, at the finding that comes first.
    const auto resolution = inspection.resolutions.find(finding.subject_path);
    if (resolution != inspection.resolutions.end() &&
        drawn_files.insert(finding.subject_path).second) {
      const std::string picture =
          dependency_picture(finding.subject_path, resolution->second, id + "g");
      if (!picture.empty()) {
        markup += "<details open><summary>What it loads, and what fails</summary>\n" + picture +
                  "</details>\n";
      }
    }
    // The table stands beside the calls, so at a finding about a source file.
    const std::string module = finding.detail("module");
    const std::string& path = finding.location.path;
    const bool source = path.size() > 3 && path.compare(path.size() - 3, 3, ".py") == 0;
    if (!module.empty() && source && drawn_modules.insert(module).second) {
      markup += contract_table(inspection, module);
    }
    markup += evidence_markup(finding) + "</article>\n";
  }
  return markup;
}

}  // namespace ssmend
