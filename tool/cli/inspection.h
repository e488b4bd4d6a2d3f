// Discover, read, resolve and diagnose: the stages that `inspect` and `report` share.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "diagnose/wheel_modules.h"

namespace ssmend {

// With `show_progress`, what is being read stands in one line of the terminal and goes again.
Result<std::vector<Inspection>> inspect_environments(const TargetOptions& options,
                                                     const std::string& gpu, bool show_progress);

// The environment as it would be with a wheel installed into it; findings about the wheel's files
// and packages alone, and about the torch they need. `modules` gets the answers by extension, one
// list an environment. Nothing stays behind.
Result<std::vector<Inspection>> inspect_wheel(const TargetOptions& options,
                                              const std::string& wheel_path, const std::string& gpu,
                                              std::vector<std::vector<WheelModule>>* modules);

}  // namespace ssmend
