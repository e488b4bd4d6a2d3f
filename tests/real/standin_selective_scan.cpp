// A `selective_scan_cuda` for the CPU, with the two functions and argument lists of every released
// mamba_ssm (9 forward, 14 backward), real A, and B and C of shape (batch, groups, state, length).
//
// Forward:  d = softplus(delta + delta_bias), h = exp(d A) h + d B u, y = sum C h + D u,
//           out_z = y silu(z). Returns [out, x] or [out, x, out_z]; x (batch, dim, 1, 2 state)
//           holds the product of the decays and the last state, interleaved.
// Backward: returns [du, ddelta, dA, dB, dC, dD, ddelta_bias] and, with z, [dz] and (recompute)
//           [out_z]; dz is filled in place where it is given. Plain loops in double.
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
const double* read(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<double>() : nullptr;
}
double sigmoid(double value) { return 1.0 / (1.0 + std::exp(-value)); }

struct Scan {
  Tensor u, delta, A, B, C, D, z, bias;
  bool softplus = false;
  int64_t batch = 0, dim = 0, length = 0, state = 0, groups = 0;

  Scan(const Tensor& u_in, const Tensor& delta_in, const Tensor& A_in, const Tensor& B_in,
       const Tensor& C_in, const OptionalTensor& D_in, const OptionalTensor& z_in,
       const OptionalTensor& bias_in, bool softplus_in)
      : u(as_double(u_in)), delta(as_double(delta_in)), A(as_double(A_in)), B(as_double(B_in)),
        C(as_double(C_in)), softplus(softplus_in) {
    TORCH_CHECK(B.dim() == 4 && C.dim() == 4, "B and C must vary with the input");
    batch = u.size(0), dim = u.size(1), length = u.size(2), state = A.size(1), groups = B.size(1);
    TORCH_CHECK(delta.sizes() == u.sizes(), "delta has another shape than u");
    if (D_in) D = as_double(*D_in);
    if (z_in) z = as_double(*z_in);
    if (bias_in) bias = as_double(*bias_in);
  }
  [[nodiscard]] int64_t at(int64_t b, int64_t d, int64_t step) const {
    return (b * dim + d) * length + step;
  }
  [[nodiscard]] int64_t shared(int64_t b, int64_t d, int64_t n) const {  // row of B and C
    return ((b * groups + d / (dim / groups)) * state + n) * length;
  }
  [[nodiscard]] double raw_step(int64_t b, int64_t d, int64_t step) const {
    return read(delta)[at(b, d, step)] + (bias.defined() ? read(bias)[d] : 0.0);
  }
  [[nodiscard]] double step_size(int64_t b, int64_t d, int64_t step) const {
    const double raw = raw_step(b, d, step);
    return softplus && raw <= 20.0 ? std::log1p(std::exp(raw)) : raw;
  }
};

std::vector<Tensor> fwd(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
                        const Tensor& C, const OptionalTensor& D, const OptionalTensor& z,
                        const OptionalTensor& delta_bias, bool delta_softplus) {
  const Scan scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus);
  Tensor out = at::empty_like(scan.u);
  Tensor last = at::empty({scan.batch, scan.dim, 1, 2 * scan.state}, scan.u.options());
  for (int64_t b = 0; b < scan.batch; ++b) {
    for (int64_t d = 0; d < scan.dim; ++d) {
      std::vector<double> h(scan.state, 0.0), decay(scan.state, 1.0);
      for (int64_t step = 0; step < scan.length; ++step) {
        const double size = scan.step_size(b, d, step);
        const double input = read(scan.u)[scan.at(b, d, step)];
        double sum = scan.D.defined() ? read(scan.D)[d] * input : 0.0;
        for (int64_t n = 0; n < scan.state; ++n) {
          const double a = std::exp(size * read(scan.A)[d * scan.state + n]);
          h[n] = a * h[n] + size * read(scan.B)[scan.shared(b, d, n) + step] * input;
          decay[n] *= a;
          sum += read(scan.C)[scan.shared(b, d, n) + step] * h[n];
        }
        out.mutable_data_ptr<double>()[scan.at(b, d, step)] = sum;
      }
      for (int64_t n = 0; n < scan.state; ++n) {
        double* to = last.mutable_data_ptr<double>() + ((b * scan.dim + d) * scan.state + n) * 2;
        to[0] = decay[n], to[1] = h[n];
      }
    }
  }
  std::vector<Tensor> result = {out.to(u.scalar_type()), last.to(A.scalar_type())};
  if (z) result.push_back((out * at::silu(scan.z)).to(u.scalar_type()));
  return result;
}

