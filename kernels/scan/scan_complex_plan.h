// How the complex kernels' blocks are cut: pure functions of the shape.
#pragma once

#include <cstdint>

#include "scan/scan_plan.h"

namespace ssm {

// Steps between two states in tile_states (scan_complex.cuh).
constexpr int kComplexTileSteps = 128;

struct ComplexPlan {
  int warps = 0;
  unsigned grid_x = 0, grid_z = 1;
  unsigned shared_bytes = 0;
  int slots = 1;        // backward: buffers for dB and dC
  bool atomic = false;  // several blocks add to one buffer
};

// `chunked`: for the states only, every 2048 steps at once.
ComplexPlan plan_complex_forward(const ScanShape& shape, bool chunked);
ComplexPlan plan_complex_backward(const ScanShape& shape, bool deterministic);

}  // namespace ssm
