// The decode step for any types and strides: a few lanes take a channel, each four states in a row,
// and ask for everything before they use anything. The grid is (channels of a head, heads, batch),
// so that no thread divides. scan_step.cu serves the usual types.
#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kQuad = 4;

// Up to four elements as loaded, 16-bit ones two to a word.
struct Quad {
  uint32 word[kQuad];
};

// Where a head of a batch begins.
__device__ __forceinline__ long long place_of(const ScanView& view, int batch, int head) {
  return batch * view.batch_stride + head * view.head_stride;
}

__device__ __forceinline__ long long times(int index, int stride) {
  return static_cast<long long>(index) * stride;
}

__device__ __forceinline__ uint32 element_bits(const ScanView& view, long long offset) {
  if (view.dtype == kFloat32) return static_cast<const uint32*>(view.data)[offset];
  return static_cast<const uint16*>(view.data)[offset];
}

__device__ __forceinline__ float half_value(uint32 bits) {
  F16 half;
  half.bits = static_cast<uint16>(bits);
  return to_float(half);
}

__device__ __forceinline__ float as_float(uint32 bits, int dtype) {
  if (dtype == kFloat32) return __uint_as_float(bits);
  return dtype == kFloat16 ? half_value(bits) : __uint_as_float(bits << 16);
}

__device__ __forceinline__ void take_apart(const Quad& quad, int dtype, float (&value)[kQuad]) {
  if (dtype == kFloat32) {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) value[i] = __uint_as_float(quad.word[i]);
  } else if (dtype == kFloat16) {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) value[i] = half_value(quad.word[i / 2] >> (i % 2 * 16));
  } else {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      const uint32 word = quad.word[i / 2];
      value[i] = __uint_as_float(i % 2 ? word & 0xffff0000u : word << 16);
    }
  }
}

// `count` elements from `offset` on, the others zero.
__device__ __forceinline__ Quad load_quad(const ScanView& view, long long offset, int count) {
  Quad quad = {};
  const int dtype = view.dtype;
  if (view.quads && count == kQuad) {
    if (dtype == kFloat32) {
      const uint4 words =
          *reinterpret_cast<const uint4*>(static_cast<const uint32*>(view.data) + offset);
      quad.word[0] = words.x;
      quad.word[1] = words.y;
      quad.word[2] = words.z;
      quad.word[3] = words.w;
    } else {
      const uint2 words =
          *reinterpret_cast<const uint2*>(static_cast<const uint16*>(view.data) + offset);
      quad.word[0] = words.x;
      quad.word[1] = words.y;
    }
    return quad;
  }
  if (view.state_stride == 0) {  // one value for every state
    const uint32 bits = element_bits(view, offset);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) quad.word[i] = dtype == kFloat32 ? bits : bits | bits << 16;
    return quad;
  }
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    if (i >= count) continue;
    const uint32 bits = element_bits(view, offset + times(i, view.state_stride));
    if (dtype == kFloat32) {
      quad.word[i] = bits;
    } else {
      quad.word[i / 2] |= bits << (i % 2 * 16);
    }
  }
  return quad;
}

__device__ __forceinline__ uint32 to_bits(float value, int dtype) {
  if (dtype == kFloat32) return __float_as_uint(value);
  if (dtype == kFloat16) return from_float<F16>(value).bits;
  return from_float<BF16>(value).bits;
}

__device__ __forceinline__ void store_quad(const ScanView& view, long long offset,
                                           const float (&value)[kQuad], int count) {
  const int dtype = view.dtype;
  if (view.quads && count == kQuad) {
    if (dtype == kFloat32) {
      uint4 words;
      words.x = __float_as_uint(value[0]);
      words.y = __float_as_uint(value[1]);
      words.z = __float_as_uint(value[2]);
      words.w = __float_as_uint(value[3]);
      *reinterpret_cast<uint4*>(static_cast<uint32*>(view.data) + offset) = words;
      return;
    }
    uint2 words;
    if (dtype == kFloat16) {
      words.x = from_float<F16>(value[0]).bits | from_float<F16>(value[1]).bits << 16;
      words.y = from_float<F16>(value[2]).bits | from_float<F16>(value[3]).bits << 16;
    } else {
      words.x = from_float<BF16>(value[0]).bits | from_float<BF16>(value[1]).bits << 16;
      words.y = from_float<BF16>(value[2]).bits | from_float<BF16>(value[3]).bits << 16;
    }
    *reinterpret_cast<uint2*>(static_cast<uint16*>(view.data) + offset) = words;
    return;
  }
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    if (i >= count) continue;
    const long long place = offset + times(i, view.state_stride);
    const uint32 bits = to_bits(value[i], dtype);
    if (dtype == kFloat32) {
      static_cast<uint32*>(view.data)[place] = bits;
    } else {
      static_cast<uint16*>(view.data)[place] = static_cast<uint16>(bits);
    }
  }
}

