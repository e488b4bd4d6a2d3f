// A wheel (PyPA: binary distribution format) that is not installed yet, seen as if it were: its
// files are unpacked into a folder of our own, which then comes first in an environment's import
// directories. The archive is untrusted: nothing is written outside that folder, no link is made,
// sizes and numbers are limited. The one user of libarchive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "environment/environment.h"

namespace ssmend {

struct UnpackLimits {
  uint64_t file_bytes = uint64_t{4} << 30;
  uint64_t total_bytes = uint64_t{8} << 30;
  size_t files = 200000;
};

struct UnpackedWheel {
  std::string directory;              // ours; the caller removes it
  std::vector<std::string> problems;  // "entry climbs out of the archive: ../../x", not written
};

// `folder` must exist and be empty. An error where the file is no zip archive, a limit is passed or
// writing fails; what was written until then lies in `folder`.
Result<UnpackedWheel> unpack_wheel(const std::string& wheel_path, const std::string& folder,
                                   const UnpackLimits& limits = {});

// The environment as it would be with the unpacked wheel installed into it. Only for the running
// system: a mounted root does not see `directory`.
Environment with_wheel(const Disk& disk, Environment environment, const UnpackedWheel& wheel,
                       const std::string& wheel_path);

// False in a build without libarchive: unpack_wheel then says so.
bool can_unpack_wheels();

}  // namespace ssmend
