// Host buffers laid out as the scan kernels take them, from a reference scan: rows with a padded
// stride, outputs poisoned with NaN.
#pragma once

#include "emulate/device.h"
// (before the kernels' own headers)
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "scan/scan_params.h"
#include "scan/scan_plan.h"
#include "scan_cases.h"

namespace ssm {

constexpr size_t kSharedWords = 228 * 1024 / 16;
extern float4 shared_words[];

template <typename T>
double round_to(double value) {
  return to_float(from_float<T>(static_cast<float>(value)));
}

template <typename T>
std::vector<T> store_as(const ReferenceValues& values) {
  std::vector<T> result;
  for (double value : values) result.push_back(from_float<T>(static_cast<float>(value)));
  return result;
}

// (count, length) rows of which each begins `pitch` elements after the one before.
template <typename T>
struct RowBuffer {
  std::vector<T> data;
  long pitch = 0;
  ScanRows rows(long dim) { return {data.data(), dim * pitch, pitch}; }
};

template <typename T>
RowBuffer<T> padded_rows(const ReferenceValues& values, long length, long pitch) {
  RowBuffer<T> buffer;
  buffer.pitch = pitch;
  const size_t count = values.size() / static_cast<size_t>(length);
  buffer.data.assign(count * pitch, from_float<T>(3.0f));
  for (size_t i = 0; i < values.size(); ++i) {
    buffer.data[i / length * pitch + i % length] = from_float<T>(static_cast<float>(values[i]));
  }
  return buffer;
}

template <typename T>
RowBuffer<T> poisoned_rows(long count, long pitch) {
  RowBuffer<T> buffer;
  buffer.pitch = pitch;
  buffer.data.resize(static_cast<size_t>(count * pitch));
  std::memset(static_cast<void*>(buffer.data.data()), 0xff, buffer.data.size() * sizeof(T));
  return buffer;
}

inline std::vector<float> poisoned(size_t count) {
  return std::vector<float>(count, std::numeric_limits<float>::quiet_NaN());
}

// Interleaved pairs for complex values, plain values otherwise.
template <typename T>
std::vector<T> factor_values(const ReferenceComplex& values, bool complex) {
  std::vector<T> result;
  for (const auto& value : values) {
    result.push_back(from_float<T>(static_cast<float>(value.real())));
    if (complex) result.push_back(from_float<T>(static_cast<float>(value.imag())));
  }
  return result;
}

inline ScanShape shape_of(const ReferenceScan& s, int multiprocessors) {
  ScanShape shape;
  shape.batch = s.batch;
  shape.dim = s.dim;
  shape.length = s.length;
  shape.states = static_cast<int>(s.states);
  shape.groups = static_cast<int>(s.groups);
  shape.variable_B = s.variable_B;
  shape.variable_C = s.variable_C;
  shape.multiprocessors = multiprocessors;
  return shape;
}

// The real parts, or every value's real and imaginary part in turn.
inline std::vector<double> parts(const ReferenceComplex& values, bool complex) {
  std::vector<double> result;
  for (const auto& value : values) {
    result.push_back(value.real());
    if (complex) result.push_back(value.imag());
  }
  return result;
}

// What x keeps: (product of all decays, state) of every state after every kScanChunk steps and the
// last.
inline ReferenceComplex saved_states(const ReferenceScan& s, const ReferenceOutput& forward) {
  const long chunks = (s.length + kScanChunk - 1) / kScanChunk;
  ReferenceComplex x;
  for (long row = 0; row < s.batch * s.dim; ++row) {
    double sum = 0;
    for (long t = 0, chunk = 0; chunk < chunks; ++chunk) {
      const long end = std::min((chunk + 1) * kScanChunk, s.length);
      for (; t < end; ++t) {
        double dt = s.delta[row * s.length + t];
        if (!s.delta_bias.empty()) dt += s.delta_bias[row % s.dim];
        sum += s.softplus ? std::log1p(std::exp(dt)) : dt;
      }
      for (long n = 0; n < s.states; ++n) {
        x.push_back(std::exp(sum * s.A[row % s.dim * s.states + n]));
        x.push_back(forward.state[(row * s.length + end - 1) * s.states + n]);
      }
    }
  }
  return x;
}

template <typename T>
struct ScanBuffers {
  RowBuffer<T> u, delta, z, out, out_z;
  std::vector<T> B, C;
  std::vector<float> A, B_fixed, C_fixed, D, bias, x, tile_states;
  ScanParams p{};

