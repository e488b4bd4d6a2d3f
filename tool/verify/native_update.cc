// The native check of the scan's decode step: each type, layouts that the fast kernel takes and
// others, the state's rows out of order and one of the batch padding.
#include <algorithm>

#include "fmt/format.h"
#include "verify/native_check.h"
#include "verify/native_scan_inputs.h"

namespace ssmend {
namespace {

struct UpdateCase {
  int64_t batch = 3, heads = 1, dim = 96, states = 16, groups = 1;
  bool shared = false;      // dt, A, D and dt_bias one a head, as Mamba2 gives them: strides 0
  bool transposed = false;  // the state with its channels next to each other
};

std::string text_of(const UpdateCase& shape, int dtype, int state_dtype) {
  return fmt::format("{} {}x{}x{} n{}{}{} state {}", native_dtype_name(dtype), shape.batch,
                     shape.heads, shape.dim, shape.states, shape.shared ? " one dt a head" : "",
                     shape.transposed ? " transposed" : "", native_dtype_name(state_dtype));
}

// `count` elements for each of `heads`: all as the head's first.
template <typename Value>
void share(std::vector<Value>* values, int64_t heads, int64_t count) {
  for (int64_t head = 0; head < heads; ++head) {
    const auto first = values->begin() + head * count;
    std::fill(first, first + count, Value(*first));
  }
}

// The case as a scan of one step, its channels those of all heads.
ssm::ReferenceScan make_step(const UpdateCase& shape, int dtype, std::mt19937* generator) {
  const ScanCase one_step = {.batch = shape.batch,
                             .dim = shape.heads * shape.dim,
                             .states = shape.states,
                             .groups = shape.groups,
                             .length = 1};
  ssm::ReferenceScan scan = make_scan(one_step, dtype, generator);
  if (!shape.shared) return scan;
  share(&scan.delta, shape.batch * shape.heads, shape.dim);
  share(&scan.A, shape.heads, shape.dim * shape.states);
  share(&scan.D, shape.heads, shape.dim);
  share(&scan.delta_bias, shape.heads, shape.dim);
  return scan;
}

// The first `kept` dimensions are stored; the others have one value, stride 0.
ssm_tensor upload_shared(NativeSession& session, const std::vector<double>& values,
                         const std::vector<int64_t>& sizes, size_t kept, int dtype) {
  int64_t repeats = 1;
  for (size_t i = kept; i < sizes.size(); ++i) repeats *= sizes[i];
  std::vector<double> stored;
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(repeats)) {
    stored.push_back(values[i]);
  }
  std::vector<int64_t> stored_sizes(sizes);
  std::fill(stored_sizes.begin() + static_cast<std::ptrdiff_t>(kept), stored_sizes.end(), 1);
  ssm_tensor tensor = session.upload(stored, stored_sizes, dtype);
  for (size_t i = kept; i < sizes.size(); ++i) {
    tensor.size[i] = sizes[i];
    tensor.stride[i] = 0;
  }
  return tensor;
}

void check_update(NativeSession& session, NativeComparison& comparison, const UpdateCase& shape,
                  int dtype, int state_dtype) {
  std::mt19937 generator(40);
  const ssm::ReferenceScan scan = make_step(shape, dtype, &generator);
  const int64_t channels = shape.heads * shape.dim;
  const int64_t state_rows = shape.batch + 2;
  const int64_t row_size = channels * shape.states;
  const std::vector<double> states = random_values(&generator, state_rows * row_size, state_dtype);
  std::vector<double> indices;
  ssm::ReferenceComplex picked;
  for (int64_t b = 0; b < shape.batch; ++b) {
    indices.push_back(b == 1 ? -1.0 : static_cast<double>(state_rows - 1 - b));
    const auto* from =
        states.data() + std::max<int64_t>(0, static_cast<int64_t>(indices.back())) * row_size;
    picked.insert(picked.end(), from, from + row_size);
  }
  std::vector<double> out = ssm::reference_state_update(scan, picked);
  std::vector<double> after = states;
  for (int64_t b = 0; b < shape.batch; ++b) {
    const auto row = static_cast<int64_t>(indices[static_cast<size_t>(b)]);
    if (row < 0) std::fill_n(out.begin() + b * channels, channels, 0.0);
    for (int64_t i = 0; row >= 0 && i < row_size; ++i) {
      after[static_cast<size_t>(row * row_size + i)] =
          picked[static_cast<size_t>(b * row_size + i)].real();
    }
  }
  const std::vector<int64_t> vectors = {shape.batch, shape.heads, shape.dim};
  const std::vector<int64_t> state_sizes = {state_rows, shape.heads, shape.dim, shape.states};
  const std::vector<int64_t> factors = {shape.batch, shape.groups, shape.states};
  const std::vector<int> order =
      shape.transposed ? std::vector<int>{0, 1, 3, 2} : std::vector<int>();
  const auto of_heads = [&](const std::vector<double>& values, const std::vector<int64_t>& sizes,
                            size_t kept, int type) {
    return upload_shared(session, values, sizes, shape.shared ? kept : sizes.size(), type);
  };
  ssm_scan_update_args args = {};
  args.state = session.upload(states, state_sizes, state_dtype, order);
  args.x = session.upload(scan.u, vectors, dtype);
  args.dt = of_heads(scan.delta, vectors, 2, dtype);
  args.A = of_heads(flat(scan.A, false), {shape.heads, shape.dim, shape.states}, 1, SSM_FLOAT32);
  args.B = session.upload(flat(scan.B, false), factors, dtype);
  args.C = session.upload(flat(scan.C, false), factors, dtype);
  args.D = of_heads(scan.D, {shape.heads, shape.dim}, 1, SSM_FLOAT32);
  args.z = session.upload(scan.z, vectors, dtype);
  args.dt_bias = of_heads(scan.delta_bias, {shape.heads, shape.dim}, 1, SSM_FLOAT32);
  args.state_indices = session.upload(indices, {shape.batch}, SSM_INT32);
  args.out = session.poisoned(vectors, dtype, {});
  args.softplus = 1;
  args.queue = session.queue();
  auto update = reinterpret_cast<decltype(&ssm_scan_update)>(session.function("ssm_scan_update"));
  if (!session.error().empty()) return;
  session.check(update(&args));
  comparison.compare("out", session.download(args.out), out, vectors, relative_limit(dtype),
                     sums_limit(out));
  comparison.compare("state", session.download(args.state), after, state_sizes,
                     relative_limit(state_dtype), sums_limit(after));
  const double width = state_dtype == SSM_FLOAT32 ? 4 : 2;
  comparison.set_work(session.seconds_of([&] { session.check(update(&args)); }),
                      2 * width * static_cast<double>(shape.batch * row_size));
}

}  // namespace

std::vector<NativeCase> update_native_cases() {
  const UpdateCase shapes[] = {
      {},
      {.batch = 1},
      {.heads = 8, .dim = 12, .groups = 2},
      {.heads = 4, .dim = 32, .states = 64, .shared = true},
      {.dim = 40, .states = 5},
      {.heads = 2, .dim = 24, .transposed = true},
  };
  std::vector<NativeCase> cases;
  for (const int dtype : {SSM_FLOAT32, SSM_FLOAT16, SSM_BFLOAT16}) {
    for (const UpdateCase& shape : shapes) {
      for (const int state_dtype : {static_cast<int>(SSM_FLOAT32), dtype}) {
        if (!cases.empty() && cases.back().case_text == text_of(shape, dtype, state_dtype))
          continue;
        cases.push_back({"scan update", text_of(shape, dtype, state_dtype),
                         [=](NativeSession& session, NativeComparison& comparison) {
                           check_update(session, comparison, shape, dtype, state_dtype);
                         }});
      }
    }
  }
  return cases;
}

}  // namespace ssmend
