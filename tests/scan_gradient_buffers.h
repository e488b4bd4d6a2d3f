// What a backward scan kernel reads and writes beside the forward one's buffers: poisoned
// gradients, the partial sums of the small ones, and the comparison with the reference's.
#pragma once

#include "scan_buffers.h"

extern "C" void scan_finish(ssm::ScanFinishParams);

namespace ssm {

inline ReferenceValues random_dout(const ReferenceScan& s, unsigned seed, double (*round)(double)) {
  std::mt19937 generator(seed + 100);
  std::normal_distribution<double> normal;
  ReferenceValues dout(s.u.size());
  for (double& value : dout) value = round(normal(generator));
  return dout;
}

template <typename T>
struct GradientBuffers {
  RowBuffer<T> dout, out, du, ddelta, dz;
  std::vector<float> dA, dB, dC, dD, dbias;  // partial sums
  ScanBackwardParams q{};

  // slots and atomic as the plan has them; dA, dD and ddelta_bias in `runs` parts a batch.
  GradientBuffers(const ReferenceScan& s, const ScanParams& scan, const ReferenceOutput& forward,
                  const ReferenceValues& dout_values, long pitch, int slots, bool atomic,
                  long runs = 1) {
    const long rows = s.batch * s.dim;
    dout = padded_rows<T>(dout_values, s.length, pitch);
    out = padded_rows<T>(forward.out, s.length, pitch);
    du = poisoned_rows<T>(rows, pitch);
    ddelta = poisoned_rows<T>(rows, pitch);
    dz = poisoned_rows<T>(rows, pitch);
    const long words = s.complex ? 2 : 1;
    const auto partial = [&](const ReferenceComplex& values, bool variable) {
      const size_t count = words * (variable ? values.size() * slots : rows * s.states);
      return atomic && variable ? std::vector<float>(count, 0.0f) : poisoned(count);
    };
    dB = partial(s.B, s.variable_B);
    dC = partial(s.C, s.variable_C);
    dA = poisoned(words * rows * s.states * runs);
    dD = poisoned(rows * runs);
    dbias = poisoned(rows * runs);
    q.scan = scan;
    q.scan.out = out.rows(s.dim);
    q.scan.out_is_float = std::is_same_v<T, float>;
    q.dout = dout.rows(s.dim);
    q.du = du.rows(s.dim);
    q.ddelta = ddelta.rows(s.dim);
    q.dz = dz.rows(s.dim);
    q.dB = dB.data();
    q.dC = dC.data();
    q.dA = dA.data();
    if (scan.D) q.dD = dD.data();
    if (scan.delta_bias) q.ddelta_bias = dbias.data();
    q.slots = slots;
    q.atomic = atomic;
  }

  // Adds the parts up with the kernel that does so, and compares every gradient.
  void expect(const ReferenceScan& s, const ReferenceGradients& wanted, double tolerance) {
    const size_t words = s.complex ? 2 : 1;
    std::vector<float> A(words * s.A.size()), B(words * s.B.size()), C(words * s.C.size()),
        D(s.D.size()), bias(s.delta_bias.size());
    const auto sum = [](const std::vector<float>& from, std::vector<float>& to) {
      const long long count = static_cast<long long>(to.size());
      return ScanSum{from.data(), count ? to.data() : nullptr,
                     count ? static_cast<long long>(from.size()) / count : 0, count, kFloat32};
    };
    const ScanFinishParams finish{
        {sum(dA, A), sum(dB, B), sum(dC, C), sum(dD, D), sum(dbias, bias)}};
    emulate::run_grid(scan_finish, Uint3{2, 5, 1}, 64, shared_words, kFinishSharedBytes / 16, false,
                      finish);
    expect_rows("du", du, wanted.du, s.length, tolerance);
    expect_rows("ddelta", ddelta, wanted.ddelta, s.length, tolerance);
    if (!s.z.empty()) expect_rows("dz", dz, wanted.dz, s.length, tolerance);
    expect_values("dA", A, parts(wanted.dA, s.complex), tolerance);
    expect_values("dB", B, parts(wanted.dB, s.complex), tolerance);
    expect_values("dC", C, parts(wanted.dC, s.complex), tolerance);
    expect_values("dD", D, wanted.dD, tolerance);
    expect_values("ddelta_bias", bias, wanted.ddelta_bias, tolerance);
  }
};

}  // namespace ssm
