// The backward scan's tile: where a block keeps it in shared memory, and everything that is done
// once per element or per sum rather than per state. The recurrences are in scan_backward.cu.
#pragma once

#include "scan/scan_device.cuh"

namespace ssm {

template <typename T, int kStateLanes, int kLaneStates, int kSteps>
struct BackwardTile {
  static constexpr int kStretches = kLanes / kStateLanes;
  static constexpr int kTile = kStretches * kSteps;
  static constexpr int kPitch = kTile + 4;
  static constexpr int kPassStates = kStateLanes * kLaneStates;
  static constexpr int kOwn = kSteps / kStateLanes;  // elements a lane loads and stores
  static constexpr int kFactorFloats = kPassStates * kPitch;
  static constexpr int kExchangeFloats = kStateLanes > 1 ? kStateLanes* kPitch : 0;

  __device__ explicit BackwardTile(const ScanBackwardParams& parameters)
      : q(parameters), p(parameters.scan) {}

  const ScanBackwardParams& q;
  const ScanParams& p;
  int lane, warp, warps, time_warp, time_warps, channel_warp;
  int stretch, p_lane, end, padded;
  long long batch, group, first;  // this warp's first channel
  int count;                      // its channels

  // Shared memory of the block, then of the warp: rows of steps per channel, and values per state.
  float *factors, *reduction, *rows, *exchange, *before, *carry, *dA, *dB, *dC, *dD, *dbias;
  float2* pairs;

  __device__ __forceinline__ float* row(int which, int c) const {
    return rows + (which * p.channels_per_warp + c) * kPitch;
  }
  enum { kDt, kDtU, kDy, kU, kSlope, kSumB, kSumA, kRowKinds };

  // Of one warp's area; a multiple of 4, as every area is read 16 bytes at a time.
  __device__ __forceinline__ int warp_floats() const {
    const int cw = p.channels_per_warp;
    const int floats = kRowKinds * cw * kPitch + kExchangeFloats + 2 * cw * padded +
                       cw * padded * kStretches * (1 + !p.B.variable + !p.C.variable) +
                       2 * cw * kLanes;
    return (floats + 3) / 4 * 4;
  }

  __device__ __forceinline__ void place(float* shared) {
    const int cw = p.channels_per_warp;
    pairs = reinterpret_cast<float2*>(shared);
    factors = shared + 4 * warps * kPassStates;
    reduction = factors + 2 * time_warps * kFactorFloats;
    float* mine = reduction + warps * kFactorFloats;
    const int per_step_sum = cw * padded * kStretches;
    rows = mine + warp * warp_floats();
    exchange = rows + kRowKinds * cw * kPitch;
    before = exchange + kExchangeFloats;
    carry = before + cw * padded;
    dD = carry + cw * padded;
    dbias = dD + cw * kLanes;
    dA = dbias + cw * kLanes;
    dB = dA + per_step_sum;
    dC = dB + (p.B.variable ? 0 : per_step_sum);
    for (int i = lane; i < cw * padded; i += kLanes) carry[i] = 0.0f;
    const int sums = 2 * cw * kLanes + per_step_sum * (1 + !p.B.variable + !p.C.variable);
    for (int i = lane; i < sums; i += kLanes) dD[i] = 0.0f;
    __syncwarp();
  }