std::vector<Tensor> bwd(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
                        const Tensor& C, const OptionalTensor& D, const OptionalTensor& z,
                        const OptionalTensor& delta_bias, const Tensor& dout,
                        const OptionalTensor& /*x*/, const OptionalTensor& /*out*/,
                        OptionalTensor& dz_out, bool delta_softplus, bool recompute_out_z) {
  const Scan scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus);
  const Tensor y = as_double(fwd(scan.u, scan.delta, scan.A, scan.B, scan.C, D, std::nullopt,
                                 delta_bias, delta_softplus)[0]);
  Tensor slope = as_double(dout), dz;
  if (z) {
    const Tensor gate = at::sigmoid(scan.z);
    dz = slope * y * gate * (1 + scan.z * (1 - gate));
    slope = slope * at::silu(scan.z);
  }
  Tensor du = at::zeros_like(scan.u), ddelta = at::zeros_like(scan.u);
  Tensor dA = at::zeros_like(scan.A), dB = at::zeros_like(scan.B), dC = at::zeros_like(scan.C);
  Tensor dD = at::zeros({scan.dim}, scan.u.options()), dbias = at::zeros_like(dD);
  for (int64_t b = 0; b < scan.batch; ++b) {
    for (int64_t d = 0; d < scan.dim; ++d) {
      std::vector<double> size(scan.length), dsize(scan.length, 0.0);
      for (int64_t step = 0; step < scan.length; ++step) {
        size[step] = scan.step_size(b, d, step);
        const double from = read(slope)[scan.at(b, d, step)];
        if (scan.D.defined()) {
          dD.mutable_data_ptr<double>()[d] += from * read(scan.u)[scan.at(b, d, step)];
          du.mutable_data_ptr<double>()[scan.at(b, d, step)] += from * read(scan.D)[d];
        }
      }
      for (int64_t n = 0; n < scan.state; ++n) {
        const int64_t row = scan.shared(b, d, n);
        const double rate = read(scan.A)[d * scan.state + n];
        std::vector<double> h(scan.length + 1, 0.0);
        for (int64_t step = 0; step < scan.length; ++step) {
          h[step + 1] = std::exp(size[step] * rate) * h[step] +
                        size[step] * read(scan.B)[row + step] * read(scan.u)[scan.at(b, d, step)];
        }
        double dh = 0.0;
        for (int64_t step = scan.length - 1; step >= 0; --step) {
          const int64_t here = scan.at(b, d, step);
          const double from = read(slope)[here], input = read(scan.u)[here];
          const double b_value = read(scan.B)[row + step], a = std::exp(size[step] * rate);
          dC.mutable_data_ptr<double>()[row + step] += from * h[step + 1];
          dh += from * read(scan.C)[row + step];
          dB.mutable_data_ptr<double>()[row + step] += dh * size[step] * input;
          du.mutable_data_ptr<double>()[here] += dh * size[step] * b_value;
          dsize[step] += dh * (b_value * input + rate * a * h[step]);
          dA.mutable_data_ptr<double>()[d * scan.state + n] += dh * size[step] * a * h[step];
          dh *= a;
        }
      }
      for (int64_t step = 0; step < scan.length; ++step) {
        const double raw = scan.raw_step(b, d, step);
        const double back = dsize[step] * (scan.softplus && raw <= 20.0 ? sigmoid(raw) : 1.0);
        ddelta.mutable_data_ptr<double>()[scan.at(b, d, step)] = back;
        dbias.mutable_data_ptr<double>()[d] += back;
      }
    }
  }
  const auto type = u.scalar_type();
  std::vector<Tensor> result = {du.to(type),           ddelta.to(type),
                                dA.to(A.scalar_type()), dB.to(B.scalar_type()),
                                dC.to(C.scalar_type()), D ? dD.to(D->scalar_type()) : Tensor(),
                                delta_bias ? dbias.to(delta_bias->scalar_type()) : Tensor()};
  if (z) {
    if (dz_out) {
      dz_out->copy_(dz);
      result.push_back(*dz_out);
    } else {
      result.push_back(dz.to(type));
    }
    if (recompute_out_z) result.push_back((y * at::silu(scan.z)).to(type));
  }
  return result;
}

}  // namespace

PYBIND11_MODULE(selective_scan_cuda, module) {
  module.def("fwd", &fwd, "Selective scan forward");
  module.def("bwd", &bwd, "Selective scan backward");
}
