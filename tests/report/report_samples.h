// Inspections made by hand for the tests of reports: what a report shows must not depend on what
// the machine that runs the test has installed.
#pragma once

#include <vector>

#include "report/report.h"

namespace ssmend {

// A Jetson with four findings: a missing library, drifted calls, a missing native module and a
// note. One resolution, one contract, four call sites.
Inspection jetson_inspection();
// An environment without findings.
Inspection healthy_inspection();
// Every text field holds markup, quotes, control bytes, bytes that are no UTF-8, and separators of
// the formats.
Inspection hostile_inspection();
// `count` findings of one code in as many files.
Inspection large_inspection(size_t count);

std::vector<CheckRow> sample_checks();

}  // namespace ssmend
