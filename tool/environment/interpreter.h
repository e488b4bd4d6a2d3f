// A Python installation read from its files: where the standard library lies, which version and
// ABI it has, which suffixes its extension modules may carry. Follows CPython's Modules/getpath.py
// (pyvenv.cfg beside the executable or one folder up; the lib/pythonX.Y/os.py landmark searched
// upwards from the resolved executable) and Python/dynload_shlib.c (suffix order).
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "environment/environment.h"

namespace ssmend {

struct FoundInterpreter {
  PythonInterpreter python;
  std::string prefix;
  EnvironmentKind kind = EnvironmentKind::kSystem;
  bool system_site_packages = false;  // a virtual environment that also sees its base's packages
  std::string loader;                 // PT_INTERP of the executable
  std::vector<std::string> problems;  // "/venv/bin/python3 points to ..., which does not exist"
};

// `path` is an executable or the folder of an environment (/opt/venv, /usr). An error where neither
// an interpreter nor the remains of an environment (pyvenv.cfg, lib/pythonX.Y) are there.
Result<FoundInterpreter> find_interpreter(const Disk& disk, const std::string& path);

// What can be said of the Python that a lone folder of packages is for: version and ABI from the
// folder's own path ("/lib/python3.10/") and from the suffixes of the modules in it.
PythonInterpreter guess_interpreter(const Disk& disk, const std::string& site_directory);

// ".cpython-310-aarch64-linux-gnu.so", ".abi3.so", ".so"; the last two for an empty ABI tag.
std::vector<std::string> extension_suffixes(const std::string& soabi);

}  // namespace ssmend
