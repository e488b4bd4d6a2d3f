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
  static_assert(kSteps == kStateLanes, "a lane loads and stores one element of a tile");
  static constexpr int kOwn = 1;
  static constexpr int kFactorFloats = kPassStates * kPitch;
  static constexpr int kMostChannels = 4;  // of a warp
  static constexpr int kExchangeFloats = kStateLanes * kPitch;

  __device__ explicit BackwardTile(const ScanBackwardParams& parameters)
      : q(parameters), p(parameters.scan) {}

  const ScanBackwardParams& q;
  const ScanParams& p;
  int lane, warp, warps, time_warp, time_warps, channel_warp;
  int stretch, p_lane, end, padded;
  long long batch, group, first;  // this warp's first channel
  int count;                      // its channels

  // Shared memory of the block, then of the warp: where its first channel's rows begin, rows of
  // steps per channel, and values per state.
  float *factors, *reduction, *rows, *exchange, *before, *carry, *decay, *biases, *skips, *dA, *dB,
      *dC, *dD, *dbias;
  float2* pairs;
  long long* bases;

  enum { kDt, kDtU, kDy, kU, kSlope, kSumB, kSumA, kRowKinds };
  enum {
    kAtU,
    kAtDelta,
    kAtZ,
    kAtOut,
    kAtDout,
    kAtDu,
    kAtDdelta,
    kAtDz,
    kAtOutZ,
    kAtStates,
    kBases
  };

  __device__ __forceinline__ float* row(int which, int c) const {
    return rows + (c * kRowKinds + which) * kPitch;
  }
  // Element `offset` after the first element of this warp's first row.
  template <typename Element>
  __device__ __forceinline__ Element* element(int base, int offset) const {
    return reinterpret_cast<Element*>(bases[base]) + offset;
  }
  // Of a lane's element: 32-bit, as several channels a warp are planned only where rows are near.
  __device__ __forceinline__ static int offset(const ScanRows& tensor, int c, int t) {
    return c * static_cast<int>(tensor.row_stride) + t;
  }

  // Of one warp's area; a multiple of 4, as every area is read 16 bytes at a time.
  __device__ __forceinline__ int warp_floats() const {
    const int cw = p.channels_per_warp;
    const int floats = 2 * kBases + 2 * kMostChannels + kRowKinds * cw * kPitch + kExchangeFloats +
                       3 * cw * padded +
                       cw * padded * kStretches * (1 + !p.B.variable + !p.C.variable) +
                       2 * cw * kLanes;
    return (floats + 3) / 4 * 4;
  }

  __device__ __forceinline__ long long address(const ScanRows& tensor, int size,
                                               long long channel) const {
    return reinterpret_cast<long long>(tensor.data) +
           size * (batch * tensor.batch_stride + channel * tensor.row_stride);
  }

  __device__ __forceinline__ void place(float* shared) {
    const int cw = p.channels_per_warp;
    pairs = reinterpret_cast<float2*>(shared);
    factors = shared + 4 * warps * kPassStates;
    reduction = factors + 2 * time_warps * kFactorFloats;
    const int per_step_sum = cw * padded * kStretches;
    bases = reinterpret_cast<long long*>(reduction + warps * kFactorFloats + warp * warp_floats());
    biases = reinterpret_cast<float*>(bases + kBases);
    skips = biases + kMostChannels;
    rows = skips + kMostChannels;
    exchange = rows + kRowKinds * cw * kPitch;
    before = exchange + kExchangeFloats;
    carry = before + cw * padded;
    decay = carry + cw * padded;
    dD = decay + cw * padded;
    dbias = dD + cw * kLanes;
    dA = dbias + cw * kLanes;
    dB = dA + per_step_sum;
    dC = dB + (p.B.variable ? 0 : per_step_sum);
    for (int i = lane; i < cw * padded; i += kLanes) {
      const int c = i / padded;
      const int n = i % padded;
      carry[i] = 0.0f;
      decay[i] = c < count && n < p.states
                     ? p.A[(first + c) * p.A_row_stride + n * p.A_state_stride]
                     : 0.0f;
    }
    const int sums = 2 * cw * kLanes + per_step_sum * (1 + !p.B.variable + !p.C.variable);
    for (int i = lane; i < sums; i += kLanes) dD[i] = 0.0f;
    if (lane < count) {
      biases[lane] = p.delta_bias ? p.delta_bias[(first + lane) / p.delta_ratio] : 0.0f;
      skips[lane] = p.D ? p.D[first + lane] : 0.0f;
    }
    if (lane == 0) {
      constexpr int kSize = sizeof(T);
      bases[kAtU] = address(p.u, kSize, first);
      bases[kAtDelta] = address(p.delta, kSize, first / p.delta_ratio);
      bases[kAtZ] = address(p.z.data ? p.z : p.u, kSize, first);
      bases[kAtOut] = address(p.z.data ? p.out : p.u, kSize, first);
      bases[kAtDout] = address(q.dout, p.out_is_float ? 4 : kSize, first);
      bases[kAtDu] = address(q.du, kSize, first);
      bases[kAtDdelta] = address(q.ddelta, kSize, first);
      bases[kAtDz] = address(q.dz, kSize, first);
      bases[kAtOutZ] = address(p.out_z, kSize, first);
      bases[kAtStates] = reinterpret_cast<long long>(p.tile_states) +
                         4 * (batch * p.dim + first) * p.tiles * p.states;
    }
    __syncwarp();
  }

  // What one lane loads of one channel's tile.
  struct Loaded {
    Steps<T, kOwn> u, delta, z, out, dout;
    Steps<float, kOwn> dout_float;
  };

  __device__ __forceinline__ void load(int c, int tile, Loaded& raw) const {
    const int delta_row =
        p.delta_ratio == 1 ? c
                           : static_cast<int>((first + c) / p.delta_ratio - first / p.delta_ratio);
    // Steps past the end are read from the last one and an absent z from u, without branches: the
    // compiler waits for earlier loads at every branch.
    const int step = smaller(tile + lane, end - 1);
    if (p.out_is_float && sizeof(T) != 4) {
      raw.dout_float = load_whole<float, 1>(element<float>(kAtDout, offset(q.dout, c, step)));
    } else {
      raw.dout = load_whole<T, 1>(element<T>(kAtDout, offset(q.dout, c, step)));
    }
    raw.u = load_whole<T, 1>(element<T>(kAtU, offset(p.u, c, step)));
    raw.delta = load_whole<T, 1>(element<T>(kAtDelta, offset(p.delta, delta_row, step)));
    const bool gated = p.z.data != nullptr;
    raw.z = load_whole<T, 1>(element<T>(kAtZ, gated ? offset(p.z, c, step) : 0));
    raw.out = load_whole<T, 1>(element<T>(kAtOut, gated ? offset(p.out, c, step) : 0));
  }

  // Per element: the step size and its slope, dy behind the gate, dz, out_z, the sum for dD.
  __device__ __forceinline__ void prepare(int c, int tile, const Loaded& raw) {
    const int t = tile + lane * kOwn;
    const int available = end - t;
    float dy[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      dy[i] = p.out_is_float && sizeof(T) != 4 ? raw.dout_float.at(i) : raw.dout.at(i);
    }
    if (p.z.data) {
      float dz[kOwn], out_z[kOwn];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        const float z = raw.z.at(i);
        const float out = raw.out.at(i);
        const float gate = sigmoid(z);
        dz[i] = dy[i] * out * gate * (1.0f + z * (1.0f - gate));
        out_z[i] = out * z * gate;
        dy[i] *= z * gate;
      }
      store_typed<T, kOwn>(element<T>(kAtDz, offset(q.dz, c, t)), dz, available, p.rows_aligned);
      if (p.out_z.data) {
        store_typed<T, kOwn>(element<T>(kAtOutZ, offset(p.out_z, c, t)), out_z, available,
                             p.rows_aligned);
      }
    }
    const float bias = biases[c];
    float dD_sum = 0.0f;
    float* area = row(0, c) + lane * kOwn;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float u = raw.u.at(i);
      float dt = raw.delta.at(i) + bias;
      float slope = 1.0f;
      if (p.softplus) {
        const float e = exp2_approx(-kLog2E * fabsf(dt));
        slope = (dt >= 0.0f ? 1.0f : e) * reciprocal_approx(1.0f + e);
        dt = fmaxf(dt, 0.0f) + log1p_unit(e);
      }
      if (i >= available) dt = dy[i] = 0.0f;
      area[kDt * kPitch + i] = dt;
      area[kDtU * kPitch + i] = dt * u;
      area[kDy * kPitch + i] = dy[i];
      area[kU * kPitch + i] = u;
      area[kSlope * kPitch + i] = slope;
      area[kSumB * kPitch + i] = 0.0f;
      area[kSumA * kPitch + i] = 0.0f;
      dD_sum = fmaf(dy[i], u, dD_sum);
    }
    dD[c * kLanes + lane] += dD_sum;
  }

  // All of a warp's channels: their loads first, so that they wait together.
  __device__ __forceinline__ void prepare_channels(int tile) {
    constexpr int kTogether = 4;
    for (int c = 0; c < count; c += kTogether) {
      Loaded raw[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) load(smaller(c + i, count - 1), tile, raw[i]);
      // The first states of these channels: two values a lane wait together with the loads above.
      const float* states =
          element<const float>(kAtStates, 0) + static_cast<long long>(tile / kTile) * p.states;
      const long long channel_states = p.tiles * p.states;
      const int values = smaller(kTogether, count - c) * padded;
      const auto state_value = [&](int i) {
        const int n = i % padded;
        const bool exists = i < values && n < p.states && tile < end;
        return exists ? states[(c + i / padded) * channel_states + n] : 0.0f;
      };
      const float early[2] = {state_value(lane), state_value(lane + kLanes)};
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        if (c + i < count) prepare(c + i, tile, raw[i]);
      }
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        if (lane + k * kLanes < values) before[c * padded + lane + k * kLanes] = early[k];
      }
      for (int i = lane + 2 * kLanes; i < values; i += kLanes) {
        before[c * padded + i] = state_value(i);
      }
    }
  }

  // B and C of this time warp's tile, as float32, by the warps that share it.
  __device__ __forceinline__ void stage(int pass, int tile) {
    const int lanes = warps / time_warps * kLanes;
    float* to = factors + time_warp * 2 * kFactorFloats;
    for (int slot = channel_warp * kLanes + lane; slot < 2 * kPassStates * (kTile / 4);
         slot += 2 * lanes) {
      Stager<T, kPassStates, kTile> shares[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        shares[i].place(p, batch, group, true, slot + i * lanes);
        shares[i].load(p, pass / kPassStates, tile, end);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) shares[i].store(to, kPitch);
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
    const int t = tile + lane * kOwn;
    const float skip = skips[c];
    const float* area = row(0, c) + lane * kOwn;
    float du[kOwn], ddelta[kOwn];
    float bias_sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float sum_b = area[kSumB * kPitch + i];
      du[i] = fmaf(area[kDt * kPitch + i], sum_b, skip * area[kDy * kPitch + i]);
      ddelta[i] =
          fmaf(area[kU * kPitch + i], sum_b, area[kSumA * kPitch + i]) * area[kSlope * kPitch + i];
      if (t + i < end) bias_sum += ddelta[i];
    }
    dbias[c * kLanes + lane] += bias_sum;
    store_typed<T, kOwn>(element<T>(kAtDu, offset(q.du, c, t)), du, end - t, p.rows_aligned);
    store_typed<T, kOwn>(element<T>(kAtDdelta, offset(q.ddelta, c, t)), ddelta, end - t,
                         p.rows_aligned);
  }

  // Adds up one per-state sum over stretches and time warps, whose areas follow one another.
  __device__ __forceinline__ void write_sums(float* out, const float* sums) const {
    if (!out) return;
    for (int i = lane; i < count * p.states; i += kLanes) {
      const int c = i / p.states;
      const int n = i % p.states;
      float total = 0.0f;
      for (int w = 0; w < time_warps; ++w) {
#pragma unroll 1
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
#pragma unroll 1
        for (int r = 0; r < kLanes; ++r) total += sums[w * warp_floats() + c * kLanes + r];
      }
      out[batch * p.dim + first + c] = total;
    }
  }
};

}  // namespace ssm
