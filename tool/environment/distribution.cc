#include "environment/distribution.h"

#include <nlohmann/json.hpp>

#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "environment/record.h"
#include "environment/site_path.h"

namespace ssmend {
namespace {

constexpr uint64_t kMetadataLimitBytes = 4 << 20;

// Core metadata is a mail header: "Key: value", continued by lines that start with a blank; the
// description follows after the first empty line.
void read_metadata(std::string_view text, Distribution* distribution) {
  std::string key;
  std::string value;
  const auto finish = [&]() {
    if (key == "name") distribution->name = value;
    if (key == "version") distribution->version = value;
    if (key == "requires-python") distribution->requires_python = value;
    if (key == "requires-dist") distribution->requires_dist.push_back(value);
    key.clear();
    value.clear();
  };
  size_t start = 0;
  while (start < text.size()) {
    size_t end = text.find('\n', start);
    if (end == std::string_view::npos) end = text.size();
    std::string_view line = text.substr(start, end - start);
    start = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) break;
    if (line.front() == ' ' || line.front() == '\t') {
      value += ' ';
      value += trim(line);
      continue;
    }
    finish();
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    key = to_lower(line.substr(0, colon));
    value = trim(line.substr(colon + 1));
  }
  finish();
}

// "mamba_ssm-2.2.4.dist-info" and "PyYAML-6.0-py3.11.egg-info" say name and version themselves.
void read_folder_name(std::string_view folder, Distribution* distribution) {
  const std::string_view stem = folder.substr(0, folder.rfind('.'));
  const std::vector<std::string> parts = split(stem, '-');
  if (distribution->name.empty()) distribution->name = parts[0];
  if (distribution->version.empty() && parts.size() > 1) distribution->version = parts[1];
}

void read_direct_url(const std::string& text, Distribution* distribution) {
  distribution->direct_url = text;
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object()) {
    distribution->problems.emplace_back("direct_url.json: not a JSON object");
    return;
  }
  const auto directory = parsed.find("dir_info");
  if (directory == parsed.end() || !directory->is_object()) return;
  const auto editable = directory->find("editable");
  distribution->editable =
      editable != directory->end() && editable->is_boolean() && editable->get<bool>();
}

void read_files(const Disk& disk, Distribution* distribution) {
  const std::string prefix = prefix_of_site_directory(distribution->site_directory);
  const std::string& folder = distribution->metadata_directory;
  // setuptools' own list (egg-info) is relative to the egg-info folder.
  for (const char* name : {"RECORD", "installed-files.txt"}) {
    const bool wheel = std::string_view(name) == "RECORD";
    const std::string path = path_join(folder, name);
    if (!disk.exists(path)) continue;
    const Result<std::string> text = disk.read(path);
    if (!text.ok()) {
      distribution->problems.push_back(text.error().message);
      continue;
    }
    RecordText record = parse_record(*text, wheel ? distribution->site_directory : folder, prefix);
    distribution->files = std::move(record.entries);
    for (std::string& problem : record.problems) {
      distribution->problems.push_back(std::move(problem));
    }
    return;
  }
}

Distribution read_distribution(const Disk& disk, const std::string& site_directory,
                               const DirectoryEntry& entry) {
  Distribution distribution;
  distribution.site_directory = site_directory;
  distribution.metadata_directory = path_join(site_directory, entry.name);
  const std::string& folder = distribution.metadata_directory;
  const bool is_folder = disk.is_directory(folder);
  const bool wheel = glob_match("*.dist-info", entry.name);
  const std::string metadata =
      is_folder ? path_join(folder, wheel ? "METADATA" : "PKG-INFO") : folder;
  const Result<std::string> text = disk.read(metadata, kMetadataLimitBytes);
  if (text.ok()) {
    read_metadata(*text, &distribution);
  } else {
    distribution.problems.push_back(text.error().message);
  }
  read_folder_name(entry.name, &distribution);
  distribution.normalized_name = normalized_distribution_name(distribution.name);
  if (!is_folder) return distribution;
  if (const Result<std::string> installer = disk.read(path_join(folder, "INSTALLER"), 4096);
      installer.ok()) {
    distribution.installer = trim(*installer);
  }
  if (const Result<std::string> url = disk.read(path_join(folder, "direct_url.json"), 1 << 20);
      url.ok()) {
    read_direct_url(*url, &distribution);
  }
  read_files(disk, &distribution);
  return distribution;
}

}  // namespace

void add_distributions(const Disk& disk, const std::string& site_directory,
                       std::vector<Distribution>* distributions) {
  const Result<std::vector<DirectoryEntry>> entries = disk.list(site_directory);
  if (!entries.ok()) return;
  // dpkg owns this folder; Debian's packages carry no INSTALLER of their own.
  const bool debian = site_directory == "/usr/lib/python3/dist-packages";
  for (const DirectoryEntry& entry : *entries) {
    if (!glob_match("*.dist-info", entry.name) && !glob_match("*.egg-info", entry.name)) continue;
    if (entry.name.front() == '~') continue;  // what pip leaves of a failed uninstall
    Distribution distribution = read_distribution(disk, site_directory, entry);
    if (distribution.name.empty()) continue;
    if (debian && distribution.installer.empty()) distribution.installer = "debian";
    for (const Distribution& earlier : *distributions) {
      if (earlier.normalized_name == distribution.normalized_name) distribution.shadowed = true;
    }
    distributions->push_back(std::move(distribution));
  }
}

}  // namespace ssmend
