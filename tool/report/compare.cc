#include "report/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "base/text.h"
#include "report/fingerprint.h"
#include "report/report.h"

namespace ssmend {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kColumns = 100;
constexpr const char* kSchema = "ssmend/inspection/1";

// Empty where the member is missing or no text.
std::string text_member(const Json& object, const char* name) {
  const auto member = object.find(name);
  return member != object.end() && member->is_string() ? member->get<std::string>() : "";
}

Result<std::set<ComparedFinding>> read_old(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return Error("the old report is not JSON");
  if (!json.is_object() || text_member(json, "schema") != kSchema) {
    const std::string found = json.is_object() ? text_member(json, "schema") : "";
    return Error("the old report has schema '" + printable(found) + "', wanted '" + kSchema + "'");
  }
  std::set<ComparedFinding> findings;
  if (!json.contains("inspections") || !json["inspections"].is_array()) {
    return Error("the old report has no list 'inspections'");
  }
  for (const Json& inspection : json["inspections"]) {
    if (!inspection.is_object() || !inspection.contains("findings")) continue;
    for (const Json& finding : inspection["findings"]) {
      if (!finding.is_object()) continue;
      ComparedFinding entry{text_member(inspection, "environment"),
                            text_member(finding, "fingerprint"), text_member(finding, "code"),
                            text_member(finding, "severity"), text_member(finding, "title")};
      if (entry.fingerprint.empty())
        return Error("the old report has a finding without fingerprint");
      findings.insert(std::move(entry));
    }
  }
  return findings;
}

std::set<ComparedFinding> findings_of(const std::vector<Inspection>& inspections) {
  std::set<ComparedFinding> findings;
  for (const Inspection& inspection : inspections) {
    const std::vector<std::string> prints = finding_fingerprints(inspection);
    for (size_t i = 0; i < prints.size(); ++i) {
      const Finding& finding = inspection.findings[i];
      findings.insert({inspection.environment.prefix, prints[i], finding.code,
                       severity_name(finding.severity), finding.title});
    }
  }
  return findings;
}

Json findings_json(const std::vector<ComparedFinding>& findings) {
  Json list = Json::array();
  for (const ComparedFinding& finding : findings) {
    list.push_back({{"environment", finding.environment},
                    {"fingerprint", finding.fingerprint},
                    {"code", finding.code},
                    {"severity", finding.severity},
                    {"title", finding.title}});
  }
  return list;
}

}  // namespace

size_t Comparison::new_errors() const {
  return static_cast<size_t>(
      std::count_if(appeared.begin(), appeared.end(),
                    [](const ComparedFinding& finding) { return finding.severity == "error"; }));
}

Result<Comparison> compare_with(std::string_view old_json,
                                const std::vector<Inspection>& inspections) {
  Result<std::set<ComparedFinding>> before = read_old(old_json);
  if (!before.ok()) return std::move(before).error();
  const std::set<ComparedFinding> now = findings_of(inspections);
  Comparison comparison;
  std::set_difference(now.begin(), now.end(), before->begin(), before->end(),
                      std::back_inserter(comparison.appeared));
  std::set_difference(before->begin(), before->end(), now.begin(), now.end(),
                      std::back_inserter(comparison.gone));
  std::set_intersection(now.begin(), now.end(), before->begin(), before->end(),
                        std::back_inserter(comparison.stayed));
  return comparison;
}

std::string render_comparison(const Comparison& comparison) {
  std::string text;
  const auto list = [&text](const char* word, const std::vector<ComparedFinding>& findings) {
    for (const ComparedFinding& finding : findings) {
      const std::string line = fmt::format("{} {}[{}]: {}", word, printable(finding.severity),
                                           printable(finding.code), printable(finding.title));
      text += fold(line, kColumns, 0, 4) + "\n";
    }
  };
  list("new  ", comparison.appeared);
  list("gone ", comparison.gone);
  text += fmt::format("Compared with the old report: {} new, {} gone, {} as before\n",
                      comparison.appeared.size(), comparison.gone.size(), comparison.stayed.size());
  return text;
}

std::string render_comparison_json(const Comparison& comparison) {
  const Json json = {{"schema", "ssmend/comparison/1"},
                     {"appeared", findings_json(comparison.appeared)},
                     {"gone", findings_json(comparison.gone)},
                     {"stayed", findings_json(comparison.stayed)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ssmend
