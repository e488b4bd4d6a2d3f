// causal_conv1d_cuda: the native module of the causal-conv1d package, over libssm_kernels.so. Each
// function takes every argument list a release of the package has had (read from the sources of
// 1.0.0 to 1.7.0) and behaves as that release: it returns new tensors, or fills `out` and returns
// None. ssm-contract lines below let a reader of the file see them without running it.
#include "conv1d/ssm_conv1d.h"
#include "python/ref.h"
#include "python/tensor.h"

namespace {

using ssm::py::failed;
using ssm::py::read_bool;
using ssm::py::read_tensor;
using ssm::py::Ref;

ssm_status (*forward)(const ssm_conv1d_forward_args*) = nullptr;
ssm_status (*backward)(const ssm_conv1d_backward_args*) = nullptr;
ssm_status (*backward_workspace)(const ssm_conv1d_backward_args*, uint64_t*) = nullptr;
ssm_status (*update)(const ssm_conv1d_update_args*) = nullptr;

PyObject* wrong_count(const char* function, Py_ssize_t count, const char* expected) {
  PyErr_Format(PyExc_TypeError, "%s: %d arguments, expected %s", function, static_cast<int>(count),
               expected);
  return nullptr;
}

PyObject* none() {
  Py_INCREF(Py_None);
  return Py_None;
}

PyObject* new_reference(PyObject* object) {
  Py_INCREF(object);
  return object;
}

PyObject* causal_conv1d_fwd(PyObject*, PyObject* arguments) {
  const Py_ssize_t count = PyTuple_Size(arguments);
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  if (count != 4 && count != 5 && count != 7 && count != 8) {
    return wrong_count("causal_conv1d_fwd", count, "4, 5, 7 or 8");
  }
  PyObject* x = at(0);
  ssm_conv1d_forward_args args = {};
  bool silu = false;
  if (!read_tensor(x, "x", false, &args.x) || !read_tensor(at(1), "weight", false, &args.weight) ||
      !read_tensor(at(2), "bias", true, &args.bias) ||
      !read_bool(at(count - 1), "silu_activation", &silu)) {
    return nullptr;
  }
  if (count >= 5 && !read_tensor(at(3), "seq_idx", true, &args.seq_idx)) return nullptr;
  if (count >= 7) {
    if (!read_tensor(at(4), "initial_states", true, &args.initial_states) ||
        !read_tensor(at(count - 2), "final_states_out", true, &args.final_states)) {
      return nullptr;
    }
  }
  Ref out;
  if (count < 8) out.reset(ssm::py::empty_like(x));
  if (count < 8 && out.get() == nullptr) return nullptr;
  if (!read_tensor(count == 8 ? at(5) : out.get(), "out", false, &args.out)) return nullptr;
  args.silu = silu ? 1 : 0;
  if (!ssm::py::current_queue(args.x.device, &args.queue)) return nullptr;
  if (failed(forward(&args), "causal_conv1d_fwd")) return nullptr;
  return count == 8 ? none() : out.release();
}

// The tensors the older contracts of causal_conv1d_bwd allocate.
struct BackwardResults {
  Ref dx, dweight, dbias, dinitial_states;
};

bool allocate(PyObject* x, PyObject* weight, PyObject* bias, PyObject* dx, bool return_dinitial,
              const ssm_conv1d_backward_args& args, BackwardResults* results) {
  results->dx.reset(dx == Py_None ? ssm::py::empty_like(x) : new_reference(dx));
  results->dweight.reset(ssm::py::zeros_like_float32(weight));
  if (results->dx.get() == nullptr || results->dweight.get() == nullptr) return false;
  results->dbias.reset(bias == Py_None ? none() : ssm::py::zeros_like_float32(bias));
  if (results->dbias.get() == nullptr) return false;
  if (!return_dinitial) {
    results->dinitial_states.reset(none());
    return true;
  }
  const int64_t sizes[] = {args.x.size[0], args.weight.size[1] - 1, args.x.size[1]};
  Ref states(ssm::py::empty(sizes, 3, -1, x));
  if (states.get() == nullptr) return false;
  results->dinitial_states.reset(ssm::py::transpose(states.get(), 1, 2));
  return results->dinitial_states.get() != nullptr;
}

PyObject* run_backward(PyObject* x, ssm_conv1d_backward_args* args) {
  if (!ssm::py::current_queue(args->x.device, &args->queue)) return nullptr;
  const int fixed_order = ssm::py::deterministic("CAUSAL_CONV1D_DETERMINISTIC");
  if (fixed_order < 0) return nullptr;
  Ref workspace;
  if (fixed_order == 1) {
    if (failed(backward_workspace(args, &args->workspace_bytes), "causal_conv1d_bwd")) {
      return nullptr;
    }
    workspace.reset(ssm::py::empty_bytes(static_cast<int64_t>(args->workspace_bytes), x));
    ssm_tensor bytes;
    if (workspace.get() == nullptr || !read_tensor(workspace.get(), "workspace", false, &bytes)) {
      return nullptr;
    }
    args->workspace = bytes.data;
  }
  // The allocator hands the workspace out again only to later work of this stream.
  return failed(backward(args), "causal_conv1d_bwd") ? nullptr : none();
}

PyObject* causal_conv1d_bwd(PyObject*, PyObject* arguments) {
  const Py_ssize_t count = PyTuple_Size(arguments);
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  if (count != 6 && count != 7 && count != 10 && count != 12) {
    return wrong_count("causal_conv1d_bwd", count, "6, 7, 10 or 12");
  }
  ssm_conv1d_backward_args args = {};
  bool silu = false;
  if (!read_tensor(at(0), "x", false, &args.x) ||
      !read_tensor(at(1), "weight", false, &args.weight) ||
      !read_tensor(at(2), "bias", true, &args.bias) ||
      !read_tensor(at(3), "dout", false, &args.dout) ||
      !read_bool(at(count - 1), "silu_activation", &silu)) {
    return nullptr;
  }
  args.silu = silu ? 1 : 0;
  if (count >= 7 && !read_tensor(at(4), "seq_idx", true, &args.seq_idx)) return nullptr;
  if (count >= 10) {
    if (!read_tensor(at(5), "initial_states", true, &args.initial_states) ||
        !read_tensor(at(6), "dfinal_states", true, &args.dfinal_states)) {
      return nullptr;
    }
  }
  BackwardResults results;
  if (count < 12) {
    const Py_ssize_t dx = count == 6 ? 4 : count == 7 ? 5 : 7;
    bool return_dinitial = false;
    if (count == 10 && !read_bool(at(8), "return_dinitial_states", &return_dinitial)) {
      return nullptr;
    }
    if (args.weight.rank != 2 || args.x.rank != 3) {
      PyErr_Format(PyExc_RuntimeError,
                   "causal_conv1d_bwd: x has %d and weight %d dimensions, "
                   "expected 3 and 2",
                   args.x.rank, args.weight.rank);
      return nullptr;
    }
    if (!allocate(at(0), at(1), at(2), at(dx), return_dinitial, args, &results)) return nullptr;
  } else {
    results.dx.reset(new_reference(at(7)));
    results.dweight.reset(new_reference(at(8)));
    results.dbias.reset(new_reference(at(9)));
    results.dinitial_states.reset(new_reference(at(10)));
  }
  if (!read_tensor(results.dx.get(), "dx", false, &args.dx) ||
      !read_tensor(results.dweight.get(), "dweight", false, &args.dweight) ||
      !read_tensor(results.dbias.get(), "dbias", true, &args.dbias) ||
      !read_tensor(results.dinitial_states.get(), "dinitial_states", true, &args.dinitial_states)) {
    return nullptr;
  }
  Ref done(run_backward(at(0), &args));
  if (done.get() == nullptr || count == 12) return done.release();
  Ref dweight(ssm::py::to_dtype_of(results.dweight.get(), at(1)));
  Ref dbias(at(2) == Py_None ? none() : ssm::py::to_dtype_of(results.dbias.get(), at(2)));
  if (dweight.get() == nullptr || dbias.get() == nullptr) return nullptr;
  if (count < 10) return PyTuple_Pack(3, results.dx.get(), dweight.get(), dbias.get());
  return PyTuple_Pack(4, results.dx.get(), dweight.get(), dbias.get(),
                      results.dinitial_states.get());
}

// The update's x and out may be (batch, channels): one step.
void add_length(ssm_tensor* tensor) {
  if (tensor->rank != 2) return;
  tensor->rank = 3;
  tensor->size[2] = 1;
  tensor->stride[2] = 1;
}

PyObject* causal_conv1d_update(PyObject*, PyObject* arguments) {
  const Py_ssize_t count = PyTuple_Size(arguments);
  const auto at = [&](Py_ssize_t i) { return PyTuple_GetItem(arguments, i); };  // borrowed
  if (count < 5 || count > 8) return wrong_count("causal_conv1d_update", count, "5, 6, 7 or 8");
  ssm_conv1d_update_args args = {};
  bool silu = false;
  const Py_ssize_t silu_at = count == 8 ? 5 : 4;
  if (!read_tensor(at(0), "x", false, &args.x) ||
      !read_tensor(at(1), "conv_state", false, &args.conv_state) ||
      !read_tensor(at(2), "weight", false, &args.weight) ||
      !read_tensor(at(3), "bias", true, &args.bias) ||
      !read_bool(at(silu_at), "silu_activation", &silu)) {
    return nullptr;
  }
  args.silu = silu ? 1 : 0;
  if (count >= 6 && !read_tensor(at(silu_at + 1), "cache_seqlens", true, &args.cache_seqlens)) {
    return nullptr;
  }
  if (count >= 7 &&
      !read_tensor(at(silu_at + 2), "conv_state_indices", true, &args.conv_state_indices)) {
    return nullptr;
  }
  Ref out;
  if (count < 8) out.reset(ssm::py::empty_like(at(0)));
  if (count < 8 && out.get() == nullptr) return nullptr;
  if (!read_tensor(count == 8 ? at(4) : out.get(), "out", false, &args.out)) return nullptr;
  add_length(&args.x);
  add_length(&args.out);
  if (!ssm::py::current_queue(args.x.device, &args.queue)) return nullptr;
  if (failed(update(&args), "causal_conv1d_update")) return nullptr;
  return count == 8 ? none() : out.release();
}

PyMethodDef methods[] = {
    {"causal_conv1d_fwd", causal_conv1d_fwd, METH_VARARGS,
     "ssm-contract: causal_conv1d_fwd 4 5 7 8\n"
     "(x, weight, bias, seq_idx, initial_states, out, final_states_out, silu_activation) -> None\n"
     "(x, weight, bias, seq_idx, initial_states, final_states_out, silu_activation) -> out\n"
     "(x, weight, bias, seq_idx, silu_activation) -> out\n"
     "(x, weight, bias, silu_activation) -> out"},
    {"causal_conv1d_bwd", causal_conv1d_bwd, METH_VARARGS,
     "ssm-contract: causal_conv1d_bwd 6 7 10 12\n"
     "(x, weight, bias, dout, seq_idx, initial_states, dfinal_states, dx, dweight, dbias,\n"
     " dinitial_states, silu_activation) -> None\n"
     "(x, weight, bias, dout, seq_idx, initial_states, dfinal_states, dx, return_dinitial_states,\n"
     " silu_activation) -> (dx, dweight, dbias, dinitial_states)\n"
     "(x, weight, bias, dout, seq_idx, dx, silu_activation) -> (dx, dweight, dbias)\n"
     "(x, weight, bias, dout, dx, silu_activation) -> (dx, dweight, dbias)"},
    {"causal_conv1d_update", causal_conv1d_update, METH_VARARGS,
     "ssm-contract: causal_conv1d_update 5 6 7 8\n"
     "(x, conv_state, weight, bias, out, silu_activation, cache_seqlens, conv_state_indices)\n"
     " -> None\n"
     "(x, conv_state, weight, bias, silu_activation[, cache_seqlens[, conv_state_indices]]) -> "
     "out"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "causal_conv1d_cuda",
                          "Causal conv1d of ssm-kernels: no libtorch, every published contract",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

template <typename Function>
bool find(const char* name, Function* function) {
  *function = reinterpret_cast<Function>(ssm::py::library_function(name));
  return *function != nullptr;
}

}  // namespace

PyMODINIT_FUNC PyInit_causal_conv1d_cuda(void) {
  if (!ssm::py::open_library("causal_conv1d_cuda") || !find("ssm_conv1d_forward", &forward) ||
      !find("ssm_conv1d_backward", &backward) ||
      !find("ssm_conv1d_backward_workspace_bytes", &backward_workspace) ||
      !find("ssm_conv1d_update", &update)) {
    return nullptr;
  }
  return PyModule_Create(&definition);
}
