// What scan_gradient.cu and scan_both_ends.cu do once per element of a tile.
#pragma once

#include "scan/scan_gradient_lanes.cuh"

namespace ssm {
namespace gradient {

constexpr float kLn2 = 0.6931471805599453f;

template <typename T, typename Parameters, bool kGradient>
struct Tiles {
  static constexpr int kAreas = kGradient ? 5 : 3;  // of a warp, each [channel][step]

  const Parameters& q;
  const ScanParams& p;
  const Place at;
  int begin, end, length;
  Bases bases;
  // The step size, its product with u, dy; u and ln 2 times the slope of the step size.
  float *dts, *dus, *dys, *us, *slopes;
  float sums[kRounds];  // of dy * u over this lane's steps (dD), or of a tile's step sizes

  __device__ __forceinline__ Tiles(const Parameters& parameters, int run)
      : q(parameters), p(parameters.scan), at(parameters.scan) {
    length = static_cast<int>(p.length);
    begin = run * p.chunks.run * kSteps;
    end = smaller(length, begin + p.chunks.run * kSteps);
#pragma unroll
    for (int r = 0; r < kRounds; ++r) sums[r] = 0.0f;
  }
  __device__ __forceinline__ void place_areas(float* from) {
    dts = from;
    dus = dts + kAreaFloats;
    dys = dus + kAreaFloats;
    us = dys + kAreaFloats;
    slopes = us + kAreaFloats;
  }

  // One that exists.
  __device__ __forceinline__ long long channel(int c) const {
    return at.block_first + at.existing(at.c_lane + c * kBetween);
  }
  // Of a channel's first state before a tile.
  __device__ __forceinline__ long long entry(int c, int tile) const {
    return ((at.batch * p.dim + channel(c)) * p.chunks.count + tile / kSteps) * p.states;
  }

  struct Loaded {
    Rows<T> u, delta, z, out, dout;
    Rows<float> wide_dout;
    float bias[kRounds];
  };
  template <bool kQuads>
  __device__ __forceinline__ void load(Loaded& to, int step, bool wide, bool gated) const {
    to.u.template load<kQuads>(bases.at<T>(kU, p.u.data), p.u, at, step, length);
    to.delta.template load<kQuads>(bases.at<T>(kDelta, p.delta.data), p.delta, at, step, length);
    if (gated) to.z.template load<kQuads>(bases.at<T>(kZ, p.z.data), p.z, at, step, length);
    if (kGradient && gated) {
      to.out.template load<kQuads>(bases.at<T>(kOut, p.out.data), p.out, at, step, length);
    }
    if (wide) {
      to.wide_dout.template load<kQuads>(bases.at<float>(kDout, q.dout.data), q.dout, at, step,
                                         length);
    } else {
      to.dout.template load<kQuads>(bases.at<T>(kDout, q.dout.data), q.dout, at, step, length);
    }
  }

