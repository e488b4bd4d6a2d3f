#include "elf/source_stubs.h"

#include <algorithm>
#include <string_view>

#include "fmt/format.h"

namespace ssmend {

// std::optional and std::string are spelled so that their mangled names are libstdc++'s. c10's own
// optional is a type of its own: in the releases of torch whose sources name it, it was.
const char kSourcePrelude[] = R"(
#define TORCH_VERSION_MAJOR 2
#define TORCH_VERSION_MINOR 11
#define TORCH_API
#define TORCH_CUDA_CU_API
#define C10_API
#define C10_EXPORT
#define C10_CUDA_API
#define C10_HOST_DEVICE
#define PYBIND11_EXPORT
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __shared__
#define __constant__
#define __managed__
#define __align__(...)
#define __launch_bounds__(...)
#define __grid_constant__
#define NULL 0
typedef unsigned long size_t;
typedef long ssize_t;
typedef long ptrdiff_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef unsigned int uint;
struct CUstream_st;
typedef CUstream_st* cudaStream_t;
namespace std {
using ::size_t;
using ::ptrdiff_t;
using ::int8_t;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::uint8_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using nullptr_t = decltype(nullptr);
template <class T> class allocator {};
template <class T> struct char_traits {};
template <class T> struct less {};
template <class T> struct equal_to {};
template <class T> struct hash {};
template <class T> struct default_delete {};
inline namespace __cxx11 {
template <class C, class T = char_traits<C>, class A = allocator<C>> class basic_string {};
typedef basic_string<char> string;
}
template <class C, class T = char_traits<C>> class basic_string_view {};
typedef basic_string_view<char> string_view;
template <class T, class A = allocator<T>> class vector {};
template <class T, size_t N> struct array {};
template <class T> class optional {};
template <class T> class initializer_list {};
template <class A, class B> struct pair {};
template <class... T> class tuple {};
template <class... T> class variant {};
template <class T> class shared_ptr {};
template <class T> class complex {};
template <class T, class D = default_delete<T>> class unique_ptr {};
template <class T> class function {};
template <class K, class V, class C = less<K>, class A = allocator<pair<const K, V>>> class map {};
template <class K, class C = less<K>, class A = allocator<K>> class set {};
template <class K, class V, class H = hash<K>, class E = equal_to<K>,
          class A = allocator<pair<const K, V>>> class unordered_map {};
}
namespace c10 {
enum class ScalarType : int8_t { Undefined };
enum class DeviceType : int8_t { CPU };
enum class MemoryFormat : int8_t { Contiguous };
enum class Layout : int8_t { Strided };
struct Device {};
class Scalar {};
class SymInt {};
class IValue {};
struct TensorOptions {};
struct Half {};
struct BFloat16 {};
struct Stream {};
template <class T> class complex {};
template <class T> class optional {};
template <class T> class ArrayRef {};
template <class T> class List {};
template <class K, class V> class Dict {};
template <class T> class intrusive_ptr {};
using IntArrayRef = ArrayRef<int64_t>;
using SymIntArrayRef = ArrayRef<SymInt>;
using string_view = std::string_view;
namespace cuda {}
}
namespace at {
using namespace c10;
class Tensor {};
class Generator {};
template <class T> class OptionalArrayRef {};
using TensorList = ArrayRef<Tensor>;
namespace cuda {}
namespace indexing {}
}
namespace torch {
using namespace at;
using c10::Device;
using c10::optional;
using Dtype = c10::ScalarType;
namespace indexing {}
namespace autograd { using variable_list = std::vector<at::Tensor>; }
template <class R, class... A> auto wrap_pybind_function(R (*f)(A...)) -> R (*)(A...);
template <class R, class... A> auto wrap_pybind_function_no_gil(R (*f)(A...)) -> R (*)(A...);
}
namespace pybind11 {
class handle {};
class object : public handle {};
class module_ : public object {};
using module = module_;
class none : public object {};
class str : public object {};
class bytes : public object {};
class int_ : public object {};
class float_ : public object {};
class bool_ : public object {};
class tuple : public object {};
class list : public object {};
class dict : public object {};
class set : public object {};
class function : public object {};
class capsule : public object {};
class buffer : public object {};
class args : public tuple {};
class kwargs : public dict {};
class array : public buffer {};
template <class T, int F = 0> class array_t : public array {};
template <class... A> struct overload_cast_type {
  template <class R> auto operator()(R (*f)(A...)) const -> R (*)(A...);
};
template <class... A> constexpr overload_cast_type<A...> overload_cast{};
namespace detail {}
namespace literals {}
}
struct ssmend_not_known;
#define PYBIND11_MODULE(name, variable, ...) static void ssmend_module(pybind11::module_& variable)
)";

namespace {

struct Missing {
  std::string scope;  // "at::indexing", empty: global
  std::string name;
  bool is_template = false;
  bool takes_values = false;  // a template, of numbers: "Fixed<3>"
  bool is_namespace = false;
};

// The text between the quotes that follow `words`.
std::string quoted_after(std::string_view text, std::string_view words) {
  const size_t at = text.find(words);
  if (at == std::string_view::npos) return {};
  const size_t begin = at + words.size();
  const size_t end = text.find('\'', begin);
  return end == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin));
}

bool is_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == ':';
  });
}

// The wording is the same from LLVM 6 to 22; "; did you mean ..." may follow.
Missing read_complaint(const ParsedText::Complaint& error, std::string_view text) {
  Missing missing;
  missing.scope = quoted_after(error.text, "in namespace '");
  for (const char* words : {"no type named '", "unknown type name '"}) {
    if (missing.name.empty()) missing.name = quoted_after(error.text, words);
  }
  if (missing.name.empty()) {
    missing.name = quoted_after(error.text, "no template named '");
    missing.is_template = !missing.name.empty();
  }
  // What stands before a "::" is a namespace far more often than a class.
  if (missing.name.empty()) {
    missing.name = quoted_after(error.text, "use of undeclared identifier '");
    if (missing.name.empty()) missing.name = quoted_after(error.text, "no member named '");
    missing.is_namespace = !missing.name.empty();
  }
  if (!is_name(missing.name) || (!missing.scope.empty() && !is_name(missing.scope))) return {};
  const size_t behind = error.at + missing.name.size();
  if (behind + 1 < text.size() && text[behind] == '<') {
    missing.is_template = true;
    missing.takes_values = text[behind + 1] >= '0' && text[behind + 1] <= '9';
  }
  return missing;
}

}  // namespace

std::string stubs_for(const std::vector<ParsedText::Complaint>& errors, std::string_view text,
                      std::vector<std::string>* known) {
  std::string stubs;
  for (const ParsedText::Complaint& error : errors) {
    const Missing missing = read_complaint(error, text);
    if (missing.name.empty()) continue;
    const char* form = "class {} {{}};";
    if (missing.is_namespace) form = "namespace {} {{}}";
    if (missing.is_template) form = "template <class...> class {} {{}};";
    if (missing.takes_values) form = "template <auto...> class {} {{}};";
    std::string declaration = fmt::format(fmt::runtime(form), missing.name);
    if (!missing.scope.empty()) {
      declaration = fmt::format("namespace {} {{ {} }}", missing.scope, declaration);
    }
    if (std::find(known->begin(), known->end(), declaration) != known->end()) continue;
    known->push_back(declaration);
    stubs += declaration + "\n";
  }
  return stubs;
}

}  // namespace ssmend
