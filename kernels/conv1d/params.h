// What the launchers hand to the kernels, by value. Read by g++ and by NVRTC, so it includes
// nothing. Strides are in elements, in the order (batch, channel, length) or as named.
#pragma once

namespace ssm {

struct Conv1dForwardParams {
  const void* x;
  const void* x_end;  // one past the last element in memory
  const void* weight;
  const void* bias;            // or null
  const int* seq_idx;          // or null
  const void* initial_states;  // or null
  void* out;
  void* final_states;  // or null
  long long x_stride[3];
  long long out_stride[3];
  long long initial_stride[3];
  long long final_stride[3];
  long long weight_stride[2];  // channel, tap
  long long bias_stride;
  long long seq_stride[2];  // batch, length
  int batch, channels, length, width;
  int weight_dtype;
  int silu;
  int tiles;             // tiles along the length
  int tile_size;         // contiguous: 16-byte chunks a tile; channel-last: positions a tile
  int channels_fastest;  // generic: neighbouring threads take neighbouring channels
};

struct Conv1dBackwardParams {
  const void* x;
  const void* x_end;  // one past the last element in memory
  const void* weight;
  const void* bias;            // or null
  const int* seq_idx;          // or null
  const void* initial_states;  // or null
  const void* dout;
  const void* dout_end;
  const void* dfinal_states;  // or null
  void* dx;
  float* dweight;
  float* dbias;           // or null
  void* dinitial_states;  // or null
  // Null: sums go to dweight and dbias by atomic adds. Else one float each for
  // [part][channel][W taps, bias], summed by the last kernel in a fixed order.
  float* workspace;
  long long x_stride[3];
  long long dout_stride[3];
  long long dx_stride[3];
  long long initial_stride[3];
  long long dinitial_stride[3];
  long long dfinal_stride[3];
  long long weight_stride[2];  // channel, tap
  long long dweight_stride[2];
  long long bias_stride;
  long long dbias_stride;
  long long seq_stride[2];  // batch, length
  int batch, channels, length, width;
  int weight_dtype;
  int silu;
  int tiles;      // tiles along the length
  int tile_size;  // rows: 16-byte chunks a tile; channels: positions a thread
  int team;       // rows: warps that walk a tile together, 1, 2 or 4
  int steps;      // rows: of a team along a tile
  int parts;      // partial sums a channel: tiles x batch entries, or groups of them
};

struct Conv1dUpdateParams {
  const void* x;
  void* conv_state;
  const void* weight;
  const void* bias;  // or null
  void* out;
  const int* cache_seqlens;       // or null
  const int* conv_state_indices;  // or null
  long long x_stride[3];
  long long out_stride[3];
  long long state_stride[3];
  long long weight_stride[2];
  long long bias_stride, cache_stride, indices_stride;
  int batch, channels, length, width;
  int state_rows, state_length;
  int whole_state;  // one step of a state of four neighbouring, aligned places, not circular
  int weight_dtype;
  int silu;
};

}  // namespace ssm
