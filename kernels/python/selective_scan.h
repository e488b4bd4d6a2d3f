// What the three selective scan modules share: one forward and one backward call over
// libssm_kernels.so that allocates its results as the packages' own binaries do. The modules differ
// in their argument lists only.
#pragma once

#include "python/tensor.h"

namespace ssm {
namespace py {

// Borrowed references; null for what a contract does not have.
struct ScanCall {
  PyObject *u, *delta, *A, *B, *C, *D, *z, *delta_bias, *delta_softplus;
};

// Opens the library for `module`; false with an exception set.
bool open_scan(const char* module);

// [out, x] or [out, x, out_z]. With `out_as_delta` out has the layout of delta (mamba's contract),
// else of a new (batch, dim, length) tensor, float32 where out_float.
PyObject* scan_forward(const char* function, const ScanCall& call, bool out_as_delta,
                       bool out_float);

// [du, ddelta, dA, dB, dC, dD, ddelta_bias] + [dz] where z is given + [out_z] where asked for.
// `dz` may be None or a tensor to fill.
PyObject* scan_backward(const char* function, const ScanCall& call, PyObject* dout, PyObject* x,
                        PyObject* out, PyObject* dz, bool want_out_z);

// (state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_indices) -> out; ssm_scan.h has the
// shapes, of which heads and groups may be left out.
PyObject* scan_update(const char* function, PyObject* arguments);

// VMamba's contracts: (u, delta, A, B, C, D, delta_bias, delta_softplus, nrows[, out_float]) ->
// [out, x], and (u, delta, A, B, C, D, delta_bias, dout, x, delta_softplus, nrows) ->
// [du, ddelta, dA, dB, dC, dD, ddelta_bias].
PyObject* vmamba_forward(const char* function, PyObject* arguments, bool takes_out_float);
PyObject* vmamba_backward(const char* function, PyObject* arguments);

// TypeError for another number of arguments than `expected`.
bool count_is(const char* function, PyObject* arguments, Py_ssize_t expected);

}  // namespace py
}  // namespace ssm
