/* Causal depthwise convolution over a sequence, width 2 to 4, and its gradients and single steps.
 *
 *   y[b,d,t]   = bias[d] + sum over j of weight[d,j] * x[b,d, t-(W-1)+j]
 *   out[b,d,t] = silu ? y / (1 + exp(-y)) : y
 *
 * x at positions -(W-1) .. -1 is initial_states[b,d,0 .. W-2], or 0 without one. With seq_idx, a
 * tap counts only where its position has the same index as t, an output with a negative index is 0,
 * and initial_states belong to the sequence of seq_idx[b,0] (causal-conv1d 1.7.0). final_states
 * holds the last W-1 inputs, older ones coming from initial_states (or 0) where the length is
 * shorter.
 *
 * Types: x, out, states and their gradients share one of float32, float16, bfloat16; weight and
 * bias share one of the three; weight and bias gradients are float32. Sums are float32. Any
 * strides are taken; a unit stride along the length or along the channels (with 16-byte aligned
 * rows) is the fast case. Sizes below are batch B, channels D, length L, width W. */
#ifndef SSM_CONV1D_H
#define SSM_CONV1D_H

#include "ssm_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ssm_conv1d_forward_args {
  ssm_tensor x;              /* B, D, L */
  ssm_tensor weight;         /* D, W */
  ssm_tensor bias;           /* D; optional */
  ssm_tensor seq_idx;        /* B, L int32; optional */
  ssm_tensor initial_states; /* B, D, W-1; optional */
  ssm_tensor out;            /* B, D, L; written; must not overlap x */
  ssm_tensor final_states;   /* B, D, W-1; written; optional */
  int32_t silu;
  ssm_queue queue;
} ssm_conv1d_forward_args;

SSM_API ssm_status ssm_conv1d_forward(const ssm_conv1d_forward_args* args);

typedef struct ssm_conv1d_backward_args {
  ssm_tensor x, weight, bias, seq_idx, initial_states; /* as given to forward */
  ssm_tensor dout;                                     /* B, D, L */
  ssm_tensor dfinal_states;                            /* B, D, W-1; optional */
  ssm_tensor dx;              /* B, D, L; written; must not overlap x or dout */
  ssm_tensor dweight;         /* D, W float32; added to */
  ssm_tensor dbias;           /* D float32; added to; present exactly where bias is */
  ssm_tensor dinitial_states; /* B, D, W-1; written; optional */
  /* Without a workspace dweight and dbias are summed by atomic adds, in any order. With one of
   * ssm_conv1d_backward_workspace_bytes (any content) they are summed in a fixed order. */
  void* workspace;
  uint64_t workspace_bytes;
  int32_t silu;
  ssm_queue queue;
} ssm_conv1d_backward_args;

SSM_API ssm_status ssm_conv1d_backward(const ssm_conv1d_backward_args* args);
SSM_API ssm_status ssm_conv1d_backward_workspace_bytes(const ssm_conv1d_backward_args* args,
                                                       uint64_t* bytes);

/* One or a few steps with a kept state of S >= W-1 inputs, which is updated in place. Without
 * cache_seqlens the state is shifted and x appended; with it the state is a circular buffer whose
 * next place is cache_seqlens[b] mod S. conv_state_indices picks the state's row for each b; a
 * negative one skips the row and writes zeros. */
typedef struct ssm_conv1d_update_args {
  ssm_tensor x;                  /* B, D, L */
  ssm_tensor conv_state;         /* B (or any number with indices), D, S; read and written */
  ssm_tensor weight;             /* D, W */
  ssm_tensor bias;               /* D; optional */
  ssm_tensor out;                /* B, D, L; written; may be x */
  ssm_tensor cache_seqlens;      /* B int32; optional */
  ssm_tensor conv_state_indices; /* B int32; optional */
  int32_t silu;
  ssm_queue queue;
} ssm_conv1d_update_args;

SSM_API ssm_status ssm_conv1d_update(const ssm_conv1d_update_args* args);

#ifdef __cplusplus
}
#endif
#endif
