// One tree a row of the table of JetPack releases, made from text: what the probes say of it on the
// running machine and mounted on another one, and which recipe is chosen.
//
// Sources of the rows: NVIDIA's JetPack and L4T release pages (release, CUDA, Ubuntu), the device
// trees of the developer kits (compatible), the packages nvidia-l4t-core and nvidia-l4t-cuda
// (version texts, place of libcuda).
#include <gtest/gtest.h>

#include "environment/host.h"
#include "environment_tree.h"
#include "repair/overlay_disk.h"
#include "repair/recipe.h"

namespace ssmend {
namespace {

using namespace std::string_literals;

struct Row {
  const char* name;
  const char* release;  // /etc/nv_tegra_release; empty: there is no such file
  const char* package;  // version of nvidia-l4t-core in dpkg's status; empty: not installed
  std::string device;   // /proc/device-tree/compatible
  const char* ubuntu;   // PRETTY_NAME
  const char* glibc;    // of its libc
  const char* libcuda;  // place of libcuda.so.1
  const char* l4t;      // from here on: what is to be found
  const char* gpu;
  const char* cuda;
  const char* recipe;  // start of the choice
};

const std::string kNano = "nvidia,p3450-0000\0nvidia,jetson-nano\0nvidia,tegra210\0"s;
const std::string kTx2 = "nvidia,quill\0nvidia,p2597-0000+p3310-1000\0nvidia,tegra186\0"s;
const std::string kXavier =
    "nvidia,galen\0nvidia,jetson-xavier\0nvidia,p2972-0000\0nvidia,tegra194\0"s;
const std::string kOrin = "nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0nvidia,tegra234\0"s;
const std::string kOrinNano = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"s;
const std::string kThor = "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"s;
const char* const kTegra = "usr/lib/aarch64-linux-gnu/tegra";
const char* const kNvidia = "usr/lib/aarch64-linux-gnu/nvidia";
const char* const kBionic = "Ubuntu 18.04.6 LTS";
const char* const kFocal = "Ubuntu 20.04.6 LTS";
const char* const kJammy = "Ubuntu 22.04.5 LTS";
const char* const kNoble = "Ubuntu 24.04.3 LTS";

const Row kRows[] = {
    {"jetpack_4_2",
     "# R32 (release), REVISION: 1.0, GCID: 14531094, BOARD: t210ref, EABI: aarch64\n", "", kNano,
     kBionic, "2.27", kTegra, "32.1.0", "53", "10.0", "generic: "},
    {"jetpack_4_6",
     "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref, EABI: aarch64\n",
     "32.7.1-20220219090344", kTx2, kBionic, "2.27", kTegra, "32.7.1", "62", "10.2", "generic: "},
    {"jetpack_5_0_preview", "# R34 (release), REVISION: 1.1, GCID: 30414990, BOARD: t186ref\n",
     "34.1.1-20220516211757", kOrin, kFocal, "2.31", kTegra, "34.1.1", "87", "11.4", "jetpack-5: "},
    {"jetpack_5_on_xavier", "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n",
     "35.4.1-20230801124926", kXavier, kFocal, "2.31", kTegra, "35.4.1", "72", "11.4",
     "jetpack-5: "},
    {"jetpack_5_on_orin", "R35 (release), REVISION: 6.1", "35.6.1-20250225021519", kOrin, kFocal,
     "2.31", kTegra, "35.6.1", "87", "11.4", "jetpack-5: "},
    {"jetpack_6_0_preview", "# R36 (release), REVISION: 2.0, GCID: 34956989, BOARD: generic\n",
     "36.2.0-20231218214829", kOrin, kJammy, "2.35", kNvidia, "36.2.0", "87", "12.2",
     "jetpack-6: "},
    {"jetpack_6_0",
     "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64\n",
     "36.3.0-20240719161631", kOrinNano, kJammy, "2.35", kNvidia, "36.3.0", "87", "12.2",
     "jetpack-6: "},
    {"jetpack_6_2",
     "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
     "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
     "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia\n",
     "36.4.3-20250107174145", kOrinNano, kJammy, "2.35", kNvidia, "36.4.3", "87", "12.6",
     "jetpack-6: "},
    {"jetpack_6_known_by_its_package_alone", "", "36.4.4-20250616085344", kOrin, kJammy, "2.35",
     kNvidia, "36.4.4", "87", "12.6", "jetpack-6: "},
    {"jetpack_7_0_on_thor", "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic\n",
     "38.2.0-20250820111513", kThor, kNoble, "2.39", kNvidia, "38.2.0", "110", "13.0",
     "jetpack-7: "},
    {"jetpack_7_2_on_orin", "# R39 (release), REVISION: 2.0, BOARD: generic, EABI: aarch64\n",
     "39.2.0-20260601000000", kOrin, kNoble, "2.39", "opt/nvidia/l4t-gpu-libs/nvgpu", "39.2.0",
     "87", "13.2", "jetpack-7: "},
    {"jetpack_7_2_on_thor", "# R39 (release), REVISION: 2.0, BOARD: generic, EABI: aarch64\n",
     "39.2.0-20260601000000", kThor, kNoble, "2.39", "opt/nvidia/l4t-gpu-libs/openrm", "39.2.0",
     "110", "13.2", "jetpack-7: "},
};

// The tree as the running system's own files.
class RunningDisk : public OverlayDisk {
 public:
  using OverlayDisk::OverlayDisk;
  [[nodiscard]] bool is_mounted_root() const override { return false; }
};

// An aarch64 ELF header without program headers, then the text that glibc's libc has.
std::string libc_of(const std::string& version) {
  std::string bytes(64, '\0');
  bytes.replace(0, 7,
                "\x7f"
                "ELF\x02\x01\x01");
  bytes[18] = '\xb7';
  return bytes + "GNU C Library stable release version " + version + ".\n";
}

void write_tree(const TextTree& tree, const Row& row) {
  if (*row.release != '\0') tree.write("etc/nv_tegra_release", row.release);
  std::string status = "Package: base-files\nStatus: install ok installed\nVersion: 12\n\n";
  if (*row.package != '\0') {
    status +=
        "Package: nvidia-l4t-core\nStatus: install ok installed\nArchitecture: arm64\nVersion: "s +
        row.package + "\n\n";
  }
  tree.write("var/lib/dpkg/status", status);
  tree.write("proc/device-tree/compatible", row.device);
  // The board's names mislead: nothing may be read from here.
  tree.write("proc/device-tree/model", "NVIDIA tegra999 Developer Kit");
  tree.write("etc/os-release", "PRETTY_NAME=\""s + row.ubuntu + "\"\n");
  tree.write("lib/ld-linux-aarch64.so.1", libc_of("none").substr(0, 64));
  tree.write("lib/libc.so.6", libc_of(row.glibc));
  tree.write(row.libcuda + "/libcuda.so.1.1"s, "a driver");
  tree.link("libcuda.so.1.1", row.libcuda + "/libcuda.so.1"s);
}

std::string chosen(const Disk& tree, const HostFacts& host) {
  const std::unique_ptr<Disk> system = open_system_disk();
  const Result<std::vector<Recipe>> recipes =
      load_recipes(*system, SSMEND_SOURCE_DIR + "/recipes"s);
  if (!recipes.ok()) return format_error(recipes.error());
  Environment environment;
  environment.host = host;
  const Result<RecipeChoice> choice = choose_recipe(tree, *recipes, environment, "");
  return choice.ok() ? choice->recipe->id + ": " + choice->reason : format_error(choice.error());
}

class JetPack : public ::testing::TestWithParam<Row> {};

TEST_P(JetPack, is_known_on_itself) {
  const Row& row = GetParam();
  const TextTree tree;
  write_tree(tree, row);
  const std::unique_ptr<Disk> files = tree.as_root();
  const RunningDisk disk(*files);
  const HostFacts host = probe_host(disk);
  EXPECT_EQ(host.l4t.value, row.l4t);
  EXPECT_EQ(host.gpu_sm.value, row.gpu);
  EXPECT_EQ(host.cuda_driver_api.value, row.cuda);
  EXPECT_EQ(host.glibc.value, row.glibc);
  EXPECT_EQ(host.machine.value, "aarch64");
  EXPECT_EQ(host.distribution.value, row.ubuntu);
  EXPECT_EQ(host.driver_library.value, "/"s + row.libcuda + "/libcuda.so.1");
  EXPECT_EQ(chosen(disk, host).rfind(row.recipe, 0), 0u) << chosen(disk, host);
}

TEST_P(JetPack, is_known_mounted_elsewhere_but_for_its_chip) {
  const Row& row = GetParam();
  const TextTree tree;
  write_tree(tree, row);
  const std::unique_ptr<Disk> disk = tree.as_root();
  const HostFacts host = probe_host(*disk);
  EXPECT_EQ(host.l4t.value, row.l4t);
  EXPECT_EQ(host.cuda_driver_api.value, row.cuda);
  EXPECT_FALSE(host.soc.known());  // that device tree would be the other machine's
  EXPECT_FALSE(host.gpu_sm.known());
  EXPECT_EQ(host.driver_library.value, "/"s + row.libcuda + "/libcuda.so.1");
  EXPECT_EQ(chosen(*disk, host).rfind(row.recipe, 0), 0u) << chosen(*disk, host);
}

INSTANTIATE_TEST_SUITE_P(rows, JetPack, ::testing::ValuesIn(kRows),
                         [](const ::testing::TestParamInfo<Row>& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace ssmend
