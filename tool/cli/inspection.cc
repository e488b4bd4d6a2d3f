#include "cli/inspection.h"

#include "base/text.h"

namespace ssmend {

Result<std::vector<Inspection>> inspect_environments(const TargetOptions& options,
                                                     const std::string& gpu, bool show_progress) {
  Result<Target> target = open_target(options);
  if (!target.ok()) return std::move(target).error();
  DiagnoseOptions diagnose_options;
  diagnose_options.library_path = target->library_path;
  diagnose_options.gpu = gpu;
  std::vector<Inspection> inspections;
  for (Environment& environment : target->environments) {
    if (show_progress) print_progress("\r\x1b[Kreading " + printable(environment.prefix));
    inspections.push_back(diagnose(*target->disk, std::move(environment), diagnose_options));
  }
  if (show_progress) print_progress("\r\x1b[K");
  return inspections;
}

}  // namespace ssmend
