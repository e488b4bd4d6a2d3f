#include "verify/native_gpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "fmt/format.h"
#include "verify/native_values.h"

namespace ssmend {
namespace {

constexpr const char* kForcedImage = "SSM_KERNELS_IMAGE";

// The driver calls used here, by their published names and ABI.
struct Cuda {
  int (*init)(unsigned) = nullptr;
  int (*device_get)(int*, int) = nullptr;
  int (*retain)(void**, int) = nullptr;
  int (*release)(int) = nullptr;
  int (*set_current)(void*) = nullptr;
  int (*allocate)(uint64_t*, size_t) = nullptr;
  int (*free)(uint64_t) = nullptr;
  int (*to_device)(uint64_t, const void*, size_t) = nullptr;
  int (*to_host)(void*, uint64_t, size_t) = nullptr;
  int (*fill)(uint64_t, unsigned char, size_t) = nullptr;
  int (*synchronize)() = nullptr;
  int (*event_create)(void**, unsigned) = nullptr;
  int (*event_record)(void*, void*) = nullptr;
  int (*event_wait)(void*) = nullptr;
  int (*event_elapsed)(float*, void*, void*) = nullptr;
  int (*event_destroy)(void*) = nullptr;
};

bool find_calls(void* library, Cuda* cuda) {
  const struct {
    const char* name;
    void** slot;
  } calls[] = {
      {"cuInit", reinterpret_cast<void**>(&cuda->init)},
      {"cuDeviceGet", reinterpret_cast<void**>(&cuda->device_get)},
      {"cuDevicePrimaryCtxRetain", reinterpret_cast<void**>(&cuda->retain)},
      {"cuDevicePrimaryCtxRelease_v2", reinterpret_cast<void**>(&cuda->release)},
      {"cuCtxSetCurrent", reinterpret_cast<void**>(&cuda->set_current)},
      {"cuMemAlloc_v2", reinterpret_cast<void**>(&cuda->allocate)},
      {"cuMemFree_v2", reinterpret_cast<void**>(&cuda->free)},
      {"cuMemcpyHtoD_v2", reinterpret_cast<void**>(&cuda->to_device)},
      {"cuMemcpyDtoH_v2", reinterpret_cast<void**>(&cuda->to_host)},
      {"cuMemsetD8_v2", reinterpret_cast<void**>(&cuda->fill)},
      {"cuCtxSynchronize", reinterpret_cast<void**>(&cuda->synchronize)},
      {"cuEventCreate", reinterpret_cast<void**>(&cuda->event_create)},
      {"cuEventRecord", reinterpret_cast<void**>(&cuda->event_record)},
      {"cuEventSynchronize", reinterpret_cast<void**>(&cuda->event_wait)},
      {"cuEventElapsedTime", reinterpret_cast<void**>(&cuda->event_elapsed)},
      {"cuEventDestroy_v2", reinterpret_cast<void**>(&cuda->event_destroy)},
  };
  for (const auto& call : calls) {
    *call.slot = dlsym(library, call.name);
    if (*call.slot == nullptr) return false;
  }
  return true;
}

size_t element_count(const ssm_tensor& tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor.rank; ++i) count *= tensor.size[i];
  return static_cast<size_t>(count);
}

bool is_dense(const ssm_tensor& tensor) {
  int64_t stride = 1;
  for (int i = tensor.rank - 1; i >= 0; --i) {
    if (tensor.stride[i] != stride) return false;
    stride *= tensor.size[i];
  }
  return true;
}

// Calls visit(flat index in the order of the sizes, offset in elements) for every element.
template <typename Visit>
void for_each_element(const ssm_tensor& tensor, Visit visit) {
  const auto count = static_cast<int64_t>(element_count(tensor));
  const bool dense = is_dense(tensor);
  for (int64_t flat = 0; flat < count; ++flat) {
    if (dense) {
      visit(static_cast<size_t>(flat), static_cast<size_t>(flat));
      continue;
    }
    int64_t rest = flat;
    int64_t offset = 0;
    for (int i = tensor.rank - 1; i >= 0; --i) {
      offset += rest % tensor.size[i] * tensor.stride[i];
      rest /= tensor.size[i];
    }
    visit(static_cast<size_t>(flat), static_cast<size_t>(offset));
  }
}

class DriverSession : public NativeSession {
 public:
  ~DriverSession() override {
    release_tensors();
    if (context_ != nullptr) cuda_.release(device_);
    // The libraries stay open: the driver has threads of its own in them.
  }

