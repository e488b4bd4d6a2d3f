// How a binding becomes a type. `m.def("fwd", &f, ...)` is found among the tokens of the module's
// body; what stands in the place of `&f` may be a function, a cast, an overload or a lambda. So the
// compiler is asked: before the module's body a function is declared that takes exactly that,
//   void ssmend_bound_0(decltype(&f));
// and its mangled name holds return type and parameters as typeid(...) in the compiled module would
// spell them.
#include "elf/source_contract.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "elf/demangle.h"
#include "elf/source_stubs.h"
#include "elf/source_text.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr int kMostRounds = 12;
constexpr size_t kMostBindings = 4096;
const std::string kBound = "ssmend_bound_";

using Tokens = std::vector<ParsedText::Token>;

struct Binding {
  std::string name;        // as Python calls it
  std::string expression;  // "&causal_conv1d_fwd"
  std::string probe;       // the parameter of the function declared for it; empty: none
};

struct Body {
  size_t begin = 0;  // offset of PYBIND11_MODULE in the text
  std::vector<Binding> bindings;
};

// Index of the bracket that closes the one at `open`.
size_t closing(const Tokens& tokens, size_t open) {
  int depth = 0;
  for (size_t i = open; i < tokens.size(); ++i) {
    const std::string& text = tokens[i].text;
    if (text == "(" || text == "{" || text == "[") ++depth;
    if (text == ")" || text == "}" || text == "]") --depth;
    if (depth == 0) return i;
  }
  return tokens.size();
}

std::string text_of(const std::string& text, const Tokens& tokens, size_t begin, size_t end) {
  if (begin >= end || end > tokens.size()) return {};
  const size_t from = tokens[begin].extent.begin;
  return text.substr(from, tokens[end - 1].extent.end - from);
}

// Of "[](A a, B b) -> R { ... }": "R (*)(A a, B b)".
std::string probe_of_lambda(const std::string& text, const Tokens& tokens, size_t begin,
                            size_t end) {
  const size_t capture_end = closing(tokens, begin);
  const size_t open = capture_end + 1;
  if (open >= end) return {};
  if (tokens[open].text == "{") return "ssmend_not_known (*)()";
  if (tokens[open].text != "(") return {};
  const size_t close = closing(tokens, open);
  if (close >= end) return {};
  std::string result = "ssmend_not_known";
  size_t at = close + 1;
  while (at < end && tokens[at].text != "->" && tokens[at].text != "{") ++at;
  if (at < end && tokens[at].text == "->") {
    size_t body = at + 1;
    while (body < end && tokens[body].text != "{") ++body;
    result = text_of(text, tokens, at + 1, body);
  }
  return fmt::format("{} (*)({})", result, text_of(text, tokens, open + 1, close));
}

// The arguments of one `def(` at `open`: the name and what is bound to it.
Binding read_definition(const std::string& text, const Tokens& tokens, size_t open, size_t close) {
  std::vector<size_t> commas;
  int angles = 0;  // "overload_cast<A, B>(&f)": no comparison stands in an argument of def
  for (size_t i = open + 1; i < close; ++i) {
    const std::string& word = tokens[i].text;
    if (word == "(" || word == "{" || word == "[") {
      i = closing(tokens, i);
    } else if (word == "<") {
      ++angles;
    } else if (word == ">" || word == ">>") {
      angles = std::max(0, angles - static_cast<int>(word.size()));
    } else if (word == "," && angles == 0) {
      commas.push_back(i);
    }
  }
  Binding binding;
  if (commas.empty()) return binding;
  for (size_t i = open + 1; i < commas[0]; ++i) {  // "a" "b" is one text
    const std::string& word = tokens[i].text;
    if (word.size() < 2 || word.front() != '"' || word.back() != '"') return {};
    binding.name += word.substr(1, word.size() - 2);
  }
  const size_t begin = commas[0] + 1;
  const size_t end = commas.size() > 1 ? commas[1] : close;
  if (begin >= end) return {};
  binding.expression = text_of(text, tokens, begin, end);
  binding.probe = tokens[begin].text == "[" ? probe_of_lambda(text, tokens, begin, end)
                                            : "decltype(" + binding.expression + ")";
  return binding;
}

