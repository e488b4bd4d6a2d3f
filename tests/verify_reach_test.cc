// That the native check reaches every kernel of the built library: its cases run with the library's
// own launchers over a driver that runs nothing (emulate/driver.c) and writes down what was
// launched. A new kernel without a case fails here. The driver's environment variables say how many
// multiprocessors the GPU has, which decides what many launchers choose.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "ssm_kernels.h"
#include "verify/native_check.h"

namespace ssmend {
namespace {

constexpr char kLibrary[] = SSMEND_KERNEL_LIBRARY;
constexpr int kSm = 90;
constexpr int kDriverVersion = 13000;

template <typename Function>
Function* library_function(const char* name) {
  static void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

// The kernels of an image by the names of their sections, ".text.NAME".
std::set<std::string> kernels_of(const ssm_image& image) {
  constexpr char kMark[] = "\0.text.";
  constexpr size_t kMarkBytes = sizeof kMark - 1;
  const char* const end = static_cast<const char*>(image.data) + image.size_bytes;
  std::set<std::string> kernels;
  for (const char* at = static_cast<const char*>(image.data);;) {
    at = std::search(at, end, kMark, kMark + kMarkBytes);
    if (at == end) return kernels;
    at += kMarkBytes;
    kernels.emplace(at, std::find(at, end, '\0'));
  }
}

// Kernel to unit, of the images that the library takes for this GPU; empty where it has none.
std::map<std::string, std::string> library_kernels() {
  auto count = library_function<decltype(ssm_image_count)>("ssm_image_count");
  auto info = library_function<decltype(ssm_image_info)>("ssm_image_info");
  auto choose = library_function<decltype(ssm_choose_image)>("ssm_choose_image");
  std::map<std::string, std::string> kernels;
  for (int i = 0; i < count(); ++i) {
    ssm_image image = {};
    int32_t chosen = 0;
    char reason[512];
    if (info(i, &image) != SSM_OK) continue;
    if (choose(image.unit, kSm, kDriverVersion, &chosen, reason, sizeof reason) != SSM_OK) continue;
    if (chosen != i || image.kind != SSM_CUBIN) continue;
    for (const std::string& kernel : kernels_of(image)) kernels[kernel] = image.unit;
  }
  return kernels;
}

std::set<std::string> read_launches(const std::string& path) {
  std::set<std::string> names;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) names.insert(line.substr(0, line.find(' ')));
  return names;
}

TEST(NativeCases, reach_every_kernel_of_the_library) {
  const char* const launches = getenv("STAND_IN_LAUNCHES");
  ASSERT_NE(launches, nullptr);
  const std::map<std::string, std::string> kernels = library_kernels();
  if (kernels.empty()) GTEST_SKIP() << "the library was built without sm_90 images";
  NativeSession::Opened opened = NativeSession::Opened::kNoGpu;
  std::string reason;
  const std::unique_ptr<NativeSession> session = NativeSession::open(kLibrary, &opened, &reason);
  ASSERT_NE(session, nullptr) << reason;
  std::set<std::string> reached;
  for (const NativeCase& one : native_cases()) {
    std::ofstream(launches, std::ios::trunc).close();
    CheckOutcome outcome;
    outcome.state = CheckOutcome::State::kOk;
    NativeComparison comparison(&outcome);
    one.run(*session, comparison);
    // Nothing computes here, so that numbers are wrong, but nothing may be refused.
    EXPECT_EQ(session->error(), "") << one.name << " " << one.case_text;
    session->clear_error();
    session->release_tensors();
    for (const std::string& kernel : read_launches(launches)) {
      ASSERT_TRUE(kernels.count(kernel) != 0) << kernel << " is in no image";
      EXPECT_TRUE(serves(kernels.at(kernel), one.name)) << kernel << " ran in " << one.name;
      reached.insert(kernel);
    }
  }
  for (const auto& [kernel, unit] : kernels) {
    EXPECT_TRUE(reached.count(kernel) != 0) << unit << ": no case reaches " << kernel;
  }
}

TEST(KernelLibrary, has_kernels_of_every_unit) {
  std::set<std::string> units;
  for (const auto& [kernel, unit] : library_kernels()) units.insert(unit);
  if (units.empty()) GTEST_SKIP() << "the library was built without sm_90 images";
  std::ifstream table(std::string(SSMEND_SOURCE_DIR) + "/kernels/units.txt");
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t begin = line.rfind('/') + 1;
    const std::string unit = line.substr(begin, line.rfind('.') - begin);
    EXPECT_EQ(units.count(unit), 1u) << unit;
  }
}

TEST(KernelLibrary, loads_all_its_units_in_one_process) {
  if (library_kernels().empty()) GTEST_SKIP() << "the library was built without sm_90 images";
  auto prepare = library_function<decltype(ssm_prepare)>("ssm_prepare");
  auto last_error = library_function<decltype(ssm_last_error)>("ssm_last_error");
  EXPECT_EQ(prepare(0), SSM_OK) << last_error();
}

}  // namespace
}  // namespace ssmend
