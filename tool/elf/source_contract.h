// The call contract of a native Python module, read from its C++ sources (PYBIND11_MODULE) with
// libclang: what `pip install` would compile, before it is compiled. The headers of torch, CUDA and
// Python need not be there.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "elf/contract.h"
#include "elf/libclang.h"

namespace ssmend {

// One contract for each PYBIND11_MODULE under `path` (a folder, or one source). The witness is
// "source"; "source text" where a type could not be made sense of: parameters then read as written.
Result<std::vector<ModuleContract>> read_source_contracts(const Disk& disk,
                                                          const Libclang& libclang,
                                                          const std::string& path);

}  // namespace ssmend
