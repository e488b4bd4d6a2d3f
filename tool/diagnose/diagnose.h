// The stage that turns facts into findings: an environment in, an Inspection out. Evidence is kept,
// nothing is derived again for printing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "diagnose/finding.h"
#include "elf/contract.h"
#include "environment/environment.h"
#include "loader/resolve.h"

namespace ssmend {

// A call of a native module's function in a Python file of an installed package.
struct CallSite {
  std::string path;      // absolute
  std::string relative;  // to its import directory
  int line = 0;
  std::string module;    // "causal_conv1d_cuda"
  std::string function;  // "causal_conv1d_fwd"
  int arguments = 0;
  bool star = false;  // *args or **kwargs: the number is not known
  // Reached only where another function is None (`f(..) if f is not None else native.g(..)`): not
  // judged.
  bool fallback = false;
  std::string text;  // "(x, conv1d_weight, conv1d_bias, None, None, None, True)", one line
};

struct Inspection {
  Environment environment;
  std::vector<Finding> findings;  // errors first, root causes before what follows from them
  std::map<std::string, ModuleContract> contracts;  // by module name
  std::vector<CallSite> call_sites;
  std::map<std::string, Resolution> resolutions;  // by path; native modules only
  size_t elf_files_checked = 0;
  double seconds = 0;
  std::vector<std::string> not_checked;  // "symbol binding: no interpreter found"
};

struct DiagnoseOptions {
  std::string library_path;  // LD_LIBRARY_PATH of a normal run; empty for a mounted root
  std::string gpu;           // "sm_87": judge GPU code for this one; empty: the host's
};

Inspection diagnose(const Disk& disk, Environment environment, const DiagnoseOptions& options);

}  // namespace ssmend
