#include "diagnose/python_scan.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "diagnose/python_lexer.h"

namespace ssmend {
namespace {

constexpr std::array<std::string_view, 10> kBlockWords = {
    "if", "elif", "else", "try", "except", "for", "while", "with", "finally", "class"};

bool is_block_word(std::string_view word) {
  return std::find(kBlockWords.begin(), kBlockWords.end(), word) != kBlockWords.end();
}

int depth_change(std::string_view token) {
  if (token == "(" || token == "[" || token == "{") return 1;
  if (token == ")" || token == "]" || token == "}") return -1;
  return 0;
}

// Reads `a.b.c` at `at`; moves it behind.
std::string dotted(const PythonFile& file, size_t* at, size_t end) {
  std::string name;
  while (*at < end && file.tokens[*at].kind == PythonToken::Kind::kName) {
    name += file.tokens[*at].text;
    ++*at;
    if (*at >= end || file.tokens[*at].text != ".") break;
    name += '.';
    ++*at;
  }
  return name;
}

std::string alias(const PythonFile& file, size_t* at, size_t end, std::string fallback) {
  if (*at + 1 < end && file.tokens[*at].text == "as") {
    fallback = std::string(file.tokens[*at + 1].text);
    *at += 2;
  }
  return fallback;
}

void read_import(PythonFile* file, size_t index) {
  const PythonStatement& statement = file->statements[index];
  size_t at = statement.begin + 1;
  PythonImport found;
  found.statement = index;
  if (file->tokens[statement.begin].text == "import") {
    while (at < statement.end) {
      found.line = file->tokens[at].line;
      found.module = dotted(*file, &at, statement.end);
      if (found.module.empty()) return;
      found.bound_as =
          alias(*file, &at, statement.end, found.module.substr(0, found.module.find('.')));
      file->imports.push_back(found);
      if (at >= statement.end || file->tokens[at].text != ",") return;
      ++at;
    }
    return;
  }
  while (at < statement.end && (file->tokens[at].text == "." || file->tokens[at].text == "...")) {
    found.level += static_cast<int>(file->tokens[at].text.size());
    ++at;
  }
  if (at < statement.end && file->tokens[at].text != "import") {
    found.module = dotted(*file, &at, statement.end);
  }
  if (at >= statement.end || file->tokens[at].text != "import") return;
  for (++at; at < statement.end; ++at) {
    const PythonToken& token = file->tokens[at];
    if (token.text == "(" || token.text == ")" || token.text == ",") continue;
    found.line = token.line;
    found.name = std::string(token.text);
    ++at;
    found.bound_as = alias(*file, &at, statement.end, found.name);
    --at;
    file->imports.push_back(found);
  }
}

// Cuts "try: import x" behind its colon, and "a; b" at the semicolon.
void split_statements(const std::vector<PythonToken>& tokens, PythonStatement whole,
                      std::vector<PythonStatement>* statements) {
  int depth = 0;
  const bool block = is_block_word(tokens[whole.begin].text);
  for (size_t i = whole.begin; i < whole.end; ++i) {
    depth += depth_change(tokens[i].text);
    if (depth != 0 || i + 1 >= whole.end) continue;
    const bool colon = block && tokens[i].text == ":";
    if (!colon && tokens[i].text != ";") continue;
    PythonStatement head = whole;
    head.end = i + 1;
    statements->push_back(head);
    whole.begin = i + 1;
    whole.line = tokens[i + 1].line;
    if (colon) {
      ++whole.indent;
      split_statements(tokens, whole, statements);
      return;
    }
  }
  statements->push_back(whole);
}

void link_parents(std::vector<PythonStatement>* statements) {
  std::vector<int> open;
  for (size_t i = 0; i < statements->size(); ++i) {
    PythonStatement& statement = (*statements)[i];
    while (!open.empty() &&
           (*statements)[static_cast<size_t>(open.back())].indent >= statement.indent) {
      open.pop_back();
    }
    statement.parent = open.empty() ? -1 : open.back();
    open.push_back(static_cast<int>(i));
  }
}

// One line of source text for people.
std::string one_line(std::string_view text) {
  std::string line;
  bool blank = false;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\\') {
      blank = true;
      continue;
    }
    const bool tight = line.empty() || line.back() == '(' || c == ')';
    if (blank && !tight) line += ' ';
    blank = false;
    line += c;
  }
  return line;
}

}  // namespace

