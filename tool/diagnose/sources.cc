// collect_sources: the Python files of the packages that use native modules, and which of them run
// when the package is imported (a walk over unguarded imports from its __init__).
#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "base/text.h"
#include "base/version.h"
#include "diagnose/context.h"

namespace ssmend {
namespace {

constexpr uint64_t kMaxSourceBytes = 8 << 20;
constexpr size_t kMaxSources = 5000;
constexpr int kMaxDepth = 12;

bool requires_one_of(const Distribution& distribution, const std::set<std::string>& names) {
  for (const std::string& line : distribution.requires_dist) {
    const std::string name = line.substr(0, line.find_first_of(" ;(<>=!~["));
    if (names.count(normalized_distribution_name(name)) != 0) return true;
  }
  return false;
}

// Import names at the top of what a distribution installs.
std::set<std::string> top_packages(const Distribution& distribution) {
  std::set<std::string> found;
  for (const RecordEntry& entry : distribution.files) {
    const size_t slash = entry.raw.find('/');
    if (slash == std::string::npos || !glob_match("*.py", entry.raw)) continue;
    const std::string top = entry.raw.substr(0, slash);
    if (top.find('.') == std::string::npos && top.find('-') == std::string::npos) found.insert(top);
  }
  return found;
}

class Collector {
 public:
  explicit Collector(DiagnoseContext& context) : context_(context) {}

  void run() {
    std::set<std::string> packages;
    std::set<std::string> distributions;
    for (const ConsumerInfo& consumer : knowledge().consumers) {
      packages.insert(consumer.package);
      distributions.insert(normalized_distribution_name(consumer.distribution));
    }
    // What is built upon those packages may call the native modules as well.
    for (const Distribution& distribution : context_.environment().distributions) {
      if (distribution.shadowed || !requires_one_of(distribution, distributions)) continue;
      for (const std::string& name : top_packages(distribution)) packages.insert(name);
    }
    for (const std::string& package : packages) {
      const std::string init = context_.environment().find_module(context_.disk, package);
      if (init.empty() || base_name(init) != "__init__.py") continue;
      folder(std::string(directory_name(init)), package, 0);
    }
    assign_owners();
    for (const std::string& package : packages) walk(package);
  }

 private:
  void folder(const std::string& path, const std::string& package, int depth) {
    const Result<std::vector<DirectoryEntry>> entries = context_.disk.list(path);
    if (!entries.ok() || depth > kMaxDepth) return;
    for (const DirectoryEntry& entry : *entries) {
      const std::string below = path_join(path, entry.name);
      if (entry.kind == FileStat::Kind::kDirectory) {
        if (entry.name != "__pycache__") folder(below, package + "." + entry.name, depth + 1);
        continue;
      }
      if (!glob_match("*.py", entry.name) || context_.sources.size() >= kMaxSources) continue;
      Result<std::string> text = context_.disk.read(below, kMaxSourceBytes);
      if (!text.ok()) {
        context_.inspection.not_checked.push_back(text.error().message);
        continue;
      }
      SourceFile source;
      source.path = below;
      source.relative = context_.shown(below);
      const bool init = entry.name == "__init__.py";
      source.module = init ? package : package + "." + entry.name.substr(0, entry.name.size() - 3);
      source.package = package;
      source.python = scan_python(std::move(*text));
      by_module_[source.module] = context_.sources.size();
      context_.sources.push_back(std::move(source));
    }
  }

  void assign_owners() {
    std::map<std::string, size_t> by_path;
    for (size_t i = 0; i < context_.sources.size(); ++i) by_path[context_.sources[i].path] = i;
    std::map<std::string, const Distribution*> by_package;
    for (const Distribution& distribution : context_.environment().distributions) {
      for (const RecordEntry& entry : distribution.files) {
        const auto found = by_path.find(entry.path);
        if (found == by_path.end()) continue;
        SourceFile& source = context_.sources[found->second];
        if (source.owner == nullptr) source.owner = &distribution;
        by_package.emplace(source.module.substr(0, source.module.find('.')), &distribution);
      }
    }
    // Editable installs and hand-made copies are in no RECORD: the package's name decides.
    for (SourceFile& source : context_.sources) {
      if (source.owner != nullptr) continue;
      const std::string top = source.module.substr(0, source.module.find('.'));
      const auto found = by_package.find(top);
      source.owner =
          found != by_package.end() ? found->second : context_.environment().find_distribution(top);
    }
  }

  void reach(const std::string& module, const std::string& chain,
             std::deque<std::pair<size_t, std::string>>* queue) {
    const auto found = by_module_.find(module);
    if (found == by_module_.end()) return;
    SourceFile& source = context_.sources[found->second];
    if (source.imported_at_start) return;
    source.imported_at_start = true;
    source.import_chain = chain.empty() ? module : chain + " -> " + module;
    queue->emplace_back(found->second, source.import_chain);
  }

  // Importing a.b.c runs a, then a.b, then a.b.c.
  void reach_with_parents(const std::string& module, const std::string& chain,
                          std::deque<std::pair<size_t, std::string>>* queue) {
    for (size_t dot = module.find('.'); dot != std::string::npos; dot = module.find('.', dot + 1)) {
      reach(module.substr(0, dot), chain, queue);
    }
    reach(module, chain, queue);
  }

  void walk(const std::string& package) {
    std::deque<std::pair<size_t, std::string>> queue;
    reach(package, "", &queue);
    while (!queue.empty()) {
      const auto [index, chain] = queue.front();
      queue.pop_front();
      // Modules reached are only marked, so the reference stays good.
      const SourceFile& source = context_.sources[index];
      for (const PythonImport& import : source.python.imports) {
        const PythonStatement& statement = source.python.statements[import.statement];
        if (!source.python.at_import(statement) || source.python.conditional(statement) ||
            source.python.guarding_try(statement) >= 0) {
          continue;
        }
        const std::string module = absolute_module(source, import);
        reach_with_parents(module, chain, &queue);
        if (!import.name.empty()) reach(module + "." + import.name, chain, &queue);
      }
    }
  }

  DiagnoseContext& context_;
  std::map<std::string, size_t> by_module_;
};

}  // namespace

std::string absolute_module(const SourceFile& source, const PythonImport& import) {
  if (import.level == 0) return import.module;
  std::string base = source.package;
  for (int i = 1; i < import.level && !base.empty(); ++i) {
    const size_t dot = base.rfind('.');
    base = dot == std::string::npos ? "" : base.substr(0, dot);
  }
  if (import.module.empty()) return base;
  return base.empty() ? import.module : base + "." + import.module;
}

void collect_sources(DiagnoseContext& context) { Collector(context).run(); }

}  // namespace ssmend