std::vector<Body> find_bodies(const std::string& text, const Tokens& tokens) {
  std::vector<Body> bodies;
  for (size_t i = 0; i + 4 < tokens.size(); ++i) {
    if (tokens[i].text != "PYBIND11_MODULE" || tokens[i + 1].text != "(") continue;
    const size_t close = closing(tokens, i + 1);
    if (close + 1 >= tokens.size() || tokens[close + 1].text != "{") continue;  // its #define
    const size_t end = closing(tokens, close + 1);
    Body body;
    body.begin = tokens[i].extent.begin;
    std::string variable;
    for (size_t k = i + 2; k < close && variable.empty(); ++k) {
      if (tokens[k].text == ",") variable = tokens[k + 1].text;
    }
    for (size_t k = close + 1; k + 3 < end; ++k) {
      // "m.def(...)" and what is chained to it: ").def(".
      const bool chained = tokens[k].text == ")";
      if ((tokens[k].text != variable && (!chained || body.bindings.empty())) ||
          tokens[k + 1].text != "." || tokens[k + 2].text != "def" || tokens[k + 3].text != "(") {
        continue;
      }
      const size_t last = closing(tokens, k + 3);
      Binding binding = read_definition(text, tokens, k + 3, std::min(last, end));
      if (!binding.name.empty() && body.bindings.size() < kMostBindings) {
        body.bindings.push_back(std::move(binding));
      }
      if (!chained) k = last > 0 ? last - 1 : k;
    }
    bodies.push_back(std::move(body));
    i = end;
  }
  return bodies;
}

// "f", "&ns::f" and "wrap(f)" name the function f.
std::string function_named(const std::string& expression) {
  size_t end = expression.find_last_not_of(") \n\t");
  if (end == std::string::npos) return {};
  size_t begin = end + 1;
  while (begin > 0 && (std::isalnum(static_cast<unsigned char>(expression[begin - 1])) != 0 ||
                       expression[begin - 1] == '_')) {
    --begin;
  }
  return expression.substr(begin, end + 1 - begin);
}

bool has_error(const ParsedText& parsed, const TextRange& range) {
  return std::any_of(parsed.errors.begin(), parsed.errors.end(),
                     [&](const ParsedText::Complaint& error) {
                       return error.at >= range.begin && error.at < range.end;
                     });
}

// LLVM's demangler closes nested templates as "> >" up to LLVM 14 and as ">>" since; so both kinds
// of source and binary agree, the return type comes from the same demangler.
void read_probe(const std::string& mangled, BoundFunction* function) {
  const std::vector<std::string> parameters = parse_function_name(mangled).parameters;
  if (parameters.size() != 1) return;
  const std::string& type = parameters[0];
  const size_t star = type.find(" (*)(");
  if (star == std::string::npos || type.back() != ')') return;
  function->return_type = type.substr(0, star);
  if (function->return_type == "ssmend_not_known") function->return_type.clear();
  function->parameters = split_parameters(std::string_view(type).substr(star + 4));
  function->arity_known = true;
  function->witness = "source";
}

void read_as_written(const std::string& text, const ParsedText::Function& declared,
                     BoundFunction* function) {
  function->parameters.clear();
  for (const TextRange& range : declared.parameters) {
    const std::string written = text.substr(range.begin, range.end - range.begin);
    std::string one_line;
    for (const std::string& part : split(written, '\n')) {
      if (!one_line.empty()) one_line += ' ';
      one_line += trim(part);
    }
    function->parameters.push_back(one_line);
  }
  function->return_type.clear();
  const std::string head = std::string(trim(text.substr(declared.extent.begin, 5)));
  if (head == "void" && declared.return_type == "void") function->return_type = "void";
  function->arity_known = true;
  function->witness = "source text";
}

