// Device code shared by the kernels: the three element types, their conversions and vectors. It
// includes nothing, so that NVRTC of any toolkit from 11.4 on compiles the kernels without the
// toolkit's headers. Conversions round to nearest even.
#pragma once

#ifndef SSM_STORE_HINT
#define SSM_STORE_HINT ""
#endif

namespace ssm {

using int32 = int;
using int64 = long long;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;

struct F16 {
  uint16 bits;
};
struct BF16 {
  uint16 bits;
};

// As in ssm_kernels.h.
enum DType { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(F16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
__device__ __forceinline__ float to_float(BF16 value) {
  return __uint_as_float(static_cast<uint32>(value.bits) << 16);
}

__device__ __forceinline__ uint16 bf16_bits(float value) {
#if __CUDA_ARCH__ >= 800
  uint16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
#else
  const uint32 bits = __float_as_uint(value);
  if (value != value) return 0x7fff;
  return static_cast<uint16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ F16 from_float<F16>(float value) {
  F16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
}
template <>
__device__ __forceinline__ BF16 from_float<BF16>(float value) {
  return BF16{bf16_bits(value)};
}

// The element at `index` of an array whose type is known at run time only (weights, biases).
__device__ __forceinline__ float load_as_float(const void* data, int dtype, int64 index) {
  if (dtype == kFloat32) return static_cast<const float*>(data)[index];
  if (dtype == kFloat16) return to_float(static_cast<const F16*>(data)[index]);
  return to_float(static_cast<const BF16*>(data)[index]);
}

// Words of 32 bits hold one float or two 16-bit elements, the earlier one in the low half.
template <typename T>
struct Packed;
template <>
struct Packed<float> {
  static constexpr int kPerWord = 1;
  static __device__ __forceinline__ void unpack(uint32 word, float* out) {
    out[0] = __uint_as_float(word);
  }
  static __device__ __forceinline__ uint32 pack(const float* in) { return __float_as_uint(in[0]); }
};
template <>
struct Packed<F16> {
  static constexpr int kPerWord = 2;
  static __device__ __forceinline__ void unpack(uint32 word, float* out) {
    out[0] = to_float(F16{static_cast<uint16>(word)});
    out[1] = to_float(F16{static_cast<uint16>(word >> 16)});
  }
  static __device__ __forceinline__ uint32 pack(const float* in) {
#if __CUDA_ARCH__ >= 800
    uint32 result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(in[1]), "f"(in[0]));
    return result;
#else
    return from_float<F16>(in[0]).bits | (static_cast<uint32>(from_float<F16>(in[1]).bits) << 16);
#endif
  }
};
template <>
struct Packed<BF16> {
  static constexpr int kPerWord = 2;
  static __device__ __forceinline__ void unpack(uint32 word, float* out) {
    out[0] = __uint_as_float(word << 16);
    out[1] = __uint_as_float(word & 0xffff0000u);
  }
  static __device__ __forceinline__ uint32 pack(const float* in) {
#if __CUDA_ARCH__ >= 800
    uint32 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(in[1]), "f"(in[0]));
    return result;
#else
    return bf16_bits(in[0]) | (static_cast<uint32>(bf16_bits(in[1])) << 16);
#endif
  }
};

// Aligned vectors of words in global memory. Written out because the compiler, left to itself, was
// seen to cut a 16-byte store into four. Loads are for data that the kernel does not write.
template <int kWords>
__device__ __forceinline__ void load_words(const void* address, uint32 (&word)[kWords]) {
  static_assert(kWords == 2 || kWords == 4, "8 or 16 bytes");
#ifdef SSM_PLAIN_LOADS
  if constexpr (kWords == 4) {
    const uint4 value = *reinterpret_cast<const uint4*>(address);
    word[0] = value.x;
    word[1] = value.y;
    word[2] = value.z;
    word[3] = value.w;
    return;
  }
#endif
  if constexpr (kWords == 4) {
    asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
        : "l"(address));
  } else {
    asm("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(word[0]), "=r"(word[1]) : "l"(address));
  }
}
template <int kWords>
__device__ __forceinline__ void store_words(void* address, const uint32 (&word)[kWords]) {
  static_assert(kWords == 2 || kWords == 4, "8 or 16 bytes");
  if constexpr (kWords == 4) {
    asm volatile("st.global" SSM_STORE_HINT ".v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address),
                 "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3])
                 : "memory");
  } else {
    asm volatile("st.global" SSM_STORE_HINT ".v2.u32 [%0], {%1, %2};" ::"l"(address), "r"(word[0]),
                 "r"(word[1])
                 : "memory");
  }
}

// 2^x and 1/x from the special-function unit (2 and 1 ulp).
__device__ __forceinline__ float exp2_approx(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float reciprocal_approx(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
inline constexpr float kLog2E = 1.4426950408889634f;

__device__ __forceinline__ float sigmoid(float x) {
  return reciprocal_approx(1.0f + exp2_approx(-kLog2E * x));
}

}  // namespace ssm
