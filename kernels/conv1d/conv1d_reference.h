// The convolution, its gradients and its steps in double precision, as plain loops over dense
// arrays: what the kernels are compared with. Written from the definition in ssm_conv1d.h; shares
// no code with the kernels.
#pragma once

#include <cstdint>
#include <vector>

namespace ssm {

// Arrays are dense, in the order (batch, channel, length or state); an empty one is absent.
struct Conv1dInput {
  int64_t batch = 0, channels = 0, length = 0, width = 0;
  bool silu = false;
  std::vector<double> x;               // batch, channels, length
  std::vector<double> weight;          // channels, width
  std::vector<double> bias;            // channels
  std::vector<double> initial_states;  // batch, channels, width - 1
  std::vector<int32_t> seq_idx;        // batch, length
};

struct Conv1dOutput {
  std::vector<double> out;           // as x
  std::vector<double> final_states;  // batch, channels, width - 1
};

struct Conv1dGradients {
  std::vector<double> dx, dweight, dbias, dinitial_states;  // as what they are gradients of
};

struct Conv1dSteps {
  Conv1dInput input;               // bias, weight, x, silu; no states or seq_idx
  int64_t state_length = 0;        // S
  std::vector<double> conv_state;  // rows, channels, S; updated
  std::vector<int32_t> cache_seqlens, conv_state_indices;  // batch
};

Conv1dOutput conv1d_reference(const Conv1dInput& input);
// dfinal_states may be empty (no gradient from there).
Conv1dGradients conv1d_reference_gradients(const Conv1dInput& input,
                                           const std::vector<double>& dout,
                                           const std::vector<double>& dfinal_states);
// Returns out, and updates steps.conv_state.
std::vector<double> conv1d_reference_update(Conv1dSteps* steps);

}  // namespace ssm
