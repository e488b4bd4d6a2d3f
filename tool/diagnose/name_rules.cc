// Names that installed code takes from another package at import and that are not there:
// removed-name (transformers, triton), distributed-missing (torch.distributed of a build without
// it).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

bool word_character(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool contains_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool starts = at == 0 || !word_character(text[at - 1]);
    const size_t end = at + word.size();
    if (starts && (end == text.size() || !word_character(text[end]))) return true;
  }
  return false;
}

// All Python text of the module: its file, or every file of its folder for a package (packages
// that load lazily name what they export in strings of __init__.py or in the submodules).
class ModuleText {
 public:
  explicit ModuleText(const DiagnoseContext& context) : context_(context) {}

  // nullptr where the module is not found as Python files.
  const std::string* of(const std::string& module) {
    const auto known = texts_.find(module);
    if (known != texts_.end()) return known->second.empty() ? nullptr : &known->second;
    std::string& text = texts_[module];
    const std::string file = context_.environment().find_module(context_.disk, module);
    if (!glob_match("*.py", file)) return nullptr;
    std::vector<std::string> files = {file};
    if (base_name(file) == "__init__.py") {
      const std::string folder(directory_name(file));
      const Result<std::vector<DirectoryEntry>> entries = context_.disk.list(folder);
      for (const DirectoryEntry& entry : entries.ok() ? *entries : std::vector<DirectoryEntry>()) {
        if (glob_match("*.py", entry.name) && entry.name != "__init__.py") {
          files.push_back(path_join(folder, entry.name));
        } else if (entry.kind == FileStat::Kind::kDirectory) {
          text += entry.name + "\n";  // a subpackage is a name of the package
        }
      }
    }
    for (const std::string& path : files) {
      const std::string_view stem = base_name(path);
      text += std::string(stem.substr(0, stem.size() - 3)) + "\n";
      text += context_.disk.read(path, 16 << 20).value_or("");
    }
    return text.empty() ? nullptr : &text;
  }

 private:
  const DiagnoseContext& context_;
  std::map<std::string, std::string> texts_;
};

struct Removed {
  const SourceFile* source = nullptr;
  const PythonImport* first = nullptr;
  std::vector<std::string> names;
};

void report_removed(DiagnoseContext& context, const CheckedPackage& package,
                    const std::string& module, const Removed& removed) {
  const Distribution* installed = context.environment().find_distribution(package.package);
  const std::string version = installed == nullptr ? "" : " " + installed->version;
  Finding finding = make_finding("removed-name");
  const std::string user = removed.source->module.substr(0, removed.source->module.find('.'));
  finding.subject = user;
  finding.subject_path = removed.source->path;
  finding.location = {removed.source->relative, removed.first->line};
  finding.severity = removed.source->imported_at_start ? Severity::kError : Severity::kWarning;
  finding.title = fmt::format("`{}` imports {} from {}, which {}{} no longer has", user,
                              list_some(removed.names, 3), module, package.package, version);
  finding.evidence.push_back(
      {"import", fmt::format("{}:{}: from {} import {}", removed.source->relative,
                             removed.first->line, module, join(removed.names, ", "))});
  if (removed.source->imported_at_start) {
    finding.evidence.push_back({"way", removed.source->import_chain});
  }
  finding.evidence.push_back({"installed", fmt::format("{}{}: no file of {} holds the name",
                                                       package.package, version, module)});
  finding.meaning =
      fmt::format("ImportError: cannot import name '{}' from '{}'{}", removed.names.front(), module,
                  removed.source->imported_at_start ? " at `import " + user + "`"
                                                    : " where that file is imported");
  finding.remedies.push_back({"`ssmend repair` guards the import", "1 file of " + user});
  finding.remedies.push_back(
      {fmt::format("or `pip install '{}<{}'`", package.package, package.removed_in),
       package.package});
  finding.details.emplace_back("package", package.package);
  finding.details.emplace_back("names", join(removed.names, ","));
  finding.details.emplace_back("path", removed.source->path);
  context.add(std::move(finding));
}

