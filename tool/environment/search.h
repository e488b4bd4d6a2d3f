// Where Python environments can lie: the places that `--all` and a mounted root are searched at.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "environment/environment.h"

namespace ssmend {

struct SearchResult {
  std::vector<std::string> interpreters;      // executables and environment folders, in order
  std::vector<std::string> bare_directories;  // package folders with no interpreter near
  std::vector<std::string> searched;          // for the message when nothing is found
};

// System interpreters, pyenv, conda with its environments, uv's interpreters, pipx, poetry,
// virtualenvwrapper, and every pyvenv.cfg within four folders below the home folders and the usual
// roots for software. Each environment is named once.
SearchResult search_environments(const Disk& disk, const EnvironmentRequest& request);

// `python3` as the shell would find it; a pyenv shim is followed to the version it stands for.
// Empty where there is none.
std::string python_in_path(const Disk& disk, const EnvironmentRequest& request);

}  // namespace ssmend
