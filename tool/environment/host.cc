#include "environment/host.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <optional>

#include "base/text.h"
#include "environment/elf_identity.h"
#include "environment/host_tables.h"

namespace ssmend {
namespace {

constexpr uint64_t kTextLimitBytes = 64 << 20;  // dpkg's status file is the largest

std::string digits_and_dots(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && (text[end] == '.' || (text[end] >= '0' && text[end] <= '9'))) ++end;
  while (end > 0 && text[end - 1] == '.') --end;
  return std::string(text.substr(0, end));
}

// The text after `label` (case as given), blanks skipped.
std::optional<std::string_view> after(std::string_view text, std::string_view label) {
  const size_t at = text.find(label);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = text.substr(at + label.size());
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == ':')) rest.remove_prefix(1);
  return rest;
}

// Version of an installed package in dpkg's database; empty where it is not installed.
std::string dpkg_version(const Disk& disk, const std::string& package) {
  const Result<std::string> status = disk.read("/var/lib/dpkg/status", kTextLimitBytes);
  if (!status.ok()) return {};
  std::string_view text = *status;
  const std::string head = "Package: " + package + "\n";
  size_t at = text.rfind(head, 0) == 0 ? 0 : text.find("\n" + head);
  if (at == std::string_view::npos) return {};
  if (at != 0) ++at;
  std::string_view stanza = text.substr(at);
  stanza = stanza.substr(0, stanza.find("\n\n"));
  if (stanza.find("\nStatus: install ok installed") == std::string_view::npos) return {};
  const std::optional<std::string_view> version = after(stanza, "\nVersion:");
  if (!version) return {};
  return std::string(version->substr(0, version->find('\n')));
}

// "# R36 (release), REVISION: 4.3, GCID: ..." -> "36.4.3". The '#' may be missing.
std::string parse_tegra_release(std::string_view text) {
  for (size_t at = text.find('R'); at != std::string_view::npos; at = text.find('R', at + 1)) {
    const std::string major = digits_and_dots(text.substr(at + 1));
    if (!is_all_digits(major)) continue;
    const std::optional<std::string_view> revision = after(text.substr(at), "REVISION:");
    if (!revision) return {};
    const std::string minor = digits_and_dots(*revision);
    return minor.empty() ? std::string() : major + "." + minor;
  }
  return {};
}

Probe probe_l4t(const Disk& disk) {
  const std::string release = "/etc/nv_tegra_release";
  std::string why = "no " + release + ", no nvidia-l4t-core package";
  if (disk.is_directory(release)) {
    why = release + " is a folder";
  } else if (const Result<std::string> text = disk.read(release, 1 << 20); text.ok()) {
    const std::string version = parse_tegra_release(*text);
    if (!version.empty()) return {version, release};
    why = release + " names no release";
  }
  const std::string package = dpkg_version(disk, "nvidia-l4t-core");
  const std::string version = digits_and_dots(package);  // 36.4.3-20250107174145
  if (!version.empty()) return {version, "dpkg: nvidia-l4t-core " + package};
  return {"", why};
}

Probe probe_soc(const Disk& disk) {
  if (disk.is_mounted_root()) return {"", "not known of a mounted root"};
  for (const char* path :
       {"/proc/device-tree/compatible", "/sys/firmware/devicetree/base/compatible"}) {
    const Result<std::string> text = disk.read(path, 1 << 16);
    if (!text.ok()) continue;
    for (const std::string& entry : split(*text, '\0')) {
      if (entry.rfind("nvidia,tegra", 0) == 0) return {entry.substr(7), path};
    }
    return {"", std::string(path) + " names no Tegra"};
  }
  return {"", "no device tree"};
}

Probe probe_gpu(const Disk& disk, const Probe& soc) {
  if (soc.known()) {
    const std::string architecture = soc_gpu_architecture(soc.value);
    if (!architecture.empty()) return {architecture, soc.value + " of " + soc.source};
    return {"", "unknown SoC " + soc.value};
  }
  if (disk.is_mounted_root()) return {"", "not known of a mounted root"};
  const std::string folder = "/proc/driver/nvidia/gpus";
  const Result<std::vector<DirectoryEntry>> entries = disk.list(folder);
  if (!entries.ok()) return {"", "no NVIDIA driver is loaded"};
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = path_join(path_join(folder, entry.name), "information");
    const Result<std::string> text = disk.read(path, 1 << 16);
    if (!text.ok()) continue;
    for (const std::string& line : split_lines(*text)) {
      const std::optional<std::string_view> model = after(line, "Model:");
      if (!model) continue;
      const std::string name(trim(*model));
      const std::string architecture = gpu_name_architecture(name);
      if (!architecture.empty()) return {architecture, name + " of " + path};
      return {"", "unknown GPU " + printable(name)};
    }
  }
  return {"", folder + " lists no GPU"};
}

