#include "elf/demangle.h"

#include <cstdlib>

#include "base/text.h"
#include "llvm/Demangle/Demangle.h"

namespace ssmend {
namespace {

// Symbol tables of torch hold names of 30,000 bytes; far longer ones come only from hostile files
// and cost the recursive demangler its stack.
constexpr size_t kLongestName = 65536;

bool may_be_mangled(std::string_view name) {
  return name.size() > 2 && name.size() < kLongestName && name.substr(0, 2) == "_Z" &&
         name.find('\0') == std::string_view::npos;
}

std::string take(char* text) {
  std::string taken = text == nullptr ? "" : text;
  std::free(text);  // NOLINT: the demangler's buffers come from malloc
  return taken;
}

}  // namespace

std::string demangle(std::string_view mangled) {
  if (!may_be_mangled(mangled)) return {};
  const std::string name(mangled);
  llvm::ItaniumPartialDemangler demangler;
  if (demangler.partialDemangle(name.c_str())) return {};
  return take(demangler.finishDemangle(nullptr, nullptr));
}

FunctionName parse_function_name(std::string_view mangled) {
  FunctionName function;
  if (!may_be_mangled(mangled)) return function;
  const std::string name(mangled);
  llvm::ItaniumPartialDemangler demangler;
  if (demangler.partialDemangle(name.c_str()) || !demangler.isFunction()) return function;
  function.valid = true;
  function.context = take(demangler.getFunctionDeclContextName(nullptr, nullptr));
  function.base = take(demangler.getFunctionBaseName(nullptr, nullptr));
  function.parameters = split_parameters(take(demangler.getFunctionParameters(nullptr, nullptr)));
  return function;
}

std::string demangle_type(std::string_view mangled_type) {
  const std::string text = demangle("_ZTS" + std::string(mangled_type));
  constexpr std::string_view kPrefix = "typeinfo name for ";
  if (text.compare(0, kPrefix.size(), kPrefix) != 0) return {};
  return text.substr(kPrefix.size());
}

std::vector<std::string> split_parameters(std::string_view list) {
  list = trim(list);
  if (list.size() >= 2 && list.front() == '(' && list.back() == ')') {
    list = list.substr(1, list.size() - 2);
  }
  std::vector<std::string> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (c == '(' || c == '<' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (c == '>' && (i == 0 || list[i - 1] != '-')) --depth;  // "->" closes nothing
    if (c == ',' && depth == 0) {
      parts.emplace_back(trim(list.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  const std::string_view last = trim(list.substr(begin));
  if (!last.empty() && !(parts.empty() && last == "void")) parts.emplace_back(last);
  return parts;
}

}  // namespace ssmend
