#include <cstdlib>
#include <filesystem>
#include <map>
#include <system_error>

#include "compile/compile.h"

namespace ssm {
namespace {

namespace fs = std::filesystem;

// libnvrtc.so.11.2, libnvrtc.so.13; not libnvrtc-builtins and not the .alt variant.
bool is_nvrtc(const std::string& name) { return name.rfind("libnvrtc.so", 0) == 0; }

void look_in(const fs::path& folder, std::map<std::string, std::string>* found) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!is_nvrtc(entry.path().filename().string())) continue;
    const fs::path real = fs::canonical(entry.path(), error);
    if (!error) found->emplace(real.string(), entry.path().string());
  }
}

}  // namespace

std::vector<std::string> find_nvrtc(const std::vector<std::string>& site_packages) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value == nullptr) continue;
    folders.emplace_back(fs::path(value) / "lib64");
    folders.emplace_back(fs::path(value) / "lib");
  }
  for (const auto& entry : fs::directory_iterator("/usr/local", error)) {
    if (entry.path().filename().string().rfind("cuda", 0) != 0) continue;
    folders.push_back(entry.path() / "lib64");
    folders.push_back(entry.path() / "targets/aarch64-linux/lib");
    folders.push_back(entry.path() / "targets/sbsa-linux/lib");
  }
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"}) {
    folders.emplace_back(folder);
  }
  for (const std::string& site : site_packages) {
    folders.push_back(fs::path(site) / "nvidia/cuda_nvrtc/lib");  // cu11 and cu12 packages
    folders.push_back(fs::path(site) / "nvidia/cu13/lib");        // cu13 package
  }
  std::map<std::string, std::string> found;
  for (const fs::path& folder : folders) look_in(folder, &found);
  std::multimap<int, std::string, std::greater<int>> by_version;
  for (const auto& [real, path] : found) {
    std::string reason;
    const int version = nvrtc_version(real, &reason);
    if (version != 0) by_version.emplace(version, real);
  }
  std::vector<std::string> result;
  for (const auto& [version, path] : by_version) result.push_back(path);
  return result;
}

}  // namespace ssm
