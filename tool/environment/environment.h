// An installed Python environment as found on disk, without running Python: interpreter, import
// path, distributions (PyPA: recording installed packages, core metadata, direct URL), native
// modules and who owns each file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "environment/host.h"

namespace ssmend {

struct RecordEntry {
  std::string path;    // absolute path of the target, normalised; never outside the environment
  std::string raw;     // the first column as written
  std::string sha256;  // urlsafe base64 without padding, empty where RECORD has none
  std::optional<uint64_t> size_bytes;
};

struct Distribution {
  std::string name;             // as written in METADATA
  std::string normalized_name;  // PEP 503
  std::string version;
  std::string metadata_directory;  // .../mamba_ssm-2.2.4.dist-info or .egg-info
  std::string site_directory;      // the import directory it lies in
  std::string installer;           // INSTALLER file: "pip", "uv", "conda", "debian"
  std::string direct_url;          // direct_url.json, raw; empty where absent
  bool editable = false;           // dir_info.editable in direct_url.json
  bool shadowed = false;           // an earlier import directory has the same distribution
  std::vector<RecordEntry> files;
  std::vector<std::string> requires_dist;  // Requires-Dist lines
  std::string requires_python;
  std::vector<std::string> problems;  // "RECORD: line 12 climbs out of the environment: ../../x"
};

// A file that Python could import as a native module, or a shared library shipped by a package.
struct NativeFile {
  std::string path;
  std::string module_name;  // dotted import name ("causal_conv1d_cuda"); empty for plain libraries
  std::string suffix;       // ".cpython-310-aarch64-linux-gnu.so", ".abi3.so", ".so"
  int owner = -1;           // index into Environment::distributions, -1: no RECORD lists it
};

struct PythonInterpreter {
  std::string executable;  // as the environment names it: /venv/bin/python3
  std::string real_executable;
  std::string base_prefix;       // where the standard library lies (pyvenv.cfg's home, or prefix)
  std::string standard_library;  // /usr/lib/python3.10
  std::string version;           // "3.10", with patch level where known
  std::string soabi;             // "cpython-310-aarch64-linux-gnu"; empty where it cannot be known
  std::string platform_triplet;  // "aarch64-linux-gnu"
  uint16_t machine = 0;          // EM_* of the interpreter, 0 where it was not found
  std::vector<std::string> extension_suffixes;  // in import order, as importlib.machinery has them
};

enum class EnvironmentKind { kVirtual, kConda, kSystem, kUserSite, kBareDirectory };

struct Environment {
  std::string name_for_people;  // the path to print
  std::string prefix;           // /opt/venv
  EnvironmentKind kind = EnvironmentKind::kVirtual;
  PythonInterpreter python;
  bool externally_managed = false;  // PEP 668 marker
  // Import directories of site packages in order of precedence (with those of .pth files).
  std::vector<std::string> site_directories;
  std::vector<Distribution> distributions;
  std::vector<NativeFile> native_files;
  HostFacts host;
  std::vector<std::string> problems;  // parts that could not be read; the report prints them
  std::string how_found;  // "--python", "VIRTUAL_ENV", "CONDA_PREFIX", "python3 in PATH"

  // nullptr where there is none. `name` in any spelling; the copy that wins.
  [[nodiscard]] const Distribution* find_distribution(std::string_view name) const;
  // The file `import dotted.name` would give by the finder's rules: first import directory, then
  // package directory before extension suffixes before .py. The folder for a namespace package
  // (one without __init__); empty where there is none, and for modules built into the interpreter.
  [[nodiscard]] std::string find_module(const Disk& disk, std::string_view dotted_name) const;
  // The native file that this interpreter would import under the name; nullptr where there is
  // none, also where only files of another ABI are there (they are in native_files).
  [[nodiscard]] const NativeFile* find_native_module(std::string_view dotted_name) const;
  // The standard library, its lib-dynload, then site_directories: sys.path but for the script's.
  [[nodiscard]] std::vector<std::string> import_directories() const;
  // "mamba_ssm/ops/x.py"; the path itself where it lies in no site directory.
  [[nodiscard]] std::string relative_path(std::string_view path) const;
};

// What the user asked for; the first that is set wins.
struct EnvironmentRequest {
  std::string python;         // --python: an interpreter or an environment's folder
  std::string site_packages;  // --site-packages
  bool all = false;           // --all: every environment that can be found
  // Of ssmend's own process; empty for a mounted root.
  std::string virtual_env;
  std::string conda_prefix;
  std::string path_variable;
  std::string home_directory;
  std::string python_path;        // PYTHONPATH
  std::string pyenv_version;      // PYENV_VERSION
  std::string working_directory;  // what relative paths start from; empty: they are refused
};

// At least one environment, or the error that says where was looked.
Result<std::vector<Environment>> discover_environments(const Disk& disk,
                                                       const EnvironmentRequest& request);

}  // namespace ssmend
