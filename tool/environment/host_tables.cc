#include "environment/host_tables.h"

#include <array>

#include "base/text.h"
#include "base/version.h"

namespace ssmend {
namespace {

struct Row {
  std::string_view key;
  std::string_view value;
};

constexpr std::array<Row, 5> kSocs = {{{"tegra210", "53"},
                                       {"tegra186", "62"},
                                       {"tegra194", "72"},
                                       {"tegra234", "87"},
                                       {"tegra264", "110"}}};

// Glob over the model name that the driver prints; the first match counts, so that "A100" is
// looked for before "A10" and the Ada workstation cards before the older ones of the same number.
constexpr std::array<Row, 34> kGpuNames = {{
    {"*GB300*", "103"},     {"*B300*", "103"},      {"*GB200*", "100"},     {"*B200*", "100"},
    {"*GB10*", "121"},      {"*Blackwell*", "120"}, {"*RTX 50*", "120"},    {"*GH200*", "90"},
    {"*H100*", "90"},       {"*H200*", "90"},       {"*H800*", "90"},       {"*H20*", "90"},
    {"*Ada*", "89"},        {"*RTX 40*", "89"},     {"*NVIDIA L4*", "89"},  {"*NVIDIA L20*", "89"},
    {"*NVIDIA L2*", "89"},  {"*A100*", "80"},       {"*A800*", "80"},       {"*A30*", "80"},
    {"*RTX 30*", "86"},     {"*RTX A*", "86"},      {"*NVIDIA A40*", "86"}, {"*NVIDIA A10*", "86"},
    {"*NVIDIA A16*", "86"}, {"*NVIDIA A2*", "86"},  {"*Tesla T4*", "75"},   {"*RTX 20*", "75"},
    {"*GTX 16*", "75"},     {"*Quadro RTX*", "75"}, {"*TITAN RTX*", "75"},  {"*V100*", "70"},
    {"*TITAN V*", "70"},    {"*P100*", "60"},
}};

// Lowest driver of each CUDA release, newest first (CUDA release notes, table "CUDA Toolkit and
// Minimum Required Driver Version", Linux column).
constexpr std::array<Row, 21> kDrivers = {{
    {"590.44", "13.1"}, {"580.65", "13.0"}, {"575.51", "12.9"}, {"570.26", "12.8"},
    {"565.57", "12.7"}, {"560.28", "12.6"}, {"555.42", "12.5"}, {"550.54", "12.4"},
    {"545.23", "12.3"}, {"535.54", "12.2"}, {"530.30", "12.1"}, {"525.60", "12.0"},
    {"520.61", "11.8"}, {"515.43", "11.7"}, {"510.39", "11.6"}, {"495.29", "11.5"},
    {"470.42", "11.4"}, {"465.19", "11.3"}, {"460.27", "11.2"}, {"455.23", "11.1"},
    {"450.36", "11.0"},
}};

// First L4T release with that CUDA in its driver, newest first.
constexpr std::array<Row, 7> kL4t = {{{"39.0", "13.2"},
                                      {"38.0", "13.0"},
                                      {"36.4", "12.6"},
                                      {"36.0", "12.2"},
                                      {"34.0", "11.4"},
                                      {"32.4", "10.2"},
                                      {"32.0", "10.0"}}};

// R32 to R35 have "tegra", R36 to R38 "nvidia", R39 the folder under /opt.
constexpr std::array<std::string_view, 8> kDriverFolders = {
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/opt/nvidia/l4t-gpu-libs/openrm",
    "/opt/nvidia/l4t-gpu-libs/nvgpu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
};

// Newest PTX ISA that the driver of each CUDA release takes, newest first (PTX ISA manual, "Release
// notes"). Newer PTX fails with error 222, CUDA_ERROR_UNSUPPORTED_PTX_VERSION.
constexpr std::array<Row, 22> kPtx = {
    {{"13.2", "9.2"}, {"13.1", "9.1"}, {"13.0", "9.0"}, {"12.9", "8.8"}, {"12.8", "8.7"},
     {"12.7", "8.6"}, {"12.5", "8.5"}, {"12.4", "8.4"}, {"12.3", "8.3"}, {"12.2", "8.2"},
     {"12.1", "8.1"}, {"12.0", "8.0"}, {"11.8", "7.8"}, {"11.7", "7.7"}, {"11.6", "7.6"},
     {"11.5", "7.5"}, {"11.4", "7.4"}, {"11.3", "7.3"}, {"11.2", "7.2"}, {"11.1", "7.1"},
     {"11.0", "7.0"}, {"10.2", "6.5"}}};

template <size_t kSize>
std::string newest_not_above(const std::array<Row, kSize>& rows, std::string_view version) {
  for (const Row& row : rows) {
    if (compare_dotted(version, row.key) >= 0) return std::string(row.value);
  }
  return {};
}

}  // namespace

std::span<const std::string_view> driver_library_folders() { return kDriverFolders; }

std::string soc_gpu_architecture(std::string_view soc) {
  for (const Row& row : kSocs) {
    if (row.key == soc) return std::string(row.value);
  }
  return {};
}

std::string gpu_name_architecture(std::string_view model_name) {
  for (const Row& row : kGpuNames) {
    if (glob_match(row.key, model_name)) return std::string(row.value);
  }
  return {};
}

std::string driver_cuda_version(std::string_view driver) {
  return newest_not_above(kDrivers, driver);
}

std::string l4t_cuda_version(std::string_view l4t) { return newest_not_above(kL4t, l4t); }

std::string ptx_version_of_cuda(std::string_view cuda) { return newest_not_above(kPtx, cuda); }

}  // namespace ssmend
