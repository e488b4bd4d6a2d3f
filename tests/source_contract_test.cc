// Contracts of C++ sources: own texts written as extensions write theirs, without one header of
// torch, CUDA or Python.
#include "elf/source_contract.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "elf/source_text.h"

namespace ssmend {
namespace {

class SourceContractTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/ssmend-source-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
    disk_ = open_system_disk();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  // "name(parameters) -> return type [witness]", one line a function.
  std::string contracts() const {
    const Result<Libclang> libclang = Libclang::open("");
    if (!libclang.ok()) return "no libclang";
    const Result<std::vector<ModuleContract>> found =
        read_source_contracts(*disk_, *libclang, folder_);
    if (!found.ok()) return "error: " + found.error().message;
    std::string text;
    for (const ModuleContract& contract : *found) {
      for (const BoundFunction& function : contract.functions) {
        text += function.name + "(";
        for (const std::string& parameter : function.parameters) {
          text += (text.back() == '(' ? "" : ", ") + parameter;
        }
        text += function.arity_known ? ") -> " + function.return_type : "?)";
        text += " [" + function.witness + "]\n";
      }
    }
    return text;
  }

  std::string folder_;
  std::unique_ptr<Disk> disk_;
};

#define SKIP_WITHOUT_LIBCLANG()                                             \
  if (const Result<Libclang> libclang = Libclang::open(""); !libclang.ok()) \
  GTEST_SKIP() << libclang.error().message

TEST_F(SourceContractTest, functions_of_torch_types_without_torch) {
  SKIP_WITHOUT_LIBCLANG();
  write("csrc/conv.h", R"cc(
#pragma once
#include <cuda_bf16.h>
    struct ConvParams {
      int width;
      cudaStream_t stream;
      nv_bfloat16 scale;
    };
  )cc");
  write("csrc/conv.cpp", R"cc(
#include <torch/extension.h>
#include <c10/cuda/CUDAGuard.h>
#include <vector>
#include "conv.h"
#include "conv.h"
#define CHECK(x) TORCH_CHECK(x.is_cuda(), #x)
    template <typename input_t, typename weight_t>
    void conv_cuda(ConvParams& params, cudaStream_t stream);
    at::Tensor conv_fwd(const at::Tensor& x, const c10::optional<at::Tensor>& bias, bool silu) {
      CHECK(x);
      at::cuda::CUDAGuard guard{(char)x.get_device()};
      return torch::empty_like(x);
    }
    std::vector<at::Tensor> conv_bwd(const torch::Tensor& dout, std::optional<at::Tensor>& dx,
                                     std::string mode, at::IntArrayRef shape, int64_t n,
                                     double eps) {
      return {dout};
    }
    void conv_update(at::Tensor& state) {}
    PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
      m.def("conv_fwd", &conv_fwd, "Convolution, forward");
      m.def("bwd", &conv_bwd, py::arg("dout"), py::arg("dx") = 1);
      m.def("conv_update", conv_update, "update").def("again", &conv_update);
    }
  )cc");
  EXPECT_EQ(contracts(),
            "again(at::Tensor&) -> void [source]\n"
            "bwd(at::Tensor const&, std::optional<at::Tensor>&, std::__cxx11::basic_string<char, "
            "std::char_traits<char>, std::allocator<char> >, c10::ArrayRef<long>, long, double) -> "
            "std::vector<at::Tensor, std::allocator<at::Tensor> > [source]\n"
            "conv_fwd(at::Tensor const&, c10::optional<at::Tensor> const&, bool) -> at::Tensor "
            "[source]\n"
            "conv_update(at::Tensor&) -> void [source]\n");
}

