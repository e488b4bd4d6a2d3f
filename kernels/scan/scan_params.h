// What the selective scan kernels are given: plain structs by value, sizes and strides 64-bit and
// in elements. Read by the device code (NVRTC) and by the launchers, so it includes nothing.
//
// The operation, for every batch b, channel d (of group g) and step t, over the states n:
//   dt     = softplus(delta + delta_bias)                      (softplus optional)
//   h[n]   = exp(dt * A[d][n]) * h[n] + dt * u * B[n]
//   out    = sum over n of C[n] * h[n]  +  D * u
//   out_z  = out * z * sigmoid(z)                              (where z is given)
// B and C are "variable" (batch, group, state, step) or "fixed" (channel, state).
#pragma once

namespace ssm {

// Steps between two states in `x`, the tensor that callers save: (batch, dim, chunks, 2 * states),
// pairs of (product of the decays since step 0, state at the chunk's last step).
constexpr int kScanChunk = 2048;

// Rows of steps: element (b, d, t) is data[b * batch_stride + d * row_stride + t].
struct ScanRows {
  void* data;
  long long batch_stride;
  long long row_stride;
};

// B or C. Variable: data[b * batch_stride + g * row_stride + n * state_stride + t], of the type of
// u. Fixed: data[d * row_stride + n * state_stride], float32 (complex: pairs of float32).
struct ScanFactor {
  const void* data;
  long long batch_stride;
  long long row_stride;
  long long state_stride;
  int variable;
  int aligned;  // rows of a variable factor may be read 16 bytes at a time
};

// Chunks of `steps` steps (a multiple of 32) of every channel, taken side by side. First what each
// chunk ends with, run by itself (scan_ends); then, after scan_carry, what it begins with: the
// state before it and the adjoint that enters it on the right. Null states: one chunk, which begins
// with nothing.
struct ScanChunks {
  float* states;    // (batch, dim, chunks, states)
  float* adjoints;  // the same, or null
  float* dt_sums;   // (batch, dim, chunks)
  int steps, count;
  int run, runs;  // chunks one block takes, and how many blocks follow one another in time
  int carried;    // scan_rows.cu: scan_carry has been; else each block goes over the ends before it
};

// How a block of the kernels of one state shares out its channels (scan_single.cuh). Said by the
// plan, and in bits where that can be, because a division takes as long as a load from the cache.
struct ScanTeams {
  int segment_bits;    // 1 << segment_bits lanes hold a row, if it ends within a warp's tile
  int channel_bits;    // 1 << channel_bits warps of a block take channels of their own
  int time_warps;      // warps that share a row
  int rounds;          // channels a team takes, one after another
  int group_channels;  // of B and C's groups
  int access_bytes;    // 16 or 8: rows, those of B and C too, may be read so to their end; else 0
};

struct ScanParams {
  long long batch, dim, length;
  int states, groups;
  int delta_ratio;  // channels that share one row of delta (and one delta_bias)
  int softplus;
  int out_is_float;       // out, and dout in the backward pass, are float32 whatever u is
  int rows_aligned;       // every row of u, delta, z, out ... may be read 16 bytes at a time; in
                          // scan_gradient.cu four elements, and rows are a number of fours long
  int time_warps;         // split kernels: warps of a block that share one channel's steps
  int channels_per_warp;  // backward
  int chunked;  // states before tiles: each block starts at its chunk, from the state in x
  ScanTeams teams;
  ScanRows u, delta, z, out, out_z;
  const float* A;
  long long A_row_stride, A_state_stride;
  ScanFactor B, C;
  const float* D;           // null: none
  const float* delta_bias;  // null: none
  float* x;                 // null: not wanted
  float* tile_states;       // null, or (batch, dim, tiles, states): the state before each tile
  long long tiles;
  ScanChunks chunks;  // scan_ends.cu, scan_both_ends.cu, scan_rows.cu, scan_gradient.cu
};

struct ScanEndsParams {
  ScanParams scan;
  ScanRows dout;  // with the adjoint
  int segments;   // scan_carry: threads among which a channel's chunks are shared out
};

// The backward pass. dB and dC are summed over a block's channels first; what a block has summed
// goes to one of `slots` buffers of (batch, group, state, step), by a plain store where each block
// has its own slot (deterministic), else by atomics into cleared ones. Sums over the steps (dA, dD,
// ...) are left per batch. scan_finish adds all of them up and converts.
struct ScanBackwardParams {
  ScanParams scan;
  ScanRows dout, du, ddelta, dz;
  float* dB;  // variable: (slots, batch, group, state, length); fixed: (batch, dim, states)
  float* dC;
  float* dA;           // (batch, dim, states); scan_gradient.cu: (batch, runs, dim, states)
  float* dD;           // (batch, dim) or (batch, runs, dim), or null
  float* ddelta_bias;  // likewise
  int slots;
  int atomic;
};

// From so many parts on, the warps of a block share them out.
constexpr int kManyParts = 16;
constexpr unsigned kFinishSharedBytes = 1024;  // of scan_finish

// One gradient to finish: out[i] = the sum over parts of partial[part * count + i], converted. Null
// out: nothing to do.
struct ScanSum {
  const float* partial;
  void* out;
  long long parts, count;
  int dtype;  // DType of out
};

struct ScanFinishParams {
  ScanSum sums[5];  // one a value of blockIdx.y
};

// A tensor of a type known at run time; a stride is 0 where the tensor lacks the dimension. A
// thread multiplies by those of the channel and the state, so they have 32 bits.
struct ScanView {
  void* data;
  long long batch_stride, head_stride;  // head: or group
  int channel_stride, state_stride;
  int dtype;  // DType
  int quads;  // states may be read four at a time
};

// One decode step: state (batch, heads, dim, states) moves on in place.
struct ScanUpdateParams {
  ScanView state;          // batch (or any number with `rows`), heads, dim, states
  ScanView x, dt, z, out;  // batch, heads, dim
  ScanView A;              // heads, dim, states
  ScanView B, C;           // batch, groups, states
  ScanView D, dt_bias;     // heads, dim
  const int* rows;         // null, or the state's row of each batch; negative: out is 0
  int dim, states, group_heads;
  int lane_bits;  // 1 << lane_bits lanes share one channel's states
  int softplus;
};

struct ScanClearParams {
  float* data;
  long long count;
};

}  // namespace ssm
