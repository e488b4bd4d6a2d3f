// selective_scan_cuda: the native module of mamba_ssm (one contract over all its releases), over
// libssm_kernels.so.
#include "python/selective_scan.h"

namespace {

PyObject* fwd(PyObject*, PyObject* arguments) {
  if (!ssm::py::count_is("selective_scan_cuda.fwd", arguments, 9)) return nullptr;
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  const ssm::py::ScanCall call = {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)};
  return ssm::py::scan_forward("selective_scan_cuda.fwd", call, true, false);
}

PyObject* bwd(PyObject*, PyObject* arguments) {
  if (!ssm::py::count_is("selective_scan_cuda.bwd", arguments, 14)) return nullptr;
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  const ssm::py::ScanCall call = {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(12)};
  bool recompute = false;
  if (!ssm::py::read_bool(at(13), "recompute_out_z", &recompute)) return nullptr;
  return ssm::py::scan_backward("selective_scan_cuda.bwd", call, at(8), at(9), at(10), at(11),
                                recompute);
}

// Beyond the package's own binary: what mamba_ssm does with Triton.
PyObject* state_update(PyObject*, PyObject* arguments) {
  return ssm::py::scan_update("selective_scan_cuda.state_update", arguments);
}

PyMethodDef methods[] = {
    {"fwd", fwd, METH_VARARGS,
     "ssm-contract: fwd 9\n"
     "(u, delta, A, B, C, D, z, delta_bias, delta_softplus) -> [out, x] + [out_z] with z"},
    {"bwd", bwd, METH_VARARGS,
     "ssm-contract: bwd 14\n"
     "(u, delta, A, B, C, D, z, delta_bias, dout, x, out, dz, delta_softplus, recompute_out_z)\n"
     " -> [du, ddelta, dA, dB, dC, dD, ddelta_bias] + [dz] with z + [out_z] if recomputed"},
    {"state_update", state_update, METH_VARARGS,
     "ssm-contract: state_update 11\n"
     "(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_indices) -> out"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "selective_scan_cuda",
                          "Selective scan of ssm-kernels: no libtorch, mamba_ssm's contract",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_selective_scan_cuda(void) {
  if (!ssm::py::open_scan("selective_scan_cuda")) return nullptr;
  return PyModule_Create(&definition);
}
