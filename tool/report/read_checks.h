// The rows of the HTML page's check table, out of what `ssmend verify --json` wrote: verifying runs
// the target's code, reporting never does.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "report/report.h"

namespace ssmend {

// An error where the text is no ssmend/verification/1.
Result<std::vector<CheckRow>> read_check_rows(std::string_view verification_json);

// What it says of the library and the GPU that were checked; empty where it says nothing.
std::vector<std::string> read_check_device(std::string_view verification_json);

}  // namespace ssmend
