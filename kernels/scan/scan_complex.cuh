// Device code that both directions of the scan with a complex A share: complex arithmetic, the
// composition of steps, and a warp's share of a channel.
//
// A warp takes one channel, a lane four steps in a row, so a warp's tile is 128 steps; the states
// come one after another. Each lane composes its steps to one map h -> decay * h + state, a shuffle
// scan composes the lanes, and each lane then runs its steps again from its true first state.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kComplexSteps = 4;
constexpr int kComplexTile = kLanes * kComplexSteps;

struct alignas(8) Complex {
  float re, im;
};

// h -> decay * h + state. Also the pair that x keeps.
struct Affine {
  Complex decay, state;
};

__device__ __forceinline__ Complex complex(float re, float im) {
  Complex result;
  result.re = re;
  result.im = im;
  return result;
}
__device__ __forceinline__ Complex operator+(Complex a, Complex b) {
  return complex(a.re + b.re, a.im + b.im);
}
__device__ __forceinline__ Complex operator*(float a, Complex b) {
  return complex(a * b.re, a * b.im);
}
// a * b + c
__device__ __forceinline__ Complex multiply_add(Complex a, Complex b, Complex c) {
  return complex(fmaf(a.re, b.re, fmaf(-a.im, b.im, c.re)),
                 fmaf(a.re, b.im, fmaf(a.im, b.re, c.im)));
}
__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
  return complex(fmaf(a.re, b.re, -a.im * b.im), fmaf(a.re, b.im, a.im * b.re));
}
__device__ __forceinline__ Complex conjugate(Complex a) { return complex(a.re, -a.im); }
// The real part of a * conj(b).
__device__ __forceinline__ float dot(Complex a, Complex b) { return fmaf(a.re, b.re, a.im * b.im); }

// sin(pi x) and cos(pi x) to float32, however large x is.
__device__ __forceinline__ Complex cis_pi(float x) {
  Complex result;
#ifdef SSM_EMULATED
  const double angle = 3.14159265358979323846 * std::remainder(static_cast<double>(x), 2.0);
  result.re = static_cast<float>(std::cos(angle));
  result.im = static_cast<float>(std::sin(angle));
#else
  sincospif(x, &result.im, &result.re);
#endif
  return result;
}

// exp(dt * A), where `scaled` is A's real part times log2(e) and its imaginary part over pi.
__device__ __forceinline__ Complex scaled_for_decay(Complex A) {
  return complex(A.re * kLog2E, A.im * 0.318309886f);
}
__device__ __forceinline__ Complex complex_decay(float dt, Complex scaled) {
  return exp2_approx(dt * scaled.re) * cis_pi(dt * scaled.im);
}

__device__ __forceinline__ Affine nothing_done() {
  Affine result;
  result.decay = complex(1.0f, 0.0f);
  result.state = complex(0.0f, 0.0f);
  return result;
}
__device__ __forceinline__ Affine then(const Affine& first, const Affine& second) {
  Affine result;
  result.decay = second.decay * first.decay;
  result.state = multiply_add(second.decay, first.state, second.state);
  return result;
}
__device__ __forceinline__ Complex apply(const Affine& map, Complex h) {
  return multiply_add(map.decay, h, map.state);
}

__device__ __forceinline__ Affine from_lane(const Affine& map, int lane) {
  Affine result;
  result.decay.re = __shfl_sync(kFullWarp, map.decay.re, lane);
  result.decay.im = __shfl_sync(kFullWarp, map.decay.im, lane);
  result.state.re = __shfl_sync(kFullWarp, map.state.re, lane);
  result.state.im = __shfl_sync(kFullWarp, map.state.im, lane);
  return result;
}

// The lanes' maps composed: `all` of the whole warp, `before` of the lanes that come before this
// one. kForward: lane 0 comes first, else lane 31.
template <bool kForward>
__device__ __forceinline__ void compose_lanes(int lane, Affine mine, Affine* before, Affine* all) {
  const int rank = kForward ? lane : kLanes - 1 - lane;
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) {
    // (from_lane wraps around; what wraps is not used)
    const Affine other =
        from_lane(mine, (lane + (kForward ? kLanes - distance : distance)) % kLanes);
    if (rank >= distance) mine = then(other, mine);
  }
  *all = from_lane(mine, kForward ? kLanes - 1 : 0);
  *before = from_lane(mine, (lane + (kForward ? kLanes - 1 : 1)) % kLanes);
  if (rank == 0) *before = nothing_done();
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, distance);
  }
  return value;
}
__device__ __forceinline__ Complex warp_sum(Complex value) {
  return complex(warp_sum(value.re), warp_sum(value.im));
}

// Four steps of a row as floats; zero where there are none.
template <typename T>
__device__ __forceinline__ void load_row(const ScanRows& rows, long long batch, long long row,
                                         long long step, int available, bool aligned,
                                         float (&value)[kComplexSteps]) {
  const T* from =
      static_cast<const T*>(rows.data) + batch * rows.batch_stride + row * rows.row_stride + step;
  const Steps<T, kComplexSteps> words = load_steps<T, kComplexSteps>(from, available, aligned);
#pragma unroll
  for (int i = 0; i < kComplexSteps; ++i) value[i] = words.at(i);
}

// B or C of one state at a lane's steps, as loaded.
template <typename T>
struct ComplexFactor {
  Steps<T, 2 * kComplexSteps> words;
  Complex fixed;

  __device__ __forceinline__ void load(const ScanFactor& factor, long long batch, long long group,
                                       long long channel, int state, long long step,
                                       int available) {
    if (factor.variable) {
      const T* from = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
                      group * factor.row_stride + state * factor.state_stride + 2 * step;
      words = load_steps<T, 2 * kComplexSteps>(from, 2 * available, factor.aligned);
    } else {
      fixed = static_cast<const Complex*>(
          factor.data)[channel * factor.row_stride + state * factor.state_stride];
    }
  }
  __device__ __forceinline__ Complex at(const ScanFactor& factor, int i) const {
    return factor.variable ? complex(words.at(2 * i), words.at(2 * i + 1)) : fixed;
  }
};

}  // namespace ssm
