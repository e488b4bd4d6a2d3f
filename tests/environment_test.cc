#include "environment/environment.h"

#include <gtest/gtest.h>

#include "environment/interpreter.h"
#include "environment/record.h"
#include "environment_tree.h"

namespace ssmend {
namespace {

const char kSite[] = "opt/venv/lib/python3.10/site-packages";

Environment one(const TextTree& tree, const std::string& python = "/opt/venv") {
  EnvironmentRequest request;
  request.python = python;
  Result<std::vector<Environment>> found = discover_environments(*tree.as_root(), request);
  EXPECT_TRUE(found.ok()) << format_error(found.error());
  EXPECT_EQ(found->size(), 1U);
  return std::move(found->front());
}

TEST(Record, paths_that_climb_out_are_problems_and_never_entries) {
  const RecordText record = parse_record(
      "a/b.py,sha256=abc,12\n../../../bin/tool,,\n../../../../etc/passwd,sha256=x,1\n/etc/"
      "shadow,,\n",
      "/opt/venv/lib/python3.10/site-packages", "/opt/venv");
  ASSERT_EQ(record.entries.size(), 2U);
  EXPECT_EQ(record.entries[0].path, "/opt/venv/lib/python3.10/site-packages/a/b.py");
  EXPECT_EQ(record.entries[0].sha256, "abc");
  EXPECT_EQ(record.entries[0].size_bytes, 12U);
  EXPECT_EQ(record.entries[1].path, "/opt/venv/bin/tool");
  ASSERT_EQ(record.problems.size(), 2U);
  EXPECT_EQ(record.problems[0],
            "RECORD: line 3 climbs out of the environment: ../../../../etc/passwd");
  EXPECT_EQ(record.problems[1], "RECORD: line 4 climbs out of the environment: /etc/shadow");
}

TEST(Record, quoted_names_and_damaged_rows) {
  const RecordText record =
      parse_record("\"a,\"\"b\"\".py\",,3\r\n\r\n,sha256=x,\nc.py,md5=1,many\n", "/site", "/site");
  ASSERT_EQ(record.entries.size(), 2U);
  EXPECT_EQ(record.entries[0].raw, "a,\"b\".py");
  EXPECT_EQ(record.entries[0].size_bytes, 3U);
  EXPECT_EQ(record.entries[1].sha256, "");
  EXPECT_FALSE(record.entries[1].size_bytes.has_value());
  EXPECT_EQ(record.problems,
            (std::vector<std::string>{"RECORD: line 3 has no path",
                                      "RECORD: line 4 has no number as its size: many"}));
}

TEST(Record, many_problems_are_counted_and_not_listed) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "../../x" + std::to_string(i) + ",,\n";
  const RecordText record = parse_record(text, "/a/site-packages", "/a/site-packages");
  ASSERT_EQ(record.problems.size(), 11U);
  EXPECT_EQ(record.problems.back(), "RECORD: 30 more problems");
}

TEST(Interpreter, suffixes_of_ordinary_and_free_threaded_builds) {
  EXPECT_EQ(extension_suffixes("cpython-310-aarch64-linux-gnu"),
            (std::vector<std::string>{".cpython-310-aarch64-linux-gnu.so", ".abi3.so", ".so"}));
  EXPECT_EQ(extension_suffixes("cpython-313t-x86_64-linux-gnu"),
            (std::vector<std::string>{".cpython-313t-x86_64-linux-gnu.so", ".so"}));
}

TEST(Environment, virtual_environment_in_a_mounted_root) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  const Environment environment = one(tree);
  EXPECT_EQ(environment.kind, EnvironmentKind::kVirtual);
  EXPECT_EQ(environment.prefix, "/opt/venv");
  EXPECT_EQ(environment.python.version, "3.10.12");
  EXPECT_EQ(environment.python.soabi, "cpython-310-aarch64-linux-gnu");
  EXPECT_EQ(environment.python.platform_triplet, "aarch64-linux-gnu");
  EXPECT_EQ(environment.python.real_executable, "/usr/bin/python3.10");
  EXPECT_EQ(environment.python.standard_library, "/usr/lib/python3.10");
  EXPECT_EQ(environment.site_directories, std::vector<std::string>{"/" + std::string(kSite)});
}

