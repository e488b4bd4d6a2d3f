// Forward scan with the lanes along the steps: for few channels, where nothing else fills the GPU.
//
// A block takes one channel, a thread 8 neighbouring steps, and goes over the states twice. The
// first walk gives, for every state, what the thread's steps make of the state zero, and the
// product of their decays, which is one exponential of the sum of the step sizes. These pairs are
// scanned in shared memory by other shares of the same threads: one state and 16 threads' steps
// each, then by shuffles across those that have the same state. The second walk begins each
// thread's steps with the state that comes before them and adds up y. Doing the exponentials twice
// costs less than keeping them: 8 a state and thread.
//
// Rows longer than a block's steps are taken tile by tile, the states waiting in shared memory. The
// plan takes this kernel only where tiles are whole and rows can be read 16 bytes at a time.
#include "scan/scan_device.cuh"

namespace ssm {

extern __shared__ float4 shared_words[];

namespace steps {

constexpr int kOwn = 8;
constexpr int kPass = 16;     // states of a pass
constexpr int kStretch = 16;  // threads whose pairs one thread scans

// One pair more after every 16, so that threads that read pairs 16 apart meet no bank twice.
__device__ __forceinline__ int slot(int thread) { return thread + thread / kStretch; }

template <typename T>
struct Scan {
  // States whose loads are on their way together.
  static constexpr int kTogether = sizeof(T) == 4 ? 2 : 4;

  const ScanParams& p;
  float2* pairs;                       // [state][slot]
  float *decays, *carried, *products;  // [state]
  int threads, thread, pitch, length;
  long long batch;
  int channel;
  const T *b_row, *c_row;
  float dt[kOwn], du[kOwn], y[kOwn], dt_sum;

  __device__ __forceinline__ explicit Scan(const ScanParams& parameters) : p(parameters) {
    threads = static_cast<int>(blockDim.x);
    thread = static_cast<int>(threadIdx.x);
    length = static_cast<int>(p.length);
    pitch = slot(threads);
    batch = blockIdx.y;
    channel = static_cast<int>(blockIdx.x);
    const int group = channel / static_cast<int>(p.dim / p.groups);
    pairs = reinterpret_cast<float2*>(shared_words);
    decays = reinterpret_cast<float*>(pairs + kPass * pitch);
    carried = decays + p.states;
    products = carried + p.states;
    b_row = static_cast<const T*>(p.B.data) + batch * p.B.batch_stride + group * p.B.row_stride;
    c_row = static_cast<const T*>(p.C.data) + batch * p.C.batch_stride + group * p.C.row_stride;
    for (int n = thread; n < p.states; n += threads) {
      decays[n] = p.A[channel * p.A_row_stride + n * p.A_state_stride] * kLog2E;
      carried[n] = 0.0f;
      products[n] = 1.0f;
    }
  }

  // B or C of this thread's steps of some states; those past the pass's last are read again.
  static __device__ __forceinline__ void load_factor(const ScanFactor& factor, const T* row, int n,
                                                     int last, Steps<T, kOwn> (&to)[kTogether]) {
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      to[k] = load_whole<T, kOwn>(row + smaller(n + k, last) * factor.state_stride);
    }
  }

  // Replaces each pair's second by the state before its steps. Threads share out (state, stretch).
  __device__ __forceinline__ void scan_pairs(int n0, bool saves, int saved_chunk) {
    const int stretches = threads / kStretch;
    const int state = thread / stretches;  // 16 of them
    const int stretch = thread % stretches;
    const int n = n0 + state;
    float2* own = pairs + state * pitch + slot(stretch * kStretch);
    float2 pair[kStretch];
    float product = 1.0f, h = 0.0f;
#pragma unroll
    for (int i = 0; i < kStretch; ++i) {
      pair[i] = own[i];
      h = fmaf(pair[i].x, h, pair[i].y);
      product *= pair[i].x;
    }
    // Across the stretches of the state, this one's included.
    for (int distance = 1; distance < stretches; distance *= 2) {
      const float before = __shfl_up_sync(kFullWarp, h, distance);
      const float product_before = __shfl_up_sync(kFullWarp, product, distance);
      if (stretch >= distance) {
        h = fmaf(product, before, h);
        product *= product_before;
      }
    }
    const float h_before = __shfl_up_sync(kFullWarp, h, 1);
    const float product_before = __shfl_up_sync(kFullWarp, product, 1);
    const bool exists = n < p.states;
    const float enters = exists ? carried[n] : 0.0f;
    float value = stretch == 0 ? enters : fmaf(product_before, enters, h_before);
#pragma unroll
    for (int i = 0; i < kStretch; ++i) {
      own[i].y = value;
      value = fmaf(pair[i].x, value, pair[i].y);
    }
    __syncwarp();  // all threads of the state, which are of one warp, have read what it begins with
    if (exists && stretch == stretches - 1) {
      carried[n] = value;
      product *= products[n];
      products[n] = product;
      if (saves) *saved_state(p, batch, channel, saved_chunk, n) = make_pair(product, value);
    }
  }

