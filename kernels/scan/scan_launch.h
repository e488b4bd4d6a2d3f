// What the scan's launchers share: checks of the inputs, the plan's shape, the kernels' parameters.
#pragma once

#include "core/check.h"
#include "core/launch.h"
#include "scan/scan_params.h"
#include "scan/scan_plan.h"
#include "scan/ssm_scan.h"

namespace ssm {

struct ScanSizes {
  int64_t batch = 0, dim = 0, length = 0, states = 0, groups = 1, chunks = 0;
  bool complex = false;
};

// Types, shapes, devices and strides of everything in `in`.
ssm_status check_scan_inputs(const ssm_scan_inputs& in, int device, ScanSizes* sizes);
// A (B, D, L) tensor of `dtype` with unit stride along the length.
ssm_status check_scan_rows(const char* name, const ssm_tensor& tensor, int dtype,
                           const ScanSizes& sizes, int device, bool optional);
// x, (B, D, K, 2N), contiguous.
ssm_status check_saved_states(const ssm_tensor& x, const ScanSizes& sizes, int device,
                              bool optional);

ScanParams make_scan_params(const ssm_scan_inputs& in, const ScanSizes& sizes);
ScanRows make_rows(const ssm_tensor& tensor);
bool rows_near(const ScanRows& rows);
bool rows_16_bytes(const ssm_tensor& tensor);  // present ones: every row begins on 16 bytes
ScanShape make_shape(const ssm_scan_inputs& in, const ScanSizes& sizes, int multiprocessors);

// Scans the chunks side by side: what each begins with is left in params.chunks.
ssm_status launch_chunks(const ScanShape& shape, const ChunkPlan& plan, int dtype,
                         const ssm_queue& queue, ScanEndsParams params);

// Starts the forward kernel of `plan`: `in` names the element type; chunks > 1 only for states.
ssm_status launch_scan(const ScanPlan& plan, int dtype, const ssm_queue& queue,
                       const ScanParams& params, int64_t chunks);

}  // namespace ssm
