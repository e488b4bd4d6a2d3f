// Computing with what is installed: shared by `verify` and by `repair`, which checks its own work.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "environment/environment.h"
#include "report/verification.h"
#include "verify/packages.h"

namespace ssmend {

// The kernel library that an environment's modules use; empty where none is installed in one.
std::string installed_kernel_library(const Disk& disk,
                                     const std::vector<Environment>& environments);
// The same, else the one that comes with this ssmend.
std::string kernel_library(const Disk& disk, const std::vector<Environment>& environments);

// The library on the GPU; where there is no GPU or no library, one outcome that says so.
// `operation`: only this one; empty: all.
void add_native_check(const std::string& library, const std::string& operation,
                      Verification& verification);

// The packages through the target's Python. An unknown component is an error with the known ones.
Result<void> add_package_checks(PackageCheckRequest request, const Disk& disk,
                                const std::vector<Environment>& environments, bool show_progress,
                                Verification& verification);

}  // namespace ssmend
