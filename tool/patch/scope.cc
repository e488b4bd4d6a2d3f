#include "patch/scope.h"

#include <set>

#include "base/text.h"

namespace ssmend {
namespace {

bool opens_scope(std::string_view kind) {
  static const std::set<std::string_view> kKinds = {"module",
                                                    "function_definition",
                                                    "lambda",
                                                    "class_definition",
                                                    "list_comprehension",
                                                    "set_comprehension",
                                                    "dictionary_comprehension",
                                                    "generator_expression"};
  return kKinds.contains(kind);
}

}  // namespace

NameScopes::NameScopes(const SyntaxTree& tree) : tree_(tree) {
  scopes_.emplace_back();
  if (tree.nodes.empty()) return;
  scope_of_node_[0] = 0;
  // One pass to open the scopes, so that a target can be bound in the scope it lies in.
  for (int node = 1; node < static_cast<int>(tree.nodes.size()); ++node) {
    if (!tree[node].named || !opens_scope(tree[node].kind)) continue;
    Scope scope;
    scope.parent = scope_at(tree[node].parent);
    scope.is_class = tree[node].kind == "class_definition";
    scope_of_node_[node] = static_cast<int>(scopes_.size());
    scopes_.push_back(std::move(scope));
  }
  for (int node = 1; node < static_cast<int>(tree.nodes.size()); ++node) {
    if (tree[node].named &&
        (tree[node].kind == "global_statement" || tree[node].kind == "nonlocal_statement")) {
      for (int child : tree.children(node)) {
        if (tree.is(child, "identifier")) {
          scopes_[scope_at(node)].moved[std::string(tree.text_of(child))] =
              tree[node].kind == "global_statement";
        }
      }
    }
  }
  for (int node = 1; node < static_cast<int>(tree.nodes.size()); ++node) {
    if (tree[node].named) collect(node, scope_at(tree[node].parent));
  }
}

int NameScopes::scope_at(int node) const {
  for (; node >= 0; node = tree_[node].parent) {
    auto found = scope_of_node_.find(node);
    if (found != scope_of_node_.end()) return found->second;
  }
  return 0;
}

void NameScopes::bind(int scope, int identifier, NameBinding binding) {
  std::string name(tree_.text_of(identifier));
  auto moved = scopes_[scope].moved.find(name);
  if (moved != scopes_[scope].moved.end()) {
    scope = moved->second ? 0 : scopes_[scope].parent;
  }
  binding.node = identifier;
  scopes_[scope].names[name].push_back(std::move(binding));
}

// `target` is what stands left of an assignment: a name, or names in tuples, lists and stars.
void NameScopes::bind_target(int target, int scope, NameBinding::Kind kind, int value) {
  std::string_view node_kind = tree_[target].kind;
  if (node_kind == "identifier") {
    NameBinding binding;
    binding.kind = kind;
    binding.statement = value;
    bind(scope, target, std::move(binding));
    return;
  }
  if (node_kind != "pattern_list" && node_kind != "tuple_pattern" && node_kind != "list_pattern" &&
      node_kind != "list_splat_pattern" && node_kind != "as_pattern_target" &&
      node_kind != "tuple" && node_kind != "list" && node_kind != "parenthesized_expression") {
    return;  // an attribute or an element: binds no name
  }
  // `a, b = None, None` gives every name its own value.
  std::vector<int> values;
  if (value >= 0 && (tree_.is(value, "expression_list") || tree_.is(value, "tuple"))) {
    for (int child : tree_.meaningful_children(value)) {
      if (tree_[child].named) values.push_back(child);
    }
  }
  size_t position = 0;
  for (int child : tree_.meaningful_children(target)) {
    if (!tree_[child].named) continue;
    bool is_none = position < values.size() && tree_.is(values[position], "none");
    bind_target(child, scope, is_none ? NameBinding::Kind::kNone : NameBinding::Kind::kOther, -1);
    ++position;
  }
}

void NameScopes::collect_import(int node, int scope) {
  std::string module;
  int module_node = -1;
  if (tree_[node].kind == "import_from_statement") {
    module_node = tree_.child_by_field(node, "module_name");
    if (module_node >= 0) module = std::string(tree_.text_of(module_node));
  }
  for (int child : tree_.children(node)) {
    if (child == module_node) continue;
    NameBinding binding;
    binding.kind = NameBinding::Kind::kImport;
    binding.statement = node;
    int name_node = child;
    if (tree_.is(child, "aliased_import")) name_node = tree_.child_by_field(child, "name");
    if (name_node < 0 || !tree_.is(name_node, "dotted_name")) continue;
    std::string name(tree_.text_of(name_node));
    if (!module.empty()) {
      binding.qualified = module.back() == '.' ? module + name : module + "." + name;
    } else {
      binding.qualified = name;
    }
    if (tree_.is(child, "aliased_import")) {
      int alias = tree_.child_by_field(child, "alias");
      if (alias >= 0) bind(scope, alias, std::move(binding));
      continue;
    }
    // `import a.b` binds `a` to the package.
    int identifier = tree_.children(name_node).front();
    if (module.empty()) binding.qualified = std::string(tree_.text_of(identifier));
    bind(scope, identifier, std::move(binding));
  }
}

void NameScopes::collect(int node, int scope) {
  std::string_view kind = tree_[node].kind;
  auto field = [&](std::string_view name) { return tree_.child_by_field(node, name); };
  auto bind_field = [&](std::string_view name, NameBinding::Kind binding_kind) {
    int target = field(name);
    if (target >= 0) bind_target(target, scope, binding_kind, -1);
  };
  if (kind == "import_statement" || kind == "import_from_statement") {
    collect_import(node, scope);
  } else if (kind == "assignment") {
    int value = field("right");
    while (tree_.is(value, "assignment")) value = tree_.child_by_field(value, "right");
    NameBinding::Kind binding_kind = NameBinding::Kind::kOther;
    if (tree_.is(value, "none")) binding_kind = NameBinding::Kind::kNone;
    if (tree_.is(value, "identifier") || tree_.is(value, "attribute")) {
      binding_kind = NameBinding::Kind::kAlias;
    }
    int left = field("left");
    if (left >= 0 && (value >= 0 || field("type") < 0)) {
      bind_target(left, scope, binding_kind, value);
    }
  } else if (kind == "augmented_assignment") {
    bind_field("left", NameBinding::Kind::kOther);
  } else if (kind == "named_expression") {
    // A walrus inside a comprehension binds outside it.
    int outer = scope;
    for (int up = tree_[node].parent; up >= 0; up = tree_[up].parent) {
      if (!tree_[up].kind.ends_with("comprehension") && tree_[up].kind != "generator_expression")
        continue;
      outer = scope_at(tree_[up].parent);
    }
    int target = field("name");
    if (target >= 0) bind_target(target, outer, NameBinding::Kind::kOther, -1);
  } else if (kind == "for_statement" || kind == "for_in_clause") {
    bind_field("left", NameBinding::Kind::kOther);
  } else if (kind == "as_pattern_target" || kind == "as_pattern") {
    int target = kind == "as_pattern" ? field("alias") : -1;
    if (target >= 0) bind_target(target, scope, NameBinding::Kind::kOther, -1);
  } else if (kind == "delete_statement") {
    for (int child : tree_.meaningful_children(node)) {
      if (tree_[child].named) bind_target(child, scope, NameBinding::Kind::kOther, -1);
    }
  } else if (kind == "function_definition" || kind == "class_definition") {
    bind_field("name", NameBinding::Kind::kDefinition);
  } else if (kind == "parameters" || kind == "lambda_parameters") {
    for (int child : tree_.meaningful_children(node)) {
      int name = child;
      while (name >= 0 && tree_[name].named && tree_[name].kind != "identifier") {
        int inner = tree_.child_by_field(name, "name");
        if (inner < 0) {
          std::vector<int> parts = tree_.meaningful_children(name);
          while (!parts.empty() && !tree_[parts.front()].named) parts.erase(parts.begin());
          inner = parts.empty() ? -1 : parts.front();
        }
        name = inner;
      }
      if (name >= 0 && tree_.is(name, "identifier")) {
        NameBinding binding;
        binding.kind = NameBinding::Kind::kParameter;
        bind(scope_at(node), name, std::move(binding));
      }
    }
  }
}

const std::vector<NameBinding>* NameScopes::find(int node) const {
  std::string_view name = tree_.text_of(node);
  int scope = scope_at(tree_[node].parent);
  bool innermost = true;
  while (scope >= 0) {
    const Scope& here = scopes_[scope];
    auto moved = here.moved.find(name);
    if (moved != here.moved.end() && moved->second) {
      scope = 0;
      auto found = scopes_[0].names.find(name);
      return found == scopes_[0].names.end() ? nullptr : &found->second;
    }
    if (!here.is_class || innermost) {
      auto found = here.names.find(name);
      if (found != here.names.end()) return &found->second;
    }
    innermost = false;
    scope = here.parent;
  }
  return nullptr;
}

std::string NameScopes::qualified_name(int node) const { return qualified_name(node, 0); }

std::string NameScopes::qualified_name(int node, int depth) const {
  if (node < 0 || depth > 8) return {};
  if (tree_.is(node, "attribute")) {
    int object = tree_.child_by_field(node, "object");
    int attribute = tree_.child_by_field(node, "attribute");
    std::string base = qualified_name(object, depth + 1);
    if (base.empty() || attribute < 0) return {};
    return base + "." + std::string(tree_.text_of(attribute));
  }
  if (!tree_.is(node, "identifier")) return {};
  const std::vector<NameBinding>* bindings = find(node);
  if (bindings == nullptr) return {};
  std::string result;
  for (const NameBinding& binding : *bindings) {
    if (binding.kind == NameBinding::Kind::kNone) continue;
    std::string one;
    if (binding.kind == NameBinding::Kind::kImport) one = binding.qualified;
    if (binding.kind == NameBinding::Kind::kAlias)
      one = qualified_name(binding.statement, depth + 1);
    if (one.empty() || (!result.empty() && result != one)) return {};
    result = one;
  }
  return result;
}

std::vector<NameBinding> NameScopes::module_bindings(std::string_view name) const {
  auto found = scopes_[0].names.find(name);
  return found == scopes_[0].names.end() ? std::vector<NameBinding>() : found->second;
}

bool NameScopes::is_bound_anywhere(std::string_view name) const {
  for (const Scope& scope : scopes_) {
    if (scope.names.find(name) != scope.names.end()) return true;
  }
  return false;
}

std::string NameScopes::module_name_of(std::string_view qualified) const {
  for (const auto& [name, bindings] : scopes_[0].names) {
    for (const NameBinding& binding : bindings) {
      if (binding.kind == NameBinding::Kind::kImport && binding.qualified == qualified) return name;
    }
  }
  return {};
}

std::vector<std::string> NameScopes::module_names() const {
  std::vector<std::string> names;
  for (const auto& [name, bindings] : scopes_[0].names) names.push_back(name);
  return names;
}

}  // namespace ssmend