void judge_removed_names(DiagnoseContext& context) {
  ModuleText texts(context);
  for (const CheckedPackage& package : knowledge().checked_packages) {
    if (context.environment().find_module(context.disk, package.package).empty()) continue;
    for (const SourceFile& source : context.sources) {
      std::map<std::string, Removed> by_module;
      for (const PythonImport& import : source.python.imports) {
        const bool inside =
            import.module == package.package || import.module.rfind(package.package + ".", 0) == 0;
        if (import.level != 0 || !inside || import.name.empty() || import.name == "*") continue;
        const PythonStatement& statement = source.python.statements[import.statement];
        if (!source.python.at_import(statement) || source.python.conditional(statement) ||
            source.python.guarding_try(statement) >= 0) {
          continue;
        }
        const std::string* text = texts.of(import.module);
        if (text == nullptr || contains_word(*text, import.name)) continue;
        Removed& removed = by_module[import.module];
        removed.source = &source;
        if (removed.first == nullptr) removed.first = &import;
        removed.names.push_back(import.name);
      }
      for (const auto& [module, removed] : by_module) {
        report_removed(context, package, module, removed);
      }
    }
  }
}

// Names that functions use when they are called or, for Triton's kernels, compiled.
void judge_moved_names(DiagnoseContext& context) {
  ModuleText texts(context);
  for (const MovedName& moved : knowledge().moved_names) {
    for (const SourceFile& source : context.sources) {
      const std::string& text = *source.python.text;
      const size_t at = text.find(moved.spelled);
      if (at == std::string::npos || text.find(moved.asks_first) != std::string::npos) continue;
      const std::string* there = texts.of(moved.module);
      if (there == nullptr || contains_word(*there, moved.name)) continue;
      const Distribution* installed = context.environment().find_distribution(moved.package);
      const std::string version = installed == nullptr ? "" : " " + installed->version;
      const int line = 1 + static_cast<int>(std::count(text.begin(),
                                                       text.begin() + static_cast<long>(at), '\n'));
      const std::string user = source.module.substr(0, source.module.find('.'));
      Finding finding = make_finding("removed-name");
      finding.severity = Severity::kWarning;
      finding.subject = user;
      finding.subject_path = source.path;
      finding.location = {source.relative, line};
      finding.title = fmt::format("`{}` uses {}.{}, which {}{} no longer has", user, moved.module,
                                  moved.name, moved.package, version);
      finding.evidence.push_back(
          {"use", fmt::format("{}:{}: {}...)", source.relative, line, moved.spelled)});
      finding.evidence.push_back({"installed", fmt::format("{}{}: no file of {} holds the name",
                                                           moved.package, version, moved.module)});
      finding.meaning = fmt::format(
          "AttributeError: module '{}' has no attribute '{}' where the function is used; importing "
          "the file succeeds",
          moved.module, moved.name);
      finding.remedies.push_back(
          {"`ssmend repair` takes the name from where it went", "1 file of " + user});
      finding.remedies.push_back(
          {fmt::format("or `pip install '{}<{}'`", moved.package, moved.moved_in), moved.package});
      finding.details.emplace_back("package", moved.package);
      finding.details.emplace_back("names", moved.name);
      finding.details.emplace_back("path", source.path);
      context.add(std::move(finding));
    }
  }
}

// Uses of torch.distributed.NAME that run when the file is imported.
struct DistributedUse {
  const SourceFile* source = nullptr;
  int line = 0;
  std::string name;
};

bool asks_first(const PythonFile& file, const PythonStatement& statement) {
  const PythonStatement* up = &statement;
  for (;;) {
    if (file.contains_name(*up, "is_available")) return true;
    if (up->parent < 0) return false;
    up = &file.statements[static_cast<size_t>(up->parent)];
  }
}

