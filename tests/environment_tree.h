// A folder of text files for tests, gone with the object.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/disk.h"

namespace ssmend {

class TextTree {
 public:
  TextTree() {
    std::string name = (std::filesystem::temp_directory_path() / "ssmend-XXXXXX").string();
    path_ = std::filesystem::canonical(::mkdtemp(name.data())).string();
  }
  ~TextTree() { std::filesystem::remove_all(path_); }
  TextTree(const TextTree&) = delete;
  TextTree& operator=(const TextTree&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string at(const std::string& relative) const { return path_ + "/" + relative; }

  void write(const std::string& relative, const std::string& content) const {
    const std::filesystem::path file = at(relative);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
  }
  void link(const std::string& target, const std::string& relative) const {
    const std::filesystem::path file = at(relative);
    std::filesystem::create_directories(file.parent_path());
    std::filesystem::create_symlink(target, file);
  }
  // The tree as a mounted root file system.
  [[nodiscard]] std::unique_ptr<Disk> as_root() const {
    return std::move(open_root_disk(path_)).value();
  }

 private:
  std::string path_;
};

// A venv whose interpreter is the text file given; enough for what reads no ELF file.
inline void write_environment(const TextTree& tree, const std::string& prefix) {
  tree.write("usr/lib/python3.10/os.py", "");
  tree.write("usr/lib/python3.10/_sysconfigdata__aarch64-linux-gnu.py",
             "build_time_vars = {'SOABI': 'cpython-310-aarch64-linux-gnu',\n 'EXT_SUFFIX': "
             "'.cpython-310-aarch64-linux-gnu.so'}\n");
  tree.write("usr/bin/python3.10", "not an ELF file");
  tree.link("/usr/bin/python3.10", prefix + "/bin/python3");
  tree.write(prefix + "/pyvenv.cfg", "home = /usr/bin\nversion = 3.10.12\n");
  tree.write(prefix + "/lib/python3.10/site-packages/README.txt", "");
}

}  // namespace ssmend
