#include "repair_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/sha256.h"

namespace ssmend {
namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& content) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

std::string temporary_directory() {
  std::string pattern = std::string(SSMEND_BINARY_DIR) + "/tests/scratch";
  fs::create_directories(pattern);
  pattern = fs::canonical(pattern).string() + "/repair-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  return pattern;
}

std::string memory_directory() {
  std::string pattern = "/dev/shm/ssmend-repair-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return temporary_directory();
  return pattern;
}

namespace {

std::string attributes_of(const std::string& path) {
  std::string text;
  char value[256];
  const ssize_t size = ::lgetxattr(path.c_str(), "user.note", value, sizeof value);
  if (size > 0) text.append(" note=").append(value, static_cast<size_t>(size));
  return text;
}

std::string describe(const fs::path& path, bool with_time) {
  struct stat raw;
  if (::lstat(path.c_str(), &raw) != 0) return "unreadable";
  std::ostringstream text;
  text << std::oct << raw.st_mode << std::dec << " " << raw.st_uid << ":" << raw.st_gid;
  if (with_time) text << " " << raw.st_mtim.tv_sec << "." << raw.st_mtim.tv_nsec;
  if (S_ISREG(raw.st_mode)) text << " links=" << raw.st_nlink;
  text << attributes_of(path);
  if (S_ISLNK(raw.st_mode)) text << " -> " << fs::read_symlink(path).string();
  if (S_ISREG(raw.st_mode)) text << " " << sha256_hex(read_file(path)).substr(0, 16);
  return text.str();
}

void set_old_time(const fs::path& path, long nanoseconds) {
  const timespec times[2] = {{1600000000, nanoseconds}, {1600000000, nanoseconds}};
  ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

constexpr const char* kSite = "/venv/lib/python3.10/site-packages";

}  // namespace

std::map<std::string, std::string> picture_of(const std::string& directory, bool with_base_time) {
  std::map<std::string, std::string> picture;
  picture["."] = describe(directory, with_base_time);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    picture[entry.path().lexically_relative(directory).string()] = describe(entry.path(), true);
  }
  return picture;
}

std::string difference(const std::map<std::string, std::string>& left,
                       const std::map<std::string, std::string>& right) {
  std::string text;
  for (const auto& [path, what] : left) {
    const auto other = right.find(path);
    if (other == right.end()) {
      text += path + ": gone\n";
    } else if (other->second != what) {
      text += path + ": " + what + "  now  " + other->second + "\n";
    }
  }
  for (const auto& [path, what] : right) {
    if (left.find(path) == left.end()) text += path + ": new: " + what + "\n";
  }
  return text;
}

void make_small_environment(const std::string& directory) {
  const std::string site = directory + kSite;
  write_file(directory + "/venv/pyvenv.cfg", "home = /usr/bin\n");
  write_file(site + "/pkg/__init__.py", "");
  write_file(directory + "/cache/ops.py", "import native\nnative.call(1)\n");
  fs::create_hard_link(directory + "/cache/ops.py", site + "/pkg/ops.py");
  ::lsetxattr((site + "/pkg/ops.py").c_str(), "user.note", "kept", 4, 0);
  ::chmod((site + "/pkg/ops.py").c_str(), 0640);
  write_file(site + "/pkg/__pycache__/ops.cpython-310.pyc", "bytecode of ops");
  write_file(site + "/pkg/__pycache__/ops.cpython-310.opt-1.pyc", "optimised bytecode of ops");
  write_file(site + "/pkg/__pycache__/ops2.cpython-310.pyc", "bytecode of another module");
  write_file(site + "/pkg/plain.py", "x = 1\n");
  write_file(directory + "/cache/linked.py", "y = 1\n");
  fs::create_symlink(directory + "/cache/linked.py", site + "/pkg/linked.py");
  write_file(site + "/pkg-1.0.dist-info/RECORD", "pkg/ops.py,sha256=old,29\n");
  write_file(site + "/native.cpython-310-x86_64-linux-gnu.so",
             "\x7f"
             "ELF of another machine");
  long nanoseconds = 100000000;
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    paths.push_back(entry.path());
  }
  for (const fs::path& path : paths) set_old_time(path, nanoseconds += 1001);
}

RepairScope small_scope(const std::string& directory) {
  RepairScope scope;
  scope.base = directory + "/venv";
  scope.roots = {scope.base};
  scope.name_for_people = scope.base;
  return scope;
}

Plan small_plan(const std::string& directory) {
  const std::string site = directory + kSite;
  Plan plan;
  plan.environment_prefix = directory + "/venv";
  const auto write = [&](const std::string& name, const std::string& content) {
    FileChange change;
    change.path = site + "/" + name;
    change.content = content;
    return change;
  };
  Action aside;
  aside.kind = Action::Kind::kMoveAside;
  aside.changes.push_back(write("native.cpython-310-x86_64-linux-gnu.so", ""));
  aside.changes.back().kind = FileChange::Kind::kMoveAside;
  aside.changes.back().only_with = site + "/pkg-1.0.dist-info/RECORD";
  Action install;
  install.kind = Action::Kind::kInstall;
  install.title = "kernels 0.1";
  install.changes = {write("native.abi3.so", "a module that loads"),
                     write("kernels/deep/data.bin", std::string(100000, 'd')),
                     write("kernels-0.1.dist-info/RECORD", "native.abi3.so,sha256=new,19\n")};
  Action patch;
  patch.title = "pkg/ops.py";
  patch.for_findings = {"call-contract"};
  patch.changes = {write("pkg/ops.py", "import native\nnative.call(1, out)\n"),
                   write("pkg/linked.py", "y = 2\n")};
  plan.actions = {aside, install, patch};
  plan.bookkeeping = {write("pkg-1.0.dist-info/RECORD", "pkg/ops.py,sha256=new,34\n")};
  return plan;
}

bool is_repaired(const std::string& directory) {
  const std::string site = directory + kSite;
  return read_file(site + "/pkg/ops.py") == "import native\nnative.call(1, out)\n" &&
         read_file(site + "/pkg/linked.py") == "y = 2\n" &&
         read_file(site + "/native.abi3.so") == "a module that loads" &&
         read_file(site + "/kernels/deep/data.bin") == std::string(100000, 'd') &&
         read_file(site + "/kernels-0.1.dist-info/RECORD") == "native.abi3.so,sha256=new,19\n" &&
         read_file(site + "/pkg-1.0.dist-info/RECORD") == "pkg/ops.py,sha256=new,34\n" &&
         !fs::exists(site + "/native.cpython-310-x86_64-linux-gnu.so") &&
         !fs::exists(site + "/pkg/__pycache__/ops.cpython-310.pyc") &&
         fs::exists(site + "/pkg/__pycache__/ops2.cpython-310.pyc");
}

}  // namespace ssmend
