#include "loader/bind.h"

#include <algorithm>

#include "base/version.h"
#include "elf/demangle.h"
#include "elf/read_symbols.h"
#include "fmt/format.h"
#include "loader/indexed_file.h"

namespace ssmend {
namespace {

const LoadedObject& object_at(const ProcessState& state, int index) {
  return state.objects[static_cast<size_t>(index)];
}

bool has_name(const LoadedObject& object, std::string_view name) {
  return object.path == name ||
         std::find(object.names.begin(), object.names.end(), name) != object.names.end();
}

const LoadedObject* find_by_name(const ProcessState& state, std::string_view name) {
  for (const LoadedObject& object : state.objects) {
    if (has_name(object, name)) return &object;
  }
  return nullptr;
}

std::string_view version_file(const ElfFacts& facts, std::string_view version) {
  for (const ElfVersionNeed& need : facts.version_needs) {
    for (const ElfVersionNeed::Item& item : need.items) {
      if (item.version == version) return need.file;
    }
  }
  return {};
}

}  // namespace

void check_versions(const ProcessState& state, const std::vector<int>& fresh,
                    std::vector<VersionProblem>& problems, std::string& abort_text) {
  if (state.system->musl) return;  // musl ignores symbol versions of needed libraries
  for (const int index : fresh) {
    const LoadedObject& object = object_at(state, index);
    for (const ElfVersionNeed& need : object.facts().version_needs) {
      const LoadedObject* provider = find_by_name(state, need.file);
      if (provider == nullptr) {
        // Only tools that edit NEEDED produce this (patchelf --remove-needed). A library that is
        // missing altogether is reported as such and is no business of the versions.
        const std::vector<std::string>& needed = object.facts().needed;
        if (std::find(needed.begin(), needed.end(), need.file) == needed.end() &&
            abort_text.empty()) {
          abort_text = fmt::format(
              "{}: needs versions of {}, which no NEEDED entry names: the loader stops with "
              "Assertion `needed != NULL' failed",
              object.facts().path, need.file);
        }
        continue;
      }
      const ElfFacts& offered = provider->facts();
      if (!offered.has_version_definitions) continue;  // no versions at all pass
      for (const ElfVersionNeed::Item& item : need.items) {
        const auto& defined = offered.version_definitions;
        if (item.weak || std::find(defined.begin(), defined.end(), item.version) != defined.end() ||
            item.version == offered.soname) {
          continue;
        }
        problems.push_back({item.version, object.facts().path, offered.path});
      }
    }
  }
}

void bind_symbols(ElfCache& cache, const ProcessState& state, const std::vector<int>& fresh,
                  const std::vector<const std::vector<int>*>& scopes,
                  std::vector<UndefinedSymbol>& undefined, std::string& abort_text) {
  std::vector<int> scope;
  for (const std::vector<int>* part : scopes) {
    for (const int index : *part) {
      if (std::find(scope.begin(), scope.end(), index) == scope.end()) scope.push_back(index);
    }
  }
  const std::string& version = state.system->version;
  const bool aborts =
      !state.system->musl && (version.empty() || compare_dotted(version, "2.41") < 0);
  for (const int index : fresh) {
    const LoadedObject& object = object_at(state, index);
    if (object.is_system_loader) continue;
    const ElfFacts& facts = object.facts();
    for (const ElfSymbol& symbol : facts.undefined) {
      IndexedFile::Wanted wanted{symbol.name, symbol.version, symbol.gnu_hash, {}};
      if (state.system->musl) wanted.version = {};
      if (!symbol.version.empty()) wanted.version_file = version_file(facts, symbol.version);
      bool found = false;
      for (const int provider : scope) {
        const LoadedObject& offered = object_at(state, provider);
        const bool named = !wanted.version_file.empty() && has_name(offered, wanted.version_file);
        const IndexedFile::Match match = offered.file->find(wanted, named && aborts);
        if (match == IndexedFile::Match::kAbort && abort_text.empty()) {
          abort_text = fmt::format(
              "{}: {}@{} is to come from {}, which has no versions: glibc before 2.41 stops with a "
              "failed assertion",
              facts.path, symbol.name, symbol.version, offered.facts().path);
        }
        found = match != IndexedFile::Match::kNone;
        if (found) break;
      }
      if (found || symbol.weak) continue;
      // Only now, for the few that nobody defines: does any relocation ask for it at all?
      const std::vector<bool>& used = cache.relocations(facts.path).symbols;
      if (symbol.index >= used.size() || !used[symbol.index]) continue;
      undefined.push_back({std::string(symbol.name), std::string(symbol.version),
                           demangle(symbol.name), facts.path});
    }
  }
}

}  // namespace ssmend
