// Opening libssm_kernels.so beside the module, and its failures as Python exceptions.
#include <cstdio>
#include <cstring>

#include "core/libc_versions.h"
#include "python/tensor.h"

namespace ssm {
namespace py {
namespace {

void* library = nullptr;
const char* (*last_error)(void) = nullptr;

}  // namespace

bool open_library(const char* module_name) {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&open_library), &self) == 0) {
    PyErr_Format(PyExc_ImportError, "%s: cannot find its own file", module_name);
    return false;
  }
  const char* slash = strrchr(self.dli_fname, '/');
  const int directory_bytes = slash == nullptr ? 1 : static_cast<int>(slash - self.dli_fname);
  char path[4096];
  const int written = snprintf(path, sizeof path, "%.*s/ssm_kernels/libssm_kernels.so",
                               directory_bytes, slash == nullptr ? "." : self.dli_fname);
  if (written < 0 || static_cast<size_t>(written) >= sizeof path) {
    PyErr_Format(PyExc_ImportError, "%s: its path is longer than %d bytes", module_name,
                 static_cast<int>(sizeof path));
    return false;
  }
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    PyErr_Format(PyExc_ImportError, "%s: %s", module_name, dlerror());
    return false;
  }
  last_error = reinterpret_cast<const char* (*)(void)>(library_function("ssm_last_error"));
  return last_error != nullptr;
}

void* library_function(const char* name) {
  void* function = dlsym(library, name);
  if (function == nullptr) {
    PyErr_Format(PyExc_ImportError, "libssm_kernels.so: no function %s; is it of this release?",
                 name);
  }
  return function;
}

bool failed(ssm_status status, const char* function) {
  if (status == SSM_OK) return false;
  PyErr_Format(PyExc_RuntimeError, "%s: %s", function, last_error());
  return true;
}

}  // namespace py
}  // namespace ssm