  __device__ __forceinline__ void tile(int begin, int steps) {
    const int step = begin + thread * kOwn;
    const auto offset = [&](const ScanRows& rows) {
      return batch * rows.batch_stride + channel * rows.row_stride + step;
    };
    const auto load_row = [&](const ScanRows& rows) {
      return load_whole<T, kOwn>(static_cast<const T*>(rows.data) + offset(rows));
    };
    const Steps<T, kOwn> u = load_row(p.u);
    const Steps<T, kOwn> delta = load_row(p.delta);
    Steps<T, kOwn> z;
    if (p.z.data) z = load_row(p.z);
    const float bias = p.delta_bias ? p.delta_bias[channel] : 0.0f;
    const float skip = p.D ? p.D[channel] : 0.0f;
    dt_sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      dt[i] = delta.at(i) + bias;
      if (p.softplus) dt[i] = softplus(dt[i]);
      dt_sum += dt[i];
      du[i] = dt[i] * u.at(i);
      y[i] = skip * u.at(i);
    }
    const bool last = begin + steps >= length;
    const bool saves = p.x && (last || (begin + steps) % kScanChunk == 0);
    for (int n0 = 0; n0 < p.states; n0 += kPass) {
      const int count = smaller(kPass, p.states - n0);
      __syncthreads();  // the decays are there; the pairs of the last pass have been read
      const T* b = b_row + n0 * p.B.state_stride + step;
      for (int n = 0; n < count; n += kTogether) {
        Steps<T, kOwn> bs[kTogether];
        load_factor(p.B, b, n, count - 1, bs);
#pragma unroll
        for (int k = 0; k < kTogether; ++k) {
          if (n + k >= count) break;
          const float decay = decays[n0 + n + k];
          float h = 0.0f;
#pragma unroll
          for (int i = 0; i < kOwn; ++i) {
            h = fmaf(exp2_approx(decay * dt[i]), h, du[i] * bs[k].at(i));
          }
          pairs[(n + k) * pitch + slot(thread)] = make_pair(exp2_approx(decay * dt_sum), h);
        }
      }
      __syncthreads();
      scan_pairs(n0, saves, begin / kScanChunk);
      __syncthreads();
      const T* c = c_row + n0 * p.C.state_stride + step;
      for (int n = 0; n < count; n += kTogether) {
        Steps<T, kOwn> bs[kTogether], cs[kTogether];
        load_factor(p.B, b, n, count - 1, bs);
        load_factor(p.C, c, n, count - 1, cs);
#pragma unroll
        for (int k = 0; k < kTogether; ++k) {
          if (n + k >= count) break;
          float h = pairs[(n + k) * pitch + slot(thread)].y;
          const float decay = decays[n0 + n + k];
#pragma unroll
          for (int i = 0; i < kOwn; ++i) {
            h = fmaf(exp2_approx(decay * dt[i]), h, du[i] * bs[k].at(i));
            y[i] = fmaf(h, cs[k].at(i), y[i]);
          }
        }
      }
    }
    store_steps<T, kOwn>(p.out.data, offset(p.out), y, kOwn, p.out_is_float, true);
    if (!p.z.data) return;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float gate = z.at(i);
      y[i] *= gate * sigmoid(gate);
    }
    store_steps<T, kOwn>(p.out_z.data, offset(p.out_z), y, kOwn, p.out_is_float, true);
  }

  __device__ __forceinline__ void run() {
    const int steps = threads * kOwn;
    for (int begin = 0; begin < length; begin += steps) tile(begin, steps);
  }
};

}  // namespace steps
}  // namespace ssm

#define SSM_STEPS(name, type)                                                    \
  extern "C" __global__ void __launch_bounds__(256, 2) name(ssm::ScanParams p) { \
    ssm::steps::Scan<type> scan(p);                                              \
    scan.run();                                                                  \
  }
SSM_STEPS(scan_steps_f32, float)
SSM_STEPS(scan_steps_f16, ssm::F16)
SSM_STEPS(scan_steps_bf16, ssm::BF16)