void attribute_uses(const SourceFile& source, const std::string& spelled,
                    std::vector<DistributedUse>* uses) {
  const PythonFile& file = source.python;
  const std::vector<std::string> parts = split(spelled, '.');
  const size_t length = 2 * parts.size() - 1;
  for (const PythonStatement& statement : file.statements) {
    const std::string_view word = file.first_word(statement);
    if (word == "import" || word == "from" || !file.at_import(statement)) continue;
    for (size_t i = statement.begin; i + length + 1 < statement.end; ++i) {
      if (i > statement.begin && file.tokens[i - 1].text == ".") continue;
      bool same = true;
      for (size_t k = 0; k < parts.size() && same; ++k) {
        same = file.tokens[i + 2 * k].text == parts[k] &&
               (k == 0 || file.tokens[i + 2 * k - 1].text == ".");
      }
      if (!same || file.tokens[i + length].text != ".") continue;
      const PythonToken& name = file.tokens[i + length + 1];
      const bool assigned =
          i + length + 2 < statement.end && file.tokens[i + length + 2].text == "=";
      if (assigned || name.kind != PythonToken::Kind::kName) continue;
      if (asks_first(file, statement)) continue;
      uses->push_back({&source, name.line, std::string(name.text)});
    }
  }
}

void judge_distributed(DiagnoseContext& context) {
  if (!context.torch.there() || context.torch.has_distributed.value_or(true)) return;
  const std::vector<std::string>& safe = knowledge().distributed_names;
  std::map<std::string, std::vector<DistributedUse>> by_package;
  for (const SourceFile& source : context.sources) {
    if (!source.imported_at_start) continue;
    std::vector<DistributedUse> uses;
    std::set<std::string> spellings = {"torch.distributed"};
    for (const PythonImport& import : source.python.imports) {
      const PythonStatement& statement = source.python.statements[import.statement];
      if (import.module == "torch.distributed" && import.name.empty()) {
        spellings.insert(import.bound_as == "torch" ? "torch.distributed" : import.bound_as);
      }
      if (import.module == "torch" && import.name == "distributed") {
        spellings.insert(import.bound_as);
      }
      if (import.module != "torch.distributed" || import.name.empty()) continue;
      if (!source.python.at_import(statement) || source.python.guarding_try(statement) >= 0 ||
          asks_first(source.python, statement)) {
        continue;
      }
      uses.push_back({&source, import.line, import.name});
    }
    for (const std::string& spelled : spellings) attribute_uses(source, spelled, &uses);
    std::vector<DistributedUse>& all = by_package[source.module.substr(0, source.module.find('.'))];
    for (DistributedUse& use : uses) {
      if (std::find(safe.begin(), safe.end(), use.name) == safe.end()) all.push_back(use);
    }
  }
  for (const auto& [package, uses] : by_package) {
    if (uses.empty()) continue;
    const DistributedUse& first = uses.front();
    Finding finding = make_finding("distributed-missing");
    finding.subject = package;
    finding.subject_path = first.source->path;
    finding.location = {first.source->relative, first.line};
    finding.title = fmt::format(
        "`{}` uses torch.distributed.{} at import, and torch{} was built without distributed",
        package, first.name, context.torch.version.empty() ? "" : " " + context.torch.version);
    std::vector<std::string> places;
    for (const DistributedUse& use : uses) {
      places.push_back(fmt::format("{}:{} {}", use.source->relative, use.line, use.name));
    }
    finding.evidence.push_back({"uses", list_some(places, 4)});
    finding.evidence.push_back({"way", first.source->import_chain});
    finding.evidence.push_back({"torch", "libtorch_python.so has no _c10d_init"});
    finding.meaning = fmt::format(
        "AttributeError: module 'torch.distributed' has no attribute "
        "'{}' at `import {}`",
        first.name, package);
    finding.remedies.push_back(
        {"`ssmend repair` guards the uses with torch.distributed.is_available()",
         "files of " + package});
    finding.details.emplace_back("path", first.source->path);
    finding.details.emplace_back("names", first.name);
    context.add(std::move(finding));
  }
}

}  // namespace

void judge_names(DiagnoseContext& context) {
  judge_removed_names(context);
  judge_moved_names(context);
  judge_distributed(context);
}

}  // namespace ssmend
