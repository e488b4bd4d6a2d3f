#include "repair/journal.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace ssmend {
namespace {

using nlohmann::json;

constexpr const char* kSchema = "ssmend-journal/1";

// Attribute values are bytes, JSON is UTF-8: hex.
std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

bool from_hex(std::string_view text, std::string& bytes) {
  if (text.size() % 2 != 0) return false;
  for (size_t at = 0; at < text.size(); at += 2) {
    const int high = hex_digit(text[at]);
    const int low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) return false;
    bytes += static_cast<char>(high * 16 + low);
  }
  return true;
}

// File names are bytes; one that is no UTF-8 still has to survive.
json path_to_json(const std::string& path) {
  if (printable(path) == path) return path;
  return json{{"hex", to_hex(path)}};
}

std::string path_from_json(const json& value) {
  if (value.is_object()) {
    std::string bytes;
    if (from_hex(value.value("hex", ""), bytes)) return bytes;
    return "";
  }
  return value.get<std::string>();
}

json old_to_json(const OldFile& old) {
  json attributes = json::object();
  for (const auto& [name, value] : old.attributes) attributes[to_hex(name)] = to_hex(value);
  return json{{"kind", old.kind == FileStat::Kind::kSymlink ? "link" : "file"},
              {"sha256", old.sha256},
              {"link_target", path_to_json(old.link_target)},
              {"size_bytes", old.size_bytes},
              {"hard_links", old.hard_links},
              {"mode", old.mode},
              {"user_id", old.user_id},
              {"group_id", old.group_id},
              {"mtime", {old.mtime_seconds, old.mtime_nanoseconds}},
              {"attributes", attributes}};
}

OldFile old_from_json(const json& value) {
  OldFile old;
  old.kind = value.at("kind") == "link" ? FileStat::Kind::kSymlink : FileStat::Kind::kRegular;
  old.sha256 = value.at("sha256").get<std::string>();
  old.link_target = path_from_json(value.at("link_target"));
  old.size_bytes = value.at("size_bytes").get<uint64_t>();
  old.hard_links = value.at("hard_links").get<uint64_t>();
  old.mode = value.at("mode").get<uint32_t>() & 07777;
  old.user_id = value.at("user_id").get<uint32_t>();
  old.group_id = value.at("group_id").get<uint32_t>();
  old.mtime_seconds = value.at("mtime").at(0).get<int64_t>();
  old.mtime_nanoseconds = value.at("mtime").at(1).get<int64_t>();
  for (const auto& [name, bytes] : value.at("attributes").items()) {
    std::string name_bytes;
    std::string value_bytes;
    if (from_hex(name, name_bytes) && from_hex(bytes.get<std::string>(), value_bytes)) {
      old.attributes[name_bytes] = value_bytes;
    }
  }
  return old;
}

json entry_to_json(const JournalEntry& entry) {
  json value{{"kind", journal_kind_name(entry.kind)},
             {"path", path_to_json(entry.path)},
             {"existed", entry.existed},
             {"new_sha256", entry.new_sha256},
             {"only_with", path_to_json(entry.only_with)},
             {"only_with_sha256", entry.only_with_sha256}};
  if (entry.existed) value["old"] = old_to_json(entry.old);
  return value;
}

bool kind_from_name(const std::string& name, JournalEntry::Kind& kind) {
  using Kind = JournalEntry::Kind;
  for (const Kind each : {Kind::kWrite, Kind::kRemove, Kind::kMoveAside, Kind::kMakeDirectory}) {
    if (name == journal_kind_name(each)) {
      kind = each;
      return true;
    }
  }
  return false;
}

bool is_safe_path(const std::string& path) {
  return !path.empty() && path.front() == '/' && path.find('\0') == std::string::npos &&
         normal_path(path) == path;
}

