#include "python/selective_scan.h"

#include <initializer_list>

#include "python/ref.h"
#include "scan/ssm_scan.h"

namespace ssm {
namespace py {
namespace {

constexpr int64_t kChunk = 2048;

ssm_status (*forward)(const ssm_scan_forward_args*) = nullptr;
ssm_status (*forward_workspace_bytes)(const ssm_scan_forward_args*, uint64_t*) = nullptr;
ssm_status (*backward)(const ssm_scan_backward_args*) = nullptr;
ssm_status (*update)(const ssm_scan_update_args*) = nullptr;
ssm_status (*workspace_bytes)(const ssm_scan_backward_args*, uint64_t*) = nullptr;

PyObject* new_reference(PyObject* object) {
  Py_INCREF(object);
  return object;
}

bool read_inputs(const ScanCall& call, ssm_scan_inputs* in) {
  bool softplus = false;
  if (!read_tensor(call.u, "u", false, &in->u) ||
      !read_tensor(call.delta, "delta", false, &in->delta) ||
      !read_tensor(call.A, "A", false, &in->A) || !read_tensor(call.B, "B", false, &in->B) ||
      !read_tensor(call.C, "C", false, &in->C) || !read_tensor(call.D, "D", true, &in->D) ||
      !read_tensor(call.delta_bias, "delta_bias", true, &in->delta_bias) ||
      !read_bool(call.delta_softplus, "delta_softplus", &softplus)) {
    return false;
  }
  if (call.z != nullptr && !read_tensor(call.z, "z", true, &in->z)) return false;
  in->softplus = softplus ? 1 : 0;
  if (in->u.rank == 3 && in->A.rank == 2) return true;
  PyErr_Format(PyExc_RuntimeError, "u has %d and A %d dimensions, expected 3 and 2", in->u.rank,
               in->A.rank);
  return false;
}

// Appends a new reference to the list; a null one means an exception is set.
bool append(PyObject* list, PyObject* item) {
  if (item == nullptr) return false;
  const int status = PyList_Append(list, item);
  Py_DECREF(item);
  return status == 0;
}

PyObject* like_sizes(const ssm_tensor& tensor, int dtype, PyObject* like) {
  return empty(tensor.size, tensor.rank, dtype, like);
}

// ddelta of a delta that `ratio` channels share: (batch, rows, ratio, length) summed over ratio.
PyObject* sum_shared(PyObject* gradient, const int64_t* sizes, int rank, int dimension) {
  Ref shape(PyTuple_New(rank));
  if (shape.get() == nullptr) return nullptr;
  for (int i = 0; i < rank; ++i) {
    PyObject* size = PyLong_FromLongLong(sizes[i]);
    if (size == nullptr) return nullptr;
    PyTuple_SetItem(shape.get(), i, size);
  }
  Ref view(PyObject_CallMethod(gradient, "reshape", "O", shape.get()));
  if (view.get() == nullptr) return nullptr;
  return PyObject_CallMethod(view.get(), "sum", "i", dimension);
}

// A dimension of one element before dimension `at`: tensors without heads or groups.
void insert_dimension(ssm_tensor* tensor, int at) {
  if (tensor->data == nullptr || tensor->rank >= SSM_MAX_RANK) return;
  for (int i = tensor->rank; i > at; --i) {
    tensor->size[i] = tensor->size[i - 1];
    tensor->stride[i] = tensor->stride[i - 1];
  }
  tensor->size[at] = 1;
  tensor->stride[at] = 0;
  ++tensor->rank;
}

}  // namespace

bool count_is(const char* function, PyObject* arguments, Py_ssize_t expected) {
  const Py_ssize_t count = PyTuple_Size(arguments);
  if (count == expected) return true;
  PyErr_Format(PyExc_TypeError, "%s: %d arguments, expected %d", function, static_cast<int>(count),
               static_cast<int>(expected));
  return false;
}

bool open_scan(const char* module) {
  if (!open_library(module)) return false;
  forward = reinterpret_cast<decltype(forward)>(library_function("ssm_scan_forward"));
  forward_workspace_bytes = reinterpret_cast<decltype(forward_workspace_bytes)>(
      library_function("ssm_scan_forward_workspace_bytes"));
  backward = reinterpret_cast<decltype(backward)>(library_function("ssm_scan_backward"));
  workspace_bytes = reinterpret_cast<decltype(workspace_bytes)>(
      library_function("ssm_scan_backward_workspace_bytes"));
  update = reinterpret_cast<decltype(update)>(library_function("ssm_scan_update"));
  return update != nullptr && forward != nullptr && forward_workspace_bytes != nullptr &&
         backward != nullptr && workspace_bytes != nullptr;
}

PyObject* scan_forward(const char* function, const ScanCall& call, bool out_as_delta,
                       bool out_float) {
  ssm_scan_forward_args args = {};
  if (!read_inputs(call, &args.in)) return nullptr;
  const bool gated = args.in.z.data != nullptr;
  const int64_t chunks = (args.in.u.size[2] + kChunk - 1) / kChunk;
  const int64_t x_sizes[] = {args.in.u.size[0], args.in.u.size[1], chunks, 2 * args.in.A.size[1]};
  const bool same_rows = args.in.delta.rank == 3 && args.in.delta.size[1] == args.in.u.size[1];
  Ref out(out_as_delta && same_rows
              ? empty_like(call.delta)
              : like_sizes(args.in.u, out_float ? static_cast<int>(SSM_FLOAT32) : -1, call.u));
  Ref x(empty(x_sizes, 4, args.in.A.dtype, call.A));
  Ref out_z(gated ? empty_like(call.z) : nullptr);
  if (out.get() == nullptr || x.get() == nullptr || (gated && out_z.get() == nullptr) ||
      !read_tensor(out.get(), "out", false, &args.out) ||
      !read_tensor(x.get(), "x", false, &args.x) ||
      (gated && !read_tensor(out_z.get(), "out_z", false, &args.out_z)) ||
      !current_queue(args.in.u.device, &args.queue) ||
      failed(forward_workspace_bytes(&args, &args.workspace_bytes), function)) {
    return nullptr;
  }
  Ref workspace;
  if (args.workspace_bytes > 0) {
    workspace.reset(empty_bytes(static_cast<int64_t>(args.workspace_bytes), call.u));
    ssm_tensor bytes;
    if (workspace.get() == nullptr || !read_tensor(workspace.get(), "workspace", false, &bytes)) {
      return nullptr;
    }
    args.workspace = bytes.data;
  }
  // The allocator hands the workspace out again only to later work of this stream.
  if (failed(forward(&args), function)) return nullptr;
  Ref result(PyList_New(0));
  if (result.get() == nullptr || !append(result.get(), out.release()) ||
      !append(result.get(), x.release()) || (gated && !append(result.get(), out_z.release()))) {
    return nullptr;
  }
  return result.release();
}

PyObject* scan_backward(const char* function, const ScanCall& call, PyObject* dout, PyObject* x,
                        PyObject* out, PyObject* dz, bool want_out_z) {
  ssm_scan_backward_args args = {};
  if (!read_inputs(call, &args.in) || !read_tensor(dout, "dout", false, &args.dout) ||
      !read_tensor(x, "x", true, &args.x)) {
    return nullptr;
  }
  const ssm_scan_inputs& in = args.in;
  const bool gated = in.z.data != nullptr;
  if (gated && (out == nullptr || !read_tensor(out, "out", false, &args.out))) return nullptr;
  const bool same_rows = in.delta.rank == 3 && in.delta.size[1] == in.u.size[1];
  Ref du(empty_like(call.u));
  Ref ddelta(same_rows ? empty_like(call.delta) : like_sizes(in.u, -1, call.u));
  Ref dA(like_sizes(in.A, in.A.dtype, call.A));
  Ref dB(like_sizes(in.B, in.B.dtype, call.B));
  Ref dC(like_sizes(in.C, in.C.dtype, call.C));
  const int64_t dim[] = {in.u.size[1]};
  Ref dD(in.D.data ? empty(dim, 1, SSM_FLOAT32, call.u) : new_reference(Py_None));
  Ref dbias(in.delta_bias.data ? empty(dim, 1, SSM_FLOAT32, call.u) : new_reference(Py_None));
  if (du.get() == nullptr || ddelta.get() == nullptr || dA.get() == nullptr ||
      dB.get() == nullptr || dC.get() == nullptr || dD.get() == nullptr || dbias.get() == nullptr ||
      !read_tensor(du.get(), "du", false, &args.du) ||
      !read_tensor(ddelta.get(), "ddelta", false, &args.ddelta) ||
      !read_tensor(dA.get(), "dA", false, &args.dA) ||
      !read_tensor(dB.get(), "dB", false, &args.dB) ||
      !read_tensor(dC.get(), "dC", false, &args.dC) ||
      !read_tensor(dD.get(), "dD", true, &args.dD) ||
      !read_tensor(dbias.get(), "ddelta_bias", true, &args.ddelta_bias)) {
    return nullptr;
  }
  Ref dz_out, out_z;
  if (gated) {
    dz_out.reset(dz == nullptr || dz == Py_None ? empty_like(call.z) : new_reference(dz));
    if (dz_out.get() == nullptr || !read_tensor(dz_out.get(), "dz", false, &args.dz)) {
      return nullptr;
    }
    if (want_out_z) {
      out_z.reset(empty_like(out));
      if (out_z.get() == nullptr || !read_tensor(out_z.get(), "out_z", false, &args.out_z)) {
        return nullptr;
      }
    }
  }
  args.deterministic = deterministic("SELECTIVE_SCAN_DETERMINISTIC");
  if (args.deterministic < 0 || !current_queue(in.u.device, &args.queue) ||
      failed(workspace_bytes(&args, &args.workspace_bytes), function)) {
    return nullptr;
  }
  Ref workspace(empty_bytes(static_cast<int64_t>(args.workspace_bytes), call.u));
  ssm_tensor bytes;
  if (workspace.get() == nullptr || !read_tensor(workspace.get(), "workspace", false, &bytes)) {
    return nullptr;
  }
  args.workspace = bytes.data;
  // The allocator hands the workspace out again only to later work of this stream.
  if (failed(backward(&args), function)) return nullptr;
  if (!same_rows) {
    const int64_t rows = in.delta.size[1];
    const int64_t shared[] = {in.u.size[0], rows, in.u.size[1] / rows, in.u.size[2]};
    ddelta.reset(sum_shared(ddelta.get(), shared, 4, 2));
    if (in.delta_bias.data) dbias.reset(sum_shared(dbias.get(), shared + 1, 2, 1));
  }
  Ref result(PyList_New(0));
  if (result.get() == nullptr || !append(result.get(), du.release()) ||
      !append(result.get(), ddelta.release()) || !append(result.get(), dA.release()) ||
      !append(result.get(), dB.release()) || !append(result.get(), dC.release()) ||
      !append(result.get(), dD.release()) || !append(result.get(), dbias.release()) ||
      (gated && !append(result.get(), dz_out.release())) ||
      (gated && want_out_z && !append(result.get(), out_z.release()))) {
    return nullptr;
  }
  return result.release();
}

PyObject* scan_update(const char* function, PyObject* arguments) {
  if (!count_is(function, arguments, 11)) return nullptr;
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  ssm_scan_update_args args = {};
  bool softplus = false;
  if (!read_tensor(at(0), "state", false, &args.state) ||
      !read_tensor(at(1), "x", false, &args.x) || !read_tensor(at(2), "dt", false, &args.dt) ||
      !read_tensor(at(3), "A", false, &args.A) || !read_tensor(at(4), "B", false, &args.B) ||
      !read_tensor(at(5), "C", false, &args.C) || !read_tensor(at(6), "D", true, &args.D) ||
      !read_tensor(at(7), "z", true, &args.z) ||
      !read_tensor(at(8), "dt_bias", true, &args.dt_bias) ||
      !read_bool(at(9), "dt_softplus", &softplus) ||
      !read_tensor(at(10), "state_indices", true, &args.state_indices)) {
    return nullptr;
  }
  args.softplus = softplus ? 1 : 0;
  Ref out(like_sizes(args.x, -1, at(1)));
  if (out.get() == nullptr || !read_tensor(out.get(), "out", false, &args.out)) return nullptr;
  if (args.B.rank == 2) insert_dimension(&args.B, 1);
  if (args.C.rank == 2) insert_dimension(&args.C, 1);
  if (args.state.rank == 3) {
    for (ssm_tensor* tensor : {&args.state, &args.x, &args.dt, &args.z, &args.out}) {
      insert_dimension(tensor, 1);
    }
    for (ssm_tensor* tensor : {&args.A, &args.D, &args.dt_bias}) insert_dimension(tensor, 0);
  }
  if (!current_queue(args.x.device, &args.queue) || failed(update(&args), function)) {
    return nullptr;
  }
  return out.release();
}

}  // namespace py
}  // namespace ssm