  ScanBuffers(const ReferenceScan& s, long pitch, int tile) {
    const long rows = s.batch * s.dim;
    u = padded_rows<T>(s.u, s.length, pitch);
    delta = padded_rows<T>(s.delta, s.length, pitch);
    out = poisoned_rows<T>(rows, pitch);
    A = factor_values<float>(s.A, s.complex);
    D = store_as<float>(s.D);
    bias = store_as<float>(s.delta_bias);
    p.batch = s.batch;
    p.dim = s.dim;
    p.length = s.length;
    p.states = static_cast<int>(s.states);
    p.groups = static_cast<int>(s.groups);
    p.delta_ratio = 1;
    p.softplus = s.softplus;
    p.out_is_float = sizeof(T) == 4;
    p.rows_aligned = pitch * sizeof(T) % 16 == 0;
    p.time_warps = 1;
    p.channels_per_warp = 1;
    p.u = u.rows(s.dim);
    p.delta = delta.rows(s.dim);
    p.out = out.rows(s.dim);
    if (!s.z.empty()) {
      z = padded_rows<T>(s.z, s.length, pitch);
      out_z = poisoned_rows<T>(rows, pitch);
      p.z = z.rows(s.dim);
      p.out_z = out_z.rows(s.dim);
    }
    p.A = A.data();
    p.A_row_stride = s.states;
    p.A_state_stride = 1;
    p.B = factor(s, s.B, s.variable_B, B, B_fixed);
    p.C = factor(s, s.C, s.variable_C, C, C_fixed);
    if (!s.D.empty()) p.D = D.data();
    if (!s.delta_bias.empty()) p.delta_bias = bias.data();
    const long chunks = (s.length + kScanChunk - 1) / kScanChunk;
    x = poisoned(static_cast<size_t>(rows * chunks * s.states * (s.complex ? 4 : 2)));
    p.x = x.data();
    p.tiles = (s.length + tile - 1) / tile;
    tile_states = poisoned(static_cast<size_t>(rows * p.tiles * s.states * (s.complex ? 2 : 1)));
  }

  // What the kernels of one state are told, as their launcher tells it.
  void take_teams(const ScanTeams& teams) {
    p.teams = teams;
    const long pitch = p.u.row_stride;
    for (const int bytes : {8, 16}) {
      const long elements = bytes / static_cast<long>(sizeof(T));
      if (pitch % elements == 0 && p.length % elements == 0) p.teams.access_bytes = bytes;
    }
  }

  // As scan_gradient.cu takes it: four elements at a time.
  void gradient_alignment(long pitch) { p.rows_aligned = pitch % 4 == 0 && p.length % 4 == 0; }

 private:
  static ScanFactor factor(const ReferenceScan& s, const ReferenceComplex& values, bool variable,
                           std::vector<T>& typed, std::vector<float>& fixed) {
    ScanFactor result{};
    result.variable = variable;
    if (variable) {
      typed = factor_values<T>(values, s.complex);
      const long row = s.length * (s.complex ? 2 : 1);
      result.data = typed.data();
      result.state_stride = row;
      result.row_stride = row * s.states;
      result.batch_stride = row * s.states * s.groups;
      result.aligned =
          row * sizeof(T) % 16 == 0 && reinterpret_cast<uintptr_t>(typed.data()) % 16 == 0;
    } else {
      fixed = factor_values<float>(values, s.complex);
      result.data = fixed.data();
      result.row_stride = s.states;
      result.state_stride = 1;
    }
    return result;
  }
};

// |found - wanted| <= relative * max(1, |wanted|) + absolute, where NaN fails.
inline bool close(double found, double wanted, double tolerance) {
  return std::fabs(found - wanted) <= tolerance * (1.0 + std::fabs(wanted));
}

template <typename T>
void expect_rows(const char* name, const RowBuffer<T>& found, const ReferenceValues& wanted,
                 long length, double tolerance) {
  int wrong = 0;
  for (size_t i = 0; i < wanted.size() && wrong < 4; ++i) {
    const double value = to_float(found.data[i / length * found.pitch + i % length]);
    if (close(value, wanted[i], tolerance)) continue;
    ++wrong;
    ADD_FAILURE() << name << " row " << i / length << " step " << i % length << ": " << value
                  << ", reference " << wanted[i];
  }
}

inline void expect_values(const char* name, const std::vector<float>& found,
                          const std::vector<double>& wanted, double tolerance) {
  ASSERT_EQ(found.size(), wanted.size()) << name;
  int wrong = 0;
  for (size_t i = 0; i < wanted.size() && wrong < 4; ++i) {
    if (close(found[i], wanted[i], tolerance)) continue;
    ++wrong;
    ADD_FAILURE() << name << " at " << i << ": " << found[i] << ", reference " << wanted[i];
  }
}

// What the kernel's arithmetic may differ by: float32 sums, and the rounding of the output.
template <typename T>
double output_tolerance() {
  if (std::is_same_v<T, float>) return 3e-5;
  return std::is_same_v<T, F16> ? 1.5e-3 : 1e-2;
}

}  // namespace ssm
