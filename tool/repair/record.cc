#include "repair/record.h"

#include <map>

#include "base/sha256.h"
#include "base/text.h"

namespace ssmend {
namespace {

std::string quoted_where_needed(std::string_view name) {
  if (name.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(name);
  return "\"" + replace_all(std::string(name), "\"", "\"\"") + "\"";
}

}  // namespace

std::string record_row(std::string_view name, std::string_view content) {
  return quoted_where_needed(name) + ",sha256=" + sha256_record(content) + "," +
         std::to_string(content.size());
}

std::string record_name(std::string_view row) {
  if (row.empty() || row.front() != '"') return std::string(row.substr(0, row.find(',')));
  std::string name;
  for (size_t at = 1; at < row.size(); ++at) {
    if (row[at] != '"') {
      name += row[at];
    } else if (at + 1 < row.size() && row[at + 1] == '"') {
      name += '"';
      ++at;
    } else {
      break;
    }
  }
  return name;
}

std::string updated_record(std::string_view text, const std::string& site_directory,
                           const std::vector<const FileChange*>& changes) {
  std::map<std::string, const FileChange*> by_path;
  for (const FileChange* change : changes) by_path[normal_path(change->path)] = change;
  std::string updated;
  size_t at = 0;
  while (at < text.size()) {
    const size_t newline = text.find('\n', at);
    const size_t end = newline == std::string_view::npos ? text.size() : newline + 1;
    const std::string_view line = text.substr(at, end - at);
    at = end;
    size_t length = line.size();
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) --length;
    const std::string name = record_name(line.substr(0, length));
    const auto change = by_path.find(normal_path(path_join(site_directory, name)));
    if (name.empty() || change == by_path.end()) {
      updated += line;
    } else if (change->second->kind == FileChange::Kind::kWrite) {
      updated += record_row(name, change->second->content);
      updated += line.substr(length);
    }
  }
  return updated;
}

int owner_of(const Environment& environment, const std::string& path) {
  for (size_t index = 0; index < environment.distributions.size(); ++index) {
    for (const RecordEntry& entry : environment.distributions[index].files) {
      if (entry.path == path) return static_cast<int>(index);
    }
  }
  return -1;
}

std::vector<FileChange> record_changes(const Disk& disk, const Environment& environment,
                                       const Plan& plan) {
  std::map<int, std::vector<const FileChange*>> by_owner;
  for (const Action& action : plan.actions) {
    if (action.kind == Action::Kind::kInstall) continue;
    for (const FileChange& change : action.changes) {
      const int owner = owner_of(environment, change.path);
      if (owner >= 0) by_owner[owner].push_back(&change);
    }
  }
  std::vector<FileChange> records;
  for (const auto& [owner, changes] : by_owner) {
    const Distribution& distribution = environment.distributions[static_cast<size_t>(owner)];
    FileChange record;
    record.path = path_join(distribution.metadata_directory, "RECORD");
    const Result<std::string> text = disk.read(record.path);
    if (!text.ok()) continue;  // an egg-info has none
    record.content = updated_record(*text, distribution.site_directory, changes);
    if (record.content != *text) records.push_back(std::move(record));
  }
  return records;
}

}  // namespace ssmend
