#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_schema.h"
#include "base/text.h"
#include "patch/patch.h"
#include "patch/rules.h"

namespace ssmend {
namespace {

using nlohmann::json;

std::vector<std::string> texts(const json& object, const char* key) {
  std::vector<std::string> result;
  if (object.contains(key)) result = object[key].get<std::vector<std::string>>();
  return result;
}

// A member, or an empty one of the same kind; a reference, so that it may be iterated over.
const json& member(const json& object, const char* key) {
  static const json kNothing = json::object();
  auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

std::string text(const json& object, const char* key) { return object.value(key, std::string()); }

RuleCondition read_condition(const json& object) {
  RuleCondition condition;
  condition.binary = text(object, "binary");
  condition.function = text(object, "function");
  condition.parameters = object.value("parameters", -1);
  condition.file = text(object, "file");
  if (object.contains("exists")) condition.exists = object["exists"].get<bool>() ? 1 : 0;
  condition.defines = texts(object, "defines");
  condition.lacks = texts(object, "lacks");
  condition.distribution = text(object, "distribution");
  condition.version = text(object, "version");
  condition.python = text(object, "python");
  condition.feature = text(object, "feature");
  condition.feature_is = object.value("is", true);
  return condition;
}

std::vector<RuleCondition> read_conditions(const json& object) {
  std::vector<RuleCondition> conditions;
  if (!object.contains("when")) return conditions;
  for (const json& one : object["when"]) conditions.push_back(read_condition(one));
  return conditions;
}

// Compiles patterns and keeps the first problem.
class Reader {
 public:
  Pattern pattern(const std::string& fragment) {
    Result<Pattern> compiled = compile_pattern(fragment);
    if (compiled) return std::move(*compiled);
    if (problem.empty()) problem = compiled.error().message;
    return {};
  }

  RuleEdit read_edit(const json& object) {
    RuleEdit edit;
    edit.id = text(object, "id");
    edit.match = pattern(text(object, "match"));
    edit.has_replace = object.contains("replace");
    edit.refuse = text(object, "refuse");
    edit.replace = text(object, "replace");
    edit.trigger = object.value("trigger", true);
    for (const auto& [name, test] : member(object, "where").items()) {
      edit.where[name] = {texts(test, "is"), texts(test, "is_not"), texts(test, "glob")};
    }
    for (const auto& [name, derived] : member(object, "derive").items()) {
      DerivedText& entry = edit.derive[name];
      entry.from = text(derived, "from");
      for (const json& one : derived["cases"])
        entry.cases.push_back({text(one, "is"), text(one, "text")});
    }
    for (const std::string& fragment : texts(object, "already"))
      edit.already.push_back(pattern(fragment));
    edit.module_level = text(object, "level") == "module";
    edit.variants = texts(object, "variants");
    return edit;
  }

  static RuleGuard read_guard(const json& object) {
    RuleGuard guard;
    guard.id = text(object, "id");
    guard.trigger = object.value("trigger", false);
    for (const json& one : object["imports"]) {
      guard.imports.push_back({text(one, "module"), text(one, "except"), texts(one, "handler"),
                               texts(one, "handler_each"), texts(one, "defines"),
                               text(one, "add")});
    }
    return guard;
  }

  static std::vector<RuleVariant> read_variants(const json& object) {
    std::vector<RuleVariant> variants;
    for (const json& one : member(object, "variants")) {
      RuleVariant variant;
      variant.id = text(one, "id");
      variant.when = read_conditions(one);
      variant.native = texts(one, "native");
      if (one.contains("files")) variant.files = one["files"].get<std::map<std::string, bool>>();
      if (one.contains("texts")) {
        variant.texts = one["texts"].get<std::map<std::string, std::vector<std::string>>>();
      }
      variants.push_back(std::move(variant));
    }
    const json& objects = member(object, "variants");
    for (size_t i = 0; i < variants.size(); ++i) {
      std::string of = text(objects[i], "texts_of");
      for (const RuleVariant& other : variants) {
        if (!of.empty() && other.id == of) variants[i].texts = other.texts;
      }
    }
    return variants;
  }

  RuleSet read_rule_set(const json& object) {
    RuleSet rules;
    rules.id = text(object, "id");
    rules.revision = object.value("revision", 1);
    rules.why = text(object, "why");
    rules.evidence = texts(object, "evidence");
    const json& files = member(object, "files");
    rules.paths = texts(files, "paths");
    rules.anywhere = files.value("anywhere", false);
    rules.never = texts(files, "never");
    rules.contains = texts(files, "contains");
    for (const auto& [name, binding] : member(object, "bind").items()) {
      rules.bind[name] = {texts(binding, "names"), text(binding, "fallback"),
                          text(binding, "rebound")};
    }
    rules.when = read_conditions(object);
    rules.variants = read_variants(object);
    for (const json& one : member(object, "edits")) rules.edits.push_back(read_edit(one));
    for (const json& one : member(object, "guards")) rules.guards.push_back(read_guard(one));
    for (const json& one : member(object, "renames")) {
      rules.renames.push_back({text(one, "id"), text(one, "module"),
                               one["names"].get<std::map<std::string, std::string>>()});
    }
    for (const std::string& fragment : texts(object, "allow"))
      rules.allow.push_back(pattern(fragment));
    const json& leftover = member(object, "leftover");
    rules.leftover = text(leftover, "bind");
    rules.leftover_says = text(leftover, "say");
    const json& by_hand = member(object, "by_hand");
    rules.by_hand = {texts(by_hand, "these"), texts(by_hand, "with"), text(by_hand, "say")};
    rules.stale_when = read_conditions(member(object, "stale"));
    rules.stale_says = text(member(object, "stale"), "say");
    rules.done_defines = texts(object, "done_defines");
    if (object.contains("expect")) {
      rules.expect = object["expect"].get<std::map<std::string, std::map<std::string, int>>>();
    }
    return rules;
  }

  std::string problem;
};

// Python files and folders of fixtures lie beside the rules; only *.json is read, schema.json
// apart.
Result<void> list_rule_files(const Disk& disk, const std::string& directory,
                             std::vector<std::string>& files) {
  Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries) return std::move(entries).error();
  for (const DirectoryEntry& entry : *entries) {
    std::string path = path_join(directory, entry.name);
    if (entry.kind == FileStat::Kind::kDirectory) {
      Result<void> inner = list_rule_files(disk, path, files);
      if (!inner) return inner;
    } else if (entry.name.ends_with(".json") && entry.name != "schema.json") {
      files.push_back(path);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<RuleSet>> load_rules(const Disk& disk, const std::string& directory) {
  Result<std::string> schema = disk.read(path_join(directory, "schema.json"));
  if (!schema) return std::move(schema).error();
  std::vector<std::string> files;
  Result<void> listed = list_rule_files(disk, directory, files);
  if (!listed) return std::move(listed).error();

  std::vector<RuleSet> rules;
  std::map<std::string, std::vector<RuleVariant>> shared;  // by file
  std::vector<std::pair<std::string, json>> documents;
  for (const std::string& file : files) {
    Result<std::string> content = disk.read(file);
    if (!content) return std::move(content).error();
    std::vector<std::string> problems = check_json(*schema, *content);
    if (!problems.empty()) return Error(file + ": " + join(problems, "; "));
    json document = json::parse(*content, nullptr, false);
    if (document.contains("variants") && !document.contains("edits") &&
        !document.contains("guards")) {
      shared[std::string(base_name(file))] = Reader::read_variants(document);
    } else {
      documents.emplace_back(file, std::move(document));
    }
  }
  for (const auto& [file, document] : documents) {
    Reader reader;
    RuleSet set;
    try {
      set = reader.read_rule_set(document);
    } catch (const json::exception& error) {  // the schema allows what the reader does not
      return Error(file + ": " + error.what());
    }
    if (!reader.problem.empty()) return Error(file + ": " + reader.problem);
    std::string from = text(document, "variants_from");
    if (!from.empty()) {
      if (!shared.contains(from))
        return Error(file + ": variants_from names " + from + ", which is not there");
      set.variants = shared[from];
    }
    set.file = file;
    rules.push_back(std::move(set));
  }
  std::sort(rules.begin(), rules.end(),
            [](const RuleSet& a, const RuleSet& b) { return a.file < b.file; });
  return rules;
}

}  // namespace ssmend
