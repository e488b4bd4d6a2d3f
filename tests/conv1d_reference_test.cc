// The double-precision reference of the convolution against a brute force that shares nothing with
// it: outputs from the definition as a matrix over the extended input, gradients by differences.
#include "conv1d/conv1d_reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace ssm {
namespace {

std::vector<double> draw(std::mt19937* generator, int64_t count) {
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) value = normal(*generator);
  return values;
}

Conv1dInput random_input(int64_t length, int64_t width, bool silu, bool states, unsigned seed) {
  std::mt19937 generator(seed);
  Conv1dInput in;
  in.batch = 2;
  in.channels = 3;
  in.length = length;
  in.width = width;
  in.silu = silu;
  in.x = draw(&generator, 2 * 3 * length);
  in.weight = draw(&generator, 3 * width);
  in.bias = draw(&generator, 3);
  if (states) in.initial_states = draw(&generator, 2 * 3 * (width - 1));
  return in;
}

// One row: the whole history (states, then x) times a banded matrix.
std::vector<double> brute_force_row(const Conv1dInput& in, int64_t b, int64_t d) {
  std::vector<double> history(static_cast<size_t>(in.width - 1), 0.0);
  std::vector<int> owner(static_cast<size_t>(in.width - 1),
                         in.seq_idx.empty() ? 0 : in.seq_idx[b * in.length]);
  for (int64_t i = 0; i < in.width - 1 && !in.initial_states.empty(); ++i) {
    history[i] = in.initial_states[(b * in.channels + d) * (in.width - 1) + i];
  }
  for (int64_t t = 0; t < in.length; ++t) {
    history.push_back(in.x[(b * in.channels + d) * in.length + t]);
    owner.push_back(in.seq_idx.empty() ? 0 : in.seq_idx[b * in.length + t]);
  }
  std::vector<double> out;
  for (int64_t t = 0; t < in.length; ++t) {
    const size_t last = static_cast<size_t>(t + in.width - 1);
    double y = in.bias.empty() ? 0.0 : in.bias[d];
    for (size_t i = 0; i < history.size(); ++i) {
      const auto distance = static_cast<int64_t>(last) - static_cast<int64_t>(i);
      if (distance < 0 || distance >= in.width || owner[i] != owner[last]) continue;
      y += history[i] * in.weight[d * in.width + in.width - 1 - distance];
    }
    if (in.silu) y *= 0.5 * (1.0 + std::tanh(0.5 * y));
    out.push_back(owner[last] < 0 ? 0.0 : y);
  }
  return out;
}

void expect_forward_is_brute_force(const Conv1dInput& in) {
  const Conv1dOutput got = conv1d_reference(in);
  for (int64_t b = 0; b < in.batch; ++b) {
    for (int64_t d = 0; d < in.channels; ++d) {
      const std::vector<double> row = brute_force_row(in, b, d);
      for (int64_t t = 0; t < in.length; ++t) {
        EXPECT_NEAR(got.out[(b * in.channels + d) * in.length + t], row[t], 1e-13);
      }
    }
  }
}

TEST(conv1d_reference, forward_is_brute_force) {
  for (const int64_t length : {1, 2, 3, 4, 9}) {
    for (const int64_t width : {2, 3, 4}) {
      expect_forward_is_brute_force(random_input(length, width, true, false, 1));
      expect_forward_is_brute_force(random_input(length, width, false, true, 2));
    }
  }
}

TEST(conv1d_reference, sequences_do_not_see_each_other_and_states_are_the_first_ones) {
  Conv1dInput in = random_input(9, 4, true, true, 3);
  in.seq_idx = {0, 0, 1, 1, 1, 2, -1, -1, -1, 5, 5, 5, 5, 5, 5, 5, 6, 6};
  expect_forward_is_brute_force(in);
  EXPECT_EQ(conv1d_reference(in).out[7], 0.0);
}

TEST(conv1d_reference, final_states_are_the_last_inputs) {
  const Conv1dInput in = random_input(2, 4, false, true, 4);
  const Conv1dOutput got = conv1d_reference(in);
  EXPECT_EQ(got.final_states[0], in.initial_states[2]);
  EXPECT_EQ(got.final_states[1], in.x[0]);
  EXPECT_EQ(got.final_states[2], in.x[1]);
}