  // Per element: the step size and its slope, dy behind the gate, dz, out_z, the sum for dD.
  __device__ __forceinline__ void prepare(int c, int tile) {
    const long long channel = first + c;
    const long long delta_row = channel / p.delta_ratio;
    const int t = tile + lane * kOwn;
    const int available = end - t;
    const bool aligned = p.rows_aligned;
    const Steps<T, kOwn> u_raw = load_steps<T, kOwn>(
        static_cast<const T*>(p.u.data) + batch * p.u.batch_stride + channel * p.u.row_stride + t,
        available, aligned);
    const Steps<T, kOwn> delta_raw =
        load_steps<T, kOwn>(static_cast<const T*>(p.delta.data) + batch * p.delta.batch_stride +
                                delta_row * p.delta.row_stride + t,
                            available, aligned);
    const long long dout_at = batch * q.dout.batch_stride + channel * q.dout.row_stride + t;
    float dy[kOwn];
    if (p.out_is_float) {
      const Steps<float, kOwn> raw = load_steps<float, kOwn>(
          static_cast<const float*>(q.dout.data) + dout_at, available, aligned);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) dy[i] = raw.value[i];
    } else {
      const Steps<T, kOwn> raw =
          load_steps<T, kOwn>(static_cast<const T*>(q.dout.data) + dout_at, available, aligned);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) dy[i] = to_float(raw.value[i]);
    }
    if (p.z.data) {
      const Steps<T, kOwn> z_raw = load_steps<T, kOwn>(
          static_cast<const T*>(p.z.data) + batch * p.z.batch_stride + channel * p.z.row_stride + t,
          available, aligned);
      const Steps<T, kOwn> out_raw =
          load_steps<T, kOwn>(static_cast<const T*>(p.out.data) + batch * p.out.batch_stride +
                                  channel * p.out.row_stride + t,
                              available, aligned);
      float dz[kOwn], out_z[kOwn];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        const float z = to_float(z_raw.value[i]);
        const float out = to_float(out_raw.value[i]);
        const float gate = sigmoid(z);
        dz[i] = dy[i] * out * gate * (1.0f + z * (1.0f - gate));
        out_z[i] = out * z * gate;
        dy[i] *= z * gate;
      }
      store_steps<T, kOwn>(q.dz.data, batch * q.dz.batch_stride + channel * q.dz.row_stride + t, dz,
                           available, false, aligned);
      if (p.out_z.data) {
        store_steps<T, kOwn>(p.out_z.data,
                             batch * p.out_z.batch_stride + channel * p.out_z.row_stride + t, out_z,
                             available, false, aligned);
      }
    }
    const float bias = p.delta_bias ? p.delta_bias[delta_row] : 0.0f;
    float dD_sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int at = lane * kOwn + i;
      const float u = to_float(u_raw.value[i]);
      float dt = to_float(delta_raw.value[i]) + bias;
      float slope = 1.0f;
      if (p.softplus) {
        const float e = exp2_approx(-kLog2E * fabsf(dt));
        slope = (dt >= 0.0f ? 1.0f : e) * reciprocal_approx(1.0f + e);
        dt = fmaxf(dt, 0.0f) + log1p_unit(e);
      }
      if (i >= available) dt = dy[i] = 0.0f;
      row(kDt, c)[at] = dt;
      row(kDtU, c)[at] = dt * u;
      row(kDy, c)[at] = dy[i];
      row(kU, c)[at] = u;
      row(kSlope, c)[at] = slope;
      row(kSumB, c)[at] = 0.0f;
      row(kSumA, c)[at] = 0.0f;
      dD_sum = fmaf(dy[i], u, dD_sum);
    }
    dD[c * kLanes + lane] += dD_sum;
    const float* states =
        p.tile_states + ((batch * p.dim + channel) * p.tiles + tile / kTile) * p.states;
    for (int n = lane; n < p.states; n += kLanes)
      before[c * padded + n] = tile < end ? states[n] : 0.0f;
  }

  // B and C of this time warp's tile, as float32, by the warps that share it.
  __device__ __forceinline__ void stage(int pass, int tile) {
    constexpr int kQuads = kTile / 4;
    const int channel_warps = warps / time_warps;
    for (int slot = channel_warp * kLanes + lane; slot < 2 * kPassStates * kQuads;
         slot += channel_warps * kLanes) {
      const int of_row = slot / kQuads;
      const bool is_c = of_row >= kPassStates;
      const ScanFactor& factor = is_c ? p.C : p.B;
      const int state = pass + of_row % kPassStates;
      const int t = tile + slot % kQuads * 4;
      if (!factor.variable) continue;
      const T* base = static_cast<const T*>(factor.data) + batch * factor.batch_stride +
                      group * factor.row_stride + state * factor.state_stride + t;
      const Steps<T, 4> raw =
          load_steps<T, 4>(base, state < p.states ? end - t : 0, factor.aligned);
      float4 quad;
      quad.x = to_float(raw.value[0]);
      quad.y = to_float(raw.value[1]);
      quad.z = to_float(raw.value[2]);
      quad.w = to_float(raw.value[3]);
      float* tile_factors = factors + time_warp * 2 * kFactorFloats;
      *reinterpret_cast<float4*>(tile_factors + of_row * kPitch + slot % kQuads * 4) = quad;
    }
  }

  __device__ __forceinline__ void lane_steps(const float* from, float (&value)[kSteps]) const {
#pragma unroll
    for (int k = 0; k < kSteps; k += 4) {
      const float4 quad = *reinterpret_cast<const float4*>(from + stretch * kSteps + k);
      value[k] = quad.x;
      value[k + 1] = quad.y;
      value[k + 2] = quad.z;
      value[k + 3] = quad.w;
    }
  }
  __device__ __forceinline__ void put_steps(float* to, const float (&value)[kSteps]) const {
#pragma unroll
    for (int k = 0; k < kSteps; k += 4) {
      float4 quad;
      quad.x = value[k];
      quad.y = value[k + 1];
      quad.z = value[k + 2];
      quad.w = value[k + 3];
      *reinterpret_cast<float4*>(to + stretch * kSteps + k) = quad;
    }
  }

  __device__ __forceinline__ void finish(int c, int tile) {
    const long long channel = first + c;
    const int t = tile + lane * kOwn;
    const float skip = p.D ? p.D[channel] : 0.0f;
    float du[kOwn], ddelta[kOwn];
    float bias_sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int at = lane * kOwn + i;
      const float sum_b = row(kSumB, c)[at];
      du[i] = fmaf(row(kDt, c)[at], sum_b, skip * row(kDy, c)[at]);
      ddelta[i] = fmaf(row(kU, c)[at], sum_b, row(kSumA, c)[at]) * row(kSlope, c)[at];
      if (t + i < end) bias_sum += ddelta[i];
    }
    dbias[c * kLanes + lane] += bias_sum;
    store_steps<T, kOwn>(q.du.data, batch * q.du.batch_stride + channel * q.du.row_stride + t, du,
                         end - t, false, p.rows_aligned);
    store_steps<T, kOwn>(q.ddelta.data,
                         batch * q.ddelta.batch_stride + channel * q.ddelta.row_stride + t, ddelta,
                         end - t, false, p.rows_aligned);
  }

  // Adds up one per-state sum over stretches and time warps, whose areas follow one another.
  __device__ __forceinline__ void write_sums(float* out, const float* sums) const {
    if (!out) return;
    for (int i = lane; i < count * p.states; i += kLanes) {
      const int c = i / p.states;
      const int n = i % p.states;
      float total = 0.0f;
      for (int w = 0; w < time_warps; ++w) {
        for (int r = 0; r < kStretches; ++r) {
          total += sums[w * warp_floats() + (c * padded + n) * kStretches + r];
        }
      }
      out[(batch * p.dim + first + c) * p.states + n] = total;
    }
  }
  __device__ __forceinline__ void write_row_sums(float* out, const float* sums) const {
    if (!out) return;
    for (int c = lane; c < count; c += kLanes) {
      float total = 0.0f;
      for (int w = 0; w < time_warps; ++w) {
        for (int r = 0; r < kLanes; ++r) total += sums[w * warp_floats() + c * kLanes + r];
      }
      out[batch * p.dim + first + c] = total;
    }
  }
};

}  // namespace ssm
