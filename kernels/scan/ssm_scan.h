/* Mamba's selective scan, its gradients and its single step.
 *
 *   dt = delta + delta_bias, through log(1 + exp(.)) with softplus
 *   h[b,d,n] = exp(dt * A[d,n]) * h[b,d,n] + dt * u[b,d,t] * B      from h = 0, step by step
 *   out[b,d,t] = sum over n of C * h[b,d,n] + D[d] * u[b,d,t]       (complex A: twice the real
 * part) out_z = out * z / (1 + exp(-z))
 *
 * B and C are variable, (batch, groups, states, length), or fixed, (dim, states). Sizes below are
 * batch B, channels D, length L, states N (1 to 256), groups G (divides D); K = ceil(L / 2048).
 *
 * Types: u, delta, z and variable B and C share one of float32, float16, bfloat16; D and delta_bias
 * are float32; A is float32, or complex64, and fixed B and C have A's type. With a complex A a
 * variable B or C is (B, G, N, 2L): real and imaginary parts in turn. Sums and states are float32.
 * The stride along the length is 1 (or the length is 1); the others are free. */
#ifndef SSM_SCAN_H
#define SSM_SCAN_H

#include "ssm_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ssm_scan_inputs {
  ssm_tensor u;          /* B, D, L */
  ssm_tensor delta;      /* B, D, L; or B, D/r, L: r channels in a row share one */
  ssm_tensor A;          /* D, N */
  ssm_tensor B, C;       /* B, G, N, L or D, N */
  ssm_tensor D;          /* D; optional */
  ssm_tensor z;          /* B, D, L; optional */
  ssm_tensor delta_bias; /* as many as delta has rows; optional */
  int32_t softplus;
} ssm_scan_inputs;

typedef struct ssm_scan_forward_args {
  ssm_scan_inputs in;
  ssm_tensor out;   /* B, D, L; written; of u's type or float32 */
  ssm_tensor out_z; /* B, D, L; written; present exactly where z is */
  /* B, D, K, 2N of A's type, contiguous; written; optional. Pairs (product of the decays of all
   * steps so far, state) after every 2048 steps and after the last: the last state is
   * x[:, :, -1, 1::2]. */
  ssm_tensor x;
  ssm_queue queue;
  /* Of ssm_scan_forward_workspace_bytes, 256-byte aligned, any content; optional: without it few
   * channels are scanned from the first step to the last, which leaves most of the GPU idle. */
  void* workspace;
  uint64_t workspace_bytes;
} ssm_scan_forward_args;

SSM_API ssm_status ssm_scan_forward(const ssm_scan_forward_args* args);
/* Often 0. */
SSM_API ssm_status ssm_scan_forward_workspace_bytes(const ssm_scan_forward_args* args,
                                                    uint64_t* bytes);

typedef struct ssm_scan_backward_args {
  ssm_scan_inputs in;
  ssm_tensor dout;        /* of out_z where z is present, else of out; u's type or float32 */
  ssm_tensor x;           /* as forward left it; optional (then the chunks run one after another) */
  ssm_tensor out;         /* as forward left it; needed where z is present */
  ssm_tensor du, ddelta;  /* B, D, L of u's type; written */
  ssm_tensor dA;          /* as A, contiguous; written, like all that follow */
  ssm_tensor dB, dC;      /* as B and C, contiguous, of their type or float32 */
  ssm_tensor dD;          /* D float32; present exactly where D is */
  ssm_tensor ddelta_bias; /* D float32, one a channel also where delta is shared */
  ssm_tensor dz;          /* B, D, L; present exactly where z is */
  ssm_tensor out_z;       /* B, D, L; optional: the gated output once more */
  /* Always sum in the same order. Otherwise large dB and dC are summed by atomic adds. */
  int32_t deterministic;
  void* workspace; /* of ssm_scan_backward_workspace_bytes, 256-byte aligned, any content */
  uint64_t workspace_bytes;
  ssm_queue queue;
} ssm_scan_backward_args;

SSM_API ssm_status ssm_scan_backward(const ssm_scan_backward_args* args);
SSM_API ssm_status ssm_scan_backward_workspace_bytes(const ssm_scan_backward_args* args,
                                                     uint64_t* bytes);

/* One decode step of H heads of D channels (H = 1 for Mamba's first version): the state is advanced
 * in place. Every tensor may be of any of the three types and of any strides, 0 among them. */
typedef struct ssm_scan_update_args {
  ssm_tensor state;         /* B (or any number with state_indices), H, D, N */
  ssm_tensor x, dt;         /* B, H, D */
  ssm_tensor A;             /* H, D, N */
  ssm_tensor B, C;          /* B, G, N; G divides H */
  ssm_tensor D;             /* H, D; optional */
  ssm_tensor z;             /* B, H, D; optional */
  ssm_tensor dt_bias;       /* H, D; optional */
  ssm_tensor state_indices; /* B int32; optional: the state's row; a negative one gives zeros */
  ssm_tensor out;           /* B, H, D; written */
  int32_t softplus;
  ssm_queue queue;
} ssm_scan_update_args;

SSM_API ssm_status ssm_scan_update(const ssm_scan_update_args* args);

#ifdef __cplusplus
}
#endif
#endif
