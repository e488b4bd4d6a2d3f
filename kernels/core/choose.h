// Which image serves a GPU: a pure function of the images, the GPU's SM and the driver's version.
//
// The rules, from the CUDA C++ programming guide (binary and PTX compatibility) and the notes on
// Tegra; a cubin's toolkit matters because CUDA 13 changed the ELF ABI of cubins:
//  1. A cubin runs on its own SM and on later minor versions of the same major one. The SMs of the
//     integrated Tegra parts (72, 87, 101, 110) are outside of that family rule on both sides: they
//     take a cubin of exactly their SM, and no other GPU takes theirs.
//  2. A driver loads cubins of its own CUDA major version and of earlier ones, and of no later one.
//     Within a major version it must know the SM: 8.9 and 9.0 came with CUDA 11.8.
//  3. PTX for an SM at or below the GPU's is compiled by the driver, where the driver knows the
//     PTX version.
// Preferred in this order: built on this machine; the exact SM; the nearest earlier minor version;
// PTX for the nearest SM. Of equals, the one made by the older toolkit: more drivers load it, so it
// is the one that has been tried most.
#pragma once

#include <cstddef>

#include "core/status.h"
#include "ssm_kernels.h"

namespace ssm {

// `forced` (may be null or empty) is "sm_87" or "compute_87": only that one is considered, for
// tests of the fallbacks. The reason names the chosen image and why each better one was passed
// over, or why there is none.
ssm_status choose_image(const ssm_image* images, int count, const char* unit, int sm,
                        int driver_version, const char* forced, int* index, char* reason,
                        size_t reason_bytes);

}  // namespace ssm
