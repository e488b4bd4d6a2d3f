// Random inputs of one selective scan for the native check, for the reference and as tensors.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "scan/scan_reference.h"
#include "scan/ssm_scan.h"
#include "verify/native_gpu.h"

namespace ssmend {

struct ScanCase {
  int64_t batch, dim, states, groups = 1, length;
  bool gate = true, softplus = true;  // gate: with z, D and delta_bias too
  bool variable_B = true, variable_C = true;
  bool wide = false;        // out and its gradient in float32 whatever u is
  int64_t delta_ratio = 1;  // channels that share one row of delta
  bool complex = false;
  unsigned seed = 1;
};

std::string text_of(const ScanCase& shape, int dtype);
ssm::ReferenceScan make_scan(const ScanCase& shape, int dtype, std::mt19937* generator);

// A float32 sum's error: relative to an element, and, below, to the largest of a result.
inline constexpr double kSums = 1e-5;
double sums_limit(const std::vector<double>& expected);

// Pairs where `complex`, the real parts else: as tensors hold them.
std::vector<double> flat(const ssm::ReferenceComplex& values, bool complex);

// The sizes of B or C, and of its values as compared (a complex fixed one: pairs).
struct FactorSizes {
  std::vector<int64_t> tensor, compared;
  int dtype = 0;
};
FactorSizes factor_sizes(const ScanCase& shape, bool variable, int dtype);

ssm_scan_inputs upload(NativeSession& session, const ssm::ReferenceScan& scan,
                       const ScanCase& shape, int dtype);

// What the forward pass saves after every chunk, pairs (product of the decays so far, state), and
// the sizes of that tensor.
ssm::ReferenceComplex saved_states(const ssm::ReferenceScan& scan,
                                   const ssm::ReferenceOutput& output);
std::vector<int64_t> saved_sizes(const ScanCase& shape);

}  // namespace ssmend
