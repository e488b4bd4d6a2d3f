// Facts of ELF files built here from text by the system's compiler, and of bytes bent on purpose.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "elf/contract.h"
#include "elf/demangle.h"
#include "elf/elf_facts.h"
#include "elf/fatbin.h"

namespace ssmend {
namespace {

class ElfTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/ssmend-elf-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
    disk_ = open_system_disk();
  }
  void TearDown() override { (void)run("rm -rf " + folder_); }

  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  static bool run(const std::string& command) { return std::system(command.c_str()) == 0; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(at(name), std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(at(name), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // A shared library of one C text.
  void build(const std::string& name, const std::string& text, const std::string& options) const {
    write(name + ".c", text);
    ASSERT_TRUE(run("cd " + folder_ + " && gcc -shared -fPIC -nostdlib -o " + name + " " + name +
                    ".c " + options));
  }
  ElfFacts facts(const std::string& name) const {
    return read_elf(*disk_, at(name), {.symbols = true});
  }

  std::string folder_;
  std::unique_ptr<Disk> disk_;
};

const ElfSymbol* find(const std::vector<ElfSymbol>& symbols, std::string_view name) {
  for (const ElfSymbol& symbol : symbols) {
    if (symbol.name == name) return &symbol;
  }
  return nullptr;
}

TEST_F(ElfTest, reads_what_the_linker_wrote) {
  build("libdep.so", "int dep(void) { return 1; }\n", "-Wl,-soname,libdep.so.3");
  build("libx.so",
        "int dep(void); int x(void) { return dep(); }\n__attribute__((weak)) int y(void);\n"
        "int z(void) { return y ? y() : 0; }\n",
        "libdep.so -Wl,-soname,libx.so.1,--enable-new-dtags,-rpath,'$ORIGIN/../lib'");
  const ElfFacts read = facts("libx.so");
  EXPECT_EQ(read.state, ElfState::kOk) << read.problem;
  EXPECT_EQ(read.soname, "libx.so.1");
  EXPECT_EQ(read.needed, std::vector<std::string>{"libdep.so.3"});
  EXPECT_EQ(read.runpath, "$ORIGIN/../lib");
  EXPECT_TRUE(read.has_runpath);
  EXPECT_FALSE(read.has_rpath);
  ASSERT_NE(find(read.undefined, "dep"), nullptr);
  EXPECT_FALSE(find(read.undefined, "dep")->weak);
  ASSERT_NE(find(read.undefined, "y"), nullptr);
  EXPECT_TRUE(find(read.undefined, "y")->weak);
  ASSERT_NE(find(read.defined, "x"), nullptr);
  EXPECT_EQ(find(read.defined, "dep"), nullptr);
  EXPECT_TRUE(read.has_gnu_stack);
}

TEST_F(ElfTest, section_headers_are_not_needed) {
  build("libx.so", "int dep(void); int x(void) { return dep(); }\n", "-Wl,-soname,libx.so.1");
  std::string bytes = read("libx.so");
  std::memset(&bytes[40], 0, 8);  // e_shoff
  std::memset(&bytes[58], 0, 6);  // e_shentsize, e_shnum, e_shstrndx
  write("bare.so", bytes);
  const ElfFacts whole = facts("libx.so");
  const ElfFacts bare = facts("bare.so");
  EXPECT_EQ(bare.soname, "libx.so.1");
  EXPECT_EQ(bare.defined.size(), whole.defined.size());
  EXPECT_EQ(bare.undefined.size(), whole.undefined.size());
}

TEST_F(ElfTest, versions_of_symbols) {
  write("map", "V1 { global: old; }; V2 { global: fresh; local: *; } V1;\n");
  build("libv.so", "int old(void) { return 1; } int fresh(void) { return 2; }\n",
        "-Wl,--version-script=map");
  build("libu.so", "int fresh(void); int use(void) { return fresh(); }\n", "libv.so");
  const ElfFacts defines = facts("libv.so");
  EXPECT_EQ(defines.version_definitions, (std::vector<std::string>{"V1", "V2"}));
  EXPECT_EQ(find(defines.defined, "fresh")->version, "V2");
  const ElfFacts uses = facts("libu.so");
  ASSERT_EQ(uses.version_needs.size(), 1U);
  EXPECT_EQ(uses.version_needs[0].file, "libv.so");
  EXPECT_EQ(uses.version_needs[0].items[0].version, "V2");
  EXPECT_EQ(find(uses.undefined, "fresh")->version, "V2");
}

TEST_F(ElfTest, states_of_bad_files) {
  build("libx.so", "int x(void) { return 1; } int data[4000] = {1};\n", "");
  const std::string bytes = read("libx.so");
  write("empty.so", "");
  write("text.so", std::string(100, 'x'));
  write("short.so", bytes.substr(0, 40));
  write("cut.so", bytes.substr(0, bytes.size() / 4));
  EXPECT_EQ(facts("empty.so").state, ElfState::kTooShort);
  EXPECT_EQ(facts("text.so").state, ElfState::kNotElf);
  EXPECT_EQ(facts("short.so").state, ElfState::kTooShort);
  EXPECT_EQ(facts("cut.so").state, ElfState::kTooShort);
  EXPECT_EQ(facts("absent.so").state, ElfState::kUnreadable);
  EXPECT_NE(facts("cut.so").problem.find("segment ends at 0x"), std::string::npos);
}

TEST_F(ElfTest, every_byte_of_the_head_may_lie) {
  build("libx.so", "int dep(void); int x(void) { return dep(); }\n", "-Wl,-soname,libx.so.1");
  const std::string bytes = read("libx.so");
  size_t readable = 0;
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 1024); ++i) {
    std::string bent = bytes;
    bent[i] = static_cast<char>(0xff);
    write("bent.so", bent);
    readable += facts("bent.so").state == ElfState::kOk ? 1 : 0;
  }
  // Most bytes there are names, hashes and padding: the file stays readable.
  EXPECT_GT(readable, 500U);
}

TEST(Demangle, functions_and_types) {
  const FunctionName name = parse_function_name("_ZN3c106detail14torchCheckFailEPKcS2_jS2_");
  EXPECT_EQ(name.context, "c10::detail");
  EXPECT_EQ(name.base, "torchCheckFail");
  EXPECT_EQ(name.parameters, (std::vector<std::string>{"char const*", "char const*", "unsigned int",
                                                       "char const*"}));
  EXPECT_EQ(demangle_type("PFvRKN2at6TensorEbE"), "void (*)(at::Tensor const&, bool)");
  EXPECT_EQ(demangle("printf"), "");
  EXPECT_EQ(split_parameters("(A<B, C> const&, void (*)(int, int), {x})").size(), 3U);
  EXPECT_TRUE(split_parameters("()").empty());
}

// One container with one entry, as nvcc lays them out.
std::string container(uint16_t kind, uint32_t arch, uint64_t flags, const std::string& payload) {
  std::string entry(64, '\0');
  const auto put = [&entry](size_t at, uint64_t value, size_t width) {
    std::memcpy(&entry[at], &value, width);
  };
  put(0, kind, 2);
  put(4, 64, 4);
  put(8, payload.size(), 8);
  put(24, 4, 2);
  put(26, 8, 2);
  put(28, arch, 4);
  put(40, flags, 8);
  std::string whole("\x50\xed\x55\xba\x01\x00\x10\x00", 8);
  const uint64_t size = entry.size() + payload.size();
  whole.append(reinterpret_cast<const char*>(&size), 8);
  return whole + entry + payload;
}

TEST(FatBinary, images_of_several_containers) {
  const std::string bytes = container(2, 87, 0x8001, std::string(24, 'x')) + std::string(16, '\0') +
                            container(1, 90, 0x100001, ".entry a(\n.entry b(     ") +
                            container(2, 100, 0x200000 | 0x2000, std::string(8, 'y'));
  FatBinary result;
  parse_fat_containers(bytes, result);
  EXPECT_EQ(result.problem, "");
  EXPECT_EQ(result.containers, 3U);
  ASSERT_EQ(result.images.size(), 3U);
  EXPECT_EQ(gpu_image_name(result.images[0]), "sm_87");
  EXPECT_EQ(result.images[0].compression, GpuCompression::kZstd);
  EXPECT_EQ(result.images[0].kernels, -1);
  EXPECT_EQ(gpu_image_name(result.images[1]), "compute_90a");
  EXPECT_EQ(result.images[1].kernels, 2);
  EXPECT_EQ(gpu_image_name(result.images[2]), "sm_100f");
  EXPECT_EQ(result.images[2].compression, GpuCompression::kLz4);
}

TEST(FatBinary, a_container_that_claims_too_much_ends_the_list) {
  std::string bytes = container(2, 87, 0, std::string(24, 'x'));
  bytes[8] = '\x7f';
  FatBinary result;
  parse_fat_containers(bytes, result);
  EXPECT_TRUE(result.images.empty());
  EXPECT_NE(result.problem, "");
}

constexpr const char* kModule = R"(
#include <pybind11/pybind11.h>
namespace at { struct Tensor { int x; }; }
namespace py = pybind11;
at::Tensor conv_fwd(const at::Tensor& x, const at::Tensor& w, bool silu) { return x; }
void conv_bwd(const at::Tensor& x, at::Tensor& dx, int a, double b, bool silu) { dx = x; }
void selective_scan_fwd(const at::Tensor& u, const at::Tensor& d) { }
PYBIND11_MODULE(probe, m) {
  py::class_<at::Tensor>(m, "Tensor");
  m.def("conv_fwd", &conv_fwd, SSMEND_TEST_DOC);
  m.def("conv_bwd", &conv_bwd, "backward");
  m.def("fwd", &selective_scan_fwd, "scan forward");
}
)";

