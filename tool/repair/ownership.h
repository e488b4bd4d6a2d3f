// Whose files these are: what a repair refuses to touch, what it asks about first, and where new
// files may go.
#pragma once

#include <string>
#include <vector>

#include "environment/environment.h"

namespace ssmend {

// One sentence where `path` belongs to the operating system's package manager (Debian Python
// policy: dist-packages below /usr/lib is dpkg's, below /usr/local the administrator's), else
// empty.
std::string refusal_of(const Environment& environment, const std::string& path);

// One sentence where the file lies in somebody's checkout (PEP 610, PEP 660), else empty.
std::string question_of(const Environment& environment, const std::string& path);

// Where drop-ins go: beside the package that needs them, else beside torch, else the first import
// directory that may be written. Empty: there is none.
std::string install_directory(const Disk& disk, const Environment& environment,
                              const std::vector<std::string>& modules);

// Why `install_directory` found none: one reason for each import directory.
std::string why_not_writable(const Disk& disk, const Environment& environment);

// Files that the finder would take for `module` before `own`, in its order.
std::vector<std::string> shadowing_files(const Disk& disk, const Environment& environment,
                                         const std::string& module, const std::string& own);

}  // namespace ssmend
