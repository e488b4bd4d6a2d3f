#include "repair/payload.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "base/version.h"
#include "elf/elf_facts.h"
#include "repair/record.h"

namespace ssmend {
namespace {

using nlohmann::json;

constexpr uint64_t kLargestPayloadFileBytes = uint64_t{256} << 20;

bool is_clean_relative(const std::string& path) {
  return !path.empty() && path.front() != '/' && normal_path(path) == path &&
         path.rfind("..", 0) != 0;
}

// uname's spelling and this program's are both in use.
std::string machine_spelling(const std::string& machine) {
  return machine == "x86_64" ? "x86-64" : machine == "arm64" ? "aarch64" : machine;
}

// "11.8" as the driver counts: 11080.
int compiler_number(const json& image) {
  const std::string text = image.value("compiler", "");
  const std::vector<std::string> parts = split(text, '.');
  if (parts.size() != 2 || !is_all_digits(parts[0]) || !is_all_digits(parts[1])) return 0;
  if (parts[0].size() > 4 || parts[1].size() > 2) return 0;
  return std::stoi(parts[0]) * 1000 + std::stoi(parts[1]) * 10;
}

// The PTX version that an NVRTC writes, from the release history in the PTX manual: 11.8
// writes 7.8, 12.0 to 12.5 write 8.0 to 8.5, 12.6 writes 8.5, from 12.7 on one more, 13.n
// writes 9.n.
int ptx_isa_of(const PayloadImage& image) {
  if (image.kind != "ptx" || image.compiler < 11000) return 0;
  const int major = image.compiler / 1000;
  int minor = image.compiler % 1000 / 10;
  if (major == 12 && minor >= 6) --minor;
  return (major - 4) * 10 + minor;
}

Result<Payload> read_manifest(const json& manifest, const std::string& path) {
  Payload payload;
  payload.name = manifest.at("name").get<std::string>();
  payload.version = manifest.at("version").get<std::string>();
  payload.summary =
      manifest.value("summary", "Kernels for Mamba / SSM extensions without libtorch");
  payload.machine = machine_spelling(manifest.at("machine").get<std::string>());
  payload.glibc_min = manifest.at("glibc_min").get<std::string>();
  payload.python_min = manifest.at("python_min").get<std::string>();
  for (const json& each : manifest.at("components")) {
    PayloadComponent component;
    component.name = each.at("name").get<std::string>();
    if (each.contains("provides_module") && each.at("provides_module").is_string()) {
      component.provides_module = each.at("provides_module").get<std::string>();
    }
    component.files = each.at("files").get<std::vector<std::string>>();
    for (const std::string& file : component.files) {
      if (!is_clean_relative(file)) return Error(path + ": not a clean relative path: " + file);
    }
    payload.components.push_back(std::move(component));
  }
  if (manifest.contains("images")) {
    for (const json& each : manifest.at("images")) {
      PayloadImage image;
      image.unit = each.value("unit", "");
      image.kind = each.value("kind", "cubin");
      image.sm = each.value("sm", 0);
      image.compiler = compiler_number(each);
      image.ptx_isa = ptx_isa_of(image);
      image.size_bytes = each.value("size_bytes", uint64_t{0});
      payload.images.push_back(std::move(image));
    }
  }
  return payload;
}

Result<Payload> load_payload(const Disk& disk, const std::string& directory) {
  const std::string path = path_join(directory, "manifest.json");
  const Result<std::string> text = disk.read(path);
  if (!text.ok()) return text.error();
  try {
    Result<Payload> payload = read_manifest(json::parse(*text), path);
    if (!payload.ok()) return payload;
    payload->directory = directory;
    payload->platform_tag = std::string(base_name(directory));
    return payload;
  } catch (const json::exception& problem) {
    return Error(path + ": not a manifest: " + problem.what());
  }
}

std::string dist_info_name(const Payload& payload) {
  return replace_all(normalized_distribution_name(payload.name), "-", "_") + "-" + payload.version +
         ".dist-info";
}

std::string wheel_tag(const Payload& payload) {
  return "cp" + replace_all(payload.python_min, ".", "") + "-abi3-" + payload.platform_tag;
}

}  // namespace

const PayloadComponent* Payload::component_for(std::string_view module) const {
  for (const PayloadComponent& component : components) {
    if (!component.provides_module.empty() && component.provides_module == module) {
      return &component;
    }
  }
  return nullptr;
}

Result<std::vector<Payload>> load_payloads(const Disk& disk, const std::string& directory) {
  const Result<std::vector<DirectoryEntry>> entries = disk.list(directory);
  if (!entries.ok()) return entries.error();
  std::vector<Payload> payloads;
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = path_join(directory, entry.name);
    if (!disk.exists(path_join(path, "manifest.json"))) continue;
    Result<Payload> payload = load_payload(disk, path);
    if (!payload.ok()) return std::move(payload).error();
    payloads.push_back(std::move(payload).value());
  }
  return payloads;
}

