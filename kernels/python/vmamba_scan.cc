// VMamba's argument lists, which two of its native modules share. `nrows` chose an instance of the
// original kernel and changes no number.
#include "python/selective_scan.h"

namespace ssm {
namespace py {
namespace {

// (u, delta, A, B, C, D, delta_bias, ...) of either direction.
ScanCall inputs(PyObject* arguments, Py_ssize_t softplus) {
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  return {at(0), at(1), at(2), at(3), at(4), at(5), nullptr, at(6), at(softplus)};
}

}  // namespace

PyObject* vmamba_forward(const char* function, PyObject* arguments, bool takes_out_float) {
  if (!count_is(function, arguments, takes_out_float ? 10 : 9)) return nullptr;
  int64_t rows = 0;
  bool out_float = false;
  if (!read_int(PyTuple_GetItem(arguments, 8), "nrows", &rows)) return nullptr;
  if (takes_out_float && !read_bool(PyTuple_GetItem(arguments, 9), "out_float", &out_float)) {
    return nullptr;
  }
  return scan_forward(function, inputs(arguments, 7), false, out_float);
}

PyObject* vmamba_backward(const char* function, PyObject* arguments) {
  if (!count_is(function, arguments, 11)) return nullptr;
  int64_t rows = 0;
  if (!read_int(PyTuple_GetItem(arguments, 10), "nrows", &rows)) return nullptr;
  return scan_backward(function, inputs(arguments, 9), PyTuple_GetItem(arguments, 7),
                       PyTuple_GetItem(arguments, 8), nullptr, nullptr, false);
}

}  // namespace py
}  // namespace ssm
