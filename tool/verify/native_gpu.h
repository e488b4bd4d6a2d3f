// The kernel library and one GPU, opened at run time, for the native check: device memory filled
// from and read back as doubles, and events for timing. Uses libcuda through dlopen, like the
// library itself, so that ssmend runs where there is neither.
//
// Errors stick: after the first one every call does nothing, and error() has its text. A check
// therefore reads straight on and asks once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ssm_kernels.h"
#include "verify/native_values.h"

namespace ssmend {

struct NativeImage {
  std::string unit;
  std::string reason;  // the image chosen for this GPU and why, or why there is none
  bool found = false;
  bool local = false;               // of local_images.pack, built on this machine
  std::vector<std::string> others;  // what else this GPU runs: "compute_87", for SSM_KERNELS_IMAGE
};

struct NativeGpu {
  std::string name;
  int sm = 0;
  int driver_version = 0;  // 12060 for CUDA 12.6
  int multiprocessors = 0;
  std::vector<NativeImage> images;
};

// Dense values of a tensor whose memory is in `bytes`; none where that is empty.
std::vector<double> values_of(const ssm_tensor& tensor, const std::vector<unsigned char>& bytes);

class NativeSession {
 public:
  enum class Opened { kReady, kNoGpu, kNoLibrary };

  // Opens the library file and CUDA device 0. kNoGpu: no driver, or none that sees a GPU;
  // kNoLibrary: the file cannot be loaded. `reason` says what was tried.
  static std::unique_ptr<NativeSession> open(const std::string& library_path, Opened* opened,
                                             std::string* reason);
  virtual ~NativeSession() = default;

  [[nodiscard]] virtual const NativeGpu& gpu() const = 0;
  // A function of the library; null, with the error set, where it has none of that name.
  virtual void* function(const char* name) = 0;

  // Dense values in the order of `sizes`, laid out in memory with the dimensions in `order` from
  // slowest to fastest (empty: as they come). Released by release_tensors().
  virtual ssm_tensor upload(const std::vector<double>& values, const std::vector<int64_t>& sizes,
                            int dtype, const std::vector<int>& order) = 0;
  ssm_tensor upload(const std::vector<double>& values, const std::vector<int64_t>& sizes,
                    int dtype) {
    return upload(values, sizes, dtype, {});
  }
  // Filled with NaN bits: an element that is never written is seen. int32: -1.
  virtual ssm_tensor poisoned(const std::vector<int64_t>& sizes, int dtype,
                              const std::vector<int>& order) = 0;
  // Poisons a tensor again, or clears it.
  virtual void poison(const ssm_tensor& tensor) = 0;
  virtual void clear(const ssm_tensor& tensor) = 0;
  // `bytes` of device memory holding NaN bits, for a workspace.
  virtual void* scratch(uint64_t bytes) = 0;
  // Waits for the GPU; the tensor as it lies in memory.
  virtual std::vector<unsigned char> download_bytes(const ssm_tensor& tensor) = 0;
  // Dense values in the order of the tensor's sizes. complex64 gives pairs.
  std::vector<double> download(const ssm_tensor& tensor) {
    return values_of(tensor, download_bytes(tensor));
  }
  virtual void release_tensors() = 0;

  [[nodiscard]] virtual ssm_queue queue() const = 0;
  // Records a status of the library as the error where it is not SSM_OK.
  virtual void check(ssm_status status) = 0;
  // The median time of one call on the GPU, of several after a first.
  virtual double seconds_of(const std::function<void()>& call) = 0;

  [[nodiscard]] virtual const std::string& error() const = 0;  // "" where there is none
  virtual void clear_error() = 0;
};

}  // namespace ssmend
