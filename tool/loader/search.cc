// Where glibc looks for a name (elf/dl-load.c _dl_map_object, open_path, fillin_rpath), step by
// step:
//   1. unless the object L that needs it has a RUNPATH: the RPATH of L, of the object that brought
//   L,
//      and so on up; then that of the program. An ancestor with a RUNPATH has no RPATH (the loader
//      drops it) but does not end the walk.
//   2. LD_LIBRARY_PATH, 3. the RUNPATH of L alone, 4. ld.so.cache, 5. the default directories; with
//      DF_1_NODEFLIB in L neither 5 nor entries of 4 that lie there.
// In every directory the processor's subdirectories come first. What is remembered: a directory
// found absent is not asked again, by anybody, since equal directories are one object in ld.so.
#include <elf.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "base/version.h"
#include "loader/indexed_file.h"
#include "loader/process.h"
#include "loader/verify_file.h"

namespace ssmend {
namespace {

bool is_identifier_char(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// Length of the token at `text` (just after the '$') if it is `name`; 0 if not: "$LIBx" is none,
// since the identifier goes on, "${LIB}x" is one (glibc's is_dst).
size_t token_length(std::string_view text, std::string_view name) {
  const bool curly = !text.empty() && text.front() == '{';
  const size_t at = curly ? 1 : 0;
  if (text.substr(at, name.size()) != name) return 0;
  const char next = at + name.size() < text.size() ? text[at + name.size()] : '\0';
  if (curly ? next != '}' : is_identifier_char(next)) return 0;
  return name.size() + 2 * at;
}

std::string with_one_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.back() != '/') path += '/';
  return path;
}

std::vector<std::string> split_directories(const ProcessState& state, const LoadedObject& object,
                                           const std::string& text, std::string_view separators) {
  std::vector<std::string> list;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = text.find_first_of(separators, begin);
    if (end == std::string::npos) end = text.size();
    std::string element = text.substr(begin, end - begin);
    begin = end + 1;
    if (!element.empty()) {  // an empty one stands for the working directory and stays empty
      std::string expanded;
      if (!expand_tokens(state, object, element, expanded) || expanded.empty()) continue;
      element = with_one_slash(std::move(expanded));
    }
    bool known = false;
    for (const std::string& other : list) known = known || other == element;
    if (!known) list.push_back(std::move(element));
  }
  return list;
}

class Search {
 public:
  Search(ElfCache& cache, ProcessState& state, const std::string& name, SearchResult& result)
      : cache_(cache), state_(state), name_(name), result_(result) {}

  // open_verify with bookkeeping. True: the search is over, found or fatal.
  bool try_file(const std::string& path, const std::string& rule, bool subdirectory) {
    std::shared_ptr<const IndexedFile> file = cache_.get_indexed(disk_path(state_, path));
    const FileCheck check = check_header(file->facts, *state_.system);
    other_class_ = other_class_ || check.other_class;
    result_.tried.push_back({path, rule, check.reason, subdirectory, true});
    if (check.verdict == FileVerdict::kSkip) {
      state_.error_number = check.error_number;
      return false;
    }
    result_.path = path;
    result_.rule = rule;
    result_.file = std::move(file);
    if (check.verdict == FileVerdict::kStop) {
      result_.fatal = true;
      result_.reason = check.reason;
    } else {
      result_.found = true;
      state_.error_number = 0;
    }
    return true;
  }

  // The cache names a file that DF_1_NODEFLIB rules out.
  void pass_over(const std::string& path, const std::string& rule) {
    result_.tried.push_back({path, rule, "in a default directory (nodefaultlib)", false, true});
  }

  // open_path: one list of directories.
  bool try_directories(const std::vector<std::string>& directories, const std::string& rule) {
    const std::vector<std::string>& subdirectories = state_.system->subdirectories;
    for (const std::string& directory : directories) {
      std::vector<DirectoryState>& known = state_.directories[directory];
      // What a relative directory stands for may change, so ld.so never gives one up.
      const bool relative = directory.empty() || directory.front() != '/';
      if (known.empty()) {
        known.assign(subdirectories.size(),
                     relative ? DirectoryState::kExisting : DirectoryState::kUnknown);
      }
      bool any = false;
      for (size_t i = 0; i < subdirectories.size(); ++i) {
        const std::string path = directory + subdirectories[i] + name_;
        const bool subdirectory = !subdirectories[i].empty();
        if (known[i] == DirectoryState::kAbsent) {
          result_.tried.push_back({path, rule, "no such directory", subdirectory, false});
          continue;
        }
        if (try_file(path, rule, subdirectory)) {
          if (known[i] == DirectoryState::kUnknown) known[i] = DirectoryState::kExisting;
          return true;
        }
        if (known[i] == DirectoryState::kUnknown) {
          known[i] = cache_.is_directory(disk_path(state_, directory + subdirectories[i]))
                         ? DirectoryState::kExisting
                         : DirectoryState::kAbsent;
        }
        any = any || known[i] == DirectoryState::kExisting;
      }
      // The file is there and something is wrong with it (a ring of links): ends this list.
      if (any && state_.error_number != ENOENT && state_.error_number != EACCES) return false;
    }
    return false;
  }

  void finish() {
    if (result_.found || result_.fatal) return;
    if (other_class_) {
      result_.reason = state_.system->elf_class == 64 ? "wrong ELF class: ELFCLASS32"
                                                      : "wrong ELF class: ELFCLASS64";
      return;
    }
    result_.reason = "cannot open shared object file";
    if (state_.error_number != 0) {
      result_.reason += std::string(": ") + std::strerror(state_.error_number);
    }
  }

 private:
  ElfCache& cache_;
  ProcessState& state_;
  const std::string& name_;
  SearchResult& result_;
  bool other_class_ = false;
};

