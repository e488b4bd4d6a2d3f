// The part of DLPack 1.3's C exchange API that is used here, declared from its specification
// (dmlc/dlpack, include/dlpack/dlpack.h). The layout is fixed for major version 1.
#pragma once

#include <cstdint>

namespace ssm {
namespace py {

inline constexpr int32_t kDLCuda = 2;

struct DLDevice {
  int32_t type;
  int32_t id;
};
enum DLTypeCode : uint8_t { kDLInt = 0, kDLFloat = 2, kDLBfloat = 4, kDLComplex = 5 };
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t rank;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLExchangeHeader {
  uint32_t major;
  uint32_t minor;
  DLExchangeHeader* previous;
};
struct DLExchange {
  DLExchangeHeader header;
  void* allocate;
  void* managed_from_object;
  void* managed_to_object;
  int (*tensor_from_object)(void* object, DLTensor* out);  // borrows; may be null
  int (*current_stream)(int32_t device_type, int32_t device, void** stream);
};

}  // namespace py
}  // namespace ssm
