// What the launchers hand to the kernels, by value. Read by g++ and by NVRTC, so it includes
// nothing. Strides are in elements, in the order (batch, channel, length) or as named.
#pragma once

namespace ssm {

struct Conv1dForwardParams {
  const void* x;
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

}  // namespace ssm
