// libclang, opened at run time: ssmend neither links it nor needs its headers. Its C interface and
// the layout of the few structs below are stable by its own promise (clang-c/Index.h), the same
// from LLVM 6 to 22. Inside tool/elf only.
//
// What is asked of it is small, so what comes back is plain data: the functions a text declares,
// its tokens, and what it complains about, all by offset into the text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace ssmend {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

struct ParsedText {
  struct Function {
    std::string name;          // without its scope
    std::string mangled_name;  // empty for a template
    std::string return_type;   // as the compiler spells it
    TextRange extent;
    std::vector<TextRange> parameters;
  };
  struct Token {
    std::string text;
    TextRange extent;
    bool comment = false;
  };
  struct Complaint {
    std::string text;
    size_t at = 0;
  };
  std::vector<Function> functions;  // at namespace scope, function bodies are not looked into
  std::vector<Token> tokens;        // without those that the preprocessor leaves out
  std::vector<Complaint> errors;
};

class Libclang {
 public:
  // `file`: the library, empty to look for the newest one installed.
  static Result<Libclang> open(const std::string& file);
  Libclang(Libclang&&) noexcept;
  ~Libclang();

  // `text` is C++ on its own: includes in it are not looked for beyond absolute paths.
  [[nodiscard]] Result<ParsedText> parse(const std::string& text) const;

 private:
  struct Api;
  explicit Libclang(std::unique_ptr<Api> api);
  std::unique_ptr<Api> api_;
};

}  // namespace ssmend