TEST_F(SourceContractTest, lambdas_casts_overloads_and_namespaces) {
  SKIP_WITHOUT_LIBCLANG();
  write("bind.cc", R"cc(
    namespace py = pybind11;
    namespace ops {
    int pick(int a);
    at::Tensor pick(at::Tensor a, at::Tensor b);
    extern "C" float plain(float x);
    }  // namespace ops
    PYBIND11_MODULE(ops, mod) {
      mod.doc() = "m.def(\"no\", &no)";
      mod.def("one", py::overload_cast<int>(&ops::pick));
      mod.def("two", (at::Tensor(*)(at::Tensor, at::Tensor)) & ops::pick);
      mod.def("plain", &ops::plain);
      mod.def("with_type", [](at::Tensor a, int b) -> std::tuple<at::Tensor, int> { return {a, b}; });
      mod.def("without", [](const at::Tensor& a, std::pair<int, int> b) { return a; });
      // mod.def("comment", &ops::pick);
#if 0
  mod.def("left_out", &ops::plain);
#endif
    }
  )cc");
  EXPECT_EQ(contracts(),
            "one(int) -> int [source]\n"
            "plain(float) -> float [source]\n"
            "two(at::Tensor, at::Tensor) -> at::Tensor [source]\n"
            "with_type(at::Tensor, int) -> std::tuple<at::Tensor, int> [source]\n"
            "without(at::Tensor const&, std::pair<int, int>) ->  [source]\n");
}

TEST_F(SourceContractTest, types_that_nobody_declared) {
  SKIP_WITHOUT_LIBCLANG();
  write("bind.cu", R"cc(
#include <elsewhere/types.h>
    __global__ void kernel(float* x) { x[threadIdx.x] = 1; }
    void known(elsewhere::deep::Handle h, const Strange& s, elsewhere::List<int> l) {
      kernel<<<1, 1>>>(nullptr);
    }
    void odd(elsewhere::Fixed<3> f, int n) {}
    void mixed(elsewhere::Mixed<int, 3> f, int n) {}
    PYBIND11_MODULE(x, m) {
      m.def("known", &known);
      m.def("odd", &odd);
      m.def("mixed", &mixed);
      m.def("gone", &nowhere);
    }
  )cc");
  EXPECT_EQ(contracts(),
            "gone(?) [source]\n"
            "known(elsewhere::deep::Handle, Strange const&, elsewhere::List<int>) -> void "
            "[source]\n"
            "mixed(elsewhere::Mixed<int, 3> f, int n) -> void [source text]\n"
            "odd(elsewhere::Fixed<3>, int) -> void [source]\n");
}

TEST_F(SourceContractTest, a_folder_without_modules_and_modules_in_two_sources) {
  SKIP_WITHOUT_LIBCLANG();
  EXPECT_EQ(contracts(), "");
  write("a/one.cpp", "void f(int a) {}\nPYBIND11_MODULE(one, m) { m.def(\"f\", &f); }\n");
  write("b/two.cpp", "void f(bool a) {}\nPYBIND11_MODULE(two, m) { m.def(\"f\", &f); }\n");
  EXPECT_EQ(contracts(), "f(int) -> void [source]\nf(bool) -> void [source]\n");
}

TEST_F(SourceContractTest, no_include_reaches_the_compiler) {
  write("in.h", "struct In {};\n");
  write("main.cpp",
        "#include \"in.h\"\n#inc\\\nlude \"/etc/passwd\"\n # /* a\n b */ include </dev/zero>\n"
        "%:include \"/etc/group\"\n#include NAME\n"
        "const char* text = \"// \\\" kept\"; /* gone */ int a = 1'000; // gone\n"
        "const char* raw = R\"(/* kept */)\";\n");
  const Result<SourceFolder> folder = list_sources(*disk_, folder_);
  ASSERT_TRUE(folder.ok());
  const Result<std::string> text = flat_source(*disk_, *folder, folder_ + "/main.cpp");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            "#ifndef SSMEND_INCLUDED_0\n#define SSMEND_INCLUDED_0\nstruct In {};\n#endif\n"
            "const char* text = \"// \\\" kept\";   int a = 1'000; \n"
            "const char* raw = R\"(/* kept */)\";\n");
}

TEST_F(SourceContractTest, headers_that_include_themselves_end) {
  write("a.h", "#include \"b.h\"\n");
  write("b.h", "#include \"a.h\"\n");
  write("main.cpp", "#include \"a.h\"\nPYBIND11_MODULE(m, m) {}\n");
  const Result<SourceFolder> folder = list_sources(*disk_, folder_);
  ASSERT_TRUE(folder.ok());
  const Result<std::string> text = flat_source(*disk_, *folder, folder_ + "/main.cpp");
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.error().message.find("includes go too deep"), std::string::npos);
}

TEST(LibclangTest, a_library_that_is_not_there) {
  const Result<Libclang> found = Libclang::open("/nowhere/libclang.so");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("/nowhere/libclang.so: cannot open"), std::string::npos);
}

}  // namespace
}  // namespace ssmend
