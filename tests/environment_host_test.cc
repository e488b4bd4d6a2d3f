#include "environment/host.h"

#include <gtest/gtest.h>

#include "environment/host_tables.h"
#include "environment_tree.h"

namespace ssmend {
namespace {

Probe l4t_of(const std::string& text) {
  TextTree tree;
  tree.write("etc/nv_tegra_release", text);
  return probe_host(*tree.as_root()).l4t;
}

TEST(Host, l4t_release_in_its_spellings) {
  EXPECT_EQ(l4t_of("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n").value,
            "36.4.3");
  EXPECT_EQ(l4t_of("R35 (release), REVISION: 5.0, GCID: 1, BOARD: t186ref, EABI: aarch64").value,
            "35.5.0");
  EXPECT_EQ(l4t_of("# R32 (release), REVISION: 7.1").value, "32.7.1");
  EXPECT_FALSE(l4t_of("RELEASE unknown\n").known());
  EXPECT_FALSE(l4t_of("").known());
}

TEST(Host, l4t_from_the_package_where_the_file_is_a_folder) {
  TextTree tree;
  tree.write("etc/nv_tegra_release/x", "");
  tree.write("var/lib/dpkg/status",
             "Package: nvidia-l4t-core-extra\nStatus: install ok installed\nVersion: 1\n\n"
             "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: "
             "36.4.3-20250107174145\n\nPackage: z\nVersion: 2\n");
  const Probe probe = probe_host(*tree.as_root()).l4t;
  EXPECT_EQ(probe.value, "36.4.3");
  EXPECT_EQ(probe.source, "dpkg: nvidia-l4t-core 36.4.3-20250107174145");
}

TEST(Host, removed_package_is_no_release) {
  TextTree tree;
  tree.write("var/lib/dpkg/status",
             "Package: nvidia-l4t-core\nStatus: deinstall ok config-files\nVersion: 36.4.3-1\n");
  const Probe probe = probe_host(*tree.as_root()).l4t;
  EXPECT_FALSE(probe.known());
  EXPECT_EQ(probe.source, "no /etc/nv_tegra_release, no nvidia-l4t-core package");
}

TEST(Host, a_mounted_root_says_nothing_of_gpu_and_driver) {
  TextTree tree;
  tree.write("proc/device-tree/compatible", std::string("nvidia,p3737\0nvidia,tegra234\0", 29));
  tree.write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX  580.1.1");
  const HostFacts host = probe_host(*tree.as_root());
  EXPECT_FALSE(host.soc.known());
  EXPECT_FALSE(host.gpu_sm.known());
  EXPECT_FALSE(host.driver.known());
}

TEST(Host, distribution_and_missing_loader) {
  TextTree tree;
  tree.write("etc/os-release", "NAME=x\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n");
  const HostFacts host = probe_host(*tree.as_root());
  EXPECT_EQ(host.distribution.value, "Ubuntu 22.04.5 LTS");
  EXPECT_FALSE(host.loader.known());
  EXPECT_FALSE(host.glibc.known());
}

// An ELF header of an aarch64 library without program headers, then the text.
std::string small_loader(const std::string& text) {
  std::string bytes(64, '\0');
  bytes.replace(0, 7,
                "\x7f"
                "ELF\x02\x01\x01");
  bytes[18] = '\xb7';
  return bytes + text;
}

TEST(Host, glibc_is_read_from_the_loader_else_from_libc) {
  TextTree tree;
  tree.write("lib/ld-linux-aarch64.so.1",
             small_loader("ld.so (Ubuntu GLIBC 2.35-0ubuntu3) stable release version 2.35.\n"));
  HostFacts host = probe_host(*tree.as_root());
  EXPECT_EQ(host.glibc.value, "2.35");
  EXPECT_EQ(host.machine.value, "aarch64");
  tree.write("lib/ld-linux-aarch64.so.1", small_loader("older loaders say nothing"));
  tree.write("lib/libc.so.6", small_loader("GNU C Library stable release version 2.31.\n"));
  host = probe_host(*tree.as_root());
  EXPECT_EQ(host.glibc.value, "2.31");
  EXPECT_EQ(host.glibc.source, "/lib/libc.so.6");
}

TEST(HostTables, architectures_and_cuda_versions) {
  EXPECT_EQ(soc_gpu_architecture("tegra234"), "87");
  EXPECT_EQ(soc_gpu_architecture("tegra264"), "110");
  EXPECT_EQ(soc_gpu_architecture("tegra999"), "");
  EXPECT_EQ(gpu_name_architecture("NVIDIA H100 80GB HBM3"), "90");
  EXPECT_EQ(gpu_name_architecture("NVIDIA A100-SXM4-80GB"), "80");
  EXPECT_EQ(gpu_name_architecture("NVIDIA A10G"), "86");
  EXPECT_EQ(gpu_name_architecture("NVIDIA GeForce RTX 4090"), "89");
  EXPECT_EQ(gpu_name_architecture("NVIDIA RTX 6000 Ada Generation"), "89");
  EXPECT_EQ(gpu_name_architecture("NVIDIA L40S"), "89");
  EXPECT_EQ(gpu_name_architecture("Tesla T4"), "75");
  EXPECT_EQ(driver_cuda_version("580.159.04"), "13.0");
  EXPECT_EQ(driver_cuda_version("535.183.01"), "12.2");
  EXPECT_EQ(driver_cuda_version("390.1"), "");
  EXPECT_EQ(l4t_cuda_version("35.5.0"), "11.4");
  EXPECT_EQ(l4t_cuda_version("36.4.3"), "12.6");
  EXPECT_EQ(ptx_version_of_cuda("11.4"), "7.4");
  EXPECT_EQ(ptx_version_of_cuda("12.6"), "8.5");
  EXPECT_EQ(ptx_version_of_cuda("13.0"), "9.0");
  EXPECT_EQ(ptx_version_of_cuda("9.0"), "");
}

}  // namespace
}  // namespace ssmend
