#include "elf/libclang.h"

#include <dlfcn.h>

#include <algorithm>

#include "fmt/format.h"

namespace ssmend {
namespace {

// clang-c/Index.h, clang-c/CXString.h, clang-c/CXSourceLocation.h.
struct ClangString {
  const void* data;
  unsigned flags;
};
struct ClangCursor {
  int kind;
  int extra;
  const void* data[3];
};
struct ClangType {
  int kind;
  void* data[2];
};
struct ClangLocation {
  const void* data[2];
  unsigned offset;
};
struct ClangRange {
  const void* data[2];
  unsigned begin;
  unsigned end;
};
struct ClangRangeList {
  unsigned count;
  ClangRange* ranges;
};
struct ClangToken {
  unsigned numbers[4];
  void* data;
};
struct ClangUnsavedFile {
  const char* name;
  const char* contents;
  unsigned long length;
};
using ClangVisitor = int (*)(ClangCursor cursor, ClangCursor parent, void* data);

constexpr int kUnexposedDeclaration = 1;
constexpr int kFunctionDeclaration = 8;
constexpr int kNamespace = 22;
constexpr int kLinkageSpecification = 23;
constexpr int kFunctionTemplate = 30;
constexpr int kParameter = 10;
constexpr int kVisitContinue = 1;
constexpr int kVisitRecurse = 2;
constexpr int kCommentToken = 4;
constexpr int kErrorSeverity = 3;
constexpr unsigned kDetailedPreprocessing = 0x01;
constexpr unsigned kSkipFunctionBodies = 0x40;
constexpr unsigned kKeepGoing = 0x200;
constexpr const char* kTextName = "/ssmend-contract.cc";
// Beyond this a text is no source of an extension any more.
constexpr size_t kMostTokens = 4000000;

// Debian and Ubuntu: libclang-14.so.13 and .so.1 of LLVM 14; others: libclang.so.<number>.
std::vector<std::string> library_names() {
  std::vector<std::string> names;
  for (int version = 30; version >= 6; --version) {
    for (const std::string& end : {std::string("13"), std::string("1"), std::to_string(version)}) {
      names.push_back(fmt::format("libclang-{}.so.{}", version, end));
    }
    names.push_back(fmt::format("libclang.so.{}", version));
    names.push_back(fmt::format("/usr/lib/llvm-{}/lib/libclang.so.1", version));
  }
  names.insert(names.end(), {"libclang.so.1", "libclang.so"});
  return names;
}

}  // namespace

struct Libclang::Api {
  void* (*create_index)(int, int);
  void (*dispose_index)(void*);
  int (*parse)(void*, const char*, const char* const*, int, ClangUnsavedFile*, unsigned, unsigned,
               void**);
  void (*dispose_unit)(void*);
  unsigned (*count_diagnostics)(void*);
  void* (*diagnostic)(void*, unsigned);
  void (*dispose_diagnostic)(void*);
  int (*severity)(void*);
  ClangString (*diagnostic_text)(void*);
  ClangLocation (*diagnostic_location)(void*);
  const char* (*c_string)(ClangString);
  void (*dispose_string)(ClangString);
  ClangCursor (*unit_cursor)(void*);
  unsigned (*visit_children)(ClangCursor, ClangVisitor, void*);
  int (*cursor_kind)(ClangCursor);
  ClangString (*cursor_spelling)(ClangCursor);
  ClangString (*cursor_mangling)(ClangCursor);
  ClangType (*result_type)(ClangCursor);
  ClangType (*canonical_type)(ClangType);
  ClangString (*type_spelling)(ClangType);
  ClangRange (*cursor_extent)(ClangCursor);
  ClangLocation (*range_start)(ClangRange);
  ClangLocation (*range_end)(ClangRange);
  void (*file_location)(ClangLocation, void**, unsigned*, unsigned*, unsigned*);
  void* (*file)(void*, const char*);
  ClangRangeList* (*skipped_ranges)(void*, void*);
  void (*dispose_ranges)(ClangRangeList*);
  void (*tokenize)(void*, ClangRange, ClangToken**, unsigned*);
  int (*token_kind)(ClangToken);
  ClangString (*token_spelling)(void*, ClangToken);
  ClangRange (*token_extent)(void*, ClangToken);
  void (*dispose_tokens)(void*, ClangToken*, unsigned);

