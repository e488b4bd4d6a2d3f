// Gradients of the causal convolution: what its kernels share.
//
//   dy[t] = dout[t] * silu'(y[t]), with y computed again from x
//   dx[p] = sum over k of weight[W-1-k] * dy[p+k]
//   dweight[j] = sum over t of dy[t] * x[t-(W-1)+j],   dbias = sum over t of dy[t]
//
// Bound by memory: x and dout are read once, dx written once. Tiled as forward, with a halo of W -
// 1 on the right too: dx at a tile's end needs dy beyond it, which is computed a second time there.
// The sums over the length stay in registers, are reduced within the warp or block, and then go to
// dweight and dbias by one atomic add each, or to the workspace.
//
// What states add is small and apart: a last kernel computes dinitial_states, and again the last
// W - 1 positions of dx with dfinal_states in them (conv1d_backward_any.cu).
#pragma once

#include "conv1d/conv1d.cuh"
#include "conv1d/params.h"

namespace ssm {

__device__ __forceinline__ float silu_slope(float y) {
  const float s = sigmoid(y);
  return fmaf(fmaf(-s, y, y), s, s);  // s (1 + y (1 - s))
}

// Where one of the p.parts sums of a channel goes: tap j < W to dweight, W to dbias.
template <int W>
__device__ __forceinline__ void add_sum(const Conv1dBackwardParams& p, int64 part, int64 channel,
                                        int j, float sum) {
  if (p.workspace != nullptr) {
    p.workspace[(part * p.channels + channel) * (W + 1) + j] = sum;
  } else if (j < W) {
    atomicAdd(p.dweight + channel * p.dweight_stride[0] + j * p.dweight_stride[1], sum);
  } else if (p.dbias != nullptr) {
    atomicAdd(p.dbias + channel * p.dbias_stride, sum);
  }
}

// dout, seen as an input without states: 0 outside the row.
template <typename T>
__device__ __forceinline__ InputRow<T> gradient_row(const Conv1dBackwardParams& p, int64 batch,
                                                    int64 channel) {
  InputRow<T> row;
  row.x = static_cast<const T*>(p.dout) + batch * p.dout_stride[0] + channel * p.dout_stride[1];
  row.initial = nullptr;
  row.stride = p.dout_stride[2];
  row.initial_stride = 0;
  row.length = p.length;
  row.taps = 0;
  return row;
}

}  // namespace ssm