Probe probe_driver(const Disk& disk) {
  if (disk.is_mounted_root()) return {"", "not known of a mounted root"};
  const std::string path = "/proc/driver/nvidia/version";
  if (const Result<std::string> text = disk.read(path, 1 << 16); text.ok()) {
    // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  ...", or "... for aarch64
    // 540.4.0"
    for (const std::string& word : split(text->substr(0, text->find('\n')), ' ')) {
      const std::string version = digits_and_dots(word);
      if (version == word && version.find('.') != std::string::npos) return {version, path};
    }
  }
  const std::string module = "/sys/module/nvidia/version";
  if (const Result<std::string> text = disk.read(module, 1 << 12); text.ok()) {
    const std::string version = digits_and_dots(trim(*text));
    if (!version.empty()) return {version, module};
  }
  return {"", "no NVIDIA driver is loaded"};
}

Probe probe_cuda(const Probe& l4t, const Probe& driver) {
  if (l4t.known()) {
    const std::string cuda = l4t_cuda_version(l4t.value);
    if (!cuda.empty()) return {cuda, "L4T " + l4t.value};
    return {"", "unknown L4T release " + l4t.value};
  }
  if (driver.known()) {
    const std::string cuda = driver_cuda_version(driver.value);
    if (!cuda.empty()) return {cuda, "driver " + driver.value};
    return {"", "unknown driver " + driver.value};
  }
  return {"", driver.source};
}

Probe probe_driver_library(const Disk& disk) {
  for (const std::string_view folder : driver_library_folders()) {
    const std::string path = path_join(std::string(folder), "libcuda.so.1");
    if (disk.exists(path)) return {path, std::string("listed in ") + std::string(folder)};
  }
  return {"", "no libcuda.so.1 where L4T or a distribution puts it"};
}

// The loader of the given program, else of the shell, else the first that lies at a known place.
Probe probe_loader(const Disk& disk, const std::string& program) {
  for (const std::string& candidate :
       {program, std::string("/bin/sh"), std::string("/sbin/init")}) {
    if (candidate.empty()) continue;
    const Result<ElfIdentity> identity = read_elf_identity(disk, candidate);
    if (identity.ok() && !identity->loader.empty() && disk.exists(identity->loader)) {
      return {identity->loader, "PT_INTERP of " + candidate};
    }
  }
  for (const char* folder : {"/lib64", "/lib", "/usr/lib64", "/usr/lib"}) {
    const Result<std::vector<DirectoryEntry>> entries = disk.list(folder);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : *entries) {
      if (glob_match("ld-linux-*.so.*", entry.name) || glob_match("ld-musl-*.so.1", entry.name)) {
        return {path_join(folder, entry.name), std::string("listed in ") + folder};
      }
    }
  }
  return {"", "no ld-linux or ld-musl in /lib64, /lib, /usr/lib64, /usr/lib"};
}

Probe probe_glibc(const Disk& disk, const Probe& loader) {
  if (!loader.known()) return {"", loader.source};
  if (loader.value.find("ld-musl") != std::string::npos) {
    return {"", "the loader is musl's: " + loader.value};
  }
  const std::string label = "stable release version";
  std::vector<std::string> candidates = {loader.value};
  // Before 2.33 ld.so has no version text; libc.so.6 beside it always has.
  if (const Result<std::string> real = disk.real_path(loader.value); real.ok()) {
    candidates.push_back(path_join(directory_name(*real), "libc.so.6"));
  }
  candidates.push_back(path_join(directory_name(loader.value), "libc.so.6"));
  for (const std::string& candidate : candidates) {
    const Result<std::string> bytes = disk.read(candidate);
    if (!bytes.ok()) continue;
    const std::optional<std::string_view> text = after(*bytes, label);
    if (!text) continue;
    const std::string version = digits_and_dots(text->substr(0, 16));
    if (!version.empty()) return {version, candidate};
  }
  return {"", loader.value + " names no glibc release"};
}

Probe probe_machine(const Disk& disk, const Probe& loader) {
  if (!loader.known()) return {"", loader.source};
  const Result<ElfIdentity> identity = read_elf_identity(disk, loader.value);
  if (!identity.ok()) return {"", identity.error().message};
  const std::string name = machine_architecture(identity->machine);
  if (name.empty()) return {"", loader.value + ": machine " + std::to_string(identity->machine)};
  return {name, loader.value};
}

Probe probe_distribution(const Disk& disk) {
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    const Result<std::string> text = disk.read(path, 1 << 16);
    if (!text.ok()) continue;
    for (const std::string& line : split_lines(*text)) {
      const std::string key = "PRETTY_NAME=";
      if (line.rfind(key, 0) != 0) continue;
      std::string name = line.substr(key.size());
      if (name.size() >= 2 && name.front() == name.back() &&
          (name.front() == '"' || name.front() == '\'')) {
        name = name.substr(1, name.size() - 2);
      }
      return {name, path};
    }
  }
  return {"", "no os-release"};
}

}  // namespace

HostFacts probe_host(const Disk& disk, const std::string& program) {
  HostFacts host;
  host.l4t = probe_l4t(disk);
  host.soc = probe_soc(disk);
  host.gpu_sm = probe_gpu(disk, host.soc);
  host.driver = probe_driver(disk);
  host.cuda_driver_api = probe_cuda(host.l4t, host.driver);
  host.driver_library = probe_driver_library(disk);
  host.loader = probe_loader(disk, program);
  host.glibc = probe_glibc(disk, host.loader);
  host.machine = probe_machine(disk, host.loader);
  host.distribution = probe_distribution(disk);
  return host;
}

}  // namespace ssmend