  [[nodiscard]] std::string take(ClangString string) const {
    const char* text = c_string(string);
    std::string taken = text == nullptr ? "" : text;
    dispose_string(string);
    return taken;
  }
  [[nodiscard]] size_t offset(ClangLocation location) const {
    unsigned at = 0;
    file_location(location, nullptr, nullptr, nullptr, &at);
    return at;
  }
  [[nodiscard]] TextRange range(ClangRange extent) const {
    return {offset(range_start(extent)), offset(range_end(extent))};
  }
  [[nodiscard]] std::string load(void* library);
};

std::string Libclang::Api::load(void* library) {
  std::string missing;
  const auto bind = [&](auto& function, const char* name) {
    void* found = ::dlsym(library, name);
    if (found == nullptr) missing = name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
  };
  bind(create_index, "clang_createIndex");
  bind(dispose_index, "clang_disposeIndex");
  bind(parse, "clang_parseTranslationUnit2");
  bind(dispose_unit, "clang_disposeTranslationUnit");
  bind(count_diagnostics, "clang_getNumDiagnostics");
  bind(diagnostic, "clang_getDiagnostic");
  bind(dispose_diagnostic, "clang_disposeDiagnostic");
  bind(severity, "clang_getDiagnosticSeverity");
  bind(diagnostic_text, "clang_getDiagnosticSpelling");
  bind(diagnostic_location, "clang_getDiagnosticLocation");
  bind(c_string, "clang_getCString");
  bind(dispose_string, "clang_disposeString");
  bind(unit_cursor, "clang_getTranslationUnitCursor");
  bind(visit_children, "clang_visitChildren");
  bind(cursor_kind, "clang_getCursorKind");
  bind(cursor_spelling, "clang_getCursorSpelling");
  bind(cursor_mangling, "clang_Cursor_getMangling");
  bind(result_type, "clang_getCursorResultType");
  bind(canonical_type, "clang_getCanonicalType");
  bind(type_spelling, "clang_getTypeSpelling");
  bind(cursor_extent, "clang_getCursorExtent");
  bind(range_start, "clang_getRangeStart");
  bind(range_end, "clang_getRangeEnd");
  bind(file_location, "clang_getFileLocation");
  bind(file, "clang_getFile");
  bind(skipped_ranges, "clang_getSkippedRanges");
  bind(dispose_ranges, "clang_disposeSourceRangeList");
  bind(tokenize, "clang_tokenize");
  bind(token_kind, "clang_getTokenKind");
  bind(token_spelling, "clang_getTokenSpelling");
  bind(token_extent, "clang_getTokenExtent");
  bind(dispose_tokens, "clang_disposeTokens");
  return missing;
}

Libclang::Libclang(std::unique_ptr<Api> api) : api_(std::move(api)) {}
Libclang::Libclang(Libclang&&) noexcept = default;
Libclang::~Libclang() = default;

Result<Libclang> Libclang::open(const std::string& file) {
  std::vector<std::string> names = library_names();
  if (!file.empty()) names = {file};
  void* library = nullptr;
  for (const std::string& name : names) {
    // Never unloaded: LLVM keeps state that does not survive that.
    library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
  }
  if (library == nullptr && !file.empty()) {
    const char* reason = ::dlerror();
    return Error(reason == nullptr ? file + ": cannot be loaded" : reason);
  }
  if (library == nullptr) {
    return Error(
        "reading C++ sources needs libclang, which is not installed: install libclang1-14 (Debian "
        "12, Ubuntu 22.04; libclang1-18 on Ubuntu 24.04) or clang-libs (Fedora), or name the "
        "library with --libclang or SSMEND_LIBCLANG");
  }
  auto api = std::make_unique<Api>();
  if (const std::string missing = api->load(library); !missing.empty()) {
    return Error("libclang: has no " + missing + ", expected LLVM 6 or newer");
  }
  return Libclang(std::move(api));
}

namespace {

struct FunctionVisit {
  const void* api;
  std::vector<ParsedText::Function>* functions;
};

}  // namespace

Result<ParsedText> Libclang::parse(const std::string& text) const {
  const Api& api = *api_;
  void* index = api.create_index(0, 0);
  ClangUnsavedFile file = {kTextName, text.data(), text.size()};
  const char* arguments[] = {"-x",          "c++",           "-std=gnu++20", "-nostdinc",
                             "-nostdinc++", "-nobuiltininc", "-w",           "-ferror-limit=0"};
  void* unit = nullptr;
  const int failed = api.parse(index, kTextName, arguments, std::size(arguments), &file, 1,
                               kDetailedPreprocessing | kSkipFunctionBodies | kKeepGoing, &unit);
  if (failed != 0 || unit == nullptr) {
    api.dispose_index(index);
    return Error(fmt::format("libclang: cannot read the text, error {}", failed));
  }

  ParsedText parsed;
  for (unsigned i = 0; i < api.count_diagnostics(unit); ++i) {
    void* diagnostic = api.diagnostic(unit, i);
    if (api.severity(diagnostic) >= kErrorSeverity) {
      parsed.errors.push_back({api.take(api.diagnostic_text(diagnostic)),
                               api.offset(api.diagnostic_location(diagnostic))});
    }
    api.dispose_diagnostic(diagnostic);
  }

  FunctionVisit visit = {&api, &parsed.functions};
  api.visit_children(
      api.unit_cursor(unit),
      [](ClangCursor cursor, ClangCursor, void* data) {
        const auto* own = static_cast<FunctionVisit*>(data);
        const Api& calls = *static_cast<const Api*>(own->api);
        const int kind = calls.cursor_kind(cursor);
        if (kind == kNamespace || kind == kLinkageSpecification || kind == kUnexposedDeclaration) {
          return kVisitRecurse;
        }
        if (kind == kParameter && !own->functions->empty()) {
          own->functions->back().parameters.push_back(calls.range(calls.cursor_extent(cursor)));
          return kVisitContinue;
        }
        if (kind != kFunctionDeclaration && kind != kFunctionTemplate) return kVisitContinue;
        ParsedText::Function function;
        function.name = calls.take(calls.cursor_spelling(cursor));
        if (kind == kFunctionDeclaration) {
          function.mangled_name = calls.take(calls.cursor_mangling(cursor));
        }
        function.return_type =
            calls.take(calls.type_spelling(calls.canonical_type(calls.result_type(cursor))));
        function.extent = calls.range(calls.cursor_extent(cursor));
        own->functions->push_back(std::move(function));
        return kVisitRecurse;  // into its parameters
      },
      &visit);

  std::vector<TextRange> skipped;
  if (ClangRangeList* list = api.skipped_ranges(unit, api.file(unit, kTextName)); list != nullptr) {
    for (unsigned i = 0; i < list->count; ++i) skipped.push_back(api.range(list->ranges[i]));
    api.dispose_ranges(list);
  }
  ClangToken* tokens = nullptr;
  unsigned count = 0;
  api.tokenize(unit, api.cursor_extent(api.unit_cursor(unit)), &tokens, &count);
  for (unsigned i = 0; i < count && i < kMostTokens; ++i) {
    const TextRange extent = api.range(api.token_extent(unit, tokens[i]));
    const bool left_out = std::any_of(skipped.begin(), skipped.end(), [&](const TextRange& range) {
      return extent.begin >= range.begin && extent.end <= range.end;
    });
    if (left_out) continue;
    parsed.tokens.push_back({api.take(api.token_spelling(unit, tokens[i])), extent,
                             api.token_kind(tokens[i]) == kCommentToken});
  }
  api.dispose_tokens(unit, tokens, count);
  api.dispose_unit(unit);
  api.dispose_index(index);
  return parsed;
}

}  // namespace ssmend
