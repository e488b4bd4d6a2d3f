#include "report/read_checks.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace ssmend {
namespace {

using Json = nlohmann::json;

constexpr const char* kSchema = "ssmend/verification/1";

std::string text_member(const Json& object, const char* name) {
  const auto member = object.find(name);
  return member != object.end() && member->is_string() ? member->get<std::string>() : "";
}

double number_member(const Json& object, const char* name, double otherwise) {
  const auto member = object.find(name);
  return member != object.end() && member->is_number() ? member->get<double>() : otherwise;
}

}  // namespace

Result<std::vector<CheckRow>> read_check_rows(std::string_view verification_json) {
  const Json json = Json::parse(verification_json, nullptr, false);
  if (json.is_discarded()) return Error("the checks are not JSON");
  const std::string schema = json.is_object() ? text_member(json, "schema") : "";
  if (schema != kSchema) {
    return Error("the checks have schema '" + printable(schema) + "', wanted '" + kSchema + "'");
  }
  std::vector<CheckRow> rows;
  const auto checks = json.find("checks");
  if (checks == json.end() || !checks->is_array()) return Error("the checks have no list 'checks'");
  for (const Json& check : *checks) {
    if (!check.is_object()) continue;
    CheckRow row;
    row.name = text_member(check, "component") + ": " + text_member(check, "check");
    row.state = text_member(check, "state");
    row.limit = number_member(check, "limit", 0);
    // No number where there is a limit means that it was none: a NaN.
    row.error = number_member(check, "error", row.limit > 0 ? std::nan("") : 0);
    row.milliseconds = 1000 * number_member(check, "seconds", 0);
    row.note = text_member(check, "reason");
    if (row.state == "wrong") {
      row.note = text_member(check, "part") + ": found " + text_member(check, "found") +
                 ", expected " + text_member(check, "expected");
    }
    if (row.state == "ok" && row.limit == 0) row.note = text_member(check, "compared");
    // Where nothing was computed there is nothing to draw.
    if (row.state == "not-checked" || row.state == "failed") row.limit = 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::string> read_check_device(std::string_view verification_json) {
  std::vector<std::string> lines;
  const Json json = Json::parse(verification_json, nullptr, false);
  if (!json.is_object()) return lines;
  const auto device = json.find("device");
  if (device == json.end() || !device->is_array()) return lines;
  for (const Json& line : *device) {
    if (line.is_string()) lines.push_back(line.get<std::string>());
  }
  return lines;
}

}  // namespace ssmend
