// A lexical look at a Python file: tokens, logical lines with their blocks, import statements and
// calls. Strings and comments are skipped, brackets are counted; nothing is evaluated. It answers
// the questions of the rules (which names does this file import, with how many arguments does it
// call that function); rewriting needs the syntax tree of tool/patch, a layer above.
// Rules: the Python language reference, "Lexical analysis".
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

struct PythonToken {
  enum class Kind { kName, kNumber, kString, kOperator };
  Kind kind = Kind::kOperator;
  std::string_view text;  // into PythonFile::text
  int line = 0;
};

// A logical line (or a part of one between semicolons, or the body of a one-line block).
struct PythonStatement {
  size_t begin = 0;  // tokens [begin, end)
  size_t end = 0;
  int line = 0;
  int indent = 0;   // in columns, a tab goes to the next multiple of eight
  int parent = -1;  // statement that opens the enclosing block, -1: module level
};

struct PythonImport {
  size_t statement = 0;
  int line = 0;
  int level = 0;         // leading dots
  std::string module;    // "causal_conv1d.cpp_functions"; may be empty with a level
  std::string name;      // of `from module import name`; empty for `import module`
  std::string bound_as;  // the name it gives in this file; "*" for a star import
};

struct PythonCall {
  size_t statement = 0;
  size_t token = 0;      // of the function's name
  int line = 0;          // of the first token of the dotted name
  std::string function;  // last part of the name
  int arguments = 0;
  bool star = false;
  std::string text;  // "(x, weight, None)" with every run of blanks as one
};

struct PythonFile {
  std::shared_ptr<const std::string> text;
  std::vector<PythonToken> tokens;
  std::vector<PythonStatement> statements;
  std::vector<PythonImport> imports;

  [[nodiscard]] std::string_view first_word(const PythonStatement& statement) const;
  [[nodiscard]] bool contains_name(const PythonStatement& statement, std::string_view name) const;
  // Runs when the file is imported: no enclosing def.
  [[nodiscard]] bool at_import(const PythonStatement& statement) const;
  // Inside a try whose handlers catch a failing import.
  [[nodiscard]] int guarding_try(const PythonStatement& statement) const;  // -1: none
  // Inside an if, while, for, else ... : may not run at all.
  [[nodiscard]] bool conditional(const PythonStatement& statement) const;
};

PythonFile scan_python(std::string text);

// Calls `NAME(...)` with `name` a plain name ("f") or a dotted one ("module.f").
std::vector<PythonCall> find_calls(const PythonFile& file, std::string_view name);

}  // namespace ssmend
