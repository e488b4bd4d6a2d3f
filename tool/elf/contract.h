// The call contract of a native Python module, read from the binary without running it: which
// functions it binds, with which parameters and return type.
//
// Witnesses, best first: pybind11's RTTI names (`PFN2at6TensorERKS0_...bE`, a function pointer type
// with its return type; they survive strip and -fvisibility=hidden), the mangled names in .dynsym,
// and pybind11's format strings (`({%}, {%}, {bool}) -> %`) or rendered signatures. See
// elf/contract.cc for how names and signatures are joined.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

struct BoundFunction {
  std::string name;                     // "causal_conv1d_fwd"
  std::vector<std::string> parameters;  // demangled types: "at::Tensor const&", "bool"
  std::string return_type;              // "void", "at::Tensor"; empty where no witness tells it
  bool arity_known = false;
  std::string witness;  // "rtti", "dynsym", "format string", or a join such as "dynsym + rtti"

  [[nodiscard]] size_t arity() const { return parameters.size(); }
};

struct ModuleContract {
  std::string module_path;
  std::vector<BoundFunction> functions;  // by name
  // Set where the module is ours: it takes every published contract (its "ssm-contract:" lines).
  bool accepts_every_contract = false;
};

Result<ModuleContract> read_contract(const Disk& disk, const std::string& path);

}  // namespace ssmend
