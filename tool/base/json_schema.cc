#include "base/json_schema.h"

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

namespace ssmend {
namespace {

using nlohmann::json;

class Checker {
 public:
  explicit Checker(const json& root) : root_(root) {}

  void check(const json& schema, const json& value, const std::string& path,
             std::vector<std::string>& problems, int depth = 0) const {
    if (depth > 64) {
      problems.push_back(at(path) + "nested too deeply");
      return;
    }
    for (const auto& [keyword, rule] : schema.items()) {
      check_keyword(keyword, rule, schema, value, path, problems, depth);
    }
  }

 private:
  static std::string at(const std::string& path) { return path.empty() ? "" : path + ": "; }

  static bool has_type(const json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    return type == "null" && value.is_null();
  }

  void check_keyword(const std::string& keyword, const json& rule, const json& schema,
                     const json& value, const std::string& path, std::vector<std::string>& problems,
                     int depth) const {
    static const std::set<std::string> kSilent = {"$schema", "$id",      "title",   "description",
                                                  "$defs",   "$comment", "default", "examples"};
    if (kSilent.contains(keyword)) return;
    if (keyword == "$ref") {
      const std::string target = rule.get<std::string>();
      if (!target.starts_with("#/$defs/") || !root_.contains("$defs") ||
          !root_["$defs"].contains(target.substr(8))) {
        problems.push_back(at(path) + "schema refers to " + target + ", which is not there");
        return;
      }
      check(root_["$defs"][target.substr(8)], value, path, problems, depth + 1);
    } else if (keyword == "type") {
      bool fits = false;
      for (const json& one : rule.is_array() ? rule : json::array({rule})) {
        fits |= has_type(value, one.get<std::string>());
      }
      if (!fits)
        problems.push_back(at(path) + "is " + value.type_name() + ", expected " + rule.dump());
    } else if (keyword == "enum") {
      bool fits = false;
      for (const json& one : rule) fits |= one == value;
      if (!fits) problems.push_back(at(path) + value.dump() + " is none of " + rule.dump());
    } else if (keyword == "const") {
      if (value != rule)
        problems.push_back(at(path) + "is " + value.dump() + ", expected " + rule.dump());
    } else if (keyword == "anyOf") {
      check_any(rule, value, path, problems, depth);
    } else if (keyword == "pattern" || keyword == "minLength") {
      if (value.is_string()) check_string(keyword, rule, value.get<std::string>(), path, problems);
    } else if (keyword == "minimum") {
      if (value.is_number() && value.get<double>() < rule.get<double>()) {
        problems.push_back(at(path) + value.dump() + " is less than " + rule.dump());
      }
    } else if (keyword == "items" || keyword == "minItems") {
      if (!value.is_array()) return;
      if (keyword == "minItems") {
        if (value.size() < rule.get<size_t>()) problems.push_back(at(path) + "has too few items");
        return;
      }
      for (size_t i = 0; i < value.size(); ++i) {
        check(rule, value[i], path + "[" + std::to_string(i) + "]", problems, depth + 1);
      }
    } else if (keyword == "required") {
      if (!value.is_object()) return;
      for (const json& name : rule) {
        if (!value.contains(name.get<std::string>())) {
          problems.push_back(at(path) + "has no `" + name.get<std::string>() + "`");
        }
      }
    } else if (keyword == "properties") {
      if (!value.is_object()) return;
      for (const auto& [name, property] : rule.items()) {
        if (value.contains(name))
          check(property, value[name], join(path, name), problems, depth + 1);
      }
    } else if (keyword == "propertyNames") {
      if (!value.is_object()) return;
      for (const auto& [name, unused] : value.items())
        check(rule, name, join(path, name), problems, depth + 1);
    } else if (keyword == "additionalProperties") {
      check_additional(rule, schema, value, path, problems, depth);
    } else {
      problems.push_back(at(path) + "schema keyword `" + keyword + "` is not supported");
    }
  }

  static std::string join(const std::string& path, const std::string& name) {
    return path.empty() ? name : path + "." + name;
  }

  static void check_string(const std::string& keyword, const json& rule, const std::string& text,
                           const std::string& path, std::vector<std::string>& problems) {
    if (keyword == "minLength" && text.size() < rule.get<size_t>()) {
      problems.push_back(at(path) + "is too short");
    }
    if (keyword == "pattern" && !std::regex_search(text, std::regex(rule.get<std::string>()))) {
      problems.push_back(at(path) + "\"" + text + "\" does not match " + rule.get<std::string>());
    }
  }

  void check_any(const json& choices, const json& value, const std::string& path,
                 std::vector<std::string>& problems, int depth) const {
    std::vector<std::string> nearest;
    for (const json& choice : choices) {
      std::vector<std::string> found;
      check(choice, value, path, found, depth + 1);
      if (found.empty()) return;
      if (nearest.empty() || found.size() < nearest.size()) nearest = found;
    }
    problems.insert(problems.end(), nearest.begin(), nearest.end());
  }

  void check_additional(const json& rule, const json& schema, const json& value,
                        const std::string& path, std::vector<std::string>& problems,
                        int depth) const {
    if (!value.is_object()) return;
    for (const auto& [name, property] : value.items()) {
      if (schema.contains("properties") && schema["properties"].contains(name)) continue;
      if (rule.is_boolean()) {
        if (!rule.get<bool>()) problems.push_back(at(path) + "unknown key `" + name + "`");
      } else {
        check(rule, property, join(path, name), problems, depth + 1);
      }
    }
  }

  const json& root_;
};

}  // namespace

std::vector<std::string> check_json(std::string_view schema, std::string_view document) {
  std::vector<std::string> problems;
  try {
    const json parsed_schema = json::parse(schema);
    json parsed;
    try {
      parsed = json::parse(document);
    } catch (const json::exception& error) {
      return {std::string("no valid JSON: ") + error.what()};
    }
    Checker(parsed_schema).check(parsed_schema, parsed, "", problems);
  } catch (const std::exception& error) {
    problems.push_back(std::string("schema cannot be used: ") + error.what());
  }
  return problems;
}

}  // namespace ssmend
