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

namespace ssmend {

struct TriedPath {
  std::string path;
  std::string rule;  // "RPATH of libx.so", "LD_LIBRARY_PATH", "RUNPATH of x.so", "ld.so.cache", ...
  std::string refused;  // why this file was not taken: "no such file", "other machine: aarch64"
};

struct LoadedLibrary {
  std::string name;  // as asked for (NEEDED or path)
  std::string path;
  std::string rule;
  std::string needed_by;
  int facts = -1;  // index into Resolution::files
};

struct MissingLibrary {
  std::string name;
  std::string needed_by;
  std::vector<TriedPath> tried;  // in the loader's order
  bool fatal_file = false;       // the last tried file exists and stops the load (bad ELF)
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
  std::string program;              // executable that is the root of the global scope; may be empty
  std::vector<std::string> loaded;  // dlopened before it (RTLD_LOCAL), in order: paths
  std::vector<std::string> loaded_global;  // the same, RTLD_GLOBAL
  std::string library_path;                // LD_LIBRARY_PATH; empty: not set
  bool bind_symbols = true;
};

// Reads each file once; shared by all resolutions of a run.
class ElfCache {
 public:
  ElfCache(const Disk& disk, ReadElfOptions options) : disk_(disk), options_(options) {}
  std::shared_ptr<const ElfFacts> get(const std::string& path);
  [[nodiscard]] const Disk& disk() const { return disk_; }

 private:
  const Disk& disk_;
  ReadElfOptions options_;
  std::map<std::string, std::shared_ptr<const ElfFacts>> files_;
};

// `path` is what a running `context.program` dlopens, or, where `program` is empty and `path` is an
// executable, the program that is started.
Resolution resolve(ElfCache& cache, const LoaderContext& context, const std::string& path);

}  // namespace ssmend
