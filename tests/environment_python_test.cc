// What is read from files against what the real interpreters say of themselves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/process.h"
#include "base/text.h"
#include "environment/environment.h"
#include "environment_tree.h"

namespace ssmend {
namespace {

const char kAsk[] = R"(
import importlib.machinery, importlib.util, json, platform, sys, sysconfig
names = sys.argv[1:]
def origin(name):
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return ""
    if found is None or found.origin in ("built-in", "frozen"):
        return ""
    if found.origin is None or found.origin == "namespace":
        return list(found.submodule_search_locations)[0]
    return found.origin
print(json.dumps({
    "version": platform.python_version(),
    "soabi": sysconfig.get_config_var("SOABI"),
    "suffixes": importlib.machinery.EXTENSION_SUFFIXES,
    "path": [p for p in sys.path if p.endswith("-packages")],
    "prefix": sys.prefix,
    "library": sysconfig.get_paths()["stdlib"],
    "origins": {name: origin(name) for name in names},
})))";

std::vector<std::string> interpreters() {
  std::vector<std::string> found;
  const std::unique_ptr<Disk> disk = open_system_disk();
  std::vector<std::string> candidates = {"/usr/bin/python3", "/usr/local/bin/python3"};
  const char* root = std::getenv("PYENV_ROOT");
  const std::string versions = path_join(root == nullptr ? "/nowhere" : root, "versions");
  const Result<std::vector<DirectoryEntry>> entries = disk->list(versions);
  if (entries.ok()) {
    for (const DirectoryEntry& entry : *entries) {
      candidates.push_back(path_join(versions, entry.name + "/bin/python3"));
    }
  }
  for (const std::string& candidate : candidates) {
    if (disk->exists(candidate)) found.push_back(candidate);
  }
  return found;
}

nlohmann::json ask(const std::string& python, const std::vector<std::string>& names) {
  ProcessRequest request;
  request.argv = {python, "-c", kAsk};
  request.argv.insert(request.argv.end(), names.begin(), names.end());
  request.unset_environment = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"};
  const Result<ProcessResult> result = open_system_process()->run(request);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 0) << result->standard_error;
  return nlohmann::json::parse(result->standard_output);
}

Environment read(const std::string& python) {
  EnvironmentRequest request;
  request.python = python;
  const char* home = std::getenv("HOME");
  request.home_directory = home == nullptr ? "" : home;
  Result<std::vector<Environment>> found = discover_environments(*open_system_disk(), request);
  EXPECT_TRUE(found.ok()) << format_error(found.error());
  return std::move(found->front());
}

TEST(RealPython, version_abi_suffixes_and_import_path_are_its_own) {
  const std::vector<std::string> pythons = interpreters();
  if (pythons.empty()) GTEST_SKIP() << "no python3 in /usr/bin, /usr/local/bin or $PYENV_ROOT";
  for (const std::string& python : pythons) {
    SCOPED_TRACE(python);
    const nlohmann::json said = ask(python, {"json", "_ssl", "xml.etree", "nothing_like_this"});
    const Environment environment = read(python);
    const std::string version = said["version"];
    // The patch level comes from the headers, which need not be installed.
    EXPECT_EQ(version.rfind(environment.python.version, 0), 0U)
        << version << " " << environment.python.version;
    EXPECT_EQ(environment.python.soabi, said["soabi"]);
    EXPECT_EQ(environment.prefix, said["prefix"]);
    EXPECT_EQ(environment.python.standard_library, said["library"]);
    EXPECT_EQ(environment.python.extension_suffixes,
              said["suffixes"].get<std::vector<std::string>>());
    EXPECT_EQ(environment.site_directories, said["path"].get<std::vector<std::string>>());
    const std::unique_ptr<Disk> disk = open_system_disk();
    for (const auto& [name, origin] : said["origins"].items()) {
      EXPECT_EQ(environment.find_module(*disk, name), origin.get<std::string>()) << name;
    }
  }
}

TEST(RealPython, the_finder_s_order_of_packages_suffixes_and_namespaces) {
  const std::vector<std::string> pythons = interpreters();
  if (pythons.empty()) GTEST_SKIP() << "no python3 in /usr/bin, /usr/local/bin or $PYENV_ROOT";
  TextTree tree;
  const nlohmann::json facts = ask(pythons.front(), {});
  const std::string version = facts["version"];
  const std::string minor = version.substr(0, version.rfind('.'));
  const std::string site = "venv/lib/python" + minor + "/site-packages";
  const std::string tagged = facts["suffixes"][0];
  tree.link(pythons.front(), "venv/bin/python3");
  tree.write("venv/pyvenv.cfg", "home = " + std::string(directory_name(pythons.front())) +
                                    "\ninclude-system-site-packages = false\nversion = " + version +
                                    "\n");
  for (const std::string& name :
       {std::string("both.py"), std::string("both/__init__.py"), "three" + tagged,
        std::string("three.abi3.so"), std::string("three.py"), std::string("two.abi3.so"),
        std::string("two.so"), std::string("plain.so"), std::string("plain.py"),
        std::string("space/part/x.py"), std::string("folder/data.txt"),
        std::string("other.cpython-30-none.so")}) {
    tree.write(site + "/" + name, "");
  }
  tree.write(site + "/more.pth", tree.at("more") + "\n");
  tree.write("more/folder.py", "");
  tree.write("more/space/y.py", "");
  const std::vector<std::string> names = {"both",   "three",      "two",          "plain",
                                          "space",  "space.part", "space.part.x", "space.y",
                                          "folder", "other"};
  const std::string python = tree.at("venv/bin/python3");
  const nlohmann::json said = ask(python, names);
  const Environment environment = read(python);
  const std::unique_ptr<Disk> disk = open_system_disk();
  for (const std::string& name : names) {
    EXPECT_EQ(environment.find_module(*disk, name), said["origins"][name].get<std::string>())
        << name;
  }
  EXPECT_EQ(environment.find_native_module("three")->path, tree.at(site + "/three" + tagged));
  EXPECT_EQ(environment.find_native_module("other"), nullptr);
}

}  // namespace
}  // namespace ssmend
