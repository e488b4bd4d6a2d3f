#include "diagnose/knowledge.h"

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "diagnose/embedded.h"

namespace ssmend {
namespace {

std::vector<std::string> texts(const nlohmann::json& list) {
  std::vector<std::string> found;
  for (const nlohmann::json& text : list) found.push_back(text.get<std::string>());
  return found;
}

// Our own data, checked by a test.
Knowledge load() {
  const nlohmann::json data = nlohmann::json::parse(embedded::kKnowledge);
  Knowledge known;
  for (const nlohmann::json& row : data["native_modules"]) {
    known.native_modules.push_back({row["name"].get<std::string>(),
                                    row["distribution"].get<std::string>(),
                                    row["in_kernel_library"].get<bool>(), row.value("package", ""),
                                    row.value("same_functions", "")});
  }
  for (const nlohmann::json& row : data["consumers"]) {
    known.consumers.push_back(
        {row["package"].get<std::string>(), row["distribution"].get<std::string>()});
  }
  for (const nlohmann::json& row : data["repair_marks"]) {
    known.repair_marks.push_back({row["file"].get<std::string>(),
                                  row["contains"].get<std::string>(),
                                  row["says"].get<std::string>()});
  }
  for (const nlohmann::json& row : data["checked_names"]) {
    known.checked_packages.push_back(
        {row["package"].get<std::string>(), row["removed_in"].get<std::string>()});
  }
  for (const nlohmann::json& row : data["moved_names"]) {
    known.moved_names.push_back(
        {row["package"].get<std::string>(), row["module"].get<std::string>(),
         row["name"].get<std::string>(), row["spelled"].get<std::string>(),
         row["asks_first"].get<std::string>(), row["moved_in"].get<std::string>()});
  }
  known.distributed_names = texts(data["distributed_names_without_distributed"]);
  known.torch_extensions = texts(data["torch_extensions"]);
  known.builtin_modules = texts(data["builtin_modules"]);
  known.exec_stack_refused_from_glibc = data["exec_stack_refused_from_glibc"].get<std::string>();
  known.exact_gpu_architectures = texts(data["exact_gpu_architectures"]);
  return known;
}

struct LibraryRow {
  std::string soname;
  LibrarySource source;
};

LibraryKind kind_of(const std::string& name) {
  if (name == "torch") return LibraryKind::kTorch;
  if (name == "cuda") return LibraryKind::kCuda;
  if (name == "driver") return LibraryKind::kDriver;
  if (name == "python") return LibraryKind::kPython;
  return LibraryKind::kSystem;
}

std::vector<LibraryRow> load_libraries() {
  std::vector<LibraryRow> rows;
  for (const nlohmann::json& row : nlohmann::json::parse(embedded::kLibraries)) {
    rows.push_back({row["soname"].get<std::string>(),
                    {kind_of(row["kind"].get<std::string>()), row["source"].get<std::string>()}});
  }
  return rows;
}

}  // namespace

const NativeModuleInfo* Knowledge::native_module(std::string_view name) const {
  for (const NativeModuleInfo& module : native_modules) {
    if (module.name == name) return &module;
  }
  return nullptr;
}

const Knowledge& knowledge() {
  static const Knowledge known = load();
  return known;
}

std::string soname_major(std::string_view soname) {
  const size_t at = soname.find(".so.");
  if (at == std::string_view::npos) return {};
  const std::string_view version = soname.substr(at + 4);
  return std::string(version.substr(0, version.find('.')));
}

LibrarySource library_source(std::string_view soname) {
  static const std::vector<LibraryRow> rows = load_libraries();
  for (const LibraryRow& row : rows) {
    if (!glob_match(row.soname, soname)) continue;
    LibrarySource found = row.source;
    found.source = replace_all(found.source, "{major}", soname_major(soname));
    return found;
  }
  return {};
}

}  // namespace ssmend