TEST(Environment, distributions_with_owner_shadow_editable_and_installer) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  const std::string site = kSite;
  tree.write(site + "/Demo_Pkg-1.2.dist-info/METADATA",
             "Metadata-Version: 2.1\nName: Demo.Pkg\nVersion: 1.2\nRequires-Dist: torch (>=2)\n"
             "Requires-Python: >=3.8\n\nName: not this\n");
  tree.write(site + "/Demo_Pkg-1.2.dist-info/RECORD", "demo/_x.abi3.so,sha256=q,4\n../../../x,,\n");
  tree.write(site + "/Demo_Pkg-1.2.dist-info/INSTALLER", "uv\n");
  tree.write(site + "/Demo_Pkg-1.2.dist-info/direct_url.json",
             R"({"url": "file:///src", "dir_info": {"editable": true}})");
  tree.write(site + "/demo/_x.abi3.so", "elf?");
  tree.write(site + "/demo/stray.so", "elf?");
  tree.write(site + "/extra.pth", "# comment\nimport os\n/opt/more\nmissing\n");
  tree.write("opt/more/Demo_Pkg-1.1.dist-info/METADATA", "Name: demo-pkg\nVersion: 1.1\n");
  tree.write(site + "/~emo-1.dist-info/METADATA", "Name: left\nVersion: 0\n");
  const Environment environment = one(tree);
  EXPECT_EQ(environment.site_directories, (std::vector<std::string>{"/" + site, "/opt/more"}));
  ASSERT_EQ(environment.distributions.size(), 2U);
  const Distribution& first = environment.distributions[0];
  EXPECT_EQ(first.name, "Demo.Pkg");
  EXPECT_EQ(first.normalized_name, "demo-pkg");
  EXPECT_EQ(first.version, "1.2");
  EXPECT_EQ(first.installer, "uv");
  EXPECT_TRUE(first.editable);
  EXPECT_EQ(first.requires_dist, std::vector<std::string>{"torch (>=2)"});
  EXPECT_FALSE(first.shadowed);
  EXPECT_TRUE(environment.distributions[1].shadowed);
  EXPECT_EQ(environment.find_distribution("DEMO_pkg"), &first);
  ASSERT_EQ(environment.native_files.size(), 2U);
  EXPECT_EQ(environment.native_files[0].module_name, "demo._x");
  EXPECT_EQ(environment.native_files[0].suffix, ".abi3.so");
  EXPECT_EQ(environment.native_files[0].owner, 0);
  EXPECT_EQ(environment.native_files[1].owner, -1);
  // ../../../x is /opt/venv/x, inside the environment.
  EXPECT_TRUE(first.problems.empty());
}

TEST(Environment, loops_of_links_and_folders_named_like_libraries_end) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  const std::string site = kSite;
  tree.link("..", site + "/pkg/up");
  tree.link("b.so", site + "/pkg/a.so");
  tree.link("a.so", site + "/pkg/b.so");
  tree.write(site + "/pkg/folder.so/inner.so", "");
  const Environment environment = one(tree);
  std::vector<std::string> names;
  for (const NativeFile& file : environment.native_files) {
    names.push_back(file.path.substr(site.size() + 2));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"pkg/a.so", "pkg/b.so", "pkg/folder.so/inner.so"}));
}

TEST(Environment, removed_base_interpreter_is_a_problem_and_no_failure) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  std::filesystem::remove(tree.at("usr/bin/python3.10"));
  const Environment environment = one(tree);
  EXPECT_EQ(environment.python.executable, "");
  ASSERT_FALSE(environment.problems.empty());
  EXPECT_EQ(environment.problems[0],
            "/opt/venv/bin/python3 points to /usr/bin/python3.10, which does not exist");
  EXPECT_EQ(environment.site_directories.size(), 1U);
}

TEST(Environment, wheel_unpacked_under_a_root_without_an_interpreter) {
  TextTree tree;
  const std::string site = "srv/packages";
  tree.write(site + "/torch-2.5.1.dist-info/METADATA", "Name: torch\nVersion: 2.5.1\n");
  tree.write(site + "/torch/_C.cpython-310-aarch64-linux-gnu.so", "");
  tree.write(site + "/torch/lib/libc10.so", "");
  EnvironmentRequest request;
  request.site_packages = "/" + site;
  const Result<std::vector<Environment>> found = discover_environments(*tree.as_root(), request);
  ASSERT_TRUE(found.ok());
  const Environment& environment = found->front();
  EXPECT_EQ(environment.kind, EnvironmentKind::kBareDirectory);
  EXPECT_EQ(environment.python.version, "3.10");
  EXPECT_EQ(environment.python.soabi, "cpython-310-aarch64-linux-gnu");
  EXPECT_EQ(environment.python.machine, 183);
  // The same place found by itself, where it looks like an environment.
  tree.write("opt/x/lib/python3.10/site-packages/torch-2.5.1.dist-info/METADATA", "Name: torch\n");
  request.site_packages.clear();
  const Result<std::vector<Environment>> all = discover_environments(*tree.as_root(), request);
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 1U);
  EXPECT_EQ(all->front().site_directories,
            std::vector<std::string>{"/opt/x/lib/python3.10/site-packages"});
  ASSERT_EQ(environment.native_files.size(), 2U);
  EXPECT_EQ(environment.native_files[0].module_name, "torch._C");
  EXPECT_EQ(environment.native_files[1].module_name, "");
}

TEST(Environment, what_is_not_there_is_said_in_one_sentence) {
  TextTree tree;
  tree.write("etc/hosts", "");
  EnvironmentRequest request;
  Result<std::vector<Environment>> found = discover_environments(*tree.as_root(), request);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().message.rfind("no Python environment found; searched /usr/local/bin", 0),
            0U)
      << found.error().message;
  request.python = "/nowhere";
  found = discover_environments(*tree.as_root(), request);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(format_error(found.error()),
            "--python: no environment\n  caused by: /nowhere: no such interpreter or folder");
}

TEST(Environment, every_environment_of_a_root_once) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  tree.write("home/ann/projects/env/pyvenv.cfg", "home = /usr/bin\nversion = 3.10.12\n");
  tree.link("/usr/bin/python3.10", "home/ann/projects/env/bin/python3");
  tree.link("python3.10", "usr/bin/python3");
  EnvironmentRequest request;
  request.all = true;
  const Result<std::vector<Environment>> found = discover_environments(*tree.as_root(), request);
  ASSERT_TRUE(found.ok());
  std::vector<std::string> prefixes;
  for (const Environment& environment : *found) prefixes.push_back(environment.prefix);
  EXPECT_EQ(prefixes, (std::vector<std::string>{"/usr", "/opt/venv", "/home/ann/projects/env"}));
}

}  // namespace
}  // namespace ssmend
