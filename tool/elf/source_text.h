// C++ sources of an extension as one text each: comments gone, headers of the same folder put where
// they are included, every other include left out. So a compiler that reads it opens no file, and
// the headers of torch or CUDA need not be installed. Inside tool/elf only.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"

namespace ssmend {

struct SourceFolder {
  std::string path;
  std::vector<std::string> sources;  // .cpp .cc .cxx .cu, in order
  std::vector<std::string> headers;
};

// Every C++ file under `path`, symbolic links not followed, or `path` itself with the headers of
// its folder.
Result<SourceFolder> list_sources(const Disk& disk, const std::string& path);

// C++ text without comments and line splices; what is in quotes stays.
std::string without_comments(const std::string& text);

// The text of one source of the folder.
Result<std::string> flat_source(const Disk& disk, const SourceFolder& folder,
                                const std::string& source);

}  // namespace ssmend
