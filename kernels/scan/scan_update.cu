// The decode step: one read and one write of the state, and little else, so bytes are what it
// costs. Eight lanes take a channel, side by side along its states. Types are looked up per
// element.
#include "scan/scan_device.cuh"

namespace ssm {

constexpr int kChannelLanes = 8;

__device__ __forceinline__ float view_value(const ScanView& view, long long offset) {
  if (view.dtype == kFloat32) return static_cast<const float*>(view.data)[offset];
  if (view.dtype == kFloat16) return to_float(static_cast<const F16*>(view.data)[offset]);
  return to_float(static_cast<const BF16*>(view.data)[offset]);
}

__device__ __forceinline__ void put_value(const ScanView& view, long long offset, float value) {
  if (view.dtype == kFloat32) {
    static_cast<float*>(view.data)[offset] = value;
  } else if (view.dtype == kFloat16) {
    static_cast<F16*>(view.data)[offset] = from_float<F16>(value);
  } else {
    static_cast<BF16*>(view.data)[offset] = from_float<BF16>(value);
  }
}

__device__ __forceinline__ long long at(const ScanView& view, long long a, long long b,
                                        long long c) {
  return a * view.stride[0] + b * view.stride[1] + c * view.stride[2];
}

}  // namespace ssm

extern "C" __global__ void __launch_bounds__(256) scan_update(ssm::ScanUpdateParams p) {
  using namespace ssm;
  const int lane = static_cast<int>(threadIdx.x) % kChannelLanes;
  const long long index =
      (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / kChannelLanes;
  const long long channels = static_cast<long long>(p.heads) * p.dim;
  const bool exists = index < channels;  // the others keep the shuffles whole
  const long long d = exists ? index % p.dim : 0;
  const long long head = exists ? index / p.dim : 0;
  const long long batch = blockIdx.y;
  const long long group = head / p.group_heads;
  const long long row = p.rows ? p.rows[batch] : batch;

  float y = 0.0f;
  const float x = view_value(p.x, at(p.x, batch, head, d));
  if (row >= 0) {
    float dt = view_value(p.dt, at(p.dt, batch, head, d));
    if (p.dt_bias.data) dt += view_value(p.dt_bias, at(p.dt_bias, head, d, 0));
    if (p.softplus) dt = softplus(dt);
    const long long state_row = at(p.state, row, head, d);
    for (int n = lane; n < p.states && exists; n += kChannelLanes) {
      const long long place = state_row + n * p.state.stride[3];
      const float decay = exp2_approx(kLog2E * dt * view_value(p.A, at(p.A, head, d, n)));
      const float input = dt * x * view_value(p.B, at(p.B, batch, group, n));
      const float h = fmaf(decay, view_value(p.state, place), input);
      put_value(p.state, place, h);
      y = fmaf(h, view_value(p.C, at(p.C, batch, group, n)), y);
    }
  }
#pragma unroll
  for (int distance = kChannelLanes / 2; distance > 0; distance /= 2) {
    y += __shfl_xor_sync(kFullWarp, y, distance);
  }
  if (lane != 0 || !exists) return;
  if (row < 0) {
    y = 0.0f;
  } else {
    if (p.D.data) y = fmaf(x, view_value(p.D, at(p.D, head, d, 0)), y);
    if (p.z.data) {
      const float z = view_value(p.z, at(p.z, batch, head, d));
      y *= z * sigmoid(z);
    }
  }
  put_value(p.out, at(p.out, batch, head, d), y);
}
