// What the rules know of packages, native modules and libraries: the tables diagnose/data/*.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

struct NativeModuleInfo {
  std::string name;          // "causal_conv1d_cuda"
  std::string distribution;  // that brings it
  bool in_kernel_library = false;
  // The Python package that people import, where that is another than the module, and the module
  // of the kernel library that has its functions; empty where there is no such thing.
  std::string package;
  std::string same_functions;
};

struct ConsumerInfo {
  std::string package;  // import name of Python code that uses native modules
  std::string distribution;
};

struct RepairMark {
  std::string file;      // in an import directory
  std::string contains;  // text that makes it one; empty: the name alone does
  std::string says;
};

struct CheckedPackage {
  std::string package;     // names imported from it are looked up in its files
  std::string removed_in;  // release that removed names, for the text
};

struct MovedName {
  std::string package;
  std::string module;      // whose files no longer hold ...
  std::string name;        // ... this name
  std::string spelled;     // how sources use it
  std::string asks_first;  // a source with this text looks at the version itself
  std::string moved_in;    // release, for the text
};

struct Knowledge {
  std::vector<NativeModuleInfo> native_modules;
  std::vector<ConsumerInfo> consumers;
  std::vector<std::string> distributed_names;  // there also in a torch without distributed
  std::vector<CheckedPackage> checked_packages;
  std::vector<MovedName> moved_names;
  std::vector<std::string> torch_extensions;  // packages whose modules count like ours
  std::vector<RepairMark> repair_marks;
  std::vector<std::string> builtin_modules;  // of CPython, not found as files
  std::string exec_stack_refused_from_glibc;
  std::vector<std::string> exact_gpu_architectures;  // Tegra: only the very architecture runs

  [[nodiscard]] const NativeModuleInfo* native_module(std::string_view name) const;
};

const Knowledge& knowledge();

enum class LibraryKind { kTorch, kCuda, kDriver, kPython, kSystem, kUnknown };

struct LibrarySource {
  LibraryKind kind = LibraryKind::kUnknown;
  std::string source;  // "pip: nvidia-cuda-runtime-cu12", "apt-get install libopenblas0"
};

// By soname; kUnknown with an empty source where no table has it.
LibrarySource library_source(std::string_view soname);
// "12" of "libcudart.so.12" and of "libcudart.so.12.4.127", "11" of "libcudart.so.11.0"; may be
// empty.
std::string soname_major(std::string_view soname);

}  // namespace ssmend
