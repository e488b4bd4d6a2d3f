// Wheels that are not installed: hostile ones write nothing outside their folder.
#include "environment/wheel.h"

#include <gtest/gtest.h>

#include <set>

#include "base/process.h"
#include "environment_tree.h"

namespace ssmend {
namespace {

// Archives with names and kinds that no packing tool would write.
void make_zip(const std::string& path, const std::string& body) {
  ProcessRequest request;
  request.argv = {"/usr/bin/env", "python3", "-c",
                  "import stat, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w', "
                  "zipfile.ZIP_DEFLATED)\n" +
                      body + "\nz.close()\n",
                  path};
  const Result<ProcessResult> result = open_system_process()->run(request);
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->exit_code, 0) << result->standard_error;
}

std::set<std::string> files_below(const std::string& folder) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) {
      found.insert(std::filesystem::relative(entry.path(), folder).string());
    }
  }
  return found;
}

class Wheel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!can_unpack_wheels()) GTEST_SKIP() << "built without libarchive";
    tree_.write("out/in/keep", "");
    std::filesystem::remove(tree_.at("out/in/keep"));
  }
  TextTree tree_;
};

TEST_F(Wheel, hostile_entries_are_problems_and_write_nothing) {
  make_zip(tree_.at("x.whl"),
           "z.writestr('pkg/ok.py', 'a')\n"
           "z.writestr('../evil', 'b')\n"
           "z.writestr('pkg/../../evil', 'b')\n"
           "z.writestr('/etc/evil', 'b')\n"
           "z.writestr('a\\\\..\\\\evil', 'b')\n"
           "link = zipfile.ZipInfo('pkg/link')\n"
           "link.create_system = 3\n"
           "link.external_attr = (stat.S_IFLNK | 0o777) << 16\n"
           "z.writestr(link, '/etc/passwd')\n"
           "z.writestr('pkg/link/below', 'c')\n"
           "z.writestr('pkg/ok.py/below', 'c')\n");
  const Result<UnpackedWheel> wheel = unpack_wheel(tree_.at("x.whl"), tree_.at("out/in"));
  ASSERT_TRUE(wheel.ok()) << format_error(wheel.error());
  EXPECT_EQ(files_below(tree_.path()),
            (std::set<std::string>{"x.whl", "out/in/pkg/ok.py", "out/in/pkg/link/below"}));
  EXPECT_EQ(wheel->problems.size(), 6U);
}

TEST_F(Wheel, limits_end_the_unpacking) {
  make_zip(tree_.at("x.whl"), "z.writestr('big', b'0' * 2000000)");
  UnpackLimits limits;
  limits.file_bytes = 1000000;
  const Result<UnpackedWheel> wheel = unpack_wheel(tree_.at("x.whl"), tree_.at("out/in"), limits);
  ASSERT_FALSE(wheel.ok());
  EXPECT_NE(format_error(wheel.error()).find("big: more than 1000000 bytes"), std::string::npos)
      << format_error(wheel.error());
}

TEST_F(Wheel, what_is_no_archive_is_one_sentence) {
  tree_.write("x.whl", "not a zip");
  const Result<UnpackedWheel> wheel = unpack_wheel(tree_.at("x.whl"), tree_.at("out/in"));
  ASSERT_FALSE(wheel.ok());
  EXPECT_EQ(wheel.error().message.rfind(tree_.at("x.whl") + ": ", 0), 0U) << wheel.error().message;
  EXPECT_FALSE(unpack_wheel(tree_.at("absent.whl"), tree_.at("out/in")).ok());
}

TEST_F(Wheel, comes_before_what_is_installed) {
  write_environment(tree_, "opt/venv");
  const std::string site = "opt/venv/lib/python3.10/site-packages";
  tree_.write(site + "/pkg-1.0.dist-info/METADATA", "Name: pkg\nVersion: 1.0\n");
  make_zip(tree_.at("x.whl"),
           "z.writestr('pkg-2.0.dist-info/METADATA', 'Name: pkg\\nVersion: 2.0\\n')\n"
           "z.writestr('pkg-2.0.dist-info/RECORD', 'pkg/_n.abi3.so,,\\n')\n"
           "z.writestr('pkg-2.0.data/platlib/pkg/_n.abi3.so', '')\n");
  const Result<UnpackedWheel> wheel = unpack_wheel(tree_.at("x.whl"), tree_.at("out/in"));
  ASSERT_TRUE(wheel.ok());
  Environment installed;
  installed.site_directories = {tree_.at(site)};
  const Environment environment =
      with_wheel(*open_system_disk(), installed, *wheel, tree_.at("x.whl"));
  EXPECT_EQ(environment.find_distribution("pkg")->version, "2.0");
  ASSERT_EQ(environment.native_files.size(), 1U);
  EXPECT_EQ(environment.native_files[0].module_name, "pkg._n");
  EXPECT_EQ(environment.native_files[0].owner, 0);
  EXPECT_TRUE(environment.distributions[1].shadowed);
}

}  // namespace
}  // namespace ssmend