// The loss whose gradient is taken: outputs and final states, each with a weight of its own.
double loss(const Conv1dInput& in, const std::vector<double>& dout,
            const std::vector<double>& dfinal) {
  const Conv1dOutput got = conv1d_reference(in);
  double sum = 0;
  for (size_t i = 0; i < dout.size(); ++i) sum += got.out[i] * dout[i];
  for (size_t i = 0; i < dfinal.size(); ++i) sum += got.final_states[i] * dfinal[i];
  return sum;
}

void expect_gradient_is_difference(Conv1dInput in, std::vector<double> Conv1dInput::*field,
                                   const std::vector<double>& gradient,
                                   const std::vector<double>& dout,
                                   const std::vector<double>& dfinal) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ((in.*field).size(), gradient.size());
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double value = (in.*field)[i];
    (in.*field)[i] = value + kStep;
    const double above = loss(in, dout, dfinal);
    (in.*field)[i] = value - kStep;
    const double below = loss(in, dout, dfinal);
    (in.*field)[i] = value;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-7) << i;
  }
}

TEST(conv1d_reference, gradients_are_differences) {
  for (const int64_t length : {1, 2, 7}) {
    for (const bool packed : {false, true}) {
      Conv1dInput in = random_input(length, 4, true, true, 5);
      for (int64_t i = 0; packed && i < 2 * length; ++i) {
        in.seq_idx.push_back(i % length < 3 ? 0 : i % length < 6 ? 1 : -1);
      }
      std::mt19937 generator(6);
      const std::vector<double> dout = draw(&generator, 2 * 3 * length);
      const std::vector<double> dfinal = draw(&generator, 2 * 3 * 3);
      const Conv1dGradients got = conv1d_reference_gradients(in, dout, dfinal);
      expect_gradient_is_difference(in, &Conv1dInput::x, got.dx, dout, dfinal);
      expect_gradient_is_difference(in, &Conv1dInput::weight, got.dweight, dout, dfinal);
      expect_gradient_is_difference(in, &Conv1dInput::bias, got.dbias, dout, dfinal);
      expect_gradient_is_difference(in, &Conv1dInput::initial_states, got.dinitial_states, dout,
                                    dfinal);
    }
  }
}

// Steps one after another give what the whole sequence gives, in both kinds of state.
TEST(conv1d_reference, steps_are_the_sequence) {
  for (const bool circular : {false, true}) {
    const Conv1dInput whole = random_input(11, 4, true, false, 7);
    const Conv1dOutput expected = conv1d_reference(whole);
    Conv1dSteps steps;
    steps.input = whole;
    steps.state_length = 5;
    steps.conv_state.assign(2 * 3 * 5, 0.0);
    int64_t done = 0;
    for (const int64_t count : {1, 1, 4, 5}) {
      steps.input.length = count;
      steps.input.x.clear();
      for (int64_t row = 0; row < 2 * 3; ++row) {
        for (int64_t t = 0; t < count; ++t) steps.input.x.push_back(whole.x[row * 11 + done + t]);
      }
      if (circular) steps.cache_seqlens.assign(2, static_cast<int32_t>(done));
      const std::vector<double> out = conv1d_reference_update(&steps);
      for (int64_t row = 0; row < 2 * 3; ++row) {
        for (int64_t t = 0; t < count; ++t) {
          EXPECT_NEAR(out[row * count + t], expected.out[row * 11 + done + t], 1e-13);
        }
      }
      done += count;
    }
  }
}

TEST(conv1d_reference, a_negative_row_is_padding) {
  Conv1dSteps steps;
  steps.input = random_input(1, 4, true, false, 8);
  steps.state_length = 3;
  steps.conv_state.assign(4 * 3 * 3, 0.5);
  steps.conv_state_indices = {-1, 3};
  const std::vector<double> before = steps.conv_state;
  const std::vector<double> out = conv1d_reference_update(&steps);
  for (int d = 0; d < 3; ++d) EXPECT_EQ(out[d], 0.0);
  for (size_t i = 0; i < 3 * 3 * 3; ++i) EXPECT_EQ(steps.conv_state[i], before[i]);
  EXPECT_EQ(steps.conv_state[3 * 3 * 3 + 2], steps.input.x[3]);
}

}  // namespace
}  // namespace ssm