Result<void> read_contents(const Disk& disk, Payload& payload) {
  for (const PayloadComponent& component : payload.components) {
    for (const std::string& file : component.files) {
      const std::string path = path_join(payload.directory, file);
      Result<std::string> content = disk.read(path, kLargestPayloadFileBytes);
      if (!content.ok()) {
        return std::move(content).error().with_context(payload.directory +
                                                       ": the kernel library is incomplete");
      }
      const Result<FileStat> stat = disk.stat(path);
      payload.modes[file] = stat.ok() && (stat->mode & 0100) != 0 ? 0755 : 0644;
      payload.contents[file] = std::move(content).value();
    }
  }
  return {};
}

PayloadChoice choose_payload(const std::vector<Payload>& payloads, const Environment& environment) {
  PayloadChoice choice;
  std::string machine = environment.python.machine != 0 ? machine_name(environment.python.machine)
                                                        : environment.host.machine.value;
  machine = machine_spelling(machine);
  std::set<std::string> others;
  for (const Payload& payload : payloads) {
    if (payload.machine != machine) {
      others.insert(payload.machine);
      continue;
    }
    const std::string& glibc = environment.host.glibc.value;
    if (!glibc.empty() && compare_dotted(glibc, payload.glibc_min) < 0) {
      choice.reason =
          "the kernel library needs glibc " + payload.glibc_min + ", this system has " + glibc;
      continue;
    }
    const std::string& python = environment.python.version;
    if (!python.empty() && compare_dotted(python, payload.python_min) < 0) {
      choice.reason = "the kernel library needs Python " + payload.python_min +
                      ", this environment has " + python;
      continue;
    }
    choice.payload = &payload;
    choice.reason = "for " + payload.machine + ", glibc " + payload.glibc_min +
                    " or newer, Python " + payload.python_min + " or newer";
    return choice;
  }
  if (!choice.reason.empty()) return choice;
  if (payloads.empty()) {
    choice.reason = "this ssmend comes without the kernel library";
  } else if (machine.empty()) {
    choice.reason = "the machine of this environment is not known";
  } else {
    choice.reason = "no kernel library for " + machine + "; there is one for " +
                    join(std::vector<std::string>(others.begin(), others.end()), ", ");
  }
  return choice;
}

Action install_action(const Disk& disk, const Payload& payload,
                      const std::vector<std::string>& modules, const std::string& site_directory,
                      const std::string& ssmend_version) {
  const std::string dist_info = dist_info_name(payload);
  // What an earlier run installed stays in RECORD.
  std::set<std::string> files;
  const Result<std::string> earlier =
      disk.read(path_join(path_join(site_directory, dist_info), "RECORD"));
  for (const PayloadComponent& component : payload.components) {
    bool wanted = component.is_shared() || std::find(modules.begin(), modules.end(),
                                                     component.provides_module) != modules.end();
    if (!wanted && earlier.ok() && !component.files.empty()) {
      for (const std::string& row : split_lines(*earlier)) {
        wanted = wanted || record_name(row) == component.files.front();
      }
    }
    if (wanted) files.insert(component.files.begin(), component.files.end());
  }
  std::vector<std::pair<std::string, std::string>> contents;
  for (const std::string& file : files) {
    const auto content = payload.contents.find(file);
    if (content != payload.contents.end()) contents.emplace_back(file, content->second);
  }
  contents.emplace_back(dist_info + "/METADATA",
                        "Metadata-Version: 2.1\nName: " + payload.name +
                            "\nVersion: " + payload.version + "\nSummary: " + payload.summary +
                            "\nRequires-Python: >=" + payload.python_min + "\n");
  contents.emplace_back(dist_info + "/WHEEL",
                        "Wheel-Version: 1.0\nGenerator: ssmend " + ssmend_version +
                            "\nRoot-Is-Purelib: false\nTag: " + wheel_tag(payload) + "\n");
  contents.emplace_back(dist_info + "/INSTALLER", "ssmend\n");
  std::string record;
  for (const auto& [file, content] : contents) record += record_row(file, content) + "\n";
  contents.emplace_back(dist_info + "/RECORD", record + dist_info + "/RECORD,,\n");

  Action action;
  action.kind = Action::Kind::kInstall;
  action.title = payload.name + " " + payload.version;
  for (auto& [file, content] : contents) {
    FileChange change;
    change.path = path_join(site_directory, file);
    const Result<std::string> now = disk.read(change.path, kLargestPayloadFileBytes);
    if (now.ok() && *now == content) continue;
    const auto mode = payload.modes.find(file);
    change.mode = mode == payload.modes.end() ? 0644 : mode->second;
    change.content = std::move(content);
    action.changes.push_back(std::move(change));
  }
  action.summary = count_of(action.changes.size(), "file");
  return action;
}

}  // namespace ssmend
