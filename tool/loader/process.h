// The simulated process: which objects are mapped, in which order, and what ld.so remembers between
// searches. Inside tool/loader only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loader/resolve.h"

namespace ssmend {

// A link_map.
struct LoadedObject {
  std::string path;                // as ld.so spells it: directory + name, links not resolved
  std::vector<std::string> names;  // every name it was asked for by (l_libname)
  bool soname_added = false;       // its DT_SONAME has become one of the names
  std::string origin;              // value of $ORIGIN
  std::shared_ptr<const IndexedFile> file;
  int loader = -1;  // the object whose NEEDED entry brought it; -1: the program, or dlopened
  std::string rule;
  std::string needed_by;
  std::vector<int> needed;  // in NEEDED order, without the missing ones
  bool is_system_loader = false;
  bool relocated = false;
  // Its RPATH and RUNPATH taken apart when first used; each directory ends with '/'.
  bool rpath_split = false;
  bool runpath_split = false;
  std::vector<std::string> rpath;
  std::vector<std::string> runpath;

  [[nodiscard]] const ElfFacts& facts() const;
};

// What is remembered of a directory that is searched: by subdirectory, in their order.
enum class DirectoryState : unsigned char { kUnknown, kExisting, kAbsent };

struct ProcessState {
  const SystemLoader* system = nullptr;
  LoaderContext context;
  std::vector<LoadedObject> objects;  // in load order
  int program = -1;                   // index of the main program, -1: none
  std::vector<int> global_scope;
  std::map<std::string, std::vector<DirectoryState>> directories;
  std::vector<std::string> library_path;  // LD_LIBRARY_PATH taken apart
  uint64_t static_tls_free_bytes = 0;
  int error_number = 0;  // errno as the last file access left it: part of the loader's words
};

// What a search gave.
struct SearchResult {
  bool found = false;
  std::string path;
  std::string rule;
  std::shared_ptr<const IndexedFile> file;
  std::vector<TriedPath> tried;
  bool fatal = false;  // a file was found that ends the whole load
  std::string reason;  // the loader's words where nothing was found
};

// glibc's and musl's rules for a name that is not loaded yet; `loader` is the index of the object
// that needs it, -1 for dlopen.
SearchResult search_glibc(ElfCache& cache, ProcessState& state, const std::string& name,
                          int loader);
SearchResult search_musl(ElfCache& cache, ProcessState& state, const std::string& name, int loader);

// `name` with its tokens replaced for `object`; false where a token has no value: drop the path.
bool expand_tokens(const ProcessState& state, const LoadedObject& object, std::string_view text,
                   std::string& expanded);
void split_library_path(ProcessState& state);

// The file of the target for a path as ld.so spells it, which may be relative.
std::string disk_path(const ProcessState& state, const std::string& path);
// $ORIGIN of an object found by that path.
std::string origin_of(const ProcessState& state, const std::string& path);

}  // namespace ssmend
