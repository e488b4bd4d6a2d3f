// `ssmend kernels build`: the kernels compiled again on the target, for its own GPU, by the
// libnvrtc that is found there.
#pragma once

#include "cli/command.h"

namespace ssmend {

// The GPU to choose or compile for, as 87: the one named by `option` ("sm_87", "87" or "8.7"), else
// the host's own. An error names what is wrong with either.
Result<int> chosen_gpu(const std::string& option, const HostFacts& host);

// A CUDA version as the driver counts, "12.6" -> 12060; -1 where the text is no such thing.
int parse_cuda_version(const std::string& text);

// Adds `build` to the command `kernels`.
void add_kernels_build(CLI::App& kernels, Selected& selected);

}  // namespace ssmend
