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

// log(1 + exp(x)) with errors that do not lean to one side: a rotation of many turns adds them up,
// where a decay of many steps forgets them.
__device__ __forceinline__ float exact_softplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

// cos(pi x) and sin(pi x) for |x| to about 1.
__device__ __forceinline__ Complex cis_pi(float x) {
  Complex result;
#ifdef SSM_EMULATED
  result.re = static_cast<float>(std::cos(3.14159265358979323846 * x));
  result.im = static_cast<float>(std::sin(3.14159265358979323846 * x));
#else
  sincospif(x, &result.im, &result.re);
#endif
  return result;
}

// What exp(dt * A) needs of A: its real part times log2(e), and its imaginary part over pi in two
// floats, since a rounding of it is the same in every step.
struct Rate {
  float decay, turn, turn_rest;
};

__device__ __forceinline__ Rate rate_of(Complex A) {
  constexpr float kHigh = 0.318309873f, kLow = 1.28412766e-8f;  // together 1 / pi
  Rate rate;
  rate.decay = A.re * kLog2E;
  rate.turn = A.im * kHigh;
  rate.turn_rest = fmaf(A.im, kLow, fmaf(A.im, kHigh, -rate.turn));
  return rate;
}

__device__ __forceinline__ Complex complex_decay(float dt, const Rate& rate) {
  const float turns = dt * rate.turn;
  const float rest = fmaf(dt, rate.turn_rest, fmaf(dt, rate.turn, -turns));
  const float part = fmaf(-2.0f, rintf(0.5f * turns), turns);  // exact
  return exp2_approx(dt * rate.decay) * cis_pi(part + rest);
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
