#include "core/launch.h"

#include <cstring>

#include "core/driver.h"
#include "core/images.h"
#include "core/lock.h"

namespace ssm {
namespace {

inline constexpr int kMaxUnits = kMaxImages;  // every unit has one at least

struct LoadedUnit {
  const char* unit;
  CudaModule module;
};

struct Device {
  std::atomic<bool> ready{false};
  CudaContext context = nullptr;
  ssm_device facts = {};
  LoadedUnit units[kMaxUnits] = {};
  int unit_count = 0;
};

Device devices[SSM_MAX_DEVICES];
SpinLock device_lock;  // guards the making of devices, modules and functions

ssm_status attribute(const Driver& driver, int attribute, CudaDevice device, int* value) {
  const CudaResult result = driver.device_get_attribute(value, attribute, device);
  return result == 0 ? SSM_OK : cuda_failure(driver, "cuDeviceGetAttribute", result);
}

ssm_status open_device(const Driver& driver, int ordinal, Device* device) {
  CudaDevice handle = 0;
  CudaResult result = driver.device_get(&handle, ordinal);
  if (result != 0) return cuda_failure(driver, "cuDeviceGet", result);
  result = driver.device_get_name(device->facts.name, sizeof device->facts.name, handle);
  if (result != 0) return cuda_failure(driver, "cuDeviceGetName", result);
  int major = 0;
  int minor = 0;
  ssm_status status = attribute(driver, kComputeCapabilityMajor, handle, &major);
  if (status == SSM_OK) status = attribute(driver, kComputeCapabilityMinor, handle, &minor);
  int multiprocessors = 0;
  if (status == SSM_OK) status = attribute(driver, kMultiprocessorCount, handle, &multiprocessors);
  if (status != SSM_OK) return status;
  device->facts.sm = major * 10 + minor;
  device->facts.multiprocessors = multiprocessors;
  device->facts.driver_version = driver.version;
  result = driver.primary_context_retain(&device->context, handle);
  if (result != 0) return cuda_failure(driver, "cuDevicePrimaryCtxRetain", result);
  return SSM_OK;
}

ssm_status get_device(const Driver& driver, int ordinal, Device** out) {
  if (ordinal < 0 || ordinal >= SSM_MAX_DEVICES) {
    return fail(SSM_INVALID_ARGUMENT, "device: %d, expected 0 to %d", ordinal, SSM_MAX_DEVICES - 1);
  }
  Device& device = devices[ordinal];
  *out = &device;
  if (device.ready.load(std::memory_order_acquire)) return SSM_OK;
  LockGuard guard(device_lock);
  if (device.ready.load(std::memory_order_acquire)) return SSM_OK;
  const ssm_status status = open_device(driver, ordinal, &device);
  if (status == SSM_OK) device.ready.store(true, std::memory_order_release);
  return status;
}

// Makes a device's primary context current for a scope, where it is not already.
class ContextScope {
 public:
  ContextScope(const Driver& driver, CudaContext context) : driver_(driver) {
    CudaContext current = nullptr;
    result_ = driver.context_get_current(&current);
    if (result_ == 0 && current != context) {
      result_ = driver.context_push(context);
      pushed_ = result_ == 0;
    }
  }
  ~ContextScope() {
    CudaContext popped = nullptr;
    if (pushed_) driver_.context_pop(&popped);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  CudaResult result() const { return result_; }

 private:
  const Driver& driver_;
  CudaResult result_ = 0;
  bool pushed_ = false;
};

// Loading a module allocates, which a global-mode graph capture of any stream forbids; this thread
// is switched to the relaxed mode for the load, as torch's allocator does.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(const Driver& driver) : driver_(driver) {
    exchanged_ = driver.exchange_capture_mode(&mode_) == 0;
  }
  ~RelaxedCapture() {
    if (exchanged_) driver_.exchange_capture_mode(&mode_);
  }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  const Driver& driver_;
  int mode_ = kCaptureModeRelaxed;
  bool exchanged_ = false;
};

// The caller holds device_lock and has the device's context current.
ssm_status load_unit(const Driver& driver, Device* device, const char* unit, CudaModule* module) {
  for (int i = 0; i < device->unit_count; ++i) {
    if (strcmp(device->units[i].unit, unit) == 0) {
      *module = device->units[i].module;
      return SSM_OK;
    }
  }
  if (device->unit_count == kMaxUnits) return fail(SSM_NO_IMAGE, "%s: too many units", unit);
  int index = -1;
  char reason[512];
  const ssm_status status = ssm_choose_image(unit, device->facts.sm, device->facts.driver_version,
                                             &index, reason, sizeof reason);
  if (status != SSM_OK) return status;
  const ssm_image image = load_image(index);
  if (image.data == nullptr) {
    return fail(SSM_NO_IMAGE, "%s: its image is damaged, or there is no memory for it", unit);
  }
  const CudaResult result = driver.module_load_data(module, image.data);
  if (result != 0) {
    const char* text = nullptr;
    if (driver.get_error_string(result, &text) != 0 || text == nullptr) text = "unknown error";
    return fail(SSM_CUDA_ERROR, "cuModuleLoadData: error %d, %s (%s: %s)", result, text, unit,
                reason);
  }
  device->units[device->unit_count++] = LoadedUnit{unit, *module};
  return SSM_OK;
}

ssm_status find_function(const Driver& driver, Device* device, int ordinal, Kernel& kernel) {
  LockGuard guard(device_lock);
  if (kernel.functions[ordinal].load(std::memory_order_acquire) != nullptr) return SSM_OK;
  RelaxedCapture relaxed(driver);
  CudaModule module = nullptr;
  const ssm_status status = load_unit(driver, device, kernel.unit, &module);
  if (status != SSM_OK) return status;
  CudaFunction function = nullptr;
  CudaResult result = driver.module_get_function(&function, module, kernel.name);
  if (result != 0) {
    return fail(SSM_CUDA_ERROR, "cuModuleGetFunction: error %d, no %s in the image of %s", result,
                kernel.name, kernel.unit);
  }
  // Under lazy loading the code would otherwise come at the first launch, perhaps in a capture.
  if (driver.function_load != nullptr) {
    result = driver.function_load(function);
    if (result != 0) return cuda_failure(driver, "cuFuncLoad", result);
  }
  kernel.functions[ordinal].store(function, std::memory_order_release);
  return SSM_OK;
}

}  // namespace

