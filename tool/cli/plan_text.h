// Plans and what came of them, as text and JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "repair/planner.h"
#include "repair/transaction.h"
#include "report/report.h"

namespace ssmend {

// "/opt/venv (Python 3.10, aarch64, tegra234 sm_87, L4T 36.4.3)"
std::string environment_line(const Environment& environment);

// The numbered actions, what is refused and what remains; no last line.
std::string render_plan(const Plan& plan, const Environment& environment, const TextStyle& style);
// Unified diffs of every text that changes, "new file" lines for the rest.
std::string render_diffs(const Disk& disk, const Plan& plan);
size_t files_changed(const Plan& plan);

nlohmann::json plan_to_json(const Plan& plan);
nlohmann::json finding_line(const Finding& finding);  // code, severity, subject, title
std::string to_text(const nlohmann::json& value);     // invalid UTF-8 replaced, final newline

}  // namespace ssmend
