// Runs CUDA device code on the CPU: every thread of a block is a fiber, and barriers and warp
// shuffles switch between them. Slow and exact, for checking a kernel's indexing and arithmetic
// without a GPU. What it cannot see: races (the GPU tests run compute-sanitizer for those), though
// a block's threads can be run in either order, which finds most missing barriers.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define SSM_EMULATED 1
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct Uint3 {
  unsigned x = 0, y = 0, z = 0;
};

inline Uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulate {

constexpr size_t kStackBytes = 128 * 1024;

struct Barrier {
  int arrived = 0;
  int generation = 0;
};

struct Block {
  ucontext_t scheduler;
  std::vector<ucontext_t> fibers;
  std::vector<std::unique_ptr<char[]>> stacks;
  std::vector<bool> finished;
  std::vector<Barrier> warps;
  std::vector<uint32_t> exchange;
  Barrier all;
  int current = 0;
  std::function<void()> body;
};
inline Block block;

inline void yield() { swapcontext(&block.fibers[block.current], &block.scheduler); }

inline void wait(Barrier& barrier, int parties) {
  const int generation = barrier.generation;
  if (++barrier.arrived == parties) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) yield();
}

inline void enter() {
  block.body();
  block.finished[block.current] = true;
  yield();
}

// Runs one block to its end; `backwards` switches the order in which its threads advance.
inline void run_block(int threads, bool backwards, const std::function<void()>& body) {
  block.body = body;
  block.fibers.resize(threads);
  block.stacks.resize(threads);
  block.finished.assign(threads, false);
  block.warps.assign(threads / 32, Barrier());
  block.exchange.assign(threads, 0);
  block.all = Barrier();
  for (int i = 0; i < threads; ++i) {
    if (!block.stacks[i]) block.stacks[i].reset(new char[kStackBytes]);
    getcontext(&block.fibers[i]);
    block.fibers[i].uc_stack.ss_sp = block.stacks[i].get();
    block.fibers[i].uc_stack.ss_size = kStackBytes;
    block.fibers[i].uc_link = nullptr;
    makecontext(&block.fibers[i], enter, 0);
  }
  int left = threads;
  while (left > 0) {
    left = 0;
    for (int k = 0; k < threads; ++k) {
      const int i = backwards ? threads - 1 - k : k;
      if (block.finished[i]) continue;
      block.current = i;
      threadIdx.x = static_cast<unsigned>(i);
      swapcontext(&block.scheduler, &block.fibers[i]);
      if (!block.finished[i]) ++left;
    }
  }
}

// Runs a whole grid. Shared memory is filled with NaN before each block.
template <typename Kernel, typename Parameters>
void run_grid(Kernel kernel, Uint3 grid, int threads, float4* shared, size_t shared_words,
              bool backwards, const Parameters& parameters) {
  gridDim = grid;
  blockDim = Uint3{static_cast<unsigned>(threads), 1, 1};
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = Uint3{x, y, z};
        std::memset(shared, 0xff, shared_words * sizeof(float4));
        run_block(threads, backwards, [&] { kernel(parameters); });
      }
    }
  }
}

template <typename T>
T exchange(T value, int source) {
  const int self = block.current;
  const int warp = self / 32;
  std::memcpy(&block.exchange[self], &value, 4);
  wait(block.warps[warp], 32);
  T result = value;
  if (source >= 0 && source < 32) std::memcpy(&result, &block.exchange[warp * 32 + source], 4);
  wait(block.warps[warp], 32);
  return result;
}

}  // namespace emulate

inline void __syncthreads() { emulate::wait(emulate::block.all, static_cast<int>(blockDim.x)); }
inline void __syncwarp() { emulate::wait(emulate::block.warps[emulate::block.current / 32], 32); }
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulate::exchange(value, (emulate::block.current % 32) ^ mask);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, int distance) {
  return emulate::exchange(value, emulate::block.current % 32 - distance);
}
template <typename T>
T __shfl_down_sync(unsigned, T value, int distance) {
  const int source = emulate::block.current % 32 + distance;
  return emulate::exchange(value, source < 32 ? source : -1);
}
template <typename T>
T __shfl_sync(unsigned, T value, int source) {
  return emulate::exchange(value, source);
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float atomicAdd(float* address, float value) {
  const float before = *address;
  *address += value;
  return before;
}

namespace ssm {

using int32 = int;
using int64 = long long;
using uint16 = unsigned short;
using uint32 = unsigned int;
struct F16 {
  uint16 bits;
};
struct BF16 {
  uint16 bits;
};
enum DType { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };
inline constexpr float kLog2E = 1.4426950408889634f;

inline float to_float(float value) { return value; }
inline float to_float(BF16 value) {
  const uint32 bits = static_cast<uint32>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}
inline float to_float(F16 value) {
  const int exponent = (value.bits >> 10) & 31;
  const int mantissa = value.bits & 1023;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                   : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return value.bits & 0x8000 ? -size : size;
}
template <typename T>
T from_float(float value);
template <>
inline float from_float<float>(float value) {
  return value;
}
template <>
inline BF16 from_float<BF16>(float value) {
  uint32 bits;
  std::memcpy(&bits, &value, 4);
  return BF16{static_cast<uint16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
template <>
inline F16 from_float<F16>(float value) {  // finite values of the tests' size only
  const float size = std::fabs(value);
  const uint16 sign = std::signbit(value) ? 0x8000 : 0;
  int exponent;
  std::frexp(size, &exponent);  // size = f * 2^exponent, f in [0.5, 1)
  if (size == 0.0f) return F16{sign};
  const int scale = exponent < -13 ? -24 : exponent - 11;
  const int mantissa = static_cast<int>(std::nearbyint(std::ldexp(size, -scale)));
  if (exponent < -13) return F16{static_cast<uint16>(sign | mantissa)};
  return F16{static_cast<uint16>(sign | (((exponent + 14) << 10) + mantissa - 1024))};
}

template <typename T>
struct Packed {
  static constexpr int kPerWord = 2;
  static uint32 pack(const float* in) {
    return from_float<T>(in[0]).bits | static_cast<uint32>(from_float<T>(in[1]).bits) << 16;
  }
};
template <>
struct Packed<float> {
  static constexpr int kPerWord = 1;
  static uint32 pack(const float* in) { return __float_as_uint(in[0]); }
};

inline float exp2_approx(float x) { return std::exp2(x); }
inline float reciprocal_approx(float x) { return 1.0f / x; }
inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace ssm

using std::fabs;