ssm_status launch(Kernel& kernel, const ssm_queue& queue, Dim3 grid, Dim3 block,
                  unsigned shared_bytes, const void* parameters, size_t parameter_bytes) {
  const Driver* driver_calls = nullptr;
  ssm_status status = driver(&driver_calls);
  if (status != SSM_OK) return status;
  Device* device = nullptr;
  status = get_device(*driver_calls, queue.device, &device);
  if (status != SSM_OK) return status;
  ContextScope scope(*driver_calls, device->context);
  if (scope.result() != 0) return cuda_failure(*driver_calls, "cuCtxPushCurrent", scope.result());
  CudaFunction function = kernel.functions[queue.device].load(std::memory_order_acquire);
  if (function == nullptr) {
    status = find_function(*driver_calls, device, queue.device, kernel);
    if (status != SSM_OK) return status;
    function = kernel.functions[queue.device].load(std::memory_order_acquire);
  }
  constexpr unsigned kDefaultSharedBytes = 48u << 10;
  if (shared_bytes > kDefaultSharedBytes &&
      shared_bytes > kernel.shared_limit[queue.device].load(std::memory_order_acquire)) {
    const CudaResult result = driver_calls->function_set_attribute(function, kMaxDynamicSharedBytes,
                                                                   static_cast<int>(shared_bytes));
    if (result != 0) return cuda_failure(*driver_calls, "cuFuncSetAttribute", result);
    kernel.shared_limit[queue.device].store(shared_bytes, std::memory_order_release);
  }
  void* extra[] = {kLaunchParamBuffer, const_cast<void*>(parameters), kLaunchParamSize,
                   &parameter_bytes, kLaunchParamEnd};
  const CudaResult result =
      driver_calls->launch_kernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                  shared_bytes, queue.stream, nullptr, extra);
  if (result != 0) {
    const char* text = nullptr;
    if (driver_calls->get_error_string(result, &text) != 0 || text == nullptr) text = "?";
    return fail(SSM_CUDA_ERROR, "cuLaunchKernel: error %d, %s (%s, grid %u x %u x %u, block %u)",
                result, text, kernel.name, grid.x, grid.y, grid.z, block.x);
  }
  return SSM_OK;
}

ssm_status device_facts(int ordinal, const ssm_device** facts) {
  const Driver* driver_calls = nullptr;
  ssm_status status = driver(&driver_calls);
  if (status != SSM_OK) return status;
  Device* device = nullptr;
  status = get_device(*driver_calls, ordinal, &device);
  if (status != SSM_OK) return status;
  *facts = &device->facts;
  return SSM_OK;
}

}  // namespace ssm

ssm_status ssm_device_count(int32_t* count) {
  *count = 0;
  const ssm::Driver* driver_calls = nullptr;
  const ssm_status status = ssm::driver(&driver_calls);
  if (status != SSM_OK) return status;
  const ssm::CudaResult result = driver_calls->device_get_count(count);
  return result == 0 ? SSM_OK : ssm::cuda_failure(*driver_calls, "cuDeviceGetCount", result);
}

ssm_status ssm_device_info(int32_t device, ssm_device* info) {
  const ssm_device* facts = nullptr;
  const ssm_status status = ssm::device_facts(device, &facts);
  if (status == SSM_OK) *info = *facts;
  return status;
}

ssm_status ssm_prepare(int32_t ordinal) {
  const ssm::Driver* driver_calls = nullptr;
  ssm_status status = ssm::driver(&driver_calls);
  if (status != SSM_OK) return status;
  ssm::Device* device = nullptr;
  status = ssm::get_device(*driver_calls, ordinal, &device);
  if (status != SSM_OK) return status;
  ssm::ContextScope scope(*driver_calls, device->context);
  if (scope.result() != 0) {
    return ssm::cuda_failure(*driver_calls, "cuCtxPushCurrent", scope.result());
  }
  ssm::RelaxedCapture relaxed(*driver_calls);
  ssm::LockGuard guard(ssm::device_lock);
  int count = 0;
  const ssm_image* images = ssm::images(&count);
  for (int i = 0; i < count && status == SSM_OK; ++i) {
    ssm::CudaModule module = nullptr;
    status = ssm::load_unit(*driver_calls, device, images[i].unit, &module);
  }
  return status;
}
