// Starting a kernel: finds its function on the queue's device (loading the unit's image at the
// first use) and launches it. The launchers of every operation go through here.
#pragma once

#include <atomic>
#include <cstddef>

#include "core/status.h"
#include "ssm_kernels.h"

namespace ssm {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// One __global__ function, named extern "C" in its unit. Lives in static storage; the function
// found on each device is remembered in it.
struct Kernel {
  const char* unit;
  const char* name;
  std::atomic<void*> functions[SSM_MAX_DEVICES] = {};
  std::atomic<unsigned> shared_limit[SSM_MAX_DEVICES] = {};
};

// Puts `kernel` on queue.stream with one struct as its only parameter, passed by value. More than
// 48 KiB of shared_bytes is asked for from the driver at the first launch that needs it.
ssm_status launch(Kernel& kernel, const ssm_queue& queue, Dim3 grid, Dim3 block,
                  unsigned shared_bytes, const void* parameters, size_t parameter_bytes);

template <typename Parameters>
ssm_status launch(Kernel& kernel, const ssm_queue& queue, Dim3 grid, Dim3 block,
                  unsigned shared_bytes, const Parameters& parameters) {
  return launch(kernel, queue, grid, block, shared_bytes, &parameters, sizeof parameters);
}

// For choices that depend on the GPU: its SM and multiprocessor count, cached after the first call.
ssm_status device_facts(int device, const ssm_device** facts);

}  // namespace ssm