  bool start(void* driver, void* library, std::string* reason) {
    library_ = library;
    if (!find_calls(driver, &cuda_)) {
      *reason = "libcuda.so.1 lacks a function, expected a driver for CUDA 11 or later";
      return false;
    }
    auto device_info = reinterpret_cast<decltype(&ssm_device_info)>(function("ssm_device_info"));
    last_error_ = reinterpret_cast<decltype(&ssm_last_error)>(function("ssm_last_error"));
    if (!error_.empty()) {
      *reason = error_;
      return false;
    }
    ssm_device info;
    if (device_info(0, &info) != SSM_OK) {
      *reason = last_error_();
      return false;
    }
    gpu_.name = info.name;
    gpu_.sm = info.sm;
    gpu_.driver_version = info.driver_version;
    gpu_.multiprocessors = info.multiprocessors;
    if (cuda_.init(0) != 0 || cuda_.device_get(&device_, 0) != 0 ||
        cuda_.retain(&context_, device_) != 0 || cuda_.set_current(context_) != 0) {
      *reason = fmt::format("{}: its context cannot be made", gpu_.name);
      return false;
    }
    choose_images();
    return true;
  }

  const NativeGpu& gpu() const override { return gpu_; }

  void* function(const char* name) override {
    void* found = dlsym(library_, name);
    if (found == nullptr) fail(fmt::format("libssm_kernels.so has no function {}", name));
    return found;
  }

  ssm_tensor upload(const std::vector<double>& values, const std::vector<int64_t>& sizes, int dtype,
                    const std::vector<int>& order) override {
    ssm_tensor tensor = allocate(sizes, dtype, order);
    if (!error_.empty()) return tensor;
    const size_t width = element_bytes(dtype);
    const size_t parts = dtype == SSM_COMPLEX64 ? 2 : 1;
    std::vector<unsigned char> bytes(bytes_of(tensor));
    for_each_element(tensor, [&](size_t flat, size_t offset) {
      for (size_t part = 0; part < parts; ++part) {
        put_value(dtype, values[flat * parts + part], &bytes[offset * width + part * 4]);
      }
    });
    call("cuMemcpyHtoD", cuda_.to_device(address(tensor), bytes.data(), bytes.size()));
    return tensor;
  }

  ssm_tensor poisoned(const std::vector<int64_t>& sizes, int dtype,
                      const std::vector<int>& order) override {
    const ssm_tensor tensor = allocate(sizes, dtype, order);
    poison(tensor);
    return tensor;
  }

  void poison(const ssm_tensor& tensor) override { fill(tensor, 0xff); }
  void clear(const ssm_tensor& tensor) override { fill(tensor, 0); }

  void* scratch(uint64_t bytes) override {
    const uint64_t memory = allocate_bytes(bytes);
    if (error_.empty()) call("cuMemsetD8", cuda_.fill(memory, 0xff, bytes));
    return reinterpret_cast<void*>(memory);
  }

  std::vector<unsigned char> download_bytes(const ssm_tensor& tensor) override {
    if (!error_.empty()) return {};
    std::vector<unsigned char> bytes(bytes_of(tensor));
    call("cuCtxSynchronize", cuda_.synchronize());
    call("cuMemcpyDtoH", cuda_.to_host(bytes.data(), address(tensor), bytes.size()));
    if (!error_.empty()) bytes.clear();
    return bytes;
  }

  void release_tensors() override {
    for (const uint64_t memory : memory_) cuda_.free(memory);
    memory_.clear();
  }

  ssm_queue queue() const override { return ssm_queue{0, nullptr}; }

  void check(ssm_status status) override {
    if (status != SSM_OK) fail(last_error_());
  }

  double seconds_of(const std::function<void()>& work) override {
    constexpr int kRepeats = 9;
    if (!error_.empty()) return 0;
    void* start = nullptr;
    void* stop = nullptr;
    call("cuEventCreate", cuda_.event_create(&start, 0));
    call("cuEventCreate", cuda_.event_create(&stop, 0));
    std::vector<float> times;
    for (int i = 0; i <= kRepeats && error_.empty(); ++i) {
      call("cuEventRecord", cuda_.event_record(start, nullptr));
      work();
      call("cuEventRecord", cuda_.event_record(stop, nullptr));
      call("cuEventSynchronize", cuda_.event_wait(stop));
      float milliseconds = 0;
      call("cuEventElapsedTime", cuda_.event_elapsed(&milliseconds, start, stop));
      if (i > 0) times.push_back(milliseconds);
    }
    cuda_.event_destroy(start);
    cuda_.event_destroy(stop);
    if (times.empty()) return 0;
    std::sort(times.begin(), times.end());
    return times[times.size() / 2] * 1e-3;
  }

  const std::string& error() const override { return error_; }
  void clear_error() override { error_.clear(); }

 private:
  void fail(const std::string& text) {
    if (error_.empty()) error_ = text;
  }
  void fill(const ssm_tensor& tensor, unsigned char byte) {
    if (error_.empty()) call("cuMemsetD8", cuda_.fill(address(tensor), byte, bytes_of(tensor)));
  }
  void call(const char* name, int result) {
    if (result != 0) fail(fmt::format("{}: error {}", name, result));
  }
  static uint64_t address(const ssm_tensor& tensor) {
    return reinterpret_cast<uint64_t>(tensor.data);
  }
  static size_t bytes_of(const ssm_tensor& tensor) {
    return element_count(tensor) * element_bytes(tensor.dtype);
  }

