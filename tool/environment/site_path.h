// The import directories of installed packages, in the order `import` looks at them, as CPython's
// Lib/site.py (and Debian's patched copy of it) puts them on sys.path.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "environment/interpreter.h"

namespace ssmend {

struct SitePath {
  std::vector<std::string> directories;  // existing ones; each is named once, the first wins
  std::vector<std::string> problems;
};

struct SitePathRequest {
  std::string home_directory;  // of the user site (~/.local); empty: none
  std::string python_path;     // PYTHONPATH of a normal run; empty: not set
};

SitePath find_site_path(const Disk& disk, const FoundInterpreter& interpreter,
                        const SitePathRequest& request);

// One folder with its .pth files, as site.addsitedir does it. Lines that start with "import" are
// code and are not run; they are named in `problems` where they are not known to be harmless.
void add_site_directory(const Disk& disk, const std::string& directory, SitePath* path);

// "/opt/venv" for "/opt/venv/lib/python3.10/site-packages", "/usr" for "/usr/lib/python3/...";
// the folder itself where it has no such place: what RECORD paths may not climb out of.
std::string prefix_of_site_directory(const std::string& site_directory);

}  // namespace ssmend
