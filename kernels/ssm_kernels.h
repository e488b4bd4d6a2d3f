/* The C ABI of libssm_kernels.so: what every operation shares. The operations themselves are in
 * conv1d/ssm_conv1d.h and scan/ssm_scan.h.
 *
 * Every function returns a status and never throws, exits, prints or synchronises; an operation
 * only checks its arguments, chooses a kernel and puts it on the stream. It allocates nothing, so a
 * call may be captured into a CUDA graph. Strides are in elements, 64-bit. Tensors are described,
 * never owned. The library needs libc, libm and libdl only: the driver is opened at the first use
 * that needs a GPU, and everything that looks at images works where there is none. */
#ifndef SSM_KERNELS_H
#define SSM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SSM_API __attribute__((visibility("default")))

typedef enum ssm_status {
  SSM_OK = 0,
  SSM_INVALID_ARGUMENT = 1, /* ssm_last_error() names the argument, the rule and the value */
  SSM_NO_DRIVER = 2,        /* libcuda.so.1 cannot be opened or started, or sees no GPU */
  SSM_NO_IMAGE = 3,         /* no embedded image runs on this GPU with this driver */
  SSM_CUDA_ERROR = 4        /* a driver call failed; the text has the call and the driver's words */
} ssm_status;

typedef enum ssm_dtype {
  SSM_FLOAT32 = 0,
  SSM_FLOAT16 = 1,
  SSM_BFLOAT16 = 2,
  SSM_COMPLEX64 = 3, /* pairs of float32 */
  SSM_INT32 = 4
} ssm_dtype;

#define SSM_MAX_RANK 4
#define SSM_MAX_DEVICES 32

/* A strided view of device memory. An optional tensor is absent where `data` is null. */
typedef struct ssm_tensor {
  void* data;
  int32_t dtype;  /* ssm_dtype */
  int32_t rank;   /* 1 to SSM_MAX_RANK */
  int32_t device; /* CUDA ordinal, as the driver and torch count; -1: not on a CUDA device */
  int32_t unused;
  int64_t size[SSM_MAX_RANK];
  int64_t stride[SSM_MAX_RANK];
} ssm_tensor;

/* Where a kernel runs: the device whose primary context holds the tensors, and one of its streams
 * (a CUstream; null is the default stream). */
typedef struct ssm_queue {
  int32_t device;
  void* stream;
} ssm_queue;

/* The words for the last failure on this thread; "" before the first. Valid until the next call. */
SSM_API const char* ssm_last_error(void);
SSM_API const char* ssm_version(void);

/* --- images ------------------------------------------------------------------------------------
 * An image is one operation group ("unit": conv1d_forward, scan_backward, ...) compiled for one
 * architecture. Most are embedded; some may lie beside the library in local_images.pack, written
 * by `ssmend kernels build` on the target. */
typedef enum ssm_image_kind { SSM_CUBIN = 0, SSM_PTX = 1 } ssm_image_kind;

typedef struct ssm_image {
  const char* unit;
  int32_t kind;     /* ssm_image_kind */
  int32_t sm;       /* 87 for sm_87 or compute_87 */
  int32_t compiler; /* NVRTC's version as the driver counts: 11080, 13000 */
  int32_t ptx_isa;  /* PTX only: 78 for `.version 7.8`, else 0 */
  int32_t local;    /* 1: from local_images.pack */
  int32_t unused;
  const void* data;
  uint64_t size_bytes;
} ssm_image;

SSM_API int32_t ssm_image_count(void);
SSM_API ssm_status ssm_image_info(int32_t index, ssm_image* image);

/* The image that would serve `unit` on a GPU of compute capability sm (87 = 8.7) under a driver of
 * that version (12060 = CUDA 12.6), and in `reason` one line saying why it and not another. Needs
 * no GPU. SSM_NO_IMAGE, with the reason, where none fits. */
SSM_API ssm_status ssm_choose_image(const char* unit, int32_t sm, int32_t driver_version,
                                    int32_t* index, char* reason, size_t reason_bytes);

/* --- devices ---------------------------------------------------------------------------------- */
typedef struct ssm_device {
  char name[128];
  int32_t sm;
  int32_t multiprocessors;
  int32_t driver_version;
  int32_t unused;
} ssm_device;

SSM_API ssm_status ssm_device_count(int32_t* count);
SSM_API ssm_status ssm_device_info(int32_t device, ssm_device* info);

/* Loads every unit's image on the device, so that no later call loads one. Optional: the first call
 * of an operation loads its own (also under graph capture, where that is allowed by switching the
 * thread's capture mode for the load). */
SSM_API ssm_status ssm_prepare(int32_t device);

#ifdef __cplusplus
}
#endif
#endif
