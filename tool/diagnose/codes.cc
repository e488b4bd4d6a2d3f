#include "diagnose/codes.h"

#include <nlohmann/json.hpp>

#include "diagnose/embedded.h"

namespace ssmend {
namespace {

std::vector<std::string> texts(const nlohmann::json& list) {
  std::vector<std::string> found;
  for (const nlohmann::json& text : list) found.push_back(text.get<std::string>());
  return found;
}

Severity severity_of(const std::string& name) {
  if (name == "error") return Severity::kError;
  return name == "warning" ? Severity::kWarning : Severity::kNote;
}

std::vector<CodeInfo> load() {
  // Our own data, checked by codes_test: a damaged table would end every command at once.
  std::vector<CodeInfo> codes;
  for (const nlohmann::json& row : nlohmann::json::parse(embedded::kCodes)) {
    CodeInfo info;
    info.code = row["code"].get<std::string>();
    info.severity = severity_of(row["severity"].get<std::string>());
    info.title = row["title"].get<std::string>();
    info.meaning = row["meaning"].get<std::string>();
    info.evidence = texts(row["evidence"]);
    info.remedies = texts(row["remedies"]);
    info.links = texts(row["links"]);
    codes.push_back(std::move(info));
  }
  return codes;
}

}  // namespace

const std::vector<CodeInfo>& all_codes() {
  static const std::vector<CodeInfo> codes = load();
  return codes;
}

const CodeInfo* find_code(std::string_view code) {
  for (const CodeInfo& info : all_codes()) {
    if (info.code == code) return &info;
  }
  return nullptr;
}

Finding make_finding(std::string_view code) {
  Finding finding;
  finding.code = code;
  const CodeInfo* info = find_code(code);
  if (info == nullptr) return finding;
  finding.severity = info->severity;
  finding.meaning = info->meaning;
  finding.links = info->links;
  return finding;
}

}  // namespace ssmend
