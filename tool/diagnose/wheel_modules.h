// What each extension of a wheel that is not installed yet would do in an environment: load or not,
// its GPU code, the torch that its metadata asks for.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "diagnose/diagnose.h"

namespace ssmend {

struct WheelModule {
  std::string module;                 // "torchvision._C"
  std::string loads;                  // "yes", "only after import torch", "no: <why>"
  std::vector<std::string> gpu_code;  // "sm_90", "compute_90 (PTX)"; empty: none in it
  std::string torch;                  // "torch==2.11.0", as its metadata asks; empty: does not say
};

// `inspection` is of the environment as it would be with the wheel, `directory` the unpacked wheel.
std::vector<WheelModule> list_wheel_modules(const Disk& disk, const Inspection& inspection,
                                            const std::string& directory);

}  // namespace ssmend
