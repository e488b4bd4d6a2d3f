// What the decode step's kernel for the usual types is given (scan_step.cu). Small on purpose: a
// kernel this short waits for its parameters too.
#pragma once

namespace ssm {

// Strides in elements.
struct ScanStepRows {
  int batch, head, channel;
};

struct ScanStepParams {
  void* state;              // batch (or any number with `rows`), heads, dim, states
  const void *x, *dt, *z;   // batch, heads, dim; z may be null
  void* out;                // the same
  const float* A;           // heads, dim, states
  const void *B, *C;        // batch, groups, states
  const void *D, *dt_bias;  // heads, dim; may be null
  const int* rows;          // null, or the state's row of each batch
  ScanStepRows state_at, x_at, dt_at, z_at, out_at;
  int A_head, A_channel, A_state;  // A_state 0: one rate for every state
  int B_batch, B_group, C_batch, C_group;
  int D_head, D_channel, bias_head, bias_channel;
  int batch, dim, states, group_heads;
  int lane_bits;          // 1 << lane_bits lanes share one channel's states
  int D_type, bias_type;  // DType
  int softplus;
};

}  // namespace ssm
