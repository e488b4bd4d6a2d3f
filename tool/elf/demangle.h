// C++ names (Itanium C++ ABI) taken apart, over LLVM's demangler.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

// "c10::Device::validate()"; empty where `mangled` is no C++ name.
std::string demangle(std::string_view mangled);

struct FunctionName {
  bool valid = false;                   // false: no mangled function name
  std::string context;                  // "c10::detail"; empty at global scope
  std::string base;                     // "torchCheckFail", without template arguments
  std::vector<std::string> parameters;  // types; none for "(void)"
};
FunctionName parse_function_name(std::string_view mangled);

// The type a mangled type name stands for, as typeid(T).name() spells it:
// "PFvRKN2at6TensorEbE" -> "void (*)(at::Tensor const&, bool)". Empty where it is none.
std::string demangle_type(std::string_view mangled_type);

// "(A const&, B<C, D>, bool)" -> its three members; commas inside brackets do not split. The outer
// parentheses are optional.
std::vector<std::string> split_parameters(std::string_view list);

}  // namespace ssmend
