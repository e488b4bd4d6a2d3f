#include "scan/scan_reference.h"

#include <cmath>
#include <cstddef>

namespace ssm {
namespace {

using Complex = std::complex<double>;

struct Index {
  const ReferenceScan& s;
  size_t row(long b, long d, long t) const {
    return static_cast<size_t>((b * s.dim + d) * s.length + t);
  }
  size_t matrix(long d, long n) const { return static_cast<size_t>(d * s.states + n); }
  size_t state(long b, long d, long t, long n) const {
    return row(b, d, t) * static_cast<size_t>(s.states) + static_cast<size_t>(n);
  }
};

// Where the elements of B or C lie that one channel takes.
struct Factor {
  size_t begin, state_step, step;
  Factor(const ReferenceScan& s, bool variable, long b, long d) {
    const long group = d / (s.dim / s.groups);
    begin = static_cast<size_t>((variable ? (b * s.groups + group) * s.length : d) * s.states);
    state_step = static_cast<size_t>(variable ? s.length : 1);
    step = variable ? 1 : 0;
  }
  size_t operator()(long n, long t) const {
    return begin + static_cast<size_t>(n) * state_step + static_cast<size_t>(t) * step;
  }
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double biased(const ReferenceScan& s, size_t row, long d) {
  return s.delta[row] + (s.delta_bias.empty() ? 0.0 : s.delta_bias[static_cast<size_t>(d)]);
}

double step_size(const ReferenceScan& s, size_t row, long d) {
  const double x = biased(s, row, d);
  if (!s.softplus) return x;
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

// A real exponent is most of the cases and a third of the time.
Complex decay(const ReferenceScan& s, double dt, Complex A) {
  return s.complex ? std::exp(dt * A) : Complex(std::exp(dt * A.real()));
}

}  // namespace

ReferenceOutput reference_scan(const ReferenceScan& s) {
  const Index at{s};
  ReferenceOutput result;
  result.out.assign(s.u.size(), 0.0);
  result.state.assign(s.u.size() * static_cast<size_t>(s.states), Complex(0));
  if (!s.z.empty()) result.out_z.assign(s.u.size(), 0.0);
  std::vector<Complex> h(static_cast<size_t>(s.states));
  for (long b = 0; b < s.batch; ++b) {
    for (long d = 0; d < s.dim; ++d) {
      h.assign(h.size(), Complex(0));
      const Factor at_B(s, s.variable_B, b, d);
      const Factor at_C(s, s.variable_C, b, d);
      for (long t = 0; t < s.length; ++t) {
        const size_t row = at.row(b, d, t);
        const double dt = step_size(s, row, d);
        double y = s.D.empty() ? 0.0 : s.D[static_cast<size_t>(d)] * s.u[row];
        for (long n = 0; n < s.states; ++n) {
          Complex& state = h[static_cast<size_t>(n)];
          const Complex B = s.B[at_B(n, t)];
          const Complex C = s.C[at_C(n, t)];
          state = decay(s, dt, s.A[at.matrix(d, n)]) * state + dt * s.u[row] * B;
          y += (s.complex ? 2.0 : 1.0) * (C * state).real();
          result.state[at.state(b, d, t, n)] = state;
        }
        result.out[row] = y;
        if (!s.z.empty()) result.out_z[row] = y * s.z[row] * sigmoid(s.z[row]);
      }
    }
  }
  return result;
}

ReferenceGradients reference_scan_gradients(const ReferenceScan& s, const ReferenceOutput& output,
                                            const ReferenceValues& dout) {
  const Index at{s};
  ReferenceGradients g;
  g.du.assign(s.u.size(), 0.0);
  g.ddelta.assign(s.u.size(), 0.0);
  g.dA.assign(s.A.size(), Complex(0));
  g.dB.assign(s.B.size(), Complex(0));
  g.dC.assign(s.C.size(), Complex(0));
  g.dD.assign(s.D.size(), 0.0);
  g.ddelta_bias.assign(s.delta_bias.size(), 0.0);
  g.dz.assign(s.z.size(), 0.0);
  const double twice = s.complex ? 2.0 : 1.0;
  std::vector<Complex> carried(static_cast<size_t>(s.states));
  for (long b = 0; b < s.batch; ++b) {
    for (long d = 0; d < s.dim; ++d) {
      carried.assign(carried.size(), Complex(0));
      const Factor at_B(s, s.variable_B, b, d);
      const Factor at_C(s, s.variable_C, b, d);
      for (long t = s.length - 1; t >= 0; --t) {
        const size_t row = at.row(b, d, t);
        double dy = dout[row];
        if (!s.z.empty()) {
          const double gate = sigmoid(s.z[row]);
          g.dz[row] = dy * output.out[row] * gate * (1.0 + s.z[row] * (1.0 - gate));
          dy *= s.z[row] * gate;
        }
        const double dt = step_size(s, row, d);
        double ddt = 0.0;
        double d_input = 0.0;  // of dt * u
        for (long n = 0; n < s.states; ++n) {
          const Complex A = s.A[at.matrix(d, n)];
          const size_t b_index = at_B(n, t);
          const size_t c_index = at_C(n, t);
          const Complex h = output.state[at.state(b, d, t, n)];
          const Complex before = t > 0 ? output.state[at.state(b, d, t - 1, n)] : Complex(0);
          const Complex a = decay(s, dt, A);
          const Complex dh = twice * dy * std::conj(s.C[c_index]) + carried[static_cast<size_t>(n)];
          g.dC[c_index] += twice * dy * std::conj(h);
          g.dB[b_index] += dh * dt * s.u[row];
          d_input += (dh * std::conj(s.B[b_index])).real();
          const Complex d_exponent = dh * std::conj(before) * std::conj(a);
          g.dA[at.matrix(d, n)] += dt * d_exponent;
          ddt += (d_exponent * std::conj(A)).real();
          carried[static_cast<size_t>(n)] = std::conj(a) * dh;
        }
        g.du[row] = d_input * dt;
        ddt += d_input * s.u[row];
        if (!s.D.empty()) {
          g.du[row] += dy * s.D[static_cast<size_t>(d)];
          g.dD[static_cast<size_t>(d)] += dy * s.u[row];
        }
        g.ddelta[row] = s.softplus ? ddt * sigmoid(biased(s, row, d)) : ddt;
        if (!s.delta_bias.empty()) g.ddelta_bias[static_cast<size_t>(d)] += g.ddelta[row];
      }
    }
  }
  return g;
}

ReferenceValues reference_state_update(const ReferenceScan& s, ReferenceComplex& state) {
  const Index at{s};
  ReferenceValues out(s.u.size(), 0.0);
  for (long b = 0; b < s.batch; ++b) {
    for (long d = 0; d < s.dim; ++d) {
      const size_t row = at.row(b, d, 0);
      const double dt = step_size(s, row, d);
      double y = s.D.empty() ? 0.0 : s.D[static_cast<size_t>(d)] * s.u[row];
      const Factor at_B(s, s.variable_B, b, d);
      const Factor at_C(s, s.variable_C, b, d);
      for (long n = 0; n < s.states; ++n) {
        Complex& h = state[at.state(b, d, 0, n)];
        h = decay(s, dt, s.A[at.matrix(d, n)]) * h + dt * s.u[row] * s.B[at_B(n, 0)];
        y += (s.complex ? 2.0 : 1.0) * (s.C[at_C(n, 0)] * h).real();
      }
      out[row] = s.z.empty() ? y : y * s.z[row] * sigmoid(s.z[row]);
    }
  }
  return out;
}

}  // namespace ssm
