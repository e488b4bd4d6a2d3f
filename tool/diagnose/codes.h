// The table of all codes a finding can have: what each means in general, for `ssmend explain CODE`
// and as the text a finding starts from. Data: diagnose/data/codes.json, built into the program.
//
// The order of the table is the order of causes: a row above another can be the reason for it (a
// truncated torch library makes extensions miss symbols), so findings are shown in this order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "diagnose/finding.h"

namespace ssmend {

struct CodeInfo {
  std::string code;
  Severity severity = Severity::kError;  // the usual one; a finding may be milder
  std::string title;                     // one sentence without a full stop
  std::string meaning;                   // what the user sees
  std::vector<std::string> evidence;     // how it is told from other causes
  std::vector<std::string> remedies;
  std::vector<std::string> links;
};

const std::vector<CodeInfo>& all_codes();
const CodeInfo* find_code(std::string_view code);  // nullptr where there is none

// A finding of this code with severity, meaning and links of the table. The code must exist.
Finding make_finding(std::string_view code);

}  // namespace ssmend
