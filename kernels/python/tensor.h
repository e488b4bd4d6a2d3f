// Torch tensors without linking torch: what the modules over libssm_kernels.so share.
//
// A tensor is read through Python attributes (data_ptr, shape, stride, dtype, get_device), which
// every torch since 2.0 has, or, where torch offers it (2.10), through the C function table of
// DLPack's exchange API (dlpack.h 1.3, `torch.Tensor.__dlpack_c_exchange_api__`), which takes a
// tenth of the time. torch is imported at the first call, never at import of the module.
//
// Every function here that returns false or null has set a Python exception.
#pragma once

#include <Python.h>

#include "ssm_kernels.h"

namespace ssm {
namespace py {

// Opens ssm_kernels/libssm_kernels.so beside the file of this module. False: ImportError is set.
bool open_library(const char* module_name);
// A function of the library; sets ImportError where it lacks it.
void* library_function(const char* name);

// Reads `object` into `tensor`. None gives an absent tensor where `optional`. TypeError for what is
// no tensor; RuntimeError for a tensor of another device kind, layout, type or rank.
bool read_tensor(PyObject* object, const char* name, bool optional, ssm_tensor* tensor);
bool read_bool(PyObject* object, const char* name, bool* value);
bool read_int(PyObject* object, const char* name, int64_t* value);

// torch's current stream on that device.
bool current_queue(int device, ssm_queue* queue);

// True, with the exception set, where status is a failure: `function` names the caller.
bool failed(ssm_status status, const char* function);

// New references, as torch makes them; null on failure.
PyObject* empty_like(PyObject* tensor);
PyObject* zeros_like_float32(PyObject* tensor);  // same shape and device, dense
// torch.empty(sizes, dtype, device of `like`); dtype is the ssm_dtype, or -1 for like's.
PyObject* empty(const int64_t* sizes, int rank, int dtype, PyObject* like);
PyObject* empty_bytes(int64_t bytes, PyObject* like);
PyObject* transpose(PyObject* tensor, int first, int second);
PyObject* to_dtype_of(PyObject* tensor, PyObject* like);  // the tensor itself where they agree

// torch.are_deterministic_algorithms_enabled(), unless `variable` is set to 0 or 1 in the
// environment. -1 on failure.
int deterministic(const char* variable);

}  // namespace py
}  // namespace ssm
