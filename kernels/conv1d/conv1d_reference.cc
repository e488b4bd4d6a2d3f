#include "conv1d/conv1d_reference.h"

#include <cmath>

namespace ssm {
namespace {

// The input at a position, initial states below 0.
double input_at(const Conv1dInput& in, int64_t b, int64_t d, int64_t position) {
  if (position >= 0) {
    return position < in.length ? in.x[(b * in.channels + d) * in.length + position] : 0.0;
  }
  const int64_t state = position + in.width - 1;
  if (in.initial_states.empty() || state < 0) return 0.0;
  return in.initial_states[(b * in.channels + d) * (in.width - 1) + state];
}

int32_t sequence_at(const Conv1dInput& in, int64_t b, int64_t position) {
  return in.seq_idx[b * in.length + (position > 0 ? position : 0)];
}

// Whether the output at t takes the input at `position`.
bool takes(const Conv1dInput& in, int64_t b, int64_t t, int64_t position) {
  return in.seq_idx.empty() || sequence_at(in, b, position) == sequence_at(in, b, t);
}

bool is_padding(const Conv1dInput& in, int64_t b, int64_t t) {
  return !in.seq_idx.empty() && sequence_at(in, b, t) < 0;
}

double sum_at(const Conv1dInput& in, int64_t b, int64_t d, int64_t t) {
  double sum = in.bias.empty() ? 0.0 : in.bias[d];
  for (int64_t j = 0; j < in.width; ++j) {
    const int64_t position = t - (in.width - 1) + j;
    if (takes(in, b, t, position))
      sum += in.weight[d * in.width + j] * input_at(in, b, d, position);
  }
  return sum;
}

double silu(double y) { return y / (1.0 + std::exp(-y)); }

double silu_slope(double y) {
  const double s = 1.0 / (1.0 + std::exp(-y));
  return s * (1.0 + y * (1.0 - s));
}

}  // namespace

Conv1dOutput conv1d_reference(const Conv1dInput& in) {
  Conv1dOutput result;
  for (int64_t b = 0; b < in.batch; ++b) {
    for (int64_t d = 0; d < in.channels; ++d) {
      for (int64_t t = 0; t < in.length; ++t) {
        const double sum = sum_at(in, b, d, t);
        result.out.push_back(is_padding(in, b, t) ? 0.0 : in.silu ? silu(sum) : sum);
      }
      for (int64_t i = 0; i < in.width - 1; ++i) {
        result.final_states.push_back(input_at(in, b, d, in.length - (in.width - 1) + i));
      }
    }
  }
  return result;
}

Conv1dGradients conv1d_reference_gradients(const Conv1dInput& in, const std::vector<double>& dout,
                                           const std::vector<double>& dfinal_states) {
  const int64_t states = in.width - 1;
  Conv1dGradients grad;
  grad.dx.assign(in.batch * in.channels * in.length, 0.0);
  grad.dinitial_states.assign(in.batch * in.channels * states, 0.0);
  grad.dweight.assign(in.channels * in.width, 0.0);
  grad.dbias.assign(in.channels, 0.0);
  for (int64_t b = 0; b < in.batch; ++b) {
    for (int64_t d = 0; d < in.channels; ++d) {
      const int64_t row = b * in.channels + d;
      const auto add_to_input = [&](int64_t position, double value) {
        if (position >= 0) {
          grad.dx[row * in.length + position] += value;
        } else if (position >= -states) {
          grad.dinitial_states[row * states + position + states] += value;
        }
      };
      for (int64_t t = 0; t < in.length; ++t) {
        if (is_padding(in, b, t)) continue;
        const double slope = in.silu ? silu_slope(sum_at(in, b, d, t)) : 1.0;
        const double dsum = dout[row * in.length + t] * slope;
        grad.dbias[d] += dsum;
        for (int64_t j = 0; j < in.width; ++j) {
          const int64_t position = t - states + j;
          if (!takes(in, b, t, position)) continue;
          grad.dweight[d * in.width + j] += dsum * input_at(in, b, d, position);
          add_to_input(position, dsum * in.weight[d * in.width + j]);
        }
      }
      if (dfinal_states.empty()) continue;
      for (int64_t i = 0; i < states; ++i) {
        add_to_input(in.length - states + i, dfinal_states[row * states + i]);
      }
    }
  }
  return grad;
}

std::vector<double> conv1d_reference_update(Conv1dSteps* steps) {
  const Conv1dInput& in = steps->input;
  const int64_t states = steps->state_length;
  std::vector<double> out(in.batch * in.channels * in.length, 0.0);
  for (int64_t b = 0; b < in.batch; ++b) {
    const int64_t row = steps->conv_state_indices.empty() ? b : steps->conv_state_indices[b];
    if (row < 0) continue;
    for (int64_t d = 0; d < in.channels; ++d) {
      double* state = &steps->conv_state[(row * in.channels + d) * states];
      const double* x = &in.x[(b * in.channels + d) * in.length];
      // The last W - 1 inputs seen so far, oldest first, then x.
      std::vector<double> history;
      const int64_t next = steps->cache_seqlens.empty() ? states : steps->cache_seqlens[b] % states;
      for (int64_t j = in.width - 1; j >= 1; --j) {
        history.push_back(state[(next - j + states) % states]);
      }
      history.insert(history.end(), x, x + in.length);
      for (int64_t t = 0; t < in.length; ++t) {
        double sum = in.bias.empty() ? 0.0 : in.bias[d];
        for (int64_t j = 0; j < in.width; ++j) sum += in.weight[d * in.width + j] * history[t + j];
        out[(b * in.channels + d) * in.length + t] = in.silu ? silu(sum) : sum;
      }
      if (steps->cache_seqlens.empty()) {
        std::vector<double> all(state, state + states);
        all.insert(all.end(), x, x + in.length);
        for (int64_t i = 0; i < states; ++i) state[i] = all[all.size() - states + i];
      } else {
        for (int64_t t = 0; t < in.length; ++t) state[(next + t) % states] = x[t];
      }
    }
  }
  return out;
}

}  // namespace ssm
