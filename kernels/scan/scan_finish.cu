// The end of a backward pass: sums what the blocks left in their buffers, always in the same order,
// and converts to the gradient's type. And the clearing of buffers that take atomics.
#include "scan/scan_device.cuh"

namespace ssm {
extern __shared__ float4 shared_words[];
}

// Many parts are shared out among the warps of a block, which meet in shared memory.
extern "C" __global__ void __launch_bounds__(256) scan_finish(ssm::ScanFinishParams p) {
  using namespace ssm;
  float* sums = reinterpret_cast<float*>(shared_words);
  const ScanSum sum = p.sums[blockIdx.y];
  if (!sum.out) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int shares = sum.parts >= kManyParts ? static_cast<int>(blockDim.x) / kLanes : 1;
  const int width = static_cast<int>(blockDim.x) / shares;
  const int share = thread / width;
  const long long stride = static_cast<long long>(gridDim.x) * width;
  for (long long base = static_cast<long long>(blockIdx.x) * width; base < sum.count;
       base += stride) {
    const long long i = base + thread % width;
    float total = 0.0f;
    if (i < sum.count) {
#pragma unroll 8
      for (long long part = share; part < sum.parts; part += shares) {
        total += sum.partial[part * sum.count + i];
      }
    }
    if (shares > 1) {
      sums[thread] = total;
      __syncthreads();
      if (share == 0) {
        for (int other = 1; other < shares; ++other) total += sums[other * width + thread];
      }
      __syncthreads();
      if (share > 0) continue;
    }
    if (i >= sum.count) continue;
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