  uint64_t allocate_bytes(uint64_t bytes) {
    uint64_t memory = 0;
    if (!error_.empty()) return 0;
    call("cuMemAlloc", cuda_.allocate(&memory, std::max<uint64_t>(bytes, 1)));
    if (memory != 0) memory_.push_back(memory);
    return memory;
  }

  ssm_tensor allocate(const std::vector<int64_t>& sizes, int dtype, const std::vector<int>& order) {
    ssm_tensor tensor = {};
    tensor.dtype = dtype;
    tensor.rank = static_cast<int32_t>(sizes.size());
    std::copy(sizes.begin(), sizes.end(), tensor.size);
    int64_t stride = 1;
    for (int i = tensor.rank - 1; i >= 0; --i) {
      const int dimension = order.empty() ? i : order[static_cast<size_t>(i)];
      tensor.stride[dimension] = stride;
      stride *= tensor.size[dimension];
    }
    tensor.data = reinterpret_cast<void*>(allocate_bytes(bytes_of(tensor)));
    return tensor;
  }

  void choose_images() {
    auto count = reinterpret_cast<decltype(&ssm_image_count)>(function("ssm_image_count"));
    auto info = reinterpret_cast<decltype(&ssm_image_info)>(function("ssm_image_info"));
    auto choose = reinterpret_cast<decltype(&ssm_choose_image)>(function("ssm_choose_image"));
    if (!error_.empty()) return;
    std::vector<ssm_image> images;
    for (int i = 0; i < count(); ++i) {
      ssm_image image;
      if (info(i, &image) == SSM_OK) images.push_back(image);
    }
    for (const ssm_image& image : images) {
      const auto known = [&](const NativeImage& entry) { return entry.unit == image.unit; };
      if (std::any_of(gpu_.images.begin(), gpu_.images.end(), known)) continue;
      NativeImage entry;
      entry.unit = image.unit;
      int32_t index = 0;
      char reason[512] = "";
      entry.found =
          choose(image.unit, gpu_.sm, gpu_.driver_version, &index, reason, sizeof reason) == SSM_OK;
      entry.reason = reason;
      ssm_image chosen = {};
      if (entry.found && info(index, &chosen) == SSM_OK) entry.local = chosen.local != 0;
      if (getenv(kForcedImage) == nullptr) {
        find_others(images, image.unit, chosen, choose, &entry.others);
      }
      gpu_.images.push_back(std::move(entry));
    }
  }

  // Asks the library itself, with each name that one of its images has.
  void find_others(const std::vector<ssm_image>& images, const std::string& unit,
                   const ssm_image& chosen, decltype(&ssm_choose_image) choose,
                   std::vector<std::string>* others) const {
    for (const ssm_image& image : images) {
      if (image.unit != unit || (image.kind == chosen.kind && image.sm == chosen.sm)) continue;
      const std::string name =
          fmt::format("{}_{}", image.kind == SSM_PTX ? "compute" : "sm", image.sm);
      int32_t index = 0;
      char reason[512];
      ::setenv(kForcedImage, name.c_str(), 1);
      const ssm_status status =
          choose(unit.c_str(), gpu_.sm, gpu_.driver_version, &index, reason, sizeof reason);
      ::unsetenv(kForcedImage);
      if (status == SSM_OK) others->push_back(name);
    }
  }

  Cuda cuda_;
  void* library_ = nullptr;
  void* context_ = nullptr;
  int device_ = 0;
  NativeGpu gpu_;
  decltype(&ssm_last_error) last_error_ = nullptr;
  std::vector<uint64_t> memory_;
  std::string error_;
};

}  // namespace

std::vector<double> values_of(const ssm_tensor& tensor, const std::vector<unsigned char>& bytes) {
  if (bytes.empty()) return {};
  const size_t width = element_bytes(tensor.dtype);
  const size_t parts = tensor.dtype == SSM_COMPLEX64 ? 2 : 1;
  std::vector<double> values(parts * element_count(tensor));
  for_each_element(tensor, [&](size_t flat, size_t offset) {
    for (size_t part = 0; part < parts; ++part) {
      values[flat * parts + part] = get_value(tensor.dtype, &bytes[offset * width + part * 4]);
    }
  });
  return values;
}

std::unique_ptr<NativeSession> NativeSession::open(const std::string& library_path, Opened* opened,
                                                   std::string* reason) {
  *opened = Opened::kNoLibrary;
  void* library = dlopen(library_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *reason = dlerror();
    return nullptr;
  }
  *opened = Opened::kNoGpu;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    *reason = dlerror();
    return nullptr;
  }
  auto session = std::make_unique<DriverSession>();
  if (!session->start(driver, library, reason)) return nullptr;
  *opened = Opened::kReady;
  return session;
}

}  // namespace ssmend
