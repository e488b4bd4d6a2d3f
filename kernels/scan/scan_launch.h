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
// Of a present tensor: every row begins on a multiple of `step` elements, of 16 bytes.
bool rows_on(const ssm_tensor& tensor, int64_t step);
bool rows_16_bytes(const ssm_tensor& tensor);
// For ScanTeams: 16 or 8 where rows begin and end on so many bytes, else 0; the least of a call's.
int access_bytes(const ssm_tensor& tensor);
ScanShape make_shape(const ssm_scan_inputs& in, const ScanSizes& sizes, int multiprocessors);

// The parameters of a forward kernel: inputs, outputs and x.
ScanParams make_forward_params(const ssm_scan_forward_args& args, const ScanSizes& sizes);

// The sums that a backward kernel leaves: where they lie in `floats`, and in how many parts.
struct GradientSums {
  float* floats = nullptr;
  int64_t dA = 0, dB = 0, dC = 0, dD = 0, ddelta_bias = 0;  // offsets
  int64_t dA_count = 0, dB_count = 0, dC_count = 0;         // floats of one part
  int64_t row_parts = 0;  // of dA, dD and ddelta_bias, and of a fixed B's and C's
  int64_t factor_parts = 0;
  int slots = 1;
  bool atomic = false;
};
// Those of a backward kernel: `scan`, of the inputs, with the gradients.
ScanBackwardParams make_backward_params(const ssm_scan_backward_args& args, const ScanParams& scan,
                                        const GradientSums& sums);
// Clears dB's and dC's buffers, which lie one after the other up to dD's, where atomics add to
// them.
ssm_status launch_clear(const GradientSums& sums, const ssm_queue& queue);
// Adds the parts up.
ssm_status launch_finish(const ssm_scan_backward_args& args, const ScanSizes& sizes,
                         const GradientSums& sums);

// Scans the chunks side by side: what each begins with is left in params.chunks.
ssm_status launch_chunks(const ScanShape& shape, const ChunkPlan& plan, int dtype,
                         const ssm_queue& queue, ScanEndsParams params);

// Starts the forward kernel of `plan`: `in` names the element type; chunks > 1 only for states.
// The states before all chunks of a whole length, by scan_lanes.cu.
ssm_status launch_lanes_states(const ScanShape& shape, int dtype, const ssm_queue& queue,
                               const ScanParams& params);
ssm_status launch_scan(const ScanPlan& plan, int dtype, const ssm_queue& queue,
                       const ScanParams& params, int64_t chunks);

}  // namespace ssm
