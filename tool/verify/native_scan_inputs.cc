#include "verify/native_scan_inputs.h"

#include <algorithm>
#include <cmath>

#include "fmt/format.h"
#include "verify/native_check.h"

namespace ssmend {
namespace {

constexpr int64_t kChunk = 2048;  // steps between two saved states, as ssm_scan.h says

ssm::ReferenceComplex complex_values(std::mt19937* generator, int64_t count, int dtype,
                                     bool complex) {
  const std::vector<double> real = random_values(generator, count, dtype);
  std::vector<double> imaginary(real.size(), 0.0);
  if (complex) imaginary = random_values(generator, count, dtype);
  ssm::ReferenceComplex values;
  for (size_t i = 0; i < real.size(); ++i) values.emplace_back(real[i], imaginary[i]);
  return values;
}

// Every `ratio`-th row of `length` values.
std::vector<double> every_row(const std::vector<double>& values, int64_t length, int64_t ratio) {
  std::vector<double> result;
  for (int64_t row = 0; row * length < static_cast<int64_t>(values.size()); row += ratio) {
    result.insert(result.end(), values.begin() + row * length, values.begin() + (row + 1) * length);
  }
  return result;
}

}  // namespace

std::string text_of(const ScanCase& s, int dtype) {
  std::string text =
      fmt::format("{} {}x{}x{} n{}", native_dtype_name(dtype), s.batch, s.dim, s.length, s.states);
  if (s.groups > 1) text += fmt::format(" g{}", s.groups);
  if (s.gate) text += " z";
  if (s.softplus) text += " softplus";
  if (!s.variable_B) text += " fixed B";
  if (!s.variable_C) text += " fixed C";
  if (s.wide) text += " float out";
  if (s.delta_ratio > 1) text += " shared delta";
  if (s.complex) text += " complex";
  return text;
}

double sums_limit(const std::vector<double>& expected) {
  double largest = 1e-3;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  return kSums * largest;
}

std::vector<double> flat(const ssm::ReferenceComplex& values, bool complex) {
  std::vector<double> result;
  for (const std::complex<double>& value : values) {
    result.push_back(value.real());
    if (complex) result.push_back(value.imag());
  }
  return result;
}

ssm::ReferenceScan make_scan(const ScanCase& shape, int dtype, std::mt19937* generator) {
  ssm::ReferenceScan s;
  s.batch = shape.batch;
  s.dim = shape.dim;
  s.length = shape.length;
  s.states = shape.states;
  s.groups = shape.groups;
  s.complex = shape.complex;
  s.softplus = shape.softplus;
  s.variable_B = shape.variable_B;
  s.variable_C = shape.variable_C;
  const int64_t rows = shape.batch * shape.dim * shape.length;
  s.u = random_values(generator, rows, dtype);
  // Steps of the usual sizes: mostly 0.05 to 0.5.
  s.delta = random_values(generator, rows, dtype);
  for (double& delta : s.delta) delta = shape.softplus ? delta - 2 : 0.1 * std::fabs(delta);
  s.delta = rounded_to(dtype, std::move(s.delta));
  for (int64_t row = 0; row < shape.batch * shape.dim; ++row) {
    const int64_t first = row / shape.delta_ratio * shape.delta_ratio;
    std::copy_n(s.delta.begin() + first * shape.length, shape.length,
                s.delta.begin() + row * shape.length);
  }
  s.A = complex_values(generator, shape.dim * shape.states, SSM_FLOAT32, shape.complex);
  for (std::complex<double>& a : s.A) {
    a = {rounded_to(SSM_FLOAT32, {-0.2 - std::fabs(a.real())}).front(), a.imag()};
  }
  const auto factor = [&](bool variable) {
    return variable
               ? complex_values(generator, shape.batch * shape.groups * shape.states * shape.length,
                                dtype, shape.complex)
               : complex_values(generator, shape.dim * shape.states, SSM_FLOAT32, shape.complex);
  };
  s.B = factor(shape.variable_B);
  s.C = factor(shape.variable_C);
  if (!shape.gate) return s;
  s.D = random_values(generator, shape.dim, SSM_FLOAT32);
  s.z = random_values(generator, rows, dtype);
  s.delta_bias = random_values(generator, shape.dim, SSM_FLOAT32);
  for (int64_t d = 0; d < shape.dim; ++d) {
    s.delta_bias[static_cast<size_t>(d)] =
        s.delta_bias[static_cast<size_t>(d / shape.delta_ratio * shape.delta_ratio)];
  }
  return s;
}

FactorSizes factor_sizes(const ScanCase& shape, bool variable, int dtype) {
  const int64_t parts = shape.complex ? 2 : 1;
  if (variable) {
    const std::vector<int64_t> sizes = {shape.batch, shape.groups, shape.states,
                                        shape.length * parts};
    return {sizes, sizes, dtype};
  }
  return {{shape.dim, shape.states},
          {shape.dim, shape.states * parts},
          shape.complex ? SSM_COMPLEX64 : SSM_FLOAT32};
}

ssm_scan_inputs upload(NativeSession& session, const ssm::ReferenceScan& s, const ScanCase& shape,
                       int dtype) {
  const std::vector<int64_t> rows = {shape.batch, shape.dim, shape.length};
  const int64_t delta_rows = shape.dim / shape.delta_ratio;
  const FactorSizes B = factor_sizes(shape, shape.variable_B, dtype);
  const FactorSizes C = factor_sizes(shape, shape.variable_C, dtype);
  ssm_scan_inputs in = {};
  in.u = session.upload(s.u, rows, dtype);
  in.delta = session.upload(every_row(s.delta, shape.length, shape.delta_ratio),
                            {shape.batch, delta_rows, shape.length}, dtype);
  in.A = session.upload(flat(s.A, shape.complex), {shape.dim, shape.states},
                        shape.complex ? SSM_COMPLEX64 : SSM_FLOAT32);
  in.B = session.upload(flat(s.B, shape.complex), B.tensor, B.dtype);
  in.C = session.upload(flat(s.C, shape.complex), C.tensor, C.dtype);
  in.softplus = shape.softplus ? 1 : 0;
  if (!shape.gate) return in;
  in.D = session.upload(s.D, {shape.dim}, SSM_FLOAT32);
  in.z = session.upload(s.z, rows, dtype);
  in.delta_bias =
      session.upload(every_row(s.delta_bias, 1, shape.delta_ratio), {delta_rows}, SSM_FLOAT32);
  return in;
}

ssm::ReferenceComplex saved_states(const ssm::ReferenceScan& s, const ssm::ReferenceOutput& out) {
  ssm::ReferenceComplex saved;
  const int64_t chunks = (s.length + kChunk - 1) / kChunk;
  for (int64_t row = 0; row < s.batch * s.dim; ++row) {
    const int64_t d = row % s.dim;
    double total = 0;
    int64_t step = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (; step < std::min<int64_t>((chunk + 1) * kChunk, s.length); ++step) {
        double dt = s.delta[static_cast<size_t>(row * s.length + step)];
        if (!s.delta_bias.empty()) dt += s.delta_bias[static_cast<size_t>(d)];
        total += s.softplus ? std::log1p(std::exp(dt)) : dt;
      }
      for (int64_t n = 0; n < s.states; ++n) {
        saved.push_back(std::exp(total * s.A[static_cast<size_t>(d * s.states + n)]));
        saved.push_back(out.state[static_cast<size_t>((row * s.length + step - 1) * s.states + n)]);
      }
    }
  }
  return saved;
}

std::vector<int64_t> saved_sizes(const ScanCase& shape) {
  return {shape.batch, shape.dim, (shape.length + kChunk - 1) / kChunk, 2 * shape.states};
}

}  // namespace ssmend
