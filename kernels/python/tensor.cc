#include "python/tensor.h"

#include <cstdlib>
#include <cstring>

#include "python/dlpack_exchange.h"

namespace ssm {
namespace py {
namespace {

// What is looked up in torch once, and kept for the life of the process.
struct Torch {
  PyObject* module = nullptr;
  PyObject* tensor_type = nullptr;
  PyObject* parameter_type = nullptr;
  PyObject* dtypes[5] = {};  // by ssm_dtype
  PyObject* uint8 = nullptr;
  PyObject* data_ptr = nullptr;
  PyObject* stride = nullptr;
  PyObject* get_device = nullptr;
  PyObject* is_conj = nullptr;
  PyObject* empty_like = nullptr;
  PyObject* empty = nullptr;
  PyObject* zeros = nullptr;
  PyObject* raw_stream = nullptr;
  PyObject* get_deterministic = nullptr;
  PyObject* name_shape = nullptr;
  PyObject* name_dtype = nullptr;
  PyObject* name_is_cuda = nullptr;
  PyObject* name_layout = nullptr;
  PyObject* strided = nullptr;
  const DLExchange* exchange = nullptr;
  bool ready = false;
};

Torch torch;

// Owns one reference.
class Ref {
 public:
  explicit Ref(PyObject* object) : object_(object) {}
  ~Ref() { Py_XDECREF(object_); }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  PyObject* get() const { return object_; }
  PyObject* release() {
    PyObject* object = object_;
    object_ = nullptr;
    return object;
  }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_;
};

bool take(PyObject* from, const char* name, PyObject** slot) {
  *slot = PyObject_GetAttrString(from, name);
  return *slot != nullptr;
}

// The table is optional: without it, or with another major version, attributes are used.
// SSM_KERNELS_NO_DLPACK=1 asks for the attributes (for tests of that way).
void find_exchange(PyObject* tensor_type) {
  const char* off = getenv("SSM_KERNELS_NO_DLPACK");
  if (off != nullptr && off[0] == '1') return;
  Ref capsule(PyObject_GetAttrString(tensor_type, "__dlpack_c_exchange_api__"));
  if (!capsule) {
    PyErr_Clear();
    return;
  }
  if (!PyCapsule_IsValid(capsule.get(), "dlpack_exchange_api")) return;
  const auto* table =
      static_cast<const DLExchange*>(PyCapsule_GetPointer(capsule.get(), "dlpack_exchange_api"));
  if (table == nullptr || table->header.major != 1 || table->tensor_from_object == nullptr ||
      table->current_stream == nullptr) {
    return;
  }
  torch.exchange = table;
}

bool find_torch() {
  if (torch.ready) return true;
  Ref module(PyImport_ImportModule("torch"));
  if (!module) return false;
  Ref parameter_module(PyImport_ImportModule("torch.nn.parameter"));
  Ref core(PyObject_GetAttrString(module.get(), "_C"));
  if (!parameter_module || !core) return false;
  const char* const dtype_names[5] = {"float32", "float16", "bfloat16", "complex64", "int32"};
  for (int i = 0; i < 5; ++i) {
    if (!take(module.get(), dtype_names[i], &torch.dtypes[i])) return false;
  }
  if (!take(module.get(), "Tensor", &torch.tensor_type) ||
      !take(parameter_module.get(), "Parameter", &torch.parameter_type) ||
      !take(module.get(), "uint8", &torch.uint8) ||
      !take(module.get(), "strided", &torch.strided) ||
      !take(torch.tensor_type, "data_ptr", &torch.data_ptr) ||
      !take(torch.tensor_type, "stride", &torch.stride) ||
      !take(torch.tensor_type, "get_device", &torch.get_device) ||
      !take(torch.tensor_type, "is_conj", &torch.is_conj) ||
      !take(module.get(), "empty_like", &torch.empty_like) ||
      !take(module.get(), "empty", &torch.empty) || !take(module.get(), "zeros", &torch.zeros) ||
      !take(module.get(), "are_deterministic_algorithms_enabled", &torch.get_deterministic)) {
    return false;
  }
  // A torch without CUDA has none, and no CUDA tensor to ask it for.
  torch.raw_stream = PyObject_GetAttrString(core.get(), "_cuda_getCurrentRawStream");
  if (torch.raw_stream == nullptr) PyErr_Clear();
  torch.name_shape = PyUnicode_InternFromString("shape");
  torch.name_dtype = PyUnicode_InternFromString("dtype");
  torch.name_is_cuda = PyUnicode_InternFromString("is_cuda");
  torch.name_layout = PyUnicode_InternFromString("layout");
  if (torch.name_shape == nullptr || torch.name_dtype == nullptr || torch.name_is_cuda == nullptr ||
      torch.name_layout == nullptr) {
    return false;
  }
  find_exchange(torch.tensor_type);
  torch.module = module.release();
  torch.ready = true;
  return true;
}

bool read_sizes(PyObject* tuple, const char* name, int rank, int64_t* out) {
  for (int i = 0; i < rank; ++i) {
    PyObject* item = PyTuple_GetItem(tuple, i);  // borrowed
    if (item == nullptr) return false;
    out[i] = PyLong_AsLongLong(item);
    if (out[i] == -1 && PyErr_Occurred() != nullptr) {
      PyErr_Format(PyExc_RuntimeError, "%s: a symbolic size, expected a number", name);
      return false;
    }
  }
  return true;
}

bool rank_fits(const char* name, int64_t rank) {
  if (rank >= 1 && rank <= SSM_MAX_RANK) return true;
  PyErr_Format(PyExc_RuntimeError, "%s: %d dimensions, expected 1 to %d", name,
               static_cast<int>(rank), SSM_MAX_RANK);
  return false;
}

bool not_on_cuda(const char* name) {
  PyErr_Format(PyExc_RuntimeError, "%s: not on a CUDA device, expected a CUDA tensor", name);
  return false;
}

// A type no kernel takes is left as -1: the launcher names it with what it expected.
int32_t dtype_of(const DLDataType& type) {
  if (type.lanes != 1) return -1;
  if (type.code == kDLFloat && type.bits == 32) return SSM_FLOAT32;
  if (type.code == kDLFloat && type.bits == 16) return SSM_FLOAT16;
  if (type.code == kDLBfloat && type.bits == 16) return SSM_BFLOAT16;
  if (type.code == kDLComplex && type.bits == 64) return SSM_COMPLEX64;
  if (type.code == kDLInt && type.bits == 32) return SSM_INT32;
  return -1;
}

bool read_by_exchange(PyObject* object, const char* name, ssm_tensor* tensor) {
  DLTensor view;
  if (torch.exchange->tensor_from_object(object, &view) != 0) return false;
  if (view.device.type != kDLCuda) return not_on_cuda(name);
  if (!rank_fits(name, view.rank)) return false;
  tensor->data = static_cast<char*>(view.data) + view.byte_offset;
  tensor->dtype = dtype_of(view.dtype);
  tensor->rank = view.rank;
  tensor->device = view.device.id;
  for (int i = 0; i < view.rank; ++i) {
    tensor->size[i] = view.shape[i];
    tensor->stride[i] = view.strides[i];
  }
  return true;
}

bool read_by_attributes(PyObject* object, const char* name, ssm_tensor* tensor) {
  Ref is_cuda(PyObject_GetAttr(object, torch.name_is_cuda));
  if (!is_cuda) return false;
  if (is_cuda.get() != Py_True) return not_on_cuda(name);
  Ref layout(PyObject_GetAttr(object, torch.name_layout));
  if (!layout) return false;
  if (layout.get() != torch.strided) {
    PyErr_Format(PyExc_RuntimeError, "%s: layout is %S, expected torch.strided", name,
                 layout.get());
    return false;
  }
  Ref shape(PyObject_GetAttr(object, torch.name_shape));
  Ref strides(PyObject_CallFunctionObjArgs(torch.stride, object, nullptr));
  Ref dtype(PyObject_GetAttr(object, torch.name_dtype));
  Ref address(PyObject_CallFunctionObjArgs(torch.data_ptr, object, nullptr));
  Ref device(PyObject_CallFunctionObjArgs(torch.get_device, object, nullptr));
  if (!shape || !strides || !dtype || !address || !device) return false;
  const Py_ssize_t rank = PyTuple_Size(shape.get());
  if (rank < 0 || !rank_fits(name, rank)) return false;
  tensor->rank = static_cast<int32_t>(rank);
  if (!read_sizes(shape.get(), name, tensor->rank, tensor->size) ||
      !read_sizes(strides.get(), name, tensor->rank, tensor->stride)) {
    return false;
  }
  tensor->dtype = -1;
  for (int i = 0; i < 5; ++i) {
    if (dtype.get() == torch.dtypes[i]) tensor->dtype = i;
  }
  tensor->data = PyLong_AsVoidPtr(address.get());
  tensor->device = static_cast<int32_t>(PyLong_AsLong(device.get()));
  return PyErr_Occurred() == nullptr;
}

// A tensor of no elements has a null address; the library takes null for absent.
bool finish_tensor(PyObject* object, const char* name, ssm_tensor* tensor) {
  if (tensor->dtype == SSM_COMPLEX64) {
    Ref conjugate(PyObject_CallFunctionObjArgs(torch.is_conj, object, nullptr));
    if (!conjugate) return false;
    if (conjugate.get() == Py_True) {
      PyErr_Format(PyExc_RuntimeError, "%s: a conjugate view, expected .resolve_conj() of it",
                   name);
      return false;
    }
  }
  if (tensor->data != nullptr) return true;
  for (int i = 0; i < tensor->rank; ++i) {
    if (tensor->size[i] == 0) {
      tensor->data = reinterpret_cast<void*>(uintptr_t{16});
      return true;
    }
  }
  PyErr_Format(PyExc_RuntimeError, "%s: has no storage, expected a tensor with data", name);
  return false;
}

PyObject* dtype_object(int dtype) { return torch.dtypes[dtype]; }

// torch.<function>(sizes, dtype=..., device=like.device)
PyObject* make(PyObject* function, PyObject* sizes, PyObject* dtype, PyObject* like) {
  Ref arguments(PyTuple_New(1));
  Ref options(PyDict_New());
  Ref device(PyObject_GetAttrString(like, "device"));
  if (!arguments || !options || !device || sizes == nullptr || dtype == nullptr) {
    Py_XDECREF(sizes);
    return nullptr;
  }
  PyTuple_SetItem(arguments.get(), 0, sizes);  // takes the reference
  if (PyDict_SetItemString(options.get(), "dtype", dtype) != 0 ||
      PyDict_SetItemString(options.get(), "device", device.get()) != 0) {
    return nullptr;
  }
  return PyObject_Call(function, arguments.get(), options.get());
}

}  // namespace

bool read_tensor(PyObject* object, const char* name, bool optional, ssm_tensor* tensor) {
  *tensor = ssm_tensor{};
  if (optional && object == Py_None) return true;
  if (!find_torch()) return false;
  PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  const bool exact = type == torch.tensor_type || type == torch.parameter_type;
  if (!exact) {
    const int is_tensor = PyObject_IsInstance(object, torch.tensor_type);
    if (is_tensor < 0) return false;
    if (is_tensor == 0) {
      PyErr_Format(PyExc_TypeError, "%s: %R, expected a torch.Tensor%s", name, type,
                   optional ? " or None" : "");
      return false;
    }
  }
  const bool ok = exact && torch.exchange != nullptr ? read_by_exchange(object, name, tensor)
                                                     : read_by_attributes(object, name, tensor);
  return ok && finish_tensor(object, name, tensor);
}

bool read_bool(PyObject* object, const char* name, bool* value) {
  if (object == Py_True || object == Py_False) {
    *value = object == Py_True;
    return true;
  }
  PyErr_Format(PyExc_TypeError, "%s: %R, expected True or False", name, object);
  return false;
}

bool read_int(PyObject* object, const char* name, int64_t* value) {
  if (!PyLong_Check(object)) {
    PyErr_Format(PyExc_TypeError, "%s: %R, expected an int", name, object);
    return false;
  }
  *value = PyLong_AsLongLong(object);
  return !(*value == -1 && PyErr_Occurred() != nullptr);
}

bool current_queue(int device, ssm_queue* queue) {
  queue->device = device;
  queue->stream = nullptr;
  if (torch.exchange != nullptr) {
    return torch.exchange->current_stream(kDLCuda, device, &queue->stream) == 0;
  }
  if (torch.raw_stream == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "torch: built without CUDA");
    return false;
  }
  Ref number(PyLong_FromLong(device));
  if (!number) return false;
  Ref stream(PyObject_CallFunctionObjArgs(torch.raw_stream, number.get(), nullptr));
  if (!stream) return false;
  queue->stream = PyLong_AsVoidPtr(stream.get());
  return PyErr_Occurred() == nullptr;
}

PyObject* empty_like(PyObject* tensor) {
  if (!find_torch()) return nullptr;
  return PyObject_CallFunctionObjArgs(torch.empty_like, tensor, nullptr);
}

PyObject* zeros_like_float32(PyObject* tensor) {
  if (!find_torch()) return nullptr;
  return make(torch.zeros, PyObject_GetAttr(tensor, torch.name_shape), torch.dtypes[SSM_FLOAT32],
              tensor);
}

PyObject* empty(const int64_t* sizes, int rank, int dtype, PyObject* like) {
  if (!find_torch()) return nullptr;
  Ref tuple(PyTuple_New(rank));
  if (!tuple) return nullptr;
  for (int i = 0; i < rank; ++i) {
    PyObject* size = PyLong_FromLongLong(sizes[i]);
    if (size == nullptr) return nullptr;
    PyTuple_SetItem(tuple.get(), i, size);
  }
  if (dtype >= 0) return make(torch.empty, tuple.release(), dtype_object(dtype), like);
  Ref same(PyObject_GetAttr(like, torch.name_dtype));
  return make(torch.empty, tuple.release(), same.get(), like);
}

PyObject* empty_bytes(int64_t bytes, PyObject* like) {
  if (!find_torch()) return nullptr;
  return make(torch.empty, PyLong_FromLongLong(bytes), torch.uint8, like);
}

PyObject* transpose(PyObject* tensor, int first, int second) {
  return PyObject_CallMethod(tensor, "transpose", "ii", first, second);
}

PyObject* to_dtype_of(PyObject* tensor, PyObject* like) {
  Ref from(PyObject_GetAttr(tensor, torch.name_dtype));
  Ref to(PyObject_GetAttr(like, torch.name_dtype));
  if (!from || !to) return nullptr;
  if (from.get() == to.get()) {
    Py_INCREF(tensor);
    return tensor;
  }
  return PyObject_CallMethod(tensor, "to", "O", to.get());
}

int deterministic(const char* variable) {
  const char* value = getenv(variable);
  if (value != nullptr && (value[0] == '0' || value[0] == '1')) return value[0] == '1' ? 1 : 0;
  if (!find_torch()) return -1;
  Ref answer(PyObject_CallFunctionObjArgs(torch.get_deterministic, nullptr));
  return answer ? PyObject_IsTrue(answer.get()) : -1;
}

}  // namespace py
}  // namespace ssm
