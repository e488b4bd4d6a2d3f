// The reference's analytic gradients against central differences of its own forward pass.
#include "scan/scan_reference.h"

#include <gtest/gtest.h>

#include <functional>

#include "scan_cases.h"

namespace ssm {
namespace {

double loss(const ReferenceScan& scan, const ReferenceValues& weight) {
  const ReferenceOutput output = reference_scan(scan);
  const ReferenceValues& out = scan.z.empty() ? output.out : output.out_z;
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) sum += out[i] * weight[i];
  return sum;
}

void check_gradients(ReferenceScan scan) {
  std::mt19937 generator(5);
  std::normal_distribution<double> normal;
  ReferenceValues dout(scan.u.size());
  for (double& value : dout) value = normal(generator);
  const ReferenceGradients g = reference_scan_gradients(scan, reference_scan(scan), dout);
  const double step = 1e-6;
  const auto slope = [&](const std::function<void(double)>& move) {
    move(step);
    const double up = loss(scan, dout);
    move(-2 * step);
    const double down = loss(scan, dout);
    move(step);
    return (up - down) / (2 * step);
  };
  const auto real = [&](const char* name, ReferenceValues& values,
                        const ReferenceValues& gradient) {
    ASSERT_EQ(values.size(), gradient.size()) << name;
    for (size_t i = 0; i < values.size(); i += 3) {
      EXPECT_NEAR(slope([&](double by) { values[i] += by; }), gradient[i], 1e-6)
          << name << " " << i;
    }
  };
  const auto complex = [&](const char* name, ReferenceComplex& values,
                           const ReferenceComplex& gradient) {
    ASSERT_EQ(values.size(), gradient.size()) << name;
    for (size_t i = 0; i < values.size(); i += 2) {
      EXPECT_NEAR(slope([&](double by) { values[i] += by; }), gradient[i].real(), 1e-6)
          << name << " " << i;
      if (!scan.complex) continue;
      EXPECT_NEAR(slope([&](double by) { values[i] += std::complex<double>(0, by); }),
                  gradient[i].imag(), 1e-6)
          << name << " " << i;
    }
  };
  real("u", scan.u, g.du);
  real("delta", scan.delta, g.ddelta);
  real("D", scan.D, g.dD);
  real("z", scan.z, g.dz);
  real("delta_bias", scan.delta_bias, g.ddelta_bias);
  complex("A", scan.A, g.dA);
  complex("B", scan.B, g.dB);
  complex("C", scan.C, g.dC);
}

ScanOptions small() {
  ScanOptions options;
  options.batch = 2;
  options.dim = 4;
  options.length = 5;
  options.states = 3;
  options.groups = 2;
  return options;
}

const auto kExact = [](double value) { return value; };

TEST(scan_reference, gradients_match_finite_differences) {
  check_gradients(random_scan(small(), kExact));
}

TEST(scan_reference, gradients_match_without_options) {
  ScanOptions options = small();
  options.softplus = options.bias = options.skip = options.gate = false;
  check_gradients(random_scan(options, kExact));
}

TEST(scan_reference, gradients_match_for_fixed_factors) {
  ScanOptions options = small();
  options.variable_B = options.variable_C = false;
  check_gradients(random_scan(options, kExact));
}

TEST(scan_reference, gradients_match_for_complex_values) {
  ScanOptions options = small();
  options.complex = true;
  check_gradients(random_scan(options, kExact));
  options.variable_C = false;
  check_gradients(random_scan(options, kExact));
}

TEST(scan_reference, one_step_by_hand) {
  ReferenceScan scan;
  scan.u = {2.0};
  scan.delta = {0.5};
  scan.A = {-1.0};
  scan.B = {3.0};
  scan.C = {4.0};
  scan.D = {10.0};
  EXPECT_DOUBLE_EQ(reference_scan(scan).out[0], 0.5 * 2 * 3 * 4 + 10 * 2);
  ReferenceComplex state = {1.0};
  EXPECT_DOUBLE_EQ(reference_state_update(scan, state)[0], (std::exp(-0.5) + 3) * 4 + 20);
  EXPECT_DOUBLE_EQ(state[0].real(), std::exp(-0.5) + 3);
}

}  // namespace
}  // namespace ssm
