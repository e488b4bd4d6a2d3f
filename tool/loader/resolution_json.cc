#include "loader/resolution_json.h"

namespace ssmend {

using Json = nlohmann::ordered_json;

static Json tried_json(const TriedPath& tried) {
  Json json;
  json["path"] = tried.path;
  json["rule"] = tried.rule;
  json["refused"] = tried.refused;
  json["subdirectory"] = tried.subdirectory;
  json["asked"] = tried.asked;
  return json;
}

static Json missing_json(const MissingLibrary& missing) {
  Json json;
  json["name"] = missing.name;
  json["needed_by"] = missing.needed_by;
  json["reason"] = missing.reason;
  json["fatal_file"] = missing.fatal_file;
  json["tried"] = Json::array();
  for (const TriedPath& tried : missing.tried) json["tried"].push_back(tried_json(tried));
  return json;
}

Json resolution_json(const std::string& file, const LoaderContext& context,
                     const Resolution& resolution) {
  Json json;
  json["schema"] = "ssmend-resolve";
  json["schema_version"] = kResolutionSchemaVersion;
  json["file"] = file;
  json["program"] = context.program.empty() ? Json(nullptr) : Json(context.program);
  json["loaded"] = context.loaded;
  json["library_path"] = context.library_path;
  json["loads"] = resolution.loads;
  json["reason"] = resolution.reason;
  json["libraries"] = Json::array();
  for (const LoadedLibrary& library : resolution.libraries) {
    json["libraries"].push_back({{"name", library.name},
                                 {"path", library.path},
                                 {"rule", library.rule},
                                 {"needed_by", library.needed_by}});
  }
  json["missing"] = Json::array();
  for (const MissingLibrary& missing : resolution.missing) {
    json["missing"].push_back(missing_json(missing));
  }
  json["undefined"] = Json::array();
  for (const UndefinedSymbol& undefined : resolution.undefined) {
    json["undefined"].push_back({{"symbol", undefined.symbol},
                                 {"version", undefined.version},
                                 {"demangled", undefined.demangled},
                                 {"needed_by", undefined.needed_by}});
  }
  json["versions"] = Json::array();
  for (const VersionProblem& problem : resolution.versions) {
    json["versions"].push_back({{"version", problem.version},
                                {"needed_by", problem.needed_by},
                                {"provider", problem.provider}});
  }
  json["warnings"] = resolution.warnings;
  return json;
}

}  // namespace ssmend