class ContractTest : public ElfTest {};

TEST_F(ContractTest, default_hidden_and_stripped_builds_give_one_contract) {
  if (!run("python3 -m pip install -q --target " + at("site") +
           " pybind11==2.13.6 >/dev/null 2>&1")) {
    GTEST_SKIP() << "pybind11 cannot be installed here";
  }
  write("probe.cc", kModule);
  const std::string compile =
      "cd " + folder_ +
      " && g++ -w -std=c++17 -shared -fPIC -Isite/pybind11/include "
      "$(python3 -c 'import sysconfig; print(\"-I\" + sysconfig.get_path(\"include\"))') probe.cc ";
  // A documentation text of one word could be a name; without symbols nothing tells it from one
  // (here a linker even merges it into the tail of "scan forward"), so that build has two words.
  const std::pair<const char*, const char*> builds[] = {
      {"default.so", "-O2 '-DSSMEND_TEST_DOC=\"forward\"'"},
      {"hidden.so", "-O2 -fvisibility=hidden '-DSSMEND_TEST_DOC=\"forward\"'"},
      {"stripped.so", "-O3 -fvisibility=hidden -s '-DSSMEND_TEST_DOC=\"forward pass\"'"}};
  for (const auto& [name, options] : builds) {
    if (!run(compile + options + " -o " + name)) GTEST_SKIP() << "no Python headers";
    const Result<ModuleContract> contract = read_contract(*disk_, at(name));
    ASSERT_TRUE(contract.ok()) << contract.error().message;
    ASSERT_EQ(contract->functions.size(), 3U) << name;
    const BoundFunction& bwd = contract->functions[0];
    EXPECT_EQ(bwd.name, "conv_bwd");
    EXPECT_EQ(bwd.return_type, "void") << name;
    EXPECT_EQ(bwd.parameters, (std::vector<std::string>{"at::Tensor const&", "at::Tensor&", "int",
                                                        "double", "bool"}));
    EXPECT_EQ(contract->functions[1].name, "conv_fwd");
    EXPECT_EQ(contract->functions[1].return_type, "at::Tensor") << name;
    EXPECT_EQ(contract->functions[1].arity(), 3U);
    EXPECT_EQ(contract->functions[2].name, "fwd");
    EXPECT_EQ(contract->functions[2].arity(), 2U);
  }
}

}  // namespace
}  // namespace ssmend
