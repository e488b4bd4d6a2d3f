// The CUDA driver API, opened at run time: the types and calls used here, declared from NVIDIA's
// published driver API reference, so that the build needs no CUDA header and the library has no
// libcuda among its NEEDED entries.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ssm_kernels.h"

namespace ssm {

using CudaResult = int;
using CudaDevice = int;
using CudaContext = void*;
using CudaModule = void*;
using CudaFunction = void*;
using CudaStream = void*;

// Attribute numbers of cuDeviceGetAttribute.
inline constexpr int kMultiprocessorCount = 16;
inline constexpr int kComputeCapabilityMajor = 75;
inline constexpr int kComputeCapabilityMinor = 76;
// cuFuncSetAttribute.
inline constexpr int kMaxDynamicSharedBytes = 8;
// cuThreadExchangeStreamCaptureMode.
inline constexpr int kCaptureModeRelaxed = 2;
// The `extra` array of cuLaunchKernel.
inline void* const kLaunchParamEnd = nullptr;
inline void* const kLaunchParamBuffer = reinterpret_cast<void*>(1);
inline void* const kLaunchParamSize = reinterpret_cast<void*>(2);

struct Driver {
  CudaResult (*init)(unsigned flags);
  CudaResult (*driver_get_version)(int* version);
  CudaResult (*device_get_count)(int* count);
  CudaResult (*device_get)(CudaDevice* device, int ordinal);
  CudaResult (*device_get_name)(char* name, int length, CudaDevice device);
  CudaResult (*device_get_attribute)(int* value, int attribute, CudaDevice device);
  CudaResult (*primary_context_retain)(CudaContext* context, CudaDevice device);
  CudaResult (*context_get_current)(CudaContext* context);
  CudaResult (*context_push)(CudaContext context);
  CudaResult (*context_pop)(CudaContext* context);
  CudaResult (*module_load_data)(CudaModule* module, const void* image);
  CudaResult (*module_get_function)(CudaFunction* function, CudaModule module, const char* name);
  CudaResult (*function_set_attribute)(CudaFunction function, int attribute, int value);
  CudaResult (*launch_kernel)(CudaFunction function, unsigned grid_x, unsigned grid_y,
                              unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                              unsigned shared_bytes, CudaStream stream, void** parameters,
                              void** extra);
  CudaResult (*exchange_capture_mode)(int* mode);
  CudaResult (*get_error_string)(CudaResult result, const char** text);
  CudaResult (*function_load)(CudaFunction function);  // null before CUDA 12.4
  int version;                                         // 12060 for CUDA 12.6
};

// Opens and starts the driver once; later calls give the same answer. SSM_NO_DRIVER with the
// reason where that fails (it is tried again at the next call: a container may gain a driver).
ssm_status driver(const Driver** out);

// SSM_CUDA_ERROR with the call's name and the driver's words.
ssm_status cuda_failure(const Driver& driver, const char* call, CudaResult result);

}  // namespace ssm
