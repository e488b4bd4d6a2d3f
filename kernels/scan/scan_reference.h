// The selective scan and its gradients as plain loops in double precision. Shares no code with the
// kernels; the tests and `ssmend verify` compare with it. The formula is in scan_params.h; for a
// complex A, `out` takes twice the real part of the sum over the states, as mamba_ssm defines it,
// and gradients of complex values are d/dRe + i d/dIm, as PyTorch defines them.
#pragma once

#include <complex>
#include <vector>

namespace ssm {

using ReferenceValues = std::vector<double>;
using ReferenceComplex = std::vector<std::complex<double>>;

// All arrays are contiguous; rows are (batch, dim, length). An empty optional array is absent.
struct ReferenceScan {
  long batch = 1, dim = 1, length = 1, states = 1, groups = 1;
  bool complex = false, softplus = false;
  bool variable_B = true, variable_C = true;
  ReferenceValues u, delta;
  ReferenceComplex A;     // (dim, states)
  ReferenceComplex B, C;  // (batch, groups, states, length), or (dim, states) where fixed
  ReferenceValues D, z, delta_bias;
};

struct ReferenceOutput {
  ReferenceValues out, out_z;  // out_z: only where z is given
  ReferenceComplex state;      // (batch, dim, length, states): the state after every step
};

struct ReferenceGradients {
  ReferenceValues du, ddelta, dD, dz, ddelta_bias;
  ReferenceComplex dA, dB, dC;
};

ReferenceOutput reference_scan(const ReferenceScan& scan);

// `dout` is the gradient of out_z where z is given, else of out.
ReferenceGradients reference_scan_gradients(const ReferenceScan& scan,
                                            const ReferenceOutput& output,
                                            const ReferenceValues& dout);

// The decode step: state (batch, dim, states) is advanced in place; returns (batch, dim). `scan`
// has length 1.
ReferenceValues reference_state_update(const ReferenceScan& scan, ReferenceComplex& state);

}  // namespace ssm
