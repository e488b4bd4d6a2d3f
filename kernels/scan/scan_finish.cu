// The end of a backward pass: sums what the blocks left in their buffers, always in the same order,
// and converts to the gradient's type. And the clearing of buffers that take atomics.
#include "scan/scan_device.cuh"

extern "C" __global__ void __launch_bounds__(256) scan_finish(ssm::ScanFinishParams p) {
  using namespace ssm;
  const ScanSum sum = p.sums[blockIdx.y];
  if (!sum.out) return;
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < sum.count;
       i += stride) {
    float total = 0.0f;
#pragma unroll 4
    for (long long part = 0; part < sum.parts; ++part) total += sum.partial[part * sum.count + i];
    if (sum.dtype == kFloat32) {
      static_cast<float*>(sum.out)[i] = total;
    } else if (sum.dtype == kFloat16) {
      static_cast<F16*>(sum.out)[i] = from_float<F16>(total);
    } else {
      static_cast<BF16*>(sum.out)[i] = from_float<BF16>(total);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) scan_clear(ssm::ScanClearParams p) {
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.count;
       i += stride) {
    p.data[i] = 0.0f;
  }
}
