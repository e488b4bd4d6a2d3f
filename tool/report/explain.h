// Rendering for `ssmend explain`: one code of the table, the table itself, or what a pasted text
// can mean.
#pragma once

#include <string>
#include <vector>

#include "diagnose/codes.h"
#include "diagnose/pasted_text.h"
#include "report/report.h"

namespace ssmend {

std::string render_code(const CodeInfo& info, const TextStyle& style);
std::string render_code_list(const std::vector<CodeInfo>& codes, const TextStyle& style);
std::string render_recognised(const std::vector<RecognisedText>& texts, const TextStyle& style);

// report/schemas/explanation.schema.json describes both.
std::string render_codes_json(const std::vector<CodeInfo>& codes);
std::string render_recognised_json(const std::vector<RecognisedText>& texts);

}  // namespace ssmend
