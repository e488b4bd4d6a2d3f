// Numbers as the GPU holds them: float32, float16, bfloat16 and int32 from and to doubles.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ssmend {

size_t element_bytes(int dtype);  // of an ssm_dtype

// One number (of a complex64: one of its parts) at an address of any alignment.
void put_value(int dtype, double value, unsigned char* to);
double get_value(int dtype, const unsigned char* from);

// An ssm_dtype applied to each value: what the kernels will see.
std::vector<double> rounded_to(int dtype, std::vector<double> values);
const char* native_dtype_name(int dtype);

}  // namespace ssmend
