#include "elf/source_text.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr size_t kMostFiles = 20000;
constexpr size_t kDeepestFolder = 16;
constexpr size_t kDeepestInclude = 64;
constexpr uint64_t kLargestFile = 8 << 20;
constexpr size_t kLargestText = 32 << 20;

bool has_ending(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) {
    return name.size() > ending.size() && name.substr(name.size() - ending.size()) == ending;
  });
}

void list_folder(const Disk& disk, const std::string& path, size_t depth, SourceFolder* folder) {
  const Result<std::vector<DirectoryEntry>> entries = disk.list(path);
  if (!entries.ok() || depth > kDeepestFolder) return;
  for (const DirectoryEntry& entry : *entries) {
    if (folder->sources.size() + folder->headers.size() >= kMostFiles) return;
    const std::string full = path_join(path, entry.name);
    if (entry.kind == FileStat::Kind::kDirectory && entry.name.front() != '.') {
      list_folder(disk, full, depth + 1, folder);
    }
    if (entry.kind != FileStat::Kind::kRegular) continue;
    if (has_ending(entry.name, {".cpp", ".cc", ".cxx", ".cu"})) folder->sources.push_back(full);
    if (has_ending(entry.name, {".h", ".hh", ".hpp", ".hxx", ".cuh", ".inl"})) {
      folder->headers.push_back(full);
    }
  }
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Past the literal that starts at `at`; `at` itself where none does. A line break ends a plain one:
// it was none.
size_t end_of_literal(std::string_view text, size_t at) {
  const char quote = text[at];
  if (quote == '"' && at > 0 && text[at - 1] == 'R') {
    const size_t open = text.find('(', at);
    if (open == std::string_view::npos || open - at > 17) return at + 1;
    const std::string close = ")" + std::string(text.substr(at + 1, open - at - 1)) + "\"";
    const size_t end = text.find(close, open);
    return end == std::string_view::npos ? text.size() : end + close.size();
  }
  for (size_t i = at + 1; i < text.size() && text[i] != '\n'; ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      return i + 1;
    }
  }
  return at + 1;
}

// `#include <name>` and its relatives; nothing of it is left for the compiler. `name` stays empty
// where the line computes it.
bool read_include(std::string_view line, std::string* name) {
  line = trim(line);
  if (line.rfind("%:", 0) == 0) {
    line.remove_prefix(2);
  } else if (!line.empty() && line.front() == '#') {
    line.remove_prefix(1);
  } else {
    return false;
  }
  line = trim(line);
  size_t end = 0;
  while (end < line.size() && is_word(line[end])) ++end;
  const std::string_view word = line.substr(0, end);
  if (word != "include" && word != "include_next" && word != "import" && word != "embed" &&
      word != "__include_macros") {
    return false;
  }
  line = trim(line.substr(end));
  if (line.size() > 2 && (line.front() == '"' || line.front() == '<')) {
    const size_t close = line.find(line.front() == '<' ? '>' : '"', 1);
    if (close != std::string_view::npos) *name = line.substr(1, close - 1);
  }
  return true;
}

class Flattener {
 public:
  Flattener(const Disk& disk, const SourceFolder& folder) : disk_(disk), folder_(folder) {}

  Result<void> add(const std::string& path, size_t depth) {
    const Result<std::string> content = disk_.read(path, kLargestFile);
    if (!content.ok()) return content.error();
    const std::string text = without_comments(*content);
    size_t at = 0;
    while (at < text.size()) {
      size_t end = text.find('\n', at);
      if (end == std::string::npos) end = text.size();
      const std::string_view line = std::string_view(text).substr(at, end - at);
      at = end + 1;
      std::string name;
      if (!read_include(line, &name)) {
        // "#pragma once" is of no use in one text: see below.
        text_.append(line).push_back('\n');
      } else if (const std::string header = find_header(path, name); !header.empty()) {
        if (depth >= kDeepestInclude) return Error(path + ": includes go too deep");
        // A header may stand in a branch that is not taken, so it is the preprocessor that has to
        // tell the first time from the second.
        const std::string guard = fmt::format("SSMEND_INCLUDED_{}", header_number(header));
        text_ += fmt::format("#ifndef {0}\n#define {0}\n", guard);
        const Result<void> added = add(header, depth + 1);
        if (!added.ok()) return added.error();
        text_ += "#endif\n";
      }
      if (text_.size() > kLargestText) {
        return Error(fmt::format("{}: more than {} bytes with its headers", path, kLargestText));
      }
    }
    return {};
  }

  std::string take() { return std::move(text_); }

 private:
  // Beside the file that includes it, else the one header of the folder with that end of its path.
  [[nodiscard]] std::string find_header(const std::string& from, const std::string& name) const {
    if (name.empty() || name.front() == '/') return {};
    const std::string beside = normal_path(path_join(directory_name(from), name));
    std::string found;
    for (const std::string& header : folder_.headers) {
      if (header == beside) return header;
      const std::string end = "/" + name;
      if (header.size() > end.size() && header.substr(header.size() - end.size()) == end &&
          found.empty()) {
        found = header;
      }
    }
    return found;
  }

  [[nodiscard]] size_t header_number(const std::string& header) const {
    const auto found = std::find(folder_.headers.begin(), folder_.headers.end(), header);
    return static_cast<size_t>(found - folder_.headers.begin());
  }

  const Disk& disk_;
  const SourceFolder& folder_;
  std::string text_;
};

}  // namespace

Result<SourceFolder> list_sources(const Disk& disk, const std::string& path) {
  SourceFolder folder;
  const Result<FileStat> stat = disk.stat(path);
  if (!stat.ok()) return stat.error();
  folder.path = stat->is_directory() ? path : std::string(directory_name(path));
  list_folder(disk, folder.path, 0, &folder);
  if (!stat->is_directory()) folder.sources = {path};
  return folder;
}

std::string without_comments(const std::string& text) {
  // A backslash at the end of a line joins it to the next, also inside "//" and "#inc\lude".
  std::string joined;
  joined.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '\n') {
      ++i;
    } else if (text[i] == '\\' && i + 2 < text.size() && text[i + 1] == '\r' &&
               text[i + 2] == '\n') {
      i += 2;
    } else if (text[i] != '\r' && text[i] != '\0') {
      joined.push_back(text[i]);
    }
  }
  std::string plain;
  plain.reserve(joined.size());
  for (size_t i = 0; i < joined.size();) {
    const std::string_view rest = std::string_view(joined).substr(i, 2);
    if (rest == "//") {
      i = std::min(joined.find('\n', i), joined.size());
    } else if (rest == "/*") {
      const size_t end = joined.find("*/", i + 2);
      i = end == std::string::npos ? joined.size() : end + 2;
      plain.push_back(' ');
    } else if (joined[i] == '"' ||
               (joined[i] == '\'' && (i == 0 || !is_word(joined[i - 1])))) {  // no 1'000
      const size_t end = end_of_literal(joined, i);
      plain.append(joined, i, end - i);
      i = end;
    } else {
      plain.push_back(joined[i++]);
    }
  }
  return plain;
}

Result<std::string> flat_source(const Disk& disk, const SourceFolder& folder,
                                const std::string& source) {
  Flattener flattener(disk, folder);
  const Result<void> added = flattener.add(source, 0);
  if (!added.ok()) return added.error();
  return flattener.take();
}

}  // namespace ssmend
