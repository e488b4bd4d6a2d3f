// The lexical look at Python files.
#include <gtest/gtest.h>

#include "diagnose/python_scan.h"

namespace ssmend {
namespace {

std::vector<std::string> imports_of(const std::string& text) {
  std::vector<std::string> found;
  for (const PythonImport& import : scan_python(text).imports) {
    found.push_back(std::to_string(import.line) + " " + std::string(import.level, '.') +
                    import.module + ":" + import.name + "=" + import.bound_as);
  }
  return found;
}

TEST(PythonScan, imports_in_every_spelling) {
  EXPECT_EQ(
      imports_of("import a.b, c as d\n"
                 "from x.y import (one,  # first\n    two as three,\n)\n"
                 "from . import z\nfrom ...up import w\nfrom s import *\n"
                 "try: import t\nexcept ImportError: t = None\n"
                 "import p; import q\n"),
      (std::vector<std::string>{"1 a.b:=a", "1 c:=d", "2 x.y:one=one", "3 x.y:two=three", "5 .:z=z",
                                "6 ...up:w=w", "7 s:*=*", "8 t:=t", "10 p:=p", "10 q:=q"}));
}

TEST(PythonScan, text_in_strings_and_comments_is_no_code) {
  EXPECT_TRUE(imports_of("\"\"\"\nimport a\n\"\"\"\n# import b\nx = 'import c'\n"
                         "y = r'\\'; import d\nz = f\"{x!r} import e\"\n"
                         "w = 'open\nv = '''import f'''\n")
                  .empty());
}

TEST(PythonScan, guards_and_functions) {
  const PythonFile file = scan_python(
      "import a\n"
      "try:\n    import b\nexcept (ImportError, OSError):\n    import c\n"
      "try:\n    import d\nexcept ValueError:\n    pass\n"
      "try:\n    import e\nfinally:\n    pass\n"
      "if x:\n    import f\n"
      "def g():\n    import h\n"
      "class K:\n    import i\n"
      "try:\n    import j\nexcept:\n    pass\n");
  const auto facts = [&](const std::string& module) {
    for (const PythonImport& import : file.imports) {
      if (import.module != module) continue;
      const PythonStatement& statement = file.statements[import.statement];
      return std::string(file.at_import(statement) ? "start" : "later") +
             (file.guarding_try(statement) >= 0 ? " guarded" : "") +
             (file.conditional(statement) ? " conditional" : "");
    }
    return std::string("none");
  };
  EXPECT_EQ(facts("a"), "start");
  EXPECT_EQ(facts("b"), "start guarded");
  EXPECT_EQ(facts("c"), "start conditional");
  EXPECT_EQ(facts("d"), "start");
  EXPECT_EQ(facts("e"), "start");
  EXPECT_EQ(facts("f"), "start conditional");
  EXPECT_EQ(facts("h"), "later");
  EXPECT_EQ(facts("i"), "start");
  EXPECT_EQ(facts("j"), "start guarded");
}

std::vector<std::string> calls_of(const std::string& text, const std::string& name) {
  std::vector<std::string> found;
  for (const PythonCall& call : find_calls(scan_python(text), name)) {
    found.push_back(std::to_string(call.line) + " " + std::to_string(call.arguments) +
                    (call.star ? "* " : " ") + call.text);
  }
  return found;
}

TEST(PythonScan, arguments_are_counted_at_the_top_level) {
  EXPECT_EQ(
      calls_of("y = m.f(a, g(b, c), [d, e], {f: 1, g: 2}, lambda x: (x, x), None,)\n", "m.f"),
      std::vector<std::string>{"1 6 (a, g(b, c), [d, e], {f: 1, g: 2}, lambda x: (x, x), None,)"});
  EXPECT_EQ(
      calls_of("m.f()\nm.f(\n    a,  # one, two\n    'x, y',\n    k=1)\nm.f(*args)\n", "m.f"),
      (std::vector<std::string>{"1 0 ()", "2 3 (a, # one, two 'x, y', k=1)", "6 1* (*args)"}));
}

TEST(PythonScan, only_the_named_function_counts) {
  EXPECT_TRUE(calls_of("other.m.f(1)\nm.f\nm.ff(1)\ndef f(x): pass\n", "m.f").empty());
  EXPECT_TRUE(calls_of("def f(x):\n    pass\nx.f(1)\n", "f").empty());
  EXPECT_EQ(calls_of("f(1)\n", "f"), std::vector<std::string>{"1 1 (1)"});
}

TEST(PythonScan, damaged_text_ends) {
  EXPECT_TRUE(calls_of("m.f(a, b", "m.f").empty());
  EXPECT_EQ(scan_python(std::string(100000, '(')).statements.size(), 1U);
  EXPECT_TRUE(scan_python("").tokens.empty());
  EXPECT_EQ(scan_python("'''never closed\nimport a\n").imports.size(), 0U);
  EXPECT_EQ(scan_python("\xef\xbb\xbfimport a\r\nimport b\r\n").imports.size(), 2U);
}

}  // namespace
}  // namespace ssmend