BoundFunction resolve_binding(const std::string& text, const ParsedText& parsed, size_t number,
                              const Binding& binding) {
  BoundFunction function;
  function.name = binding.name;
  function.witness = "source";
  const std::string probe = kBound + std::to_string(number);
  const std::string named = function_named(binding.expression);
  const ParsedText::Function* declared = nullptr;
  for (const ParsedText::Function& candidate : parsed.functions) {
    if (candidate.name == probe && !has_error(parsed, candidate.extent)) {
      read_probe(candidate.mangled_name, &function);
    }
    if (candidate.name == named) declared = &candidate;
  }
  // A compiler that does not know a type goes on with `int`.
  if (declared != nullptr && binding.expression.find('[') == std::string::npos &&
      (!function.arity_known || has_error(parsed, declared->extent))) {
    read_as_written(text, *declared, &function);
  }
  return function;
}

Result<std::vector<ModuleContract>> read_source(const Libclang& libclang, const std::string& path,
                                                const std::string& source) {
  const std::string prelude = kSourcePrelude;
  Result<ParsedText> parsed = libclang.parse(prelude + source);
  if (!parsed.ok()) return std::move(parsed).error().with_context(path);
  for (ParsedText::Token& token : parsed->tokens) {
    token.extent.begin -= std::min(token.extent.begin, prelude.size());
    token.extent.end -= std::min(token.extent.end, prelude.size());
  }
  const std::vector<Body> bodies = find_bodies(source, parsed->tokens);

  std::string probed;
  size_t at = 0;
  size_t number = 0;
  for (const Body& body : bodies) {
    // The ";" ends a declaration that the compiler could not make sense of.
    probed += source.substr(at, body.begin - at) + ";\n";
    for (const Binding& binding : body.bindings) {
      probed += fmt::format("void {}{}({});\n", kBound, number++,
                            binding.probe.empty() ? "int" : binding.probe);
    }
    at = body.begin;
  }
  probed += source.substr(at);

  // One round a level of what is missing: first the namespace, then the type in it.
  std::string stubs;
  std::string text;
  std::vector<std::string> known;
  for (int round = 0; round < kMostRounds; ++round) {
    text = prelude + stubs + probed;
    parsed = libclang.parse(text);
    if (!parsed.ok()) return std::move(parsed).error().with_context(path);
    const std::string more = stubs_for(parsed->errors, text, &known);
    if (more.empty()) break;
    stubs += more;
  }

  std::vector<ModuleContract> contracts;
  number = 0;
  for (const Body& body : bodies) {
    std::map<std::string, BoundFunction> bound;
    for (const Binding& binding : body.bindings) {
      BoundFunction function = resolve_binding(text, *parsed, number++, binding);
      bound.emplace(function.name, std::move(function));
    }
    ModuleContract contract;
    contract.module_path = path;
    for (auto& [name, function] : bound) contract.functions.push_back(std::move(function));
    contracts.push_back(std::move(contract));
  }
  return contracts;
}

}  // namespace

Result<std::vector<ModuleContract>> read_source_contracts(const Disk& disk,
                                                          const Libclang& libclang,
                                                          const std::string& path) {
  const Result<SourceFolder> folder = list_sources(disk, path);
  if (!folder.ok()) return folder.error();
  std::vector<ModuleContract> contracts;
  for (const std::string& source : folder->sources) {
    const Result<std::string> content = disk.read(source);
    if (!content.ok() || content->find("PYBIND11_MODULE") == std::string::npos) continue;
    const Result<std::string> flat = flat_source(disk, *folder, source);
    if (!flat.ok()) return flat.error();
    Result<std::vector<ModuleContract>> found = read_source(libclang, source, *flat);
    if (!found.ok()) return found.error();
    std::move(found->begin(), found->end(), std::back_inserter(contracts));
  }
  return contracts;
}

}  // namespace ssmend
