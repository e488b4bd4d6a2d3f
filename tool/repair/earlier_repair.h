// Undoing what an earlier repair by other hands has done: start-up hooks and stubs are moved aside,
// and a file that was patched in part gets its original back where that can be proved to be the
// original: a copy beside it that has the hash in the package's RECORD (PEP 376).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "diagnose/diagnose.h"
#include "repair/plan.h"

namespace ssmend {

// One action that moves hooks and stubs aside; without changes where there are none. What may not
// be touched goes to `refusals`.
Action move_earlier_repairs(const Inspection& inspection, std::vector<std::string>& refusals);

struct Original {
  std::string path;  // of the copy
  std::string content;
};
// The bytes that the distribution installed, from a copy beside `path`; nullopt: there is none.
std::optional<Original> find_original(const Disk& disk, const Environment& environment,
                                      const std::string& path);

}  // namespace ssmend
