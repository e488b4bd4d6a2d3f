// RECORD of an installed distribution (PyPA: recording installed packages): a CSV of path, hash and
// size. The content is untrusted; a path that leads out of the environment is a problem of the
// distribution and never becomes an entry.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "environment/environment.h"

namespace ssmend {

struct RecordText {
  std::vector<RecordEntry> entries;
  std::vector<std::string> problems;  // capped: the last one then counts the rest
};

// `site_directory`: what relative paths start from; `prefix`: what no path may leave.
RecordText parse_record(std::string_view text, const std::string& site_directory,
                        const std::string& prefix);

}  // namespace ssmend