Result<Journal> read_journal(const json& value, const std::string& path) {
  if (value.at("schema") != kSchema) {
    return Error(path + ": schema is " + value.at("schema").dump() + ", expected \"" + kSchema +
                 "\"");
  }
  Journal journal;
  journal.ssmend_version = value.value("ssmend_version", "");
  journal.environment = path_from_json(value.at("environment"));
  journal.recipe = value.value("recipe", "");
  for (const json& each : value.at("actions")) {
    journal.actions.push_back({each.at("kind"), path_from_json(each.at("title")),
                               each.at("summary"), each.at("for_findings")});
  }
  for (const json& each : value.at("entries")) {
    JournalEntry entry;
    if (!kind_from_name(each.at("kind").get<std::string>(), entry.kind)) {
      return Error(path + ": unknown kind of entry " + each.at("kind").dump());
    }
    entry.path = path_from_json(each.at("path"));
    if (!is_safe_path(entry.path)) {
      return Error(path + ": not an absolute, normal path: " + printable(entry.path));
    }
    entry.existed = each.at("existed").get<bool>();
    entry.new_sha256 = each.at("new_sha256").get<std::string>();
    entry.only_with = path_from_json(each.at("only_with"));
    entry.only_with_sha256 = each.at("only_with_sha256").get<std::string>();
    if (entry.existed) entry.old = old_from_json(each.at("old"));
    journal.entries.push_back(std::move(entry));
  }
  for (const json& each : value.at("directories")) {
    TouchedDirectory directory;
    directory.path = path_from_json(each.at("path"));
    directory.mtime_seconds = each.at("mtime").at(0).get<int64_t>();
    directory.mtime_nanoseconds = each.at("mtime").at(1).get<int64_t>();
    directory.entries_sha256 = each.at("entries_sha256").get<std::string>();
    if (!is_safe_path(directory.path)) {
      return Error(path + ": not an absolute, normal path: " + printable(directory.path));
    }
    journal.directories.push_back(std::move(directory));
  }
  for (const json& each : value.at("absent_bytecode_folders")) {
    journal.absent_bytecode_folders.push_back(path_from_json(each));
    if (!is_safe_path(journal.absent_bytecode_folders.back())) {
      return Error(path + ": not an absolute, normal path in absent_bytecode_folders");
    }
  }
  return journal;
}

}  // namespace

const char* journal_kind_name(JournalEntry::Kind kind) {
  switch (kind) {
    case JournalEntry::Kind::kWrite:
      return "write";
    case JournalEntry::Kind::kRemove:
      return "remove";
    case JournalEntry::Kind::kMoveAside:
      return "move-aside";
    case JournalEntry::Kind::kMakeDirectory:
      return "make-directory";
  }
  return "unknown";
}

std::string journal_to_json(const Journal& journal) {
  json actions = json::array();
  for (const JournalAction& action : journal.actions) {
    actions.push_back(json{{"kind", action.kind},
                           {"title", path_to_json(action.title)},
                           {"summary", action.summary},
                           {"for_findings", action.for_findings}});
  }
  json entries = json::array();
  for (const JournalEntry& entry : journal.entries) entries.push_back(entry_to_json(entry));
  json directories = json::array();
  for (const TouchedDirectory& directory : journal.directories) {
    directories.push_back(json{{"path", path_to_json(directory.path)},
                               {"mtime", {directory.mtime_seconds, directory.mtime_nanoseconds}},
                               {"entries_sha256", directory.entries_sha256}});
  }
  json folders = json::array();
  for (const std::string& folder : journal.absent_bytecode_folders) {
    folders.push_back(path_to_json(folder));
  }
  const json value{{"schema", kSchema},
                   {"ssmend_version", journal.ssmend_version},
                   {"environment", path_to_json(journal.environment)},
                   {"recipe", journal.recipe},
                   {"actions", actions},
                   {"entries", entries},
                   {"directories", directories},
                   {"absent_bytecode_folders", folders}};
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<Journal> journal_from_json(std::string_view text, const std::string& path) {
  try {
    return read_journal(json::parse(text), path);
  } catch (const json::exception& problem) {
    return Error(path + ": not a journal: " + problem.what());
  }
}

}  // namespace ssmend
