#include "cli/checks.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "cli/command.h"
#include "repair/transaction.h"
#include "verify/native_check.h"

namespace ssmend {
namespace {

using State = CheckOutcome::State;

constexpr const char* kInPackage = "ssm_kernels/libssm_kernels.so";

Result<void> check_component_names(const std::vector<std::string>& wanted,
                                   const std::vector<std::string>& known) {
  for (const std::string& name : wanted) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return Error("--component " + printable(name) + ": is none of " + join(known, ", "));
    }
  }
  return {};
}

CheckOutcome native_not_checked(const NativeReport& report) {
  CheckOutcome outcome;
  outcome.component = "native";
  outcome.name = "kernel library";
  outcome.state = State::kNotChecked;
  outcome.gpu_is_missing = report.state == NativeReport::State::kNoGpu;
  outcome.reason = report.reason;
  return outcome;
}

std::vector<std::string> device_lines(const NativeGpu& gpu, const std::string& library) {
  std::vector<std::string> lines = {
      "Library " + library,
      fmt::format("GPU     {}, sm_{}, {} multiprocessors, driver for CUDA {}.{}", gpu.name, gpu.sm,
                  gpu.multiprocessors, gpu.driver_version / 1000, gpu.driver_version % 1000 / 10)};
  // Mostly one reason holds for all units.
  std::vector<std::pair<std::string, std::vector<std::string>>> units_by_reason;
  for (const NativeImage& image : gpu.images) {
    const auto same = std::find_if(units_by_reason.begin(), units_by_reason.end(),
                                   [&](const auto& entry) { return entry.first == image.reason; });
    if (same == units_by_reason.end()) {
      units_by_reason.push_back({image.reason, {image.unit}});
    } else {
      same->second.push_back(image.unit);
    }
  }
  for (const auto& [reason, units] : units_by_reason) {
    const std::string of = units.size() == gpu.images.size()
                               ? fmt::format("all {} units", units.size())
                               : join(units, ", ");
    lines.push_back(fmt::format("Image   {}: {}", reason, of));
  }
  return lines;
}

// Where a wrong number of the packages leads: apart from the kernels, and back.
std::vector<std::string> package_remedies(const Disk& disk, const Environment& environment) {
  std::vector<std::string> remedies = {
      "`ssmend verify --native` tells the kernel library and the packages apart"};
  const Result<StatusReport> status = read_status(disk, scope_of(disk, environment));
  if (!status.ok() || status->repairs.empty()) {
    remedies.push_back(
        "nothing of ssmend is applied here: the packages are as they were installed");
    return remedies;
  }
  size_t files = 0;
  for (const StatusReport::Repair& repair : status->repairs) files += repair.files.size();
  remedies.push_back(fmt::format("`ssmend undo --python {}` takes back what was applied, {}",
                                 printable(environment.prefix), count_of(files, "file")));
  return remedies;
}

// A check holds torch and, on a GPU, a CUDA context: about 3 GB. A small board runs one at a time.
size_t checks_at_a_time() {
  constexpr uint64_t kBytesOfOne = uint64_t{4} << 30;
  constexpr size_t kMost = 4;
  uint64_t available = 0;
  const Result<std::string> memory = open_system_disk()->read("/proc/meminfo");
  for (const std::string& line : split_lines(memory.ok() ? *memory : "")) {
    constexpr std::string_view kName = "MemAvailable:";
    if (line.rfind(kName, 0) == 0) {
      available = std::strtoull(line.c_str() + kName.size(), nullptr, 10) << 10;
    }
  }
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  return std::clamp<size_t>(available / kBytesOfOne, 1, std::min(cores, kMost));
}

}  // namespace

std::string installed_kernel_library(const Disk& disk,
                                     const std::vector<Environment>& environments) {
  for (const Environment& environment : environments) {
    for (const std::string& site : environment.site_directories) {
      if (std::string path = path_join(site, kInPackage); disk.exists(path)) return path;
    }
  }
  return "";
}

std::string kernel_library(const Disk& disk, const std::vector<Environment>& environments) {
  if (std::string path = installed_kernel_library(disk, environments); !path.empty()) return path;
  const Result<std::string> own = data_directory("kernels");
  utsname system{};
  if (!own.ok() || ::uname(&system) != 0) return "";
  const std::string tag = std::string("linux_") + system.machine;
  std::string path = path_join(path_join(*own, tag), kInPackage);
  return open_system_disk()->exists(path) ? path : "";
}

void add_native_check(const std::string& library, const std::string& operation,
                      Verification& verification) {
  if (library.empty()) {
    NativeReport none;
    none.state = NativeReport::State::kNoLibrary;
    none.reason = "no kernel library is installed here and none comes with this ssmend";
    verification.outcomes.push_back(native_not_checked(none));
    return;
  }
  const NativeReport report = run_native_check(library, operation);
  if (report.state != NativeReport::State::kChecked) {
    verification.outcomes.push_back(native_not_checked(report));
    return;
  }
  verification.device = device_lines(report.gpu, library);
  for (const NativeResult& result : report.results) {
    CheckOutcome outcome = result.outcome;
    if (result.bytes_per_second > 0) {
      outcome.rate = fmt::format("{:.0f} GB/s", result.bytes_per_second / 1e9);
    }
    verification.outcomes.push_back(std::move(outcome));
  }
}

Result<void> add_package_checks(PackageCheckRequest request, const Disk& disk,
                                const std::vector<Environment>& environments, bool show_progress,
                                Verification& verification) {
  Result<std::string> directory = data_directory("recipes");
  if (!directory.ok()) return std::move(directory).error();
  const std::unique_ptr<Disk> own_disk = open_system_disk();
  Result<std::vector<CheckScript>> scripts =
      load_check_scripts(*own_disk, path_join(*directory, "checks"));
  if (!scripts.ok()) return std::move(scripts).error();
  Result<void> known = check_component_names(request.components, component_names(*scripts));
  if (!known.ok()) return known;

  if (show_progress) {
    request.on_step = [](const std::string& component, const std::string& step) {
      print_progress("\r\x1b[K" + printable(component) + ": " + printable(step));
    };
  }
  request.at_a_time = checks_at_a_time();
  const std::unique_ptr<Process> process = open_system_process();
  for (const Environment& environment : environments) {
    verification.environment = environment.prefix;
    std::vector<CheckOutcome> more = check_packages(*process, disk, environment, *scripts, request);
    for (CheckOutcome& outcome : more) {
      if (outcome.state == State::kWrong) outcome.remedies = package_remedies(disk, environment);
      if (outcome.state == State::kFailed) {
        outcome.remedies = {
            fmt::format("`ssmend inspect --python {}` tells from the files what "
                        "does not load or fit",
                        printable(environment.prefix))};
      }
    }
    verification.outcomes.insert(verification.outcomes.end(), more.begin(), more.end());
  }
  if (request.on_step) print_progress("\r\x1b[K");
  return {};
}

}  // namespace ssmend
