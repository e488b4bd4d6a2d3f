// selective_scan_cuda_oflex: VMamba's native module with a float32 output, over
// libssm_kernels.so.
#include "python/selective_scan.h"

namespace {

PyObject* fwd(PyObject*, PyObject* arguments) {
  return ssm::py::vmamba_forward("selective_scan_cuda_oflex.fwd", arguments, true);
}

PyObject* bwd(PyObject*, PyObject* arguments) {
  return ssm::py::vmamba_backward("selective_scan_cuda_oflex.bwd", arguments);
}

PyMethodDef methods[] = {
    {"fwd", fwd, METH_VARARGS,
     "ssm-contract: fwd 10\n"
     "(u, delta, A, B, C, D, delta_bias, delta_softplus, nrows, out_float) -> [out, x]"},
    {"bwd", bwd, METH_VARARGS,
     "ssm-contract: bwd 11\n"
     "(u, delta, A, B, C, D, delta_bias, dout, x, delta_softplus, nrows)\n"
     " -> [du, ddelta, dA, dB, dC, dD, ddelta_bias]"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "selective_scan_cuda_oflex",
                          "Selective scan of ssm-kernels: no libtorch, VMamba's contract",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_selective_scan_cuda_oflex(void) {
  if (!ssm::py::open_scan("selective_scan_cuda_oflex")) return nullptr;
  return PyModule_Create(&definition);
}
