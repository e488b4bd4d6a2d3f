#include "verify/native_values.h"

#include <cmath>
#include <cstring>

#include "ssm_kernels.h"

namespace ssmend {
namespace {

// IEEE binary16 from the nearest float: ties to even, overflow to infinity.
uint16_t half_bits(float value) {
  uint32_t bits = 0;
  memcpy(&bits, &value, 4);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(value)) return sign | 0x7e00;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= 65520.0) return sign | 0x7c00;
  if (magnitude < std::ldexp(1.0, -14)) {
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
  }
  int exponent = 0;
  const double fraction = std::frexp(magnitude, &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<uint32_t>(std::nearbyint(std::ldexp(fraction, 11)));  // <= 2048
  // A mantissa that rounds up to 2048 carries into the exponent by the addition.
  return sign |
         static_cast<uint16_t>((static_cast<uint32_t>(exponent + 14) << 10) + mantissa - 1024);
}

double half_of(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

// Every half's value: a conversion by arithmetic was a tenth of the check's time.
double half_value(uint16_t bits) {
  static const std::vector<double> table = [] {
    std::vector<double> values;
    for (int i = 0; i < 0x10000; ++i) values.push_back(half_of(static_cast<uint16_t>(i)));
    return values;
  }();
  return table[bits];
}

uint16_t bfloat_bits(float value) {
  uint32_t bits = 0;
  memcpy(&bits, &value, 4);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

size_t element_bytes(int dtype) {
  return dtype == SSM_COMPLEX64 ? 8 : dtype == SSM_FLOAT16 || dtype == SSM_BFLOAT16 ? 2 : 4;
}

void put_value(int dtype, double value, unsigned char* to) {
  const auto single = static_cast<float>(value);
  if (dtype == SSM_INT32) {
    const auto integer = static_cast<int32_t>(value);
    memcpy(to, &integer, 4);
  } else if (dtype == SSM_FLOAT16 || dtype == SSM_BFLOAT16) {
    const uint16_t bits = dtype == SSM_FLOAT16 ? half_bits(single) : bfloat_bits(single);
    memcpy(to, &bits, 2);
  } else {
    memcpy(to, &single, 4);
  }
}

double get_value(int dtype, const unsigned char* from) {
  if (dtype == SSM_INT32) {
    int32_t integer = 0;
    memcpy(&integer, from, 4);
    return integer;
  }
  if (dtype == SSM_FLOAT16 || dtype == SSM_BFLOAT16) {
    uint16_t bits = 0;
    memcpy(&bits, from, 2);
    if (dtype == SSM_FLOAT16) return half_value(bits);
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float single = 0;
    memcpy(&single, &wide, 4);
    return single;
  }
  float single = 0;
  memcpy(&single, from, 4);
  return single;
}

std::vector<double> rounded_to(int dtype, std::vector<double> values) {
  unsigned char bytes[8];
  for (double& value : values) {
    put_value(dtype, value, bytes);
    value = get_value(dtype, bytes);
  }
  return values;
}

const char* native_dtype_name(int dtype) {
  return dtype == SSM_FLOAT16 ? "float16" : dtype == SSM_BFLOAT16 ? "bfloat16" : "float32";
}

}  // namespace ssmend