__device__ __forceinline__ void update(const ScanUpdateParams& p) {
  const int lanes = 1 << p.lane_bits;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const int channel = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) >> p.lane_bits);
  const bool exists = channel < p.dim;  // the others keep the shuffles whole
  const int d = exists ? channel : 0;
  const int head = static_cast<int>(blockIdx.y);
  const int batch = static_cast<int>(blockIdx.z);
  const int group = p.group_heads == 1 ? head : head / p.group_heads;
  const int row = p.rows ? p.rows[batch] : batch;
  const auto place = [&](const ScanView& view, int b, int h) {
    return place_of(view, b, h) + times(d, view.channel_stride);
  };

  const uint32 x_bits = element_bits(p.x, place(p.x, batch, head));
  const uint32 dt_bits = element_bits(p.dt, place(p.dt, batch, head));
  const uint32 z_bits = p.z.data ? element_bits(p.z, place(p.z, batch, head)) : 0;
  const uint32 bias_bits = p.dt_bias.data ? element_bits(p.dt_bias, place(p.dt_bias, 0, head)) : 0;
  const uint32 skip_bits = p.D.data ? element_bits(p.D, place(p.D, 0, head)) : 0;
  const long long state_row = place(p.state, row < 0 ? 0 : row, head);
  const long long A_row = place(p.A, 0, head);
  const long long B_row = place_of(p.B, batch, group);
  const long long C_row = place_of(p.C, batch, group);

  float y = 0.0f;
  for (int n = lane * kQuad; n < p.states && exists && row >= 0; n += lanes * kQuad) {
    const int count = smaller(kQuad, p.states - n);
    const long long at = state_row + times(n, p.state.state_stride);
    const Quad state_words = load_quad(p.state, at, count);
    const Quad A_words = load_quad(p.A, A_row + times(n, p.A.state_stride), count);
    const Quad B_words = load_quad(p.B, B_row + times(n, p.B.state_stride), count);
    const Quad C_words = load_quad(p.C, C_row + times(n, p.C.state_stride), count);
    const float x = as_float(x_bits, p.x.dtype);
    float dt = as_float(dt_bits, p.dt.dtype);
    if (p.dt_bias.data) dt += as_float(bias_bits, p.dt_bias.dtype);
    if (p.softplus) dt = softplus(dt);
    float state[kQuad], A[kQuad], B[kQuad], C[kQuad];
    take_apart(state_words, p.state.dtype, state);
    take_apart(A_words, p.A.dtype, A);
    take_apart(B_words, p.B.dtype, B);
    take_apart(C_words, p.C.dtype, C);
    const float rate = kLog2E * dt, input = dt * x;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      state[i] = fmaf(exp2_approx(rate * A[i]), state[i], input * B[i]);
      // (what lies past the last state is zero, but for a C of one value)
      if (i < count) y = fmaf(state[i], C[i], y);
    }
    store_quad(p.state, at, state, count);
  }
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    y += __shfl_xor_sync(kFullWarp, y, distance);
  }
  if (lane != 0 || !exists) return;
  if (row < 0) {
    y = 0.0f;
  } else {
    if (p.D.data) y = fmaf(as_float(x_bits, p.x.dtype), as_float(skip_bits, p.D.dtype), y);
    if (p.z.data) {
      const float z = as_float(z_bits, p.z.dtype);
      y *= z * sigmoid(z);
    }
  }
  const long long to = place(p.out, batch, head);
  if (p.out.dtype == kFloat32) {
    static_cast<float*>(p.out.data)[to] = y;
  } else {
    static_cast<uint16*>(p.out.data)[to] = static_cast<uint16>(to_bits(y, p.out.dtype));
  }
}

}  // namespace ssm

extern "C" __global__ void __launch_bounds__(128) scan_update(ssm::ScanUpdateParams p) {
  ssm::update(p);
}
