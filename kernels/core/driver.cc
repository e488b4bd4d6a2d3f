#include "core/driver.h"

#include <atomic>

#include "core/libc_versions.h"
#include "core/lock.h"
#include "core/status.h"

namespace ssm {
namespace {

struct Symbol {
  const char* name;
  void** slot;
  bool optional;
};

// The driver's own names: the _v2 suffixes are the current ABI of calls that changed once.
ssm_status open_driver(Driver* out) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(SSM_NO_DRIVER, "libcuda.so.1: %s", dlerror());
  }
  const Symbol symbols[] = {
      {"cuInit", reinterpret_cast<void**>(&out->init), false},
      {"cuDriverGetVersion", reinterpret_cast<void**>(&out->driver_get_version), false},
      {"cuDeviceGetCount", reinterpret_cast<void**>(&out->device_get_count), false},
      {"cuDeviceGet", reinterpret_cast<void**>(&out->device_get), false},
      {"cuDeviceGetName", reinterpret_cast<void**>(&out->device_get_name), false},
      {"cuDeviceGetAttribute", reinterpret_cast<void**>(&out->device_get_attribute), false},
      {"cuDevicePrimaryCtxRetain", reinterpret_cast<void**>(&out->primary_context_retain), false},
      {"cuCtxGetCurrent", reinterpret_cast<void**>(&out->context_get_current), false},
      {"cuCtxPushCurrent_v2", reinterpret_cast<void**>(&out->context_push), false},
      {"cuCtxPopCurrent_v2", reinterpret_cast<void**>(&out->context_pop), false},
      {"cuModuleLoadData", reinterpret_cast<void**>(&out->module_load_data), false},
      {"cuModuleGetFunction", reinterpret_cast<void**>(&out->module_get_function), false},
      {"cuFuncSetAttribute", reinterpret_cast<void**>(&out->function_set_attribute), false},
      {"cuLaunchKernel", reinterpret_cast<void**>(&out->launch_kernel), false},
      {"cuThreadExchangeStreamCaptureMode", reinterpret_cast<void**>(&out->exchange_capture_mode),
       false},
      {"cuGetErrorString", reinterpret_cast<void**>(&out->get_error_string), false},
      {"cuFuncLoad", reinterpret_cast<void**>(&out->function_load), true},
  };
  for (const Symbol& symbol : symbols) {
    *symbol.slot = dlsym(library, symbol.name);
    if (*symbol.slot == nullptr && !symbol.optional) {
      return fail(SSM_NO_DRIVER, "libcuda.so.1: no symbol %s", symbol.name);
    }
  }
  CudaResult result = out->init(0);
  if (result != 0) {
    cuda_failure(*out, "cuInit", result);
    return SSM_NO_DRIVER;
  }
  int count = 0;
  result = out->device_get_count(&count);
  if (result != 0 || count == 0) {
    return fail(SSM_NO_DRIVER, "cuDeviceGetCount: the driver sees no GPU");
  }
  result = out->driver_get_version(&out->version);
  if (result != 0) return cuda_failure(*out, "cuDriverGetVersion", result);
  return SSM_OK;
}

Driver the_driver;
std::atomic<bool> driver_ready{false};
SpinLock driver_lock;

}  // namespace

ssm_status driver(const Driver** out) {
  *out = &the_driver;
  if (driver_ready.load(std::memory_order_acquire)) return SSM_OK;
  LockGuard guard(driver_lock);
  if (driver_ready.load(std::memory_order_acquire)) return SSM_OK;
  const ssm_status status = open_driver(&the_driver);
  if (status == SSM_OK) driver_ready.store(true, std::memory_order_release);
  return status;
}

ssm_status cuda_failure(const Driver& driver, const char* call, CudaResult result) {
  const char* text = nullptr;
  if (driver.get_error_string(result, &text) != 0 || text == nullptr) text = "unknown error";
  return fail(SSM_CUDA_ERROR, "%s: error %d, %s", call, result, text);
}

}  // namespace ssm
