// What the installed ld.so itself says about how it searches: read from the loader's own file, so
// that a mounted root answers for itself and not for the machine ssmend runs on.
//
// glibc keeps in .rodata, NUL-separated: its default directories ("/lib/aarch64-linux-gnu/",
// "/usr/lib/aarch64-linux-gnu/", "/lib/", "/usr/lib/") and "... release version 2.36"
// (elf/dl-load.c SYSTEM_DIRS, elf/rtld.c). musl has none: its rules are in loader/musl.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"
#include "loader/ld_cache.h"

namespace ssmend {

struct SystemLoader {
  bool found = false;
  bool musl = false;
  std::string path;     // "/lib64/ld-linux-x86-64.so.2"
  std::string soname;   // "ld-linux-x86-64.so.2"
  std::string version;  // "2.36"; empty where it cannot be told
  uint16_t machine = 0;
  int elf_class = 64;
  std::vector<std::string> default_directories;  // each ends with '/'
  std::string lib_token;                         // value of $LIB: "lib/aarch64-linux-gnu"
  std::string platform_token;                    // value of $PLATFORM: "x86_64"
  // Subdirectories tried in every directory, in order, each ending with '/'; the last is "".
  std::vector<std::string> subdirectories;
  std::vector<std::string> hwcaps;  // active glibc-hwcaps names, best first: "x86-64-v3"
  LdCache cache;                    // /etc/ld.so.cache
  std::string musl_path_file;       // content of /etc/ld-musl-ARCH.path, musl only
  bool has_musl_path_file = false;
};

SystemLoader read_system_loader(const Disk& disk, const std::string& interpreter, int elf_class,
                                uint16_t machine);

// The path of the loader that programs of this kind name: "/lib/ld-linux-aarch64.so.1".
std::string usual_interpreter(const Disk& disk, int elf_class, uint16_t machine);

}  // namespace ssmend
