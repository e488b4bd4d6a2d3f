#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/text.h"
#include "cli/kernels_build.h"
#include "cli/plan_text.h"
#include "cli/repair_session.h"
#include "core/choose.h"

namespace ssmend {

namespace {

// "sm_87", "87" or "8.7"; 0 where it is none of these.
int parse_gpu(std::string text) {
  if (text.rfind("sm_", 0) == 0) text = text.substr(3);
  std::erase(text, '.');
  return is_all_digits(text) && text.size() <= 3 ? std::stoi(text) : 0;
}

}  // namespace

Result<int> chosen_gpu(const std::string& option, const HostFacts& host) {
  const std::string gpu = option.empty() ? host.gpu_sm.value : option;
  if (gpu.empty()) {
    return Error("no GPU is known here (" + host.gpu_sm.source + "): name one with --gpu sm_87");
  }
  const int sm = parse_gpu(gpu);
  if (sm == 0) return Error("--gpu " + printable(gpu) + ": expected sm_NN, such as sm_87");
  return sm;
}

int parse_cuda_version(const std::string& text) {
  const std::vector<std::string> parts = split(text, '.');
  if (parts.empty() || parts.size() > 2) return -1;
  for (const std::string& part : parts) {
    if (!is_all_digits(part) || part.size() > 3) return -1;
  }
  const int minor = parts.size() == 2 ? std::stoi(parts[1]) : 0;
  return std::stoi(parts[0]) * 1000 + minor * 10;
}

namespace {

using nlohmann::json;

struct KernelsOptions {
  TargetOptions target;
  std::string payload;
  std::vector<std::string> modules;
  std::string gpu;
  std::string driver;
  bool yes = false;
  bool dry_run = false;
  bool json = false;
};

Result<std::vector<Payload>> open_payloads(const Disk& disk, const std::string& given) {
  std::string directory = given;
  if (directory.empty()) {
    Result<std::string> found = data_directory("kernels");
    if (!found.ok()) {
      return std::move(found).error().with_context("this ssmend comes without the kernel library");
    }
    directory = std::move(found).value();
  }
  return load_payloads(disk, directory);
}

// --- list ---

int run_list(const KernelsOptions& options) {
  const std::unique_ptr<Disk> disk = open_system_disk();
  const Result<std::vector<Payload>> payloads = open_payloads(*disk, options.payload);
  if (!payloads.ok()) return fail(payloads.error());
  json all = json::array();
  for (const Payload& payload : *payloads) {
    std::vector<std::string> modules;
    for (const PayloadComponent& component : payload.components) {
      if (!component.is_shared()) modules.push_back(component.provides_module);
    }
    std::map<std::string, std::vector<std::string>> units;
    std::vector<PayloadImage> images = payload.images;
    std::sort(images.begin(), images.end(), [](const PayloadImage& a, const PayloadImage& b) {
      return std::tie(a.kind, a.sm) < std::tie(b.kind, b.sm);
    });
    for (const PayloadImage& image : images) {
      units[image.unit].push_back((image.kind == "ptx" ? "compute_" : "sm_") +
                                  std::to_string(image.sm));
    }
    if (options.json) {
      json by_unit = json::object();
      for (const auto& [unit, names] : units) by_unit[unit] = names;
      all.push_back(json{{"name", payload.name},
                         {"version", payload.version},
                         {"machine", payload.machine},
                         {"glibc", payload.glibc_min},
                         {"python", payload.python_min},
                         {"modules", modules},
                         {"images", by_unit}});
      continue;
    }
    print(fmt::format("{} {}  {}  glibc {} or newer, Python {} or newer\n", payload.name,
                      payload.version, payload.machine, payload.glibc_min, payload.python_min));
    for (const std::string& module : modules) print("  module  " + module + "\n");
    for (const auto& [unit, names] : units) {
      print("  images  " + unit + ": " + join(names, " ") + "\n");
    }
  }
  if (options.json) print(to_text(json{{"schema", "ssmend-kernels/1"}, {"kernels", all}}));
  if (!options.json && payloads->empty()) print("No kernel library comes with this ssmend\n");
  return kExitHealthy;
}

// --- which ---

struct ImageChoice {
  std::string unit;
  std::string image;  // empty: none
  std::string reason;
};

std::vector<ImageChoice> choose_images(const Payload& payload, int sm, int driver) {
  std::vector<ssm_image> images;
  std::set<std::string> units;
  for (const PayloadImage& each : payload.images) {
    units.insert(each.unit);
    ssm_image image{};
    image.unit = each.unit.c_str();
    image.kind = each.kind == "ptx" ? SSM_PTX : SSM_CUBIN;
    image.sm = each.sm;
    image.compiler = each.compiler;
    image.ptx_isa = each.ptx_isa;
    images.push_back(image);
  }
  std::vector<ImageChoice> choices;
  for (const std::string& unit : units) {
    ImageChoice choice;
    choice.unit = unit;
    int index = -1;
    char reason[512] = "";
    const ssm_status status =
        ssm::choose_image(images.data(), static_cast<int>(images.size()), unit.c_str(), sm, driver,
                          nullptr, &index, reason, sizeof reason);
    if (status == SSM_OK && index >= 0) {
      const ssm_image& image = images[static_cast<size_t>(index)];
      choice.image = (image.kind == SSM_PTX ? "compute_" : "sm_") + std::to_string(image.sm);
    }
    choice.reason = reason;
    choices.push_back(std::move(choice));
  }
  return choices;
}

int run_which(const KernelsOptions& options) {
  const std::unique_ptr<Disk> disk = open_system_disk();
  const Result<std::vector<Payload>> payloads = open_payloads(*disk, options.payload);
  if (!payloads.ok()) return fail(payloads.error());
  Result<std::unique_ptr<Disk>> target = open_target_disk(options.target.root);
  if (!target.ok()) return fail(target.error());
  const HostFacts host = probe_host(**target);
  const Result<int> sm = chosen_gpu(options.gpu, host);
  if (!sm.ok()) return fail(sm.error());
  const std::string driver = options.driver.empty() ? host.cuda_driver_api.value : options.driver;
  if (driver.empty()) {
    return fail(Error("the driver's CUDA version is not known here (" +
                      host.cuda_driver_api.source + "): give it with --driver 12.6"));
  }
  const int version = parse_cuda_version(driver);
  if (version < 0) {
    return fail(Error("--driver " + printable(driver) + ": expected a CUDA version, such as 12.6"));
  }
  const std::string machine = host.machine.value == "x86_64" ? "x86-64" : host.machine.value;
  const Payload* payload = nullptr;
  for (const Payload& each : *payloads) {
    if (payload == nullptr || each.machine == machine) payload = &each;
  }
  if (payload == nullptr) return fail(Error("no kernel library comes with this ssmend"));
  const std::vector<ImageChoice> choices = choose_images(*payload, *sm, version);
  bool all = !choices.empty();
  json report = json::array();
  for (const ImageChoice& choice : choices) {
    all = all && !choice.image.empty();
    report.push_back(
        json{{"unit", choice.unit}, {"image", choice.image}, {"reason", choice.reason}});
    if (!options.json) {
      print(fmt::format("{}: {}\n  {}\n", choice.unit, choice.image.empty() ? "none" : choice.image,
                        choice.reason));
    }
  }
  if (options.json) {
    print(to_text(json{{"schema", "ssmend-kernels-which/1"},
                       {"gpu", "sm_" + std::to_string(*sm)},
                       {"driver", driver},
                       {"choices", report}}));
  }
  return all ? kExitHealthy : kExitBroken;
}

// --- install ---

int run_install(const KernelsOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok()) return fail(target.error());
  const std::unique_ptr<Disk> data_disk = open_system_disk();
  Result<std::vector<Payload>> payloads = open_payloads(*data_disk, options.payload);
  if (!payloads.ok()) return fail(payloads.error());
  for (const Environment& environment : target->environments) {
    const RepairSession session = open_session(*target, environment, options.gpu);
    if (session.scope.base.empty()) {
      return fail(Error(printable(environment.name_for_people) + ": has no import directory"));
    }
    std::unique_ptr<DirectoryLock> lock;
    if (!options.dry_run) {
      Result<std::unique_ptr<DirectoryLock>> held = lock_scope(*target->disk, session.scope);
      if (!held.ok()) return fail(held.error());
      lock = std::move(held).value();
      const SignalsHeld signals;
      const Result<UndoReport> recovered = recover(*target->disk, session.scope);
      if (!recovered.ok()) return fail(recovered.error());
    }
    std::vector<std::string> modules = options.modules;
    const PayloadChoice choice = choose_payload(*payloads, environment);
    if (choice.payload == nullptr) return fail(Error(choice.reason));
    if (modules.empty()) {
      for (const PayloadComponent& component : choice.payload->components) {
        if (!component.is_shared()) modules.push_back(component.provides_module);
      }
    }
    Result<PlanRequest> request = plan_request(session, *data_disk, options.payload, {});
    if (!request.ok()) return fail(request.error());
    Result<Inspection> inspection = inspect_session(session, *target->disk);
    if (!inspection.ok()) return fail(inspection.error());
    Result<Plan> plan = make_install_plan(*request, *inspection, modules);
    if (!plan.ok()) return fail(plan.error());
    plan->remaining.clear();  // the command was asked to install, not to judge
    print(render_plan(*plan, inspection->environment, text_style(false)));
    if (plan->empty()) {
      if (!plan->refusals.empty()) return kExitFailed;
      print("All of it is installed already\n");
      continue;
    }
    if (options.dry_run) {
      print("Would change " + count_of(files_changed(*plan), "file") + "\nNothing was changed\n");
      continue;
    }
    if (!options.yes && !can_ask()) {
      return fail(Error("nobody can be asked here: --yes installs, --dry-run only shows"));
    }
    if (!options.yes && !ask("Go on?")) {
      print("Nothing was changed\n");
      continue;
    }
    ApplyOptions apply_options;
    apply_options.ssmend_version = SSMEND_VERSION;
    const Result<std::optional<int64_t>> epoch = source_date_epoch();
    if (!epoch.ok()) return fail(epoch.error());
    apply_options.source_date_epoch = *epoch;
    const SignalsHeld signals;
    const Result<ApplyReport> applied =
        apply_plan(*target->disk, session.scope, *plan, apply_options);
    if (!applied.ok()) return fail(applied.error());
    print("Changed " + count_of(files_changed(*plan), "file") + "; undo with `ssmend undo`\n");
  }
  return kExitHealthy;
}

}  // namespace

