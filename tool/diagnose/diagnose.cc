#include "diagnose/diagnose.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "diagnose/context.h"

namespace ssmend {
namespace {

// Errors before warnings before notes; within, the order of causes that the table of codes has.
void sort_findings(std::vector<Finding>* findings) {
  std::map<std::string, size_t> rank;
  for (const CodeInfo& info : all_codes()) rank.emplace(info.code, rank.size());
  std::stable_sort(findings->begin(), findings->end(), [&](const Finding& a, const Finding& b) {
    if (a.severity != b.severity) return a.severity < b.severity;
    if (a.code != b.code) return rank[a.code] < rank[b.code];
    // What is wrong with torch is the reason for what is wrong with its extensions.
    return (a.subject.rfind("torch", 0) == 0) > (b.subject.rfind("torch", 0) == 0);
  });
}

}  // namespace

Inspection diagnose(const Disk& disk, Environment environment, const DiagnoseOptions& options) {
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  Inspection inspection;
  inspection.environment = std::move(environment);
  ReadElfOptions read_options;
  read_options.symbols = true;
  ElfCache cache(disk, read_options);
  DiagnoseContext context{disk, options, inspection, cache, {}, {}, {}};

  collect_modules(context);  // facts and resolutions; frozen from here but for `explained`
  collect_sources(context);  // Python files; frozen from here
  judge_environment(context);
  judge_torch(context);
  judge_files(context);
  judge_loading(context);
  judge_symbols(context);  // after loading: a missing library explains its symbols
  judge_imports(context);
  judge_contracts(context);
  judge_gpu_code(context);
  judge_repairs(context);

  sort_findings(&inspection.findings);
  inspection.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return inspection;
}

}  // namespace ssmend
