#include "patch/syntax.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <memory>

extern "C" const TSLanguage* tree_sitter_python(void);

namespace ssmend {
namespace {

// Length of the valid UTF-8 sequence at `at`, 0 where there is none.
size_t utf8_length(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(at);
  size_t length = lead < 0x80   ? 1
                  : lead < 0xc2 ? 0
                  : lead < 0xe0 ? 2
                  : lead < 0xf0 ? 3
                  : lead < 0xf5 ? 4
                                : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// The copy that the parser sees; see syntax.h.
std::string harmless_copy(std::string_view text) {
  std::string copy(text);
  bool has_line_feed = text.find('\n') != std::string_view::npos;
  for (size_t i = 0; i < copy.size();) {
    size_t length = utf8_length(text, i);
    if (length == 0) {
      copy[i++] = 'x';
      continue;
    }
    if (copy[i] == '\r' && !has_line_feed) copy[i] = '\n';
    i += length;
  }
  return copy;
}

// The grammar's names by their numbers, so that no name is measured for every node.
class Names {
 public:
  explicit Names(const TSLanguage* language) {
    for (uint32_t i = 0; i < ts_language_symbol_count(language); ++i) {
      kinds_.emplace_back(ts_language_symbol_name(language, static_cast<TSSymbol>(i)));
    }
    fields_.emplace_back();
    for (uint32_t i = 1; i <= ts_language_field_count(language); ++i) {
      fields_.emplace_back(ts_language_field_name_for_id(language, static_cast<TSFieldId>(i)));
    }
  }
  [[nodiscard]] std::string_view kind(TSNode node) const {
    const TSSymbol symbol = ts_node_symbol(node);
    return symbol < kinds_.size() ? kinds_[symbol] : std::string_view("ERROR");
  }
  [[nodiscard]] std::string_view field(TSFieldId id) const { return fields_.at(id); }

 private:
  std::vector<std::string_view> kinds_;
  std::vector<std::string_view> fields_;
};

void append_nodes(TSTreeCursor* cursor, uint32_t shift, int parent, SyntaxTree& tree) {
  // Depth first without recursion: a file from anywhere may nest deeper than the stack allows.
  static const Names names(tree_sitter_python());
  std::vector<int> open;
  open.push_back(parent);
  bool down = true;
  while (true) {
    if (down) {
      TSNode node = ts_tree_cursor_current_node(cursor);
      SyntaxNode entry;
      entry.kind = names.kind(node);
      entry.field = names.field(ts_tree_cursor_current_field_id(cursor));
      entry.start = ts_node_start_byte(node) + shift;
      entry.end = ts_node_end_byte(node) + shift;
      entry.parent = open.back();
      entry.named = ts_node_is_named(node);
      int index = static_cast<int>(tree.nodes.size());
      tree.nodes.push_back(entry);
      bool broken = ts_node_is_missing(node) || entry.kind == "ERROR";
      if (broken && tree.first_error_line == 0) {
        tree.first_error_line = static_cast<int>(ts_node_start_point(node).row) + 1;
      }
      open.push_back(index);
      if (ts_tree_cursor_goto_first_child(cursor)) continue;
    }
    tree.nodes[open.back()].subtree_end = static_cast<int>(tree.nodes.size());
    open.pop_back();
    if (ts_tree_cursor_goto_next_sibling(cursor)) {
      down = true;
      continue;
    }
    if (!ts_tree_cursor_goto_parent(cursor)) return;
    down = false;
  }
}

}  // namespace

int SyntaxTree::line_at(uint32_t offset) const {
  std::string_view before = std::string_view(text).substr(0, offset);
  size_t lines = static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  if (lines == 0 && text.find('\n') == std::string::npos) {
    lines = static_cast<size_t>(std::count(before.begin(), before.end(), '\r'));
  }
  return static_cast<int>(lines) + 1;
}

std::vector<int> SyntaxTree::children(int node) const {
  std::vector<int> result;
  for (int child = node + 1; child < nodes[node].subtree_end; child = nodes[child].subtree_end) {
    result.push_back(child);
  }
  return result;
}

std::vector<int> SyntaxTree::meaningful_children(int node) const {
  std::vector<int> result;
  for (int child = node + 1; child < nodes[node].subtree_end; child = nodes[child].subtree_end) {
    if (nodes[child].kind != "comment" && nodes[child].kind != "line_continuation") {
      result.push_back(child);
    }
  }
  return result;
}

int SyntaxTree::child_by_field(int node, std::string_view field) const {
  for (int child = node + 1; child < nodes[node].subtree_end; child = nodes[child].subtree_end) {
    if (nodes[child].field == field) return child;
  }
  return -1;
}

int SyntaxTree::ancestor(int node, std::string_view kind) const {
  while (node >= 0 && nodes[node].kind != kind) node = nodes[node].parent;
  return node;
}

Result<SyntaxTree> parse_python(std::string text) {
  if (text.size() > (size_t{1} << 30)) return Error("source file is longer than 1 GiB");
  if (text.find('\0') != std::string::npos) {
    return Error("source holds NUL bytes: UTF-16, or no Python source");
  }
  uint32_t shift = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  std::string copy = harmless_copy(std::string_view(text).substr(shift));

  std::unique_ptr<TSParser, decltype(&ts_parser_delete)> parser(ts_parser_new(), &ts_parser_delete);
  if (!ts_parser_set_language(parser.get(), tree_sitter_python())) {
    return Error("libtree-sitter does not accept the Python grammar's ABI version");
  }
  std::unique_ptr<TSTree, decltype(&ts_tree_delete)> parsed(
      ts_parser_parse_string(parser.get(), nullptr, copy.data(),
                             static_cast<uint32_t>(copy.size())),
      &ts_tree_delete);
  if (!parsed) return Error("libtree-sitter gave no tree");

  SyntaxTree tree;
  tree.text = std::move(text);
  tree.nodes.reserve(copy.size() / 4 + 16);
  TSTreeCursor cursor = ts_tree_cursor_new(ts_tree_root_node(parsed.get()));
  append_nodes(&cursor, shift, -1, tree);
  ts_tree_cursor_delete(&cursor);
  return tree;
}

}  // namespace ssmend
