/* A libcuda.so.1 that runs no kernel: memory is the host's, and every launch is a line in the file
 * that STAND_IN_LAUNCHES names. With it the launchers of the real library run on a machine without
 * a GPU, on one of STAND_IN_SM (90: 9.0) with STAND_IN_PROCESSORS multiprocessors. The calls are
 * those that the library and the native check look up, by their published names and ABI. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL __attribute__((visibility("default"))) int

static int setting(const char* name, int otherwise) {
  const char* text = getenv(name);
  return text ? atoi(text) : otherwise;
}

CALL cuInit(unsigned flags) { return (int)flags; }
CALL cuDriverGetVersion(int* version) { return *version = 13000, 0; }
CALL cuDeviceGetCount(int* count) { return *count = 1, 0; }
CALL cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal != 0; }
CALL cuDeviceGetName(char* name, int length, int device) {
  snprintf(name, (size_t)length, "stand-in %d", device);
  return 0;
}
CALL cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int sm = setting("STAND_IN_SM", 90);
  *value = attribute == 16   ? setting("STAND_IN_PROCESSORS", 132)
           : attribute == 75 ? sm / 10
           : attribute == 76 ? sm % 10
                             : 0;
  return device;
}

static char context;
CALL cuDevicePrimaryCtxRetain(void** out, int device) { return *out = &context, device; }
CALL cuDevicePrimaryCtxRelease_v2(int device) { return device; }
CALL cuCtxGetCurrent(void** out) { return *out = &context, 0; }
CALL cuCtxSetCurrent(void* wanted) { return wanted != &context; }
CALL cuCtxPushCurrent_v2(void* wanted) { return wanted != &context; }
CALL cuCtxPopCurrent_v2(void** out) { return *out = &context, 0; }
CALL cuCtxSynchronize(void) { return 0; }

CALL cuModuleLoadData(void** module, const void* image) { return *module = (void*)image, 0; }
/* A function is its name. */
CALL cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = strdup(name);
  return module == NULL || *function == NULL;
}
CALL cuFuncSetAttribute(void* function, int attribute, int value) {
  return function == NULL || attribute != 8 || value > 227 * 1024;
}
CALL cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned block_x,
                    unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream,
                    void** parameters, void** extra) {
  const char* path = getenv("STAND_IN_LAUNCHES");
  static FILE* file;
  if (file == NULL && path != NULL) file = fopen(path, "a");
  if (file != NULL) {
    fprintf(file, "%s %ux%ux%u blocks of %ux%ux%u, %u bytes\n", (const char*)function, x, y, z,
            block_x, block_y, block_z, shared_bytes);
    fflush(file);
  }
  return stream != NULL || (parameters == NULL && extra == NULL) || x == 0 || y == 0 || z == 0;
}
CALL cuThreadExchangeStreamCaptureMode(int* mode) { return *mode = 0, 0; }
CALL cuGetErrorString(int result, const char** text) {
  *text = "the stand-in's refusal";
  return result < 0;
}

CALL cuMemAlloc_v2(uint64_t* memory, size_t bytes) {
  *memory = (uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *memory == 0;
}
CALL cuMemFree_v2(uint64_t memory) {
  free((void*)(uintptr_t)memory);
  return 0;
}
CALL cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  memcpy((void*)(uintptr_t)to, from, bytes);
  return 0;
}
CALL cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  memcpy(to, (const void*)(uintptr_t)from, bytes);
  return 0;
}
CALL cuMemsetD8_v2(uint64_t memory, unsigned char byte, size_t bytes) {
  memset((void*)(uintptr_t)memory, byte, bytes);
  return 0;
}

CALL cuEventCreate(void** event, unsigned flags) { return *event = &context, flags != 0; }
CALL cuEventRecord(void* event, void* stream) { return event == NULL || stream != NULL; }
CALL cuEventSynchronize(void* event) { return event == NULL; }
CALL cuEventElapsedTime(float* milliseconds, void* start, void* stop) {
  *milliseconds = 1;
  return start == NULL || stop == NULL;
}
CALL cuEventDestroy_v2(void* event) { return event == NULL; }
