// Where musl looks for a name (ldso/dynlink.c load_library, path_open, fixup_rpath):
// LD_LIBRARY_PATH, then the RPATH or RUNPATH (no difference) of the object that needs it and of all
// above it, then /etc/ld-musl-ARCH.path, or "/lib:/usr/local/lib:/usr/lib". The first file that
// opens is it: no search goes on after one of another machine. A library is known by its file name,
// not its soname.
#include <cerrno>

#include "base/text.h"
#include "loader/indexed_file.h"
#include "loader/process.h"
#include "loader/verify_file.h"

namespace ssmend {
namespace {

constexpr const char* kDefaultPath = "/lib:/usr/local/lib:/usr/lib";

// Any '$' that is not ORIGIN makes the whole path unusable.
bool expand_origin(const std::string& text, const std::string& origin, std::string& expanded) {
  expanded.clear();
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '$') {
      expanded += text[at++];
      continue;
    }
    const std::string_view rest = std::string_view(text).substr(at);
    if (rest.substr(0, 9) == "${ORIGIN}") {
      at += 9;
    } else if (rest.substr(0, 7) == "$ORIGIN") {
      at += 7;
    } else {
      return false;
    }
    expanded += origin;
  }
  return true;
}

bool try_path_list(ElfCache& cache, ProcessState& state, const std::string& list,
                   const std::string& rule, const std::string& name, SearchResult& result) {
  size_t begin = 0;
  while (begin < list.size()) {
    begin = list.find_first_not_of(":\n", begin);
    if (begin == std::string::npos) return false;
    size_t end = list.find_first_of(":\n", begin);
    if (end == std::string::npos) end = list.size();
    const std::string path = list.substr(begin, end - begin) + "/" + name;
    begin = end;
    std::shared_ptr<const IndexedFile> file = cache.get_indexed(disk_path(state, path));
    if (file->facts.state == ElfState::kUnreadable) {
      result.tried.push_back({path, rule, "no such file", false, true});
      // What else than a missing file or directory goes wrong ends the search.
      const int error = file->facts.system_errno;
      if (error == ENOENT || error == ENOTDIR || error == EACCES || error == ENAMETOOLONG) continue;
      return true;
    }
    const FileCheck check = check_header(file->facts, *state.system);
    result.tried.push_back({path, rule, check.reason, false, true});
    result.path = path;
    result.rule = rule;
    result.file = std::move(file);
    result.found = check.verdict == FileVerdict::kTake;
    result.fatal = !result.found;
    return true;
  }
  return false;
}

}  // namespace

SearchResult search_musl(ElfCache& cache, ProcessState& state, const std::string& name,
                         int loader) {
  SearchResult result;
  result.reason = "Error loading shared library: No such file or directory";
  if (name.find('/') != std::string::npos) {
    std::shared_ptr<const IndexedFile> file = cache.get_indexed(disk_path(state, name));
    const FileCheck check = check_header(file->facts, *state.system);
    result.tried.push_back({name, "path", check.reason, false, true});
    result.found = check.verdict == FileVerdict::kTake;
    if (!result.found) result.reason = "Error loading shared library: " + check.reason;
    result.path = name;
    result.rule = "path";
    result.file = std::move(file);
    return result;
  }
  bool over =
      try_path_list(cache, state, state.context.library_path, "LD_LIBRARY_PATH", name, result);
  for (int at = loader; !over && at >= 0;) {
    const LoadedObject& object = state.objects[static_cast<size_t>(at)];
    const ElfFacts& facts = object.facts();
    const std::string& raw = facts.has_runpath ? facts.runpath : facts.rpath;
    std::string list;
    if (expand_origin(raw, object.origin, list)) {
      const std::string rule = (facts.has_runpath ? "RUNPATH of " : "RPATH of ") + facts.path;
      over = try_path_list(cache, state, list, rule, name, result);
    }
    at = object.loader >= 0 ? object.loader : (at != state.program ? state.program : -1);
  }
  if (!over) {
    const bool file = state.system->has_musl_path_file;
    try_path_list(cache, state, file ? state.system->musl_path_file : kDefaultPath,
                  file ? "/etc/ld-musl path file" : "default directories", name, result);
  }
  if (result.fatal) result.reason = "Error loading shared library: Exec format error";
  return result;
}

}  // namespace ssmend
