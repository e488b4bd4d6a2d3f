// Which object a name means in a Python file: by import and scope, never by spelling. Follows the
// scoping rules of the language reference ("Naming and binding"): functions, lambdas
// and comprehensions open a scope; the names of a class body are not seen from its methods;
// `global` and `nonlocal` move a name.
//
// A name counts as bound to an imported object only where every binding of it in its scope is that
// import, or `None` (the guard of an import that failed), or another name for the same object. One
// assignment of anything else and nothing is known about it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "patch/syntax.h"

namespace ssmend {

struct NameBinding {
  enum class Kind { kImport, kNone, kAlias, kDefinition, kParameter, kOther };
  Kind kind = Kind::kOther;
  int node = -1;          // the identifier that is bound
  int statement = -1;     // import statement (kImport), right-hand side (kAlias)
  std::string qualified;  // kImport: "causal_conv1d.causal_conv1d_fn"
};

class NameScopes {
 public:
  explicit NameScopes(const SyntaxTree& tree);

  // "causal_conv1d_cuda.causal_conv1d_fwd" for an identifier or attribute chain that is known to
  // start at an import; empty otherwise.
  [[nodiscard]] std::string qualified_name(int node) const;
  // Bindings of a name at module level, in document order.
  [[nodiscard]] std::vector<NameBinding> module_bindings(std::string_view name) const;
  [[nodiscard]] bool is_bound_anywhere(std::string_view name) const;
  // The module-level name of an imported object; empty where it has none.
  [[nodiscard]] std::string module_name_of(std::string_view qualified) const;
  [[nodiscard]] std::vector<std::string> module_names() const;

 private:
  struct Scope {
    int parent = -1;
    bool is_class = false;
    std::map<std::string, std::vector<NameBinding>, std::less<>> names;
    std::map<std::string, bool, std::less<>> moved;  // name -> true: global, false: nonlocal
  };

  void collect(int node, int scope);
  void collect_import(int node, int scope);
  void bind_target(int target, int scope, NameBinding::Kind kind, int value);
  void bind(int scope, int identifier, NameBinding binding);
  [[nodiscard]] int scope_at(int node) const;
  [[nodiscard]] const std::vector<NameBinding>* find(int node) const;
  [[nodiscard]] std::string qualified_name(int node, int depth) const;

  const SyntaxTree& tree_;
  std::vector<Scope> scopes_;
  std::map<int, int> scope_of_node_;  // node that opens a scope -> index
};

}  // namespace ssmend
