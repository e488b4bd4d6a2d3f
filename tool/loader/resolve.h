// What ld.so would do for one file: which libraries it would load, by which rule each was found,
// every path tried for what is missing, and which symbols and versions would not bind.
//
// Rules: glibc elf/dl-load.c, dl-version.c, dl-cache.c and musl ldso/dynlink.c; loader/search.cc
// has them one by one. Breadth-first, exactly as the loader.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/disk.h"
#include "elf/elf_facts.h"
#include "loader/system_loader.h"

namespace ssmend {

struct TriedPath {
  std::string path;
  std::string rule;  // "RPATH of libx.so", "LD_LIBRARY_PATH", "RUNPATH of x.so", "ld.so.cache", ...
  std::string refused;  // why this file was not taken: "no such file", "other machine: aarch64";
                        // empty where it was taken
  bool subdirectory =
      false;  // in a directory for some processors only: DIR/glibc-hwcaps/..., DIR/tls
  // False: ld.so has found the directory absent before and does not ask again.
  bool asked = true;
};

struct LoadedLibrary {
  std::string name;  // as asked for (NEEDED or path)
  std::string path;
  std::string rule;  // "RUNPATH of x.so", "ld.so.cache", "already loaded (soname)", "itself", ...
  std::string needed_by;  // path of the object whose NEEDED entry asked first
  int facts = -1;         // index into Resolution::files
};

struct MissingLibrary {
  std::string name;
  std::string needed_by;
  std::vector<TriedPath> tried;  // in the loader's order
  bool fatal_file = false;       // the last tried file exists and stops the load (bad ELF)
  std::string reason;            // the loader's words, without the name in front
};

struct UndefinedSymbol {
  std::string symbol;
  std::string version;
  std::string demangled;  // empty where it is no C++ name
  std::string needed_by;
};

struct VersionProblem {
  std::string version;  // "GLIBC_2.38"
  std::string needed_by;
  std::string provider;  // path of the library that lacks it
};

struct Resolution {
  bool loads = false;
  std::string reason;  // the loader's own words where it does not, empty where it does
  std::vector<LoadedLibrary> libraries;  // in load order, the file itself first
  std::vector<MissingLibrary> missing;
  std::vector<UndefinedSymbol> undefined;
  std::vector<VersionProblem> versions;
  std::vector<std::string> warnings;
  std::vector<std::shared_ptr<const ElfFacts>> files;
};

// The process into which the file is loaded.
struct LoaderContext {
  std::string program;  // executable that is the root of the global scope; may be empty
  // Opened before it, in this order: paths; RTLD_LOCAL, with "global:" in front RTLD_GLOBAL.
  std::vector<std::string> loaded;
  std::vector<std::string> loaded_global;  // RTLD_GLOBAL, before all of `loaded`
  std::string library_path;                // LD_LIBRARY_PATH; empty: not set
  bool bind_symbols = true;
  std::string working_directory = "/";  // what relative paths and empty path elements stand for
  uint64_t page_size_bytes = 4096;
};

// One file's facts with a table to find what it defines by name. Immutable once made.
struct IndexedFile;
struct RelocationFacts;

// Reads each file once; shared by all resolutions of a run. Not for several threads.
class ElfCache {
 public:
  ElfCache(const Disk& disk, ReadElfOptions options);
  ~ElfCache();
  ElfCache(const ElfCache&) = delete;
  ElfCache& operator=(const ElfCache&) = delete;

  std::shared_ptr<const ElfFacts> get(const std::string& path);
  std::shared_ptr<const IndexedFile> get_indexed(const std::string& path);
  // Read when first asked for: a large library has tens of megabytes of them.
  const RelocationFacts& relocations(const std::string& path);
  // False, once and for all, where `path` is no directory.
  bool is_directory(const std::string& path);
  // ld.so of the given class and machine, or the one at `interpreter` where that is not empty.
  const SystemLoader& system_loader(const std::string& interpreter, int elf_class,
                                    uint16_t machine);
  [[nodiscard]] const Disk& disk() const { return disk_; }

 private:
  const Disk& disk_;
  ReadElfOptions options_;
  std::map<std::string, std::shared_ptr<const IndexedFile>> files_;
  std::map<std::string, std::unique_ptr<RelocationFacts>> relocations_;
  std::map<std::string, bool> directories_;
  std::map<std::string, std::unique_ptr<SystemLoader>> loaders_;
};

// `path` is what a running `context.program` dlopens, or, where `program` is empty and `path` is an
// executable, the program that is started.
Resolution resolve(ElfCache& cache, const LoaderContext& context, const std::string& path);

// The same for many files: the process that `context` describes is set up once, and every file is
// opened in that state (not after one another).
class LoaderSession {
 public:
  LoaderSession(ElfCache& cache, LoaderContext context);
  ~LoaderSession();
  Resolution open(const std::string& path) const;
  // Why the program or one of `loaded` does not load; empty where all do.
  [[nodiscard]] const std::vector<std::string>& problems() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ssmend