void add_kernels_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<KernelsOptions>();
  CLI::App* command = app.add_subcommand("kernels", "the kernel library that comes with ssmend");
  command->require_subcommand(1);

  CLI::App* list = command->add_subcommand("list", "what comes with this ssmend");
  CLI::App* which =
      command->add_subcommand("which", "the image that a GPU would be given, and why");
  CLI::App* install = command->add_subcommand("install", "install its modules; undo gives back");
  for (CLI::App* each : {list, which, install}) {
    each->add_option("--payload", options->payload, "folder of kernel libraries");
  }
  for (CLI::App* each : {list, which}) each->add_flag("--json", options->json, "as JSON");
  which->add_option("--gpu", options->gpu, "sm_87; default: the GPU of this machine");
  which->add_option("--driver", options->driver,
                    "CUDA version that the driver supports, such as 12.6; default: this machine's");
  which->add_option("--root", options->target.root, "a mounted root file system");
  add_target_options(*install, options->target);
  install->add_option("modules", options->modules, "modules; none: all of them");
  install->add_flag("-y,--yes", options->yes, "without asking");
  install->add_flag("--dry-run", options->dry_run, "show the plan, change nothing");

  add_kernels_build(*command, selected);
  list->callback([options, &selected] { selected.run = [options] { return run_list(*options); }; });
  which->callback(
      [options, &selected] { selected.run = [options] { return run_which(*options); }; });
  install->callback(
      [options, &selected] { selected.run = [options] { return run_install(*options); }; });
}

}  // namespace ssmend
