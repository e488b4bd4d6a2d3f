// The syntax tree of one Python file: nodes with byte ranges, nothing else. Only syntax.cc knows
// tree-sitter; the kinds ("call", "argument_list", ...) are those of tree-sitter-python 0.23.6.
//
// Bytes stay bytes. The parser sees a copy of the same length in which a byte order mark, bytes
// that are no UTF-8 (files with a coding line) and lone carriage returns are replaced by harmless
// ones, so that every offset is an offset into the file as it is on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ssmend {

struct SyntaxNode {
  std::string_view kind;   // "call"; for a token its text: "("
  std::string_view field;  // role in the parent: "function"; empty where it has none
  uint32_t start = 0;      // byte offsets
  uint32_t end = 0;
  int parent = -1;
  int subtree_end = 0;  // index after the last descendant: the next sibling, if there is one
  bool named = false;
};

// Nodes in document order; node 0 is the module. The tree holds a copy of the text.
class SyntaxTree {
 public:
  std::string text;
  std::vector<SyntaxNode> nodes;
  int first_error_line = 0;  // 0: the whole file was understood

  [[nodiscard]] const SyntaxNode& operator[](int node) const { return nodes[node]; }
  [[nodiscard]] std::string_view text_of(int node) const {
    return std::string_view(text).substr(nodes[node].start, nodes[node].end - nodes[node].start);
  }
  [[nodiscard]] bool is(int node, std::string_view kind) const {
    return node >= 0 && nodes[node].kind == kind;
  }
  [[nodiscard]] int line_of(int node) const { return line_at(nodes[node].start); }  // from 1
  [[nodiscard]] int line_at(uint32_t offset) const;
  // Direct children, tokens included; `meaningful` leaves out comments and line continuations.
  [[nodiscard]] std::vector<int> children(int node) const;
  [[nodiscard]] std::vector<int> meaningful_children(int node) const;
  [[nodiscard]] int child_by_field(int node, std::string_view field) const;  // -1: none
  // The nearest ancestor (or the node itself) of this kind, -1 where there is none.
  [[nodiscard]] int ancestor(int node, std::string_view kind) const;
};

// An error where the text is no Python source in an encoding that keeps ASCII, such as UTF-16. A
// file that does not parse is not an error: its tree has first_error_line.
Result<SyntaxTree> parse_python(std::string text);

}  // namespace ssmend
