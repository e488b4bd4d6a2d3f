// What is known of hosts, as data: SoC -> GPU architecture, GPU names, which CUDA a driver or an
// L4T release speaks. Sources: NVIDIA's CUDA release notes (driver table), the L4T release pages,
// the `nvidia,tegraNNN` bindings of the Linux device trees.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ssmend {

// "tegra234" -> "87"; empty for an unknown one.
std::string soc_gpu_architecture(std::string_view soc);
// "NVIDIA H100 80GB HBM3" -> "90"; empty for an unknown one.
std::string gpu_name_architecture(std::string_view model_name);
// Highest CUDA that a desktop or server driver speaks: "580.159.04" -> "13.0"; empty below 450.
std::string driver_cuda_version(std::string_view driver);
// Where libcuda.so.1 lies, most particular place first: L4T's folders, then the distributions'.
std::span<const std::string_view> driver_library_folders();
// CUDA of the driver in an L4T release: "36.4.3" -> "12.6"; empty for unknown ones.
std::string l4t_cuda_version(std::string_view l4t);
// Newest PTX ISA that a driver of that CUDA takes: "12.6" -> "8.5"; empty below 10.2.
std::string ptx_version_of_cuda(std::string_view cuda);

}  // namespace ssmend
