// The decode step: one read and one write of the state, and little else, so bytes, and the wait for
// them, are what it costs. A few lanes take a channel, each four states in a row, and ask for
// everything before they use anything. The grid is (channels of a head, heads, batch), so that no
// thread divides. Most instructions of a kernel this short are addresses and types: the usual
// combinations of types have an instance that knows them, reads whole quads and counts in 32 bits.
#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kQuad = 4;

template <bool kNear>
struct UpdateIndex {
  using Type = long long;
};
template <>
struct UpdateIndex<true> {
  using Type = int;
};

// Of a type that the instance knows, or any.
constexpr int kAnyType = -1;
template <int kKnown>
__device__ __forceinline__ int type_of(const ScanView& view) {
  return kKnown == kAnyType ? view.dtype : kKnown;
}

// Up to four elements as loaded, 16-bit ones two to a word.
struct Quad {
  uint32 word[kQuad];
};

// Where a head of a batch begins; int where the whole tensor is in its reach.
template <typename Index>
__device__ __forceinline__ Index place_of(const ScanView& view, int batch, int head) {
  return static_cast<Index>(batch) * static_cast<Index>(view.batch_stride) +
         static_cast<Index>(head) * static_cast<Index>(view.head_stride);
}

template <typename Index>
__device__ __forceinline__ Index times(int index, int stride) {
  return static_cast<Index>(index) * stride;
}

template <int kKnown>
__device__ __forceinline__ uint32 element_bits(const ScanView& view, long long offset) {
  if (type_of<kKnown>(view) == kFloat32) return static_cast<const uint32*>(view.data)[offset];
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

// `count` elements from `offset` on, the others zero. kWhole promises quads.
template <int kKnown, bool kWhole>
__device__ __forceinline__ Quad load_quad(const ScanView& view, long long offset, int count) {
  Quad quad = {};
  const int dtype = type_of<kKnown>(view);
  if (kWhole || (view.quads && count == kQuad)) {
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
    const uint32 bits = element_bits<kKnown>(view, offset);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) quad.word[i] = dtype == kFloat32 ? bits : bits | bits << 16;
    return quad;
  }
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    if (i >= count) continue;
    const uint32 bits = element_bits<kKnown>(view, offset + times<long long>(i, view.state_stride));
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

template <int kKnown, bool kWhole>
__device__ __forceinline__ void store_quad(const ScanView& view, long long offset,
                                           const float (&value)[kQuad], int count) {
  const int dtype = type_of<kKnown>(view);
  if (kWhole || (view.quads && count == kQuad)) {
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
    const long long place = offset + times<long long>(i, view.state_stride);
    const uint32 bits = to_bits(value[i], dtype);
    if (dtype == kFloat32) {
      static_cast<uint32*>(view.data)[place] = bits;
    } else {
      static_cast<uint16*>(view.data)[place] = static_cast<uint16>(bits);
    }
  }
}

// kState: the state's type. kInput: that of x, dt, z, B, C and out; A is then float32 and the
// states are a multiple of four.
template <int kState, int kInput>
__device__ __forceinline__ void update(const ScanUpdateParams& p) {
  constexpr bool kKnown = kState != kAnyType;
  constexpr int kRate = kKnown ? static_cast<int>(kFloat32) : kAnyType;
  using Index = typename UpdateIndex<kKnown>::Type;
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
    return place_of<Index>(view, b, h) + times<Index>(d, view.channel_stride);
  };

  const uint32 x_bits = element_bits<kInput>(p.x, place(p.x, batch, head));
  const uint32 dt_bits = element_bits<kInput>(p.dt, place(p.dt, batch, head));
  const uint32 z_bits = p.z.data ? element_bits<kInput>(p.z, place(p.z, batch, head)) : 0;
  const uint32 bias_bits =
      p.dt_bias.data ? element_bits<kAnyType>(p.dt_bias, place(p.dt_bias, 0, head)) : 0;
  const uint32 skip_bits = p.D.data ? element_bits<kAnyType>(p.D, place(p.D, 0, head)) : 0;
  const Index state_row = place(p.state, row < 0 ? 0 : row, head);
  const Index A_row = place(p.A, 0, head);
  const Index B_row = place_of<Index>(p.B, batch, group);
  const Index C_row = place_of<Index>(p.C, batch, group);

  float y = 0.0f;
  for (int n = lane * kQuad; n < p.states && exists && row >= 0; n += lanes * kQuad) {
    const int count = kKnown ? kQuad : smaller(kQuad, p.states - n);
    const Index at = state_row + times<Index>(n, p.state.state_stride);
    const Quad state_words = load_quad<kState, kKnown>(p.state, at, count);
    const Quad A_words =
        load_quad<kRate, false>(p.A, A_row + times<Index>(n, p.A.state_stride), count);
    const Quad B_words =
        load_quad<kInput, kKnown>(p.B, B_row + times<Index>(n, p.B.state_stride), count);
    const Quad C_words =
        load_quad<kInput, kKnown>(p.C, C_row + times<Index>(n, p.C.state_stride), count);
    const float x = as_float(x_bits, type_of<kInput>(p.x));
    float dt = as_float(dt_bits, type_of<kInput>(p.dt));
    if (p.dt_bias.data) dt += as_float(bias_bits, p.dt_bias.dtype);
    if (p.softplus) dt = softplus(dt);
    float state[kQuad], A[kQuad], B[kQuad], C[kQuad];
    take_apart(state_words, type_of<kState>(p.state), state);
    take_apart(A_words, type_of<kRate>(p.A), A);
    take_apart(B_words, type_of<kInput>(p.B), B);
    take_apart(C_words, type_of<kInput>(p.C), C);
    const float rate = kLog2E * dt, input = dt * x;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      state[i] = fmaf(exp2_approx(rate * A[i]), state[i], input * B[i]);
      // (what lies past the last state is zero, but for a C of one value)
      if (i < count) y = fmaf(state[i], C[i], y);
    }
    store_quad<kState, kKnown>(p.state, at, state, count);
  }
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    y += __shfl_xor_sync(kFullWarp, y, distance);
  }
  if (lane != 0 || !exists) return;
  if (row < 0) {
    y = 0.0f;
  } else {
    if (p.D.data)
      y = fmaf(as_float(x_bits, type_of<kInput>(p.x)), as_float(skip_bits, p.D.dtype), y);
    if (p.z.data) {
      const float z = as_float(z_bits, type_of<kInput>(p.z));
      y *= z * sigmoid(z);
    }
  }
  const Index to = place(p.out, batch, head);
  if (type_of<kInput>(p.out) == kFloat32) {
    static_cast<float*>(p.out.data)[to] = y;
  } else {
    static_cast<uint16*>(p.out.data)[to] = static_cast<uint16>(to_bits(y, type_of<kInput>(p.out)));
  }
}

}  // namespace ssm

#define SSM_UPDATE(name, state, input)                                              \
  extern "C" __global__ void __launch_bounds__(128) name(ssm::ScanUpdateParams p) { \
    ssm::update<state, input>(p);                                                   \
  }
SSM_UPDATE(scan_update, ssm::kAnyType, ssm::kAnyType)
SSM_UPDATE(scan_update_f32, ssm::kFloat32, ssm::kFloat32)
SSM_UPDATE(scan_update_f16, ssm::kFloat16, ssm::kFloat16)
SSM_UPDATE(scan_update_bf16, ssm::kBFloat16, ssm::kBFloat16)
SSM_UPDATE(scan_update_f32_f16, ssm::kFloat32, ssm::kFloat16)
SSM_UPDATE(scan_update_f32_bf16, ssm::kFloat32, ssm::kBFloat16)
