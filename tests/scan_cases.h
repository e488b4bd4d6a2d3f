// Random selective scans for the tests, rounded to a type, and the buffers a kernel sees.
#pragma once

#include <random>
#include <vector>

#include "scan/scan_reference.h"

namespace ssm {

struct ScanOptions {
  long batch = 1, dim = 8, length = 40, states = 16, groups = 1;
  bool complex = false, softplus = true, bias = true, skip = true, gate = true;
  bool variable_B = true, variable_C = true;
  unsigned seed = 1;
};

// `round` takes every input to the element type under test, so that only the kernel's own
// arithmetic differs from the reference.
template <typename Round>
ReferenceScan random_scan(const ScanOptions& o, Round round) {
  std::mt19937 generator(o.seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  ReferenceScan s;
  s.batch = o.batch;
  s.dim = o.dim;
  s.length = o.length;
  s.states = o.states;
  s.groups = o.groups;
  s.complex = o.complex;
  s.softplus = o.softplus;
  s.variable_B = o.variable_B;
  s.variable_C = o.variable_C;
  const size_t rows = static_cast<size_t>(o.batch * o.dim * o.length);
  const auto fill = [&](ReferenceValues& values, size_t count, auto draw) {
    values.resize(count);
    for (double& value : values) value = draw();
  };
  fill(s.u, rows, [&] { return round(normal(generator)); });
  fill(s.delta, rows,
       [&] { return round(o.softplus ? normal(generator) - 2 : 0.3 * uniform(generator)); });
  s.A.resize(static_cast<size_t>(o.dim * o.states));
  for (auto& a : s.A) {
    a = {static_cast<float>(-0.2 - 2 * uniform(generator)),
         o.complex ? static_cast<float>(normal(generator)) : 0.0f};
  }
  const auto factor = [&](ReferenceComplex& values, bool variable) {
    values.resize(static_cast<size_t>(variable ? o.batch * o.groups * o.states * o.length
                                               : o.dim * o.states));
    for (auto& value : values) {
      const double re = normal(generator), im = o.complex ? normal(generator) : 0.0;
      value = variable ? std::complex<double>(round(re), round(im))
                       : std::complex<double>(static_cast<float>(re), static_cast<float>(im));
    }
  };
  factor(s.B, o.variable_B);
  factor(s.C, o.variable_C);
  const size_t dim = static_cast<size_t>(o.dim);
  if (o.skip) fill(s.D, dim, [&] { return static_cast<float>(normal(generator)); });
  if (o.gate) fill(s.z, rows, [&] { return round(normal(generator)); });
  if (o.bias) fill(s.delta_bias, dim, [&] { return static_cast<float>(0.5 * normal(generator)); });
  return s;
}

}  // namespace ssm
