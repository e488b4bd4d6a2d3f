// A `causal_conv1d_cuda` with the call contract of causal_conv1d 1.5.1 to 1.7.0, for the CPU.
//
// The tests compile it against a real torch, so it is what a user has: a pybind11 module that needs
// libc10.so by name and has no way of its own to find it. It takes 8 parameters forward, 12
// backward and 8 for the update, returns nothing and fills what it is given; dweight and dbias are
// added to, in float32, as the CUDA build does. Plain loops in double, so that a test of float64
// tensors sees rounding of the last digits only.
#include <ATen/ATen.h>
#include <torch/csrc/utils/pybind.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

Tensor as_double(const Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); }

double sigmoid(double value) { return 1.0 / (1.0 + std::exp(-value)); }

// One problem in double: x (batch, dim, length), weight (dim, width).
struct Problem {
  Tensor x, weight, bias, seq_idx, initial;
  int64_t batch = 0, dim = 0, length = 0, width = 0;

  Problem(const Tensor& x_in, const Tensor& weight_in, const OptionalTensor& bias_in,
          const OptionalTensor& seq_idx_in, const OptionalTensor& initial_in)
      : x(as_double(x_in)), weight(as_double(weight_in)) {
    TORCH_CHECK(x.dim() == 3, "x must have 3 dimensions, has ", x.dim());
    batch = x.size(0), dim = x.size(1), length = x.size(2), width = weight.size(1);
    TORCH_CHECK(weight.size(0) == dim, "weight has ", weight.size(0), " rows, x ", dim);
    TORCH_CHECK(width >= 2 && width <= 4, "width must be 2 to 4, is ", width);
    if (bias_in) bias = as_double(*bias_in);
    if (seq_idx_in) seq_idx = seq_idx_in->to(at::kLong).contiguous();
    if (initial_in) initial = as_double(*initial_in);
  }

  // The tap `back` steps before `step`: in the sequence, in the initial state, or nothing.
  struct Tap {
    enum class Kind { kNone, kSequence, kInitial } kind = Kind::kNone;
    int64_t index = 0;
  };
  [[nodiscard]] Tap tap(int64_t b, int64_t step, int64_t back) const {
    const int64_t source = step - back;
    if (source < 0) {
      if (!initial.defined()) return {};
      return {Tap::Kind::kInitial, source + width - 1};
    }
    if (seq_idx.defined()) {
      const int64_t* row = seq_idx.const_data_ptr<int64_t>() + b * length;
      if (row[step] < 0 || row[source] != row[step]) return {};
    }
    return {Tap::Kind::kSequence, source};
  }

  // The convolution before the activation.
  [[nodiscard]] double value(int64_t b, int64_t d, int64_t step) const {
    double sum = bias.defined() ? bias.const_data_ptr<double>()[d] : 0.0;
    for (int64_t back = 0; back < width; ++back) {
      sum += weight.const_data_ptr<double>()[d * width + width - 1 - back] * read(b, d, step, back);
    }
    return sum;
  }
  [[nodiscard]] double read(int64_t b, int64_t d, int64_t step, int64_t back) const {
    const Tap from = tap(b, step, back);
    if (from.kind == Tap::Kind::kNone) return 0.0;
    if (from.kind == Tap::Kind::kSequence) {
      return x.const_data_ptr<double>()[(b * dim + d) * length + from.index];
    }
    return initial.const_data_ptr<double>()[(b * dim + d) * (width - 1) + from.index];
  }
};

void causal_conv1d_fwd(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                       const OptionalTensor& seq_idx, const OptionalTensor& initial_states,
                       Tensor& out, OptionalTensor& final_states_out, bool silu_activation) {
  const Problem problem(x, weight, bias, seq_idx, initial_states);
  const auto [batch, dim, length, width] =
      std::tuple(problem.batch, problem.dim, problem.length, problem.width);
  Tensor result = at::empty({batch, dim, length}, problem.x.options());
  double* to = result.mutable_data_ptr<double>();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t d = 0; d < dim; ++d) {
      for (int64_t step = 0; step < length; ++step) {
        const double value = problem.value(b, d, step);
        to[(b * dim + d) * length + step] = silu_activation ? value * sigmoid(value) : value;
      }
    }
  }
  out.copy_(result);
  if (final_states_out) {
    Tensor last = at::empty({batch, dim, width - 1}, problem.x.options());
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t d = 0; d < dim; ++d) {
        for (int64_t k = 0; k < width - 1; ++k) {
          last.mutable_data_ptr<double>()[(b * dim + d) * (width - 1) + k] =
              problem.read(b, d, length - 1, width - 2 - k);
        }
      }
    }
    final_states_out->copy_(last);
  }
}