  // Once per element: dy behind the gate, the step size, its product with u; for the gradients dz,
  // out_z and the step size's slope too.
  __device__ __forceinline__ void prepare(int tile) {
    const int step = tile + at.step();
    const bool wide = sizeof(T) != 4 && p.out_is_float;
    const bool gated = p.z.data;
    Loaded in;
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
      in.bias[r] = p.delta_bias ? p.delta_bias[at.block_first + at.existing(at.channel(r))] : 0.0f;
    }
    if (p.rows_aligned) {
      load<true>(in, step, wide, gated);
    } else {
      load<false>(in, step, wide, gated);
    }
    // What does not exist has neither u nor dy, so that it adds nothing to any sum.
    if (at.count < kWarpChannels || tile + kSteps > end) {
      in.u.clear(at, step, end);
      if (gated) in.z.clear(at, step, end);
      if (wide) {
        in.wide_dout.clear(at, step, end);
      } else {
        in.dout.clear(at, step, end);
      }
    }
    float dy[kRounds][4];
    each([&](int r, int i) { dy[r][i] = wide ? in.wide_dout.at(r, i) : in.dout.at(r, i); });
    if (gated && !kGradient) {
      each([&](int r, int i) { dy[r][i] *= in.z.at(r, i) * sigmoid(in.z.at(r, i)); });
    } else if (gated) {
      float dz[kRounds][4], out_z[kRounds][4];
      each([&](int r, int i) {
        const float value = in.z.at(r, i);
        const float gate = sigmoid(value);
        const float silu = value * gate;
        const float product = dy[r][i] * in.out.at(r, i);
        dz[r][i] = product * fmaf(silu, 1.0f - gate, gate);
        out_z[r][i] = in.out.at(r, i) * silu;
        dy[r][i] *= silu;
      });
      if constexpr (kGradient) {
        store(kDz, q.dz, step, dz);
        if (p.out_z.data) store(kOutZ, p.out_z, step, out_z);
      }
    }
    put(dys, dy);
    float dt[kRounds][4], slope[kRounds][4];
    each([&](int r, int i) {
      dt[r][i] = in.delta.at(r, i) + in.bias[r];
      slope[r][i] = 1.0f;
    });
    if (p.softplus) {
      each([&](int r, int i) {
        const float e = exp2_approx(-kLog2E * fabsf(dt[r][i]));
        slope[r][i] = (dt[r][i] >= 0.0f ? 1.0f : e) * reciprocal_approx(1.0f + e);
        dt[r][i] = fmaxf(dt[r][i], 0.0f) + log1p_unit(e);
      });
    }
    put(dts, dt);
#pragma unroll
    for (int r = 0; r < kRounds && !kGradient; ++r) {
      sums[r] = (dt[r][0] + dt[r][1]) + (dt[r][2] + dt[r][3]);
    }
    each([&](int r, int i) { dt[r][i] *= in.u.at(r, i); });
    put(dus, dt);
    if constexpr (kGradient) {
      each([&](int r, int i) { sums[r] = fmaf(dy[r][i], in.u.at(r, i), sums[r]); });
      each([&](int r, int i) { dt[r][i] = slope[r][i] * in.u.at(r, i); });
      put(us, dt);
      each([&](int r, int i) { slope[r][i] *= kLn2; });
      put(slopes, slope);
    }
  }

  // The next tile's elements on their way to the L2 cache, while this one is worked on.
  __device__ __forceinline__ void fetch_ahead(int tile) const {
    if (tile < begin || tile >= end) return;
    Rows<T>::fetch_ahead(bases.at<T>(kU, p.u.data), p.u, at, tile);
    Rows<T>::fetch_ahead(bases.at<T>(kDelta, p.delta.data), p.delta, at, tile);
    if (sizeof(T) != 4 && p.out_is_float) {
      Rows<float>::fetch_ahead(bases.at<float>(kDout, q.dout.data), q.dout, at, tile);
    } else {
      Rows<T>::fetch_ahead(bases.at<T>(kDout, q.dout.data), q.dout, at, tile);
    }
    if (p.z.data) {
      Rows<T>::fetch_ahead(bases.at<T>(kZ, p.z.data), p.z, at, tile);
      if (kGradient) Rows<T>::fetch_ahead(bases.at<T>(kOut, p.out.data), p.out, at, tile);
    }
  }
  template <typename Action>
  static __device__ __forceinline__ void each(Action action) {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) action(r, i);
    }
  }
  __device__ __forceinline__ void put(float* area, const float (&value)[kRounds][4]) const {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) write(area + at.channel(r) * kPitch + at.step(), value[r]);
  }

  __device__ __forceinline__ void store(Row which, const ScanRows& rows, int step,
                                        const float (&value)[kRounds][4]) const {
    Rows<T>::store(bases.at<T>(which, rows.data), rows, at, step, end, p.rows_aligned, value);
  }
  __device__ __forceinline__ void get(const float* area, float (&value)[kRounds][4]) const {
#pragma unroll
    for (int r = 0; r < kRounds; ++r) read(area + at.channel(r) * kPitch + at.step(), value[r]);
  }
  __device__ __forceinline__ void read_rows(const float* area, int j,
                                            float (&to)[kLaneChannels][kQuarter]) const {
#pragma unroll
    for (int c = 0; c < kLaneChannels; ++c) {
      read(area + (at.c_lane + c * kBetween) * kPitch + j, to[c]);
    }
  }
};

}  // namespace gradient
}  // namespace ssm