const std::vector<std::string>& rpath_of(ProcessState& state, LoadedObject& object) {
  if (!object.rpath_split) {
    object.rpath_split = true;
    const ElfFacts& facts = object.facts();
    // A RUNPATH switches the RPATH of the same object off; an empty RPATH is none.
    if (facts.has_rpath && !facts.has_runpath && !facts.rpath.empty()) {
      object.rpath = split_directories(state, object, facts.rpath, ":");
    }
  }
  return object.rpath;
}

const std::vector<std::string>& runpath_of(ProcessState& state, LoadedObject& object) {
  if (!object.runpath_split) {
    object.runpath_split = true;
    const ElfFacts& facts = object.facts();
    if (facts.has_runpath && !facts.runpath.empty()) {
      object.runpath = split_directories(state, object, facts.runpath, ":");
    }
  }
  return object.runpath;
}

bool search_rpaths(ProcessState& state, Search& search, int loader) {
  if (loader >= 0 && state.objects[static_cast<size_t>(loader)].facts().has_runpath) return false;
  bool did_program = false;
  for (int at = loader; at >= 0; at = state.objects[static_cast<size_t>(at)].loader) {
    LoadedObject& object = state.objects[static_cast<size_t>(at)];
    const std::vector<std::string>& list = rpath_of(state, object);
    if (list.empty()) continue;
    if (search.try_directories(list, "RPATH of " + object.facts().path)) return true;
    did_program = did_program || at == state.program;
  }
  if (did_program || state.program < 0) return false;
  LoadedObject& program = state.objects[static_cast<size_t>(state.program)];
  const std::vector<std::string>& list = rpath_of(state, program);
  return !list.empty() && search.try_directories(list, "RPATH of " + program.facts().path);
}

bool in_default_directory(const SystemLoader& system, const std::string& path) {
  for (const std::string& directory : system.default_directories) {
    if (path.compare(0, directory.size(), directory) == 0) return true;
  }
  return false;
}

void search_by_name(ProcessState& state, Search& search, const std::string& name, int loader) {
  const SystemLoader& system = *state.system;
  if (search_rpaths(state, search, loader)) return;
  if (!state.library_path.empty() &&
      search.try_directories(state.library_path, "LD_LIBRARY_PATH")) {
    return;
  }
  if (loader >= 0) {
    LoadedObject& object = state.objects[static_cast<size_t>(loader)];
    const std::vector<std::string>& list = runpath_of(state, object);
    if (!list.empty() && search.try_directories(list, "RUNPATH of " + object.facts().path)) return;
  }
  const int asking = loader >= 0 ? loader : state.program;
  const bool no_default =
      asking >= 0 &&
      (state.objects[static_cast<size_t>(asking)].facts().dt_flags_1 & DF_1_NODEFLIB) != 0;
  const bool legacy = !system.version.empty() && compare_dotted(system.version, "2.37") < 0;
  const std::string cached = look_up_ld_cache(
      system.cache, name, ld_cache_flags(system.elf_class, system.machine), system.hwcaps, legacy);
  if (!cached.empty()) {
    if (no_default && in_default_directory(system, cached)) {
      search.pass_over(cached, "ld.so.cache");
    } else if (search.try_file(cached, "ld.so.cache", false)) {
      return;
    }
  }
  if (!no_default) search.try_directories(system.default_directories, "default directories");
}

}  // namespace

const ElfFacts& LoadedObject::facts() const { return file->facts; }

bool expand_tokens(const ProcessState& state, const LoadedObject& object, std::string_view text,
                   std::string& expanded) {
  expanded.clear();
  while (!text.empty()) {
    if (text.front() != '$') {
      expanded += text.front();
      text.remove_prefix(1);
      continue;
    }
    text.remove_prefix(1);
    const std::string* value = nullptr;
    size_t length = token_length(text, "ORIGIN");
    if (length != 0) {
      value = &object.origin;
    } else if ((length = token_length(text, "PLATFORM")) != 0) {
      value = &state.system->platform_token;
    } else if ((length = token_length(text, "LIB")) != 0) {
      value = &state.system->lib_token;
    }
    if (length == 0) {
      expanded += '$';
      continue;
    }
    if (value->empty()) return false;
    expanded += *value;
    text.remove_prefix(length);
  }
  return true;
}

void split_library_path(ProcessState& state) {
  if (state.context.library_path.empty() || state.program < 0) {
    // A library without a program: tokens stand for nothing that could be known.
    LoadedObject nobody;
    if (!state.context.library_path.empty()) {
      state.library_path = split_directories(state, nobody, state.context.library_path, ":;");
    }
    return;
  }
  state.library_path = split_directories(state, state.objects[static_cast<size_t>(state.program)],
                                         state.context.library_path, ":;");
}

std::string disk_path(const ProcessState& state, const std::string& path) {
  if (!path.empty() && path.front() == '/') return path;
  return path_join(state.context.working_directory, path);
}

std::string origin_of(const ProcessState& state, const std::string& path) {
  const std::string absolute = disk_path(state, path);
  const size_t slash = absolute.rfind('/');
  return slash == 0 ? "/" : absolute.substr(0, slash);
}

SearchResult search_glibc(ElfCache& cache, ProcessState& state, const std::string& name,
                          int loader) {
  SearchResult result;
  Search search(cache, state, name, result);
  if (name.find('/') == std::string::npos) {
    search_by_name(state, search, name, loader);
  } else {
    std::string path = name;
    const bool usable =
        loader < 0 || expand_tokens(state, state.objects[static_cast<size_t>(loader)], name, path);
    if (usable && !path.empty()) search.try_file(path, "path", false);
  }
  search.finish();
  return result;
}

}  // namespace ssmend