void causal_conv1d_bwd(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                       const Tensor& dout, const OptionalTensor& seq_idx,
                       const OptionalTensor& initial_states, const OptionalTensor& dfinal_states,
                       Tensor& dx, Tensor& dweight, OptionalTensor& dbias,
                       OptionalTensor& dinitial_states, bool silu_activation) {
  const Problem problem(x, weight, bias, seq_idx, initial_states);
  const auto [batch, dim, length, width] =
      std::tuple(problem.batch, problem.dim, problem.length, problem.width);
  TORCH_CHECK(bias.has_value() == dbias.has_value(), "bias and dbias go together");
  TORCH_CHECK(dweight.scalar_type() == at::kFloat, "dweight must be float32, is ",
              dweight.scalar_type());
  const Tensor upstream = as_double(dout);
  Tensor to_x = at::zeros({batch, dim, length}, problem.x.options());
  Tensor to_initial = at::zeros({batch, dim, width - 1}, problem.x.options());
  Tensor to_weight = at::zeros({dim, width}, problem.x.options());
  Tensor to_bias = at::zeros({dim}, problem.x.options());
  if (dfinal_states) {
    const Tensor given = as_double(*dfinal_states);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t d = 0; d < dim; ++d) {
        for (int64_t k = 0; k < width - 1; ++k) {
          const Problem::Tap from = problem.tap(b, length - 1, width - 2 - k);
          const double value = given.const_data_ptr<double>()[(b * dim + d) * (width - 1) + k];
          if (from.kind == Problem::Tap::Kind::kSequence) {
            to_x.mutable_data_ptr<double>()[(b * dim + d) * length + from.index] += value;
          } else if (from.kind == Problem::Tap::Kind::kInitial) {
            to_initial.mutable_data_ptr<double>()[(b * dim + d) * (width - 1) + from.index] +=
                value;
          }
        }
      }
    }
  }
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t d = 0; d < dim; ++d) {
      for (int64_t step = 0; step < length; ++step) {
        double slope = upstream.const_data_ptr<double>()[(b * dim + d) * length + step];
        if (silu_activation) {
          const double value = problem.value(b, d, step);
          const double gate = sigmoid(value);
          slope *= gate * (1.0 + value * (1.0 - gate));
        }
        to_bias.mutable_data_ptr<double>()[d] += slope;
        for (int64_t back = 0; back < width; ++back) {
          const Problem::Tap from = problem.tap(b, step, back);
          if (from.kind == Problem::Tap::Kind::kNone) continue;
          const int64_t column = d * width + width - 1 - back;
          const double tap_weight = problem.weight.const_data_ptr<double>()[column];
          to_weight.mutable_data_ptr<double>()[column] += slope * problem.read(b, d, step, back);
          if (from.kind == Problem::Tap::Kind::kSequence) {
            to_x.mutable_data_ptr<double>()[(b * dim + d) * length + from.index] +=
                slope * tap_weight;
          } else {
            to_initial.mutable_data_ptr<double>()[(b * dim + d) * (width - 1) + from.index] +=
                slope * tap_weight;
          }
        }
      }
    }
  }
  dx.copy_(to_x);
  dweight.add_(to_weight.to(at::kFloat));
  if (dbias) dbias->add_(to_bias.to(at::kFloat));
  if (dinitial_states) dinitial_states->copy_(to_initial);
}

// x (batch, dim) or (batch, dim, steps); conv_state (slots, dim, state_len >= width - 1).
void causal_conv1d_update(const Tensor& x, Tensor& conv_state, const Tensor& weight,
                          const OptionalTensor& bias, Tensor& out, bool silu_activation,
                          const OptionalTensor& cache_seqlens,
                          const OptionalTensor& conv_state_indices) {
  TORCH_CHECK(!cache_seqlens.has_value(), "the stand-in has no circular buffer");
  const Tensor steps = x.dim() == 2 ? x.unsqueeze(-1) : x;
  const Tensor chosen = conv_state_indices ? conv_state.index_select(0, *conv_state_indices)
                                           : conv_state;
  const int64_t width = weight.size(1);
  const Tensor line = at::cat({as_double(chosen), as_double(steps)}, -1);
  const Tensor taps = as_double(weight);
  Tensor result = at::empty_like(as_double(steps));
  for (int64_t step = 0; step < steps.size(2); ++step) {
    const int64_t end = chosen.size(2) + step + 1;
    Tensor value = (line.slice(-1, end - width, end) * taps).sum(-1);
    if (bias) value = value + as_double(*bias);
    result.select(-1, step).copy_(silu_activation ? at::silu(value) : value);
  }
  const Tensor kept = line.slice(-1, line.size(2) - chosen.size(2)).to(conv_state.scalar_type());
  if (conv_state_indices) {
    conv_state.index_copy_(0, conv_state_indices->to(at::kLong), kept);
  } else {
    conv_state.copy_(kept);
  }
  out.copy_(x.dim() == 2 ? result.squeeze(-1) : result);
}

}  // namespace

PYBIND11_MODULE(causal_conv1d_cuda, module) {
  module.def("causal_conv1d_fwd", &causal_conv1d_fwd, "Causal conv1d forward");
  module.def("causal_conv1d_bwd", &causal_conv1d_bwd, "Causal conv1d backward");
  module.def("causal_conv1d_update", &causal_conv1d_update, "Causal conv1d update");
}
