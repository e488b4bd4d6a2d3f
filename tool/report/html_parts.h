// The parts of the HTML page; report/html.cc puts them together. Every function gives complete
// markup with all text of the target escaped. The page has no script: folding is <details>, dark
// and light follow the reader's system, and the pictures are inline SVG.
#pragma once

#include <string>
#include <vector>

#include "report/report.h"

namespace ssmend {

// The style sheet, without the <style> element (report/html_style.cc).
const char* html_style();

// The tree of libraries that a file loads, with what fails marked: the path to every missing
// library, undefined symbol and missing version, and the other direct dependencies; whatever is
// found and leads to no failure is counted instead of drawn. Empty where nothing fails.
std::string dependency_picture(const std::string& path, const Resolution& resolution,
                               const std::string& element_id);

// Call sites of a native module beside the functions that the binary offers, those that differ in
// the number of arguments marked. Empty where the inspection knows no call of the module.
std::string contract_table(const Inspection& inspection, const std::string& module);

// Errors against limits and times as bars.
std::string check_table(const std::vector<CheckRow>& checks,
                        const std::vector<std::string>& checked_on = {});

// All findings of an inspection as articles; `id_prefix` keeps ids apart on pages with several.
std::string findings_markup(const Inspection& inspection, const std::string& id_prefix);

}  // namespace ssmend
