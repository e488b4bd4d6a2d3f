// Where the kernel library has a native module whose own package is not installed: said by
// `inspect` as a finding and by `status` as a line.
#pragma once

#include <string>
#include <vector>

#include "environment/environment.h"

namespace ssmend {

struct KernelsAlone {
  std::string module;          // "causal_conv1d_cuda"
  std::string path;            // of its file
  std::string provider;        // "ssm-kernels 0.1.0"
  std::string package;         // "causal_conv1d", which `import` does not find
  std::string same_functions;  // "ssm_kernels.conv1d"
};

std::vector<KernelsAlone> kernels_alone(const Disk& disk, const Environment& environment);

}  // namespace ssmend
