#include <fmt/format.h>

#include <map>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "patch/patch.h"
#include "patch/rules.h"
#include "repair/payload.h"

namespace ssmend {
namespace {

std::string machine_of_build() {
#if defined(__aarch64__)
  return "aarch64";
#elif defined(__x86_64__)
  return "x86_64";
#else
  return "other machine";
#endif
}

std::string kernels_line() {
  const Result<std::string> directory = data_directory("kernels");
  if (!directory.ok()) return "kernels: none come with this ssmend\n";
  const std::unique_ptr<Disk> disk = open_system_disk();
  const Result<std::vector<Payload>> payloads = load_payloads(*disk, *directory);
  if (!payloads.ok()) return "kernels: unreadable: " + payloads.error().message + "\n";
  std::string text;
  for (const Payload& payload : *payloads) {
    std::set<std::string> images;
    for (const PayloadImage& image : payload.images) {
      images.insert((image.kind == "ptx" ? "compute_" : "sm_") + std::to_string(image.sm));
    }
    text += fmt::format("kernels: {} {} for {}, images {}\n", payload.name, payload.version,
                        payload.machine,
                        join(std::vector<std::string>(images.begin(), images.end()), " "));
  }
  return text.empty() ? "kernels: none come with this ssmend\n" : text;
}

std::string rules_line() {
  const Result<std::string> directory = data_directory("patches");
  if (!directory.ok()) return "rules: none: " + directory.error().message + "\n";
  const std::unique_ptr<Disk> disk = open_system_disk();
  const Result<std::vector<RuleSet>> rules = load_rules(*disk, *directory);
  if (!rules.ok()) return "rules: unreadable: " + rules.error().message + "\n";
  std::vector<std::string> names;
  for (const RuleSet& rule : *rules) names.push_back(fmt::format("{} {}", rule.id, rule.revision));
  return "rules: " + join(names, ", ") + "\n";
}

}  // namespace

std::string version_text() {
  std::string text = "ssmend " SSMEND_VERSION "\n";
  text +=
      fmt::format("build: {}, {}, compiler {}\n", SSMEND_BUILD, machine_of_build(), __VERSION__);
  text += kernels_line();
  text += rules_line();
  text.pop_back();  // CLI11 adds the last line end
  return text;
}

}  // namespace ssmend
