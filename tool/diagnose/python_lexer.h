// Bytes of a Python file to tokens and logical lines. Never fails: what is no token is skipped, an
// open string or bracket ends with the file.
#pragma once

#include <string_view>
#include <vector>

#include "diagnose/python_scan.h"

namespace ssmend {

struct LogicalLine {
  size_t begin = 0;  // tokens [begin, end), never empty
  size_t end = 0;
  int indent = 0;
};

// Token texts are views into `text`.
void lex_python(std::string_view text, std::vector<PythonToken>* tokens,
                std::vector<LogicalLine>* lines);

}  // namespace ssmend
