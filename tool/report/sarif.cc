// SARIF 2.1.0 (OASIS, 2020-03-27). Section numbers below are those of the standard.
#include <nlohmann/json.hpp>

#include <map>

#include "base/text.h"
#include "diagnose/codes.h"
#include "report/escape.h"
#include "report/fingerprint.h"
#include "report/report.h"

namespace ssmend {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
constexpr const char* kSourceRoot = "%SRCROOT%";

// Directories that relative URIs start from (3.14.14, originalUriBaseIds); each ends with '/'.
class UriBases {
 public:
  explicit UriBases(std::string repository) : repository_(std::move(repository)) {}

  Json location(const Place& place, const Environment& environment) {
    if (!repository_.empty() && is_inside(place.absolute, repository_) &&
        place.absolute != repository_) {
      used_[kSourceRoot] = repository_;
      return {{"uri", escape_uri_path(place.absolute.substr(repository_.size() + 1))},
              {"uriBaseId", kSourceRoot}};
    }
    for (const std::string& site : environment.site_directories) {
      if (place.relative != place.absolute && path_join(site, place.relative) == place.absolute) {
        return {{"uri", escape_uri_path(place.relative)}, {"uriBaseId", base_of(site)}};
      }
    }
    const bool rooted = !place.absolute.empty();
    return {{"uri", rooted ? "file://" + escape_uri_path(place.absolute)
                           : escape_uri_path(place.relative)}};
  }

  [[nodiscard]] Json json() const {
    Json json = Json::object();
    for (const auto& [id, directory] : used_) {
      json[id] = {{"uri", "file://" + escape_uri_path(directory) + "/"}};
    }
    return json;
  }

 private:
  std::string base_of(const std::string& site) {
    const auto [known, added] = site_ids_.try_emplace(site, "");
    if (added) {
      known->second = "SITE_PACKAGES";
      if (site_ids_.size() > 1) known->second += "_" + std::to_string(site_ids_.size());
      used_[known->second] = site;
    }
    return known->second;
  }

  std::string repository_;
  std::map<std::string, std::string> site_ids_;  // directory -> id
  std::map<std::string, std::string> used_;      // id -> directory
};

const char* level_of(Severity severity) {
  return severity_name(severity);
}  // the same words, 3.27.10

std::string message_of(const Finding& finding) {
  std::string text = finding.title;
  for (const Evidence& evidence : finding.evidence) {
    text += "\n" + evidence.label + ": " + evidence.text;
  }
  for (const std::string& ruled_out : finding.ruled_out) text += "\nnot: " + ruled_out;
  if (!finding.meaning.empty()) text += "\nso: " + finding.meaning;
  for (const Remedy& remedy : finding.remedies) text += "\nhelp: " + remedy.text;
  // 3.11.6: in plain text "[text](target)" is an embedded link; a backslash takes that away.
  text = replace_all(printable_lines(text), "\\", "\\\\");
  text = replace_all(std::move(text), "[", "\\[");
  return replace_all(std::move(text), "]", "\\]");
}

Json rule_json(const std::string& code) {
  Json rule = {{"id", code}};
  std::string help = "ssmend explain " + code;
  if (const CodeInfo* info = find_code(code); info != nullptr) {
    rule["shortDescription"] = {{"text", info->title}};
    rule["fullDescription"] = {{"text", info->meaning}};
    rule["defaultConfiguration"] = {{"level", level_of(info->severity)}};
    help = join(info->remedies, "\n") + "\n" + help;
  }
  rule["help"] = {{"text", help}};
  return rule;
}

// Rules in order of first use; results point at them by index (3.27.6).
struct Rules {
  std::vector<std::string> codes;
  std::map<std::string, size_t> index;

  size_t index_of(const std::string& code) {
    const auto [known, added] = index.try_emplace(code, codes.size());
    if (added) codes.push_back(code);
    return known->second;
  }
};

Json result_json(const Inspection& inspection, const Finding& finding,
                 const std::string& fingerprint, Rules& rules, UriBases& bases) {
  Json json;
  json["ruleId"] = finding.code;
  json["ruleIndex"] = rules.index_of(finding.code);
  json["level"] = level_of(finding.severity);
  json["message"] = {{"text", message_of(finding)}};
  const Place place = place_of(inspection, finding);
  Json location = Json::object();
  if (!place.relative.empty()) {
    Json& physical = location["physicalLocation"];
    physical["artifactLocation"] = bases.location(place, inspection.environment);
    if (place.line > 0) physical["region"] = {{"startLine", place.line}};
  }
  if (!finding.subject.empty()) {
    location["logicalLocations"] = {{{"name", finding.subject}, {"kind", "module"}}};
  }
  json["locations"] = location.empty() ? Json::array() : Json::array({location});
  json["partialFingerprints"] = {{"ssmendFinding/v1", fingerprint}};
  json["properties"] = {{"environment", inspection.environment.prefix}};
  return json;
}

Json notifications_json(const std::vector<Inspection>& inspections) {
  Json list = Json::array();
  const auto add = [&list](const char* level, const std::string& text) {
    list.push_back({{"level", level}, {"message", {{"text", printable_lines(text)}}}});
  };
  for (const Inspection& inspection : inspections) {
    for (const std::string& problem : inspection.environment.problems) {
      add("warning", "not read: " + problem);
    }
    for (const std::string& missed : inspection.not_checked) add("note", "not checked: " + missed);
  }
  return list;
}

}  // namespace

std::string render_sarif(const std::vector<Inspection>& inspections, const ReportContext& context) {
  Rules rules;
  UriBases bases(context.repository);
  Json results = Json::array();
  for (const Inspection& inspection : inspections) {
    const std::vector<std::string> prints = finding_fingerprints(inspection);
    for (size_t i = 0; i < inspection.findings.size(); ++i) {
      results.push_back(result_json(inspection, inspection.findings[i], prints[i], rules, bases));
    }
  }
  Json driver;
  driver["name"] = "ssmend";
  driver["version"] = context.version;
  driver["rules"] = Json::array();
  for (const std::string& code : rules.codes) driver["rules"].push_back(rule_json(code));

  Json run;
  run["tool"] = {{"driver", driver}};
  run["invocations"] = {{{"executionSuccessful", true},
                         {"toolExecutionNotifications", notifications_json(inspections)}}};
  const Json base_ids = bases.json();
  if (!base_ids.empty()) run["originalUriBaseIds"] = base_ids;
  run["columnKind"] = "utf16CodeUnits";
  run["results"] = results;
  const Json log = {{"$schema", kSchema}, {"version", "2.1.0"}, {"runs", Json::array({run})}};
  return log.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ssmend
