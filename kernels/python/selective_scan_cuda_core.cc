// selective_scan_cuda_core: VMamba's and Mamba-YOLO's native module, over
// libssm_kernels.so. `nrows` chose an instance of the original kernel and changes no number.
#include "python/selective_scan.h"

namespace {

PyObject* fwd(PyObject*, PyObject* arguments) {
  constexpr char kFunction[] = "selective_scan_cuda_core.fwd";
  if (!ssm::py::count_is(kFunction, arguments, 9)) return nullptr;
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  const ssm::py::ScanCall call = {at(0), at(1), at(2), at(3), at(4), at(5), nullptr, at(6), at(7)};
  int64_t rows = 0;
  if (!ssm::py::read_int(at(8), "nrows", &rows)) return nullptr;
  return ssm::py::scan_forward(kFunction, call, false, false);
}

PyObject* bwd(PyObject*, PyObject* arguments) {
  constexpr char kFunction[] = "selective_scan_cuda_core.bwd";
  if (!ssm::py::count_is(kFunction, arguments, 11)) return nullptr;
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  const ssm::py::ScanCall call = {at(0), at(1), at(2), at(3), at(4), at(5), nullptr, at(6), at(9)};
  int64_t rows = 0;
  if (!ssm::py::read_int(at(10), "nrows", &rows)) return nullptr;
  return ssm::py::scan_backward(kFunction, call, at(7), at(8), nullptr, nullptr, false);
}

PyMethodDef methods[] = {{"fwd", fwd, METH_VARARGS,
                          "ssm-contract: fwd 9\n"
                          "(u, delta, A, B, C, D, delta_bias, delta_softplus, nrows) -> [out, x]"},
                         {"bwd", bwd, METH_VARARGS,
                          "ssm-contract: bwd 11\n"
                          "(u, delta, A, B, C, D, delta_bias, dout, x, delta_softplus, nrows)\n"
                          " -> [du, ddelta, dA, dB, dC, dD, ddelta_bias]"},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "selective_scan_cuda_core",
                          "Selective scan of ssm-kernels: no libtorch, VMamba's contract",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_selective_scan_cuda_core(void) {
  if (!ssm::py::open_scan("selective_scan_cuda_core")) return nullptr;
  return PyModule_Create(&definition);
}