PythonFile scan_python(std::string text) {
  PythonFile file;
  file.text = std::make_shared<const std::string>(std::move(text));
  std::vector<LogicalLine> lines;
  lex_python(*file.text, &file.tokens, &lines);
  for (const LogicalLine& line : lines) {
    PythonStatement whole;
    whole.begin = line.begin;
    whole.end = line.end;
    whole.indent = line.indent;
    whole.line = file.tokens[line.begin].line;
    split_statements(file.tokens, whole, &file.statements);
  }
  link_parents(&file.statements);
  for (size_t i = 0; i < file.statements.size(); ++i) {
    const std::string_view word = file.first_word(file.statements[i]);
    if (word == "import" || word == "from") read_import(&file, i);
  }
  return file;
}

std::string_view PythonFile::first_word(const PythonStatement& statement) const {
  return statement.begin < statement.end ? tokens[statement.begin].text : std::string_view();
}

bool PythonFile::contains_name(const PythonStatement& statement, std::string_view name) const {
  for (size_t i = statement.begin; i < statement.end; ++i) {
    if (tokens[i].kind == PythonToken::Kind::kName && tokens[i].text == name) return true;
  }
  return false;
}

bool PythonFile::at_import(const PythonStatement& statement) const {
  for (int up = statement.parent; up >= 0; up = statements[static_cast<size_t>(up)].parent) {
    const std::string_view word = first_word(statements[static_cast<size_t>(up)]);
    if (word == "def" || word == "async") return false;
  }
  return true;
}

int PythonFile::guarding_try(const PythonStatement& statement) const {
  for (int up = statement.parent; up >= 0; up = statements[static_cast<size_t>(up)].parent) {
    const PythonStatement& head = statements[static_cast<size_t>(up)];
    if (first_word(head) == "def") return -1;
    if (first_word(head) != "try") continue;
    // The handlers follow as siblings: same parent, same indentation.
    for (size_t i = static_cast<size_t>(up) + 1; i < statements.size(); ++i) {
      const PythonStatement& next = statements[i];
      if (next.indent < head.indent) break;
      if (next.parent != head.parent || next.indent != head.indent) continue;
      if (first_word(next) != "except") break;
      const bool bare = next.end - next.begin <= 2;
      for (const char* name :
           {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}) {
        if (bare || contains_name(next, name)) return up;
      }
    }
  }
  return -1;
}

bool PythonFile::conditional(const PythonStatement& statement) const {
  for (int up = statement.parent; up >= 0; up = statements[static_cast<size_t>(up)].parent) {
    const std::string_view word = first_word(statements[static_cast<size_t>(up)]);
    for (const char* name : {"if", "elif", "else", "while", "for", "except"}) {
      if (word == name) return true;
    }
  }
  return false;
}

std::vector<PythonCall> find_calls(const PythonFile& file, std::string_view name) {
  std::vector<PythonCall> calls;
  std::vector<std::string> parts = split(name, '.');
  size_t statement = 0;
  for (size_t i = 0; i + 2 * parts.size() - 1 < file.tokens.size(); ++i) {
    if (file.tokens[i].kind != PythonToken::Kind::kName || file.tokens[i].text != parts[0])
      continue;
    if (i > 0 && (file.tokens[i - 1].text == "." || file.tokens[i - 1].text == "def")) continue;
    bool same = true;
    for (size_t k = 1; k < parts.size() && same; ++k) {
      same = file.tokens[i + 2 * k - 1].text == "." && file.tokens[i + 2 * k].text == parts[k];
    }
    const size_t open = i + 2 * parts.size() - 1;
    if (!same || file.tokens[open].text != "(") continue;
    while (statement + 1 < file.statements.size() && file.statements[statement].end <= i) {
      ++statement;
    }
    PythonCall call;
    call.statement = statement;
    call.token = open - 1;
    call.line = file.tokens[i].line;
    call.function = parts.back();
    int depth = 1;
    bool in_argument = false;
    size_t at = open + 1;
    for (; at < file.tokens.size(); ++at) {
      const std::string_view token = file.tokens[at].text;
      const int change = depth_change(token);
      if (depth + change == 0) break;
      if (depth == 1 && token == ",") {
        in_argument = false;
        continue;
      }
      if (!in_argument) {
        in_argument = true;
        ++call.arguments;
        if (token == "*" || token == "**") call.star = true;
      }
      depth += change;
    }
    if (at >= file.tokens.size()) break;  // never closed: not Python
    const char* start = file.tokens[open].text.data();
    const char* stop = file.tokens[at].text.data() + 1;
    call.text = one_line(std::string_view(start, static_cast<size_t>(stop - start)));
    calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace ssmend
