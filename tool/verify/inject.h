// The check of the checks, in test builds only (SSMEND_INJECT): kernels that are really wrong, each
// planted in a copy of the library, and each of them must be found by the native check of the
// operation that it belongs to. tests/inject/make_faults.py compiles them; the library takes them
// from local_images.pack, as it takes images built on the machine.
#pragma once

#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "verify/check_outcome.h"

namespace ssmend {

struct PlantedFault {
  std::string name;       // "swapped-b-and-c"
  std::string what;       // "the scan takes B for C and C for B"
  std::string operation;  // whose check must find it: "scan fwd"
  std::string pack;       // absolute path of the wrong images; empty: the control, nothing planted
};

// `directory`: faults.json and a pack for each of its rows.
Result<std::vector<PlantedFault>> load_faults(const Disk& disk, const std::string& directory);

// What one `verify --native --json` of a library with this fault shows. Ok: found, and for the
// control: nothing found.
CheckOutcome judge_fault(const PlantedFault& fault, const std::string& json, double seconds);

// Runs `program` (this ssmend) on a copy of the library, several at a time, in processes of their
// own: for the control, which comes first, every check, for a fault those of its operation.
std::vector<CheckOutcome> check_faults(const std::string& program, const std::string& library_path,
                                       const std::vector<PlantedFault>& faults);

}  // namespace ssmend
