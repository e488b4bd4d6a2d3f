#include "diagnose/python_lexer.h"

#include <array>

namespace ssmend {
namespace {

bool starts_name(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr std::array<std::string_view, 13> kLongOperators = {
    "...", "**", "==", "!=", "<=", ">=", "->", ":=", "//", "<<", ">>", "+=", "-="};

class Lexer {
 public:
  Lexer(std::string_view text, std::vector<PythonToken>* tokens, std::vector<LogicalLine>* lines)
      : text_(text), tokens_(tokens), lines_(lines) {}

  void run() {
    if (text_.substr(0, 3) == "\xef\xbb\xbf") at_ = 3;
    measure_indent();
    while (at_ < text_.size()) step();
    end_line();
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == '\n' || c == '\r') {
      if (c == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
      ++at_;
      ++line_;
      if (depth_ == 0) {
        end_line();
        measure_indent();
      }
    } else if (c == ' ' || c == '\t' || c == '\f') {
      ++at_;
    } else if (c == '#') {
      while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
    } else if (c == '\\') {
      ++at_;  // joins lines: the line break after it is no end
      if (at_ < text_.size() && text_[at_] == '\r') ++at_;
      if (at_ < text_.size() && text_[at_] == '\n') {
        ++at_;
        ++line_;
      }
    } else if (c == '"' || c == '\'') {
      string(at_);
    } else if (starts_name(c)) {
      name();
    } else if (is_digit(c)) {
      const size_t start = at_;
      while (at_ < text_.size() && (starts_name(text_[at_]) || is_digit(text_[at_]) ||
                                    (text_[at_] == '.' && at_ > start))) {
        ++at_;
      }
      add(PythonToken::Kind::kNumber, start, line_);
    } else {
      symbol();
    }
  }

  void name() {
    const size_t start = at_;
    while (at_ < text_.size() && (starts_name(text_[at_]) || is_digit(text_[at_]))) ++at_;
    const size_t length = at_ - start;
    const bool quote = at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'');
    // r, b, u, f, t and their pairs before a quote belong to the string.
    if (quote && length <= 2 &&
        text_.substr(start, length).find_first_not_of("rRbBuUfFtT") == std::string_view::npos) {
      string(start);
      return;
    }
    add(PythonToken::Kind::kName, start, line_);
  }

  // `start`: of the prefix; at_ is at the quote.
  void string(size_t start) {
    const int first_line = line_;
    const char quote = text_[at_];
    const bool triple =
        at_ + 2 < text_.size() && text_[at_ + 1] == quote && text_[at_ + 2] == quote;
    at_ += triple ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++line_;
        at_ += 2;
        continue;
      }
      if (c == '\n') {
        if (!triple) break;  // an open string ends with its line
        ++line_;
      }
      if (c == quote && (!triple || (at_ + 2 < text_.size() && text_[at_ + 1] == quote &&
                                     text_[at_ + 2] == quote))) {
        at_ += triple ? 3 : 1;
        break;
      }
      ++at_;
    }
    if (at_ > text_.size()) at_ = text_.size();
    add(PythonToken::Kind::kString, start, first_line);
  }

  void symbol() {
    const size_t start = at_;
    for (const std::string_view longer : kLongOperators) {
      if (text_.substr(at_, longer.size()) != longer) continue;
      at_ += longer.size();
      add(PythonToken::Kind::kOperator, start, line_);
      return;
    }
    const char c = text_[at_];
    ++at_;
    if (c == '(' || c == '[' || c == '{') ++depth_;
    if ((c == ')' || c == ']' || c == '}') && depth_ > 0) --depth_;
    add(PythonToken::Kind::kOperator, start, line_);
  }

  void add(PythonToken::Kind kind, size_t start, int line) {
    PythonToken token;
    token.kind = kind;
    token.text = text_.substr(start, at_ - start);
    token.line = line;
    tokens_->push_back(token);
  }

  void measure_indent() {
    indent_ = 0;
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\f')) {
      indent_ = text_[at_] == '\t' ? (indent_ / 8 + 1) * 8 : indent_ + 1;
      ++at_;
    }
  }

  void end_line() {
    if (first_ == tokens_->size()) return;  // blank, or only a comment
    LogicalLine line;
    line.begin = first_;
    line.end = tokens_->size();
    line.indent = indent_;
    lines_->push_back(line);
    first_ = tokens_->size();
  }

  std::string_view text_;
  std::vector<PythonToken>* tokens_;
  std::vector<LogicalLine>* lines_;
  size_t at_ = 0;
  size_t first_ = 0;  // first token of the line being read
  int line_ = 1;
  int depth_ = 0;
  int indent_ = 0;
};

}  // namespace

void lex_python(std::string_view text, std::vector<PythonToken>* tokens,
                std::vector<LogicalLine>* lines) {
  Lexer(text, tokens, lines).run();
}

}  // namespace ssmend
