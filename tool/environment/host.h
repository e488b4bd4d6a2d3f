// What can be known of the machine (or of a mounted root file system) from files. Every probe is
// optional and says where its answer comes from.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"

namespace ssmend {

struct Probe {
  std::string value;   // empty: not known
  std::string source;  // "/etc/nv_tegra_release", or why there is no answer
  [[nodiscard]] bool known() const { return !value.empty(); }
};

struct HostFacts {
  Probe l4t;              // "36.4.3"
  Probe soc;              // "tegra234"
  Probe gpu_sm;           // "87" (from the SoC, or the driver where a GPU is there)
  Probe driver;           // "580.159.04"
  Probe cuda_driver_api;  // "13.0"
  Probe driver_library;   // path of libcuda.so.1; L4T has moved it three times
  Probe glibc;            // "2.36", from the root's own loader
  Probe loader;           // path of ld.so
  Probe machine;          // "aarch64"
  Probe distribution;     // os-release PRETTY_NAME
};

// `program`: an executable of the environment (its interpreter); its PT_INTERP names the loader.
HostFacts probe_host(const Disk& disk, const std::string& program = "");

}  // namespace ssmend
