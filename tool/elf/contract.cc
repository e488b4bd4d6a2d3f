// How names and signatures are joined.
//
// pybind11 stores neither a table of what it binds nor, together, a name with its type:
// `m.def("fwd", &f, "doc")` leaves the texts "fwd" and "doc", the mangled type of &f and a format
// string, each on its own. The function itself is in .dynsym under its C++ name unless the build
// hides it. So a bound function is, in this order:
//   1. what the code of the module's initialiser hands to pybind11, name and type in the same call
//      (elf/contract_code.cc): the only witness that joins both;
//   2. a function of the symbol table whose parameters are those of a type found, and whose C++
//      name, or the end of it after a '_', is a text of the module ("selective_scan_fwd" bound as
//      "fwd");
//   3. without types (another binding generator, RTTI off): a function of the symbol table at
//      global scope whose C++ name is a text of the module.
#include "elf/contract.h"

#include <elf.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "elf/contract_code.h"
#include "elf/demangle.h"
#include "elf/elf_facts.h"
#include "elf/module_strings.h"
#include "elf/read_symbols.h"
#include "fmt/format.h"

namespace ssmend {
namespace {

constexpr size_t kMostSymbols = 400000;

struct Candidate {
  FunctionName name;
  bool exported = false;
};

// Names from .symtab: a build with -fvisibility=hidden keeps them until it is stripped.
std::vector<std::string> local_function_names(const ElfImage& image,
                                              const std::vector<ElfSection>& sections) {
  std::vector<std::string> found;
  for (const ElfSection& section : sections) {
    if (section.type != SHT_SYMTAB || section.link >= sections.size()) continue;
    const ElfSection& names_section = sections[section.link];
    const std::string name_bytes =
        image.read_offset(names_section.offset, names_section.size_bytes);
    const std::string table_bytes = image.read_offset(section.offset, section.size_bytes);
    ByteView names = image.view(name_bytes);
    ByteView table = image.view(table_bytes);
    const uint64_t entry_bytes = image.wide() ? 24 : 16;
    for (uint64_t at = 0; table.has(at, entry_bytes) && found.size() < kMostSymbols;
         at += entry_bytes) {
      const uint8_t info = table.u8(at + (image.wide() ? 4 : 12));
      if ((info & 15) != STT_FUNC || table.u16(at + (image.wide() ? 6 : 14)) == SHN_UNDEF) continue;
      const std::string_view name = names.c_string(table.u32(at));
      if (name.substr(0, 2) == "_Z") found.emplace_back(name);
    }
  }
  return found;
}

std::vector<Candidate> collect_candidates(const ElfImage& image, const ElfFacts& facts,
                                          const std::vector<ElfSection>& sections) {
  std::vector<Candidate> candidates;
  const auto add = [&](std::string_view mangled, bool exported) {
    FunctionName name = parse_function_name(mangled);
    // Library code compiled into the module is never what it binds under its own name.
    if (!name.valid || name.base.empty() || name.context.rfind("std::", 0) == 0 ||
        name.context.rfind("pybind11", 0) == 0) {
      return;
    }
    const bool known = std::any_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
      return c.name.base == name.base && c.name.parameters == name.parameters;
    });
    if (!known) candidates.push_back({std::move(name), exported});
  };
  for (const ElfSymbol& symbol : facts.defined) {
    if (symbol.function && symbol.name.substr(0, 2) == "_Z" && candidates.size() < kMostSymbols) {
      add(symbol.name, true);
    }
  }
  for (const std::string& name : local_function_names(image, sections)) add(name, false);
  return candidates;
}

// The Python name of a C++ function: its own name, else the longest end of it after a '_', that is
// a text of the module ("fwd" may be the tail of another text: linkers merge them). Empty where
// there is none: then nothing binds it.
std::string python_name(const std::vector<ConstantBlock>& constants, const std::string& base) {
  if (has_string_ending(constants, base)) return base;
  for (size_t at = base.find('_'); at != std::string::npos; at = base.find('_', at + 1)) {
    const std::string end = base.substr(at + 1);
    if (!end.empty() && has_string_ending(constants, end)) return end;
  }
  return {};
}

BoundFunction make_function(std::string name, const std::vector<std::string>& parameters,
                            std::string return_type, const char* witness) {
  BoundFunction function;
  function.name = std::move(name);
  function.parameters = parameters;
  function.return_type = std::move(return_type);
  function.arity_known = true;
  function.witness = witness;
  return function;
}

bool is_end_of(std::string_view end, std::string_view name) {
  return name == end ||
         (name.size() > end.size() + 1 && name.substr(name.size() - end.size()) == end &&
          name[name.size() - end.size() - 1] == '_');
}

// The code hands every bound function to pybind11 once. A function that the symbol table proves and
// the code did not name was therefore named by its documentation there, when that is one word: the
// first name of the same type (or, with nothing but a format string, of the same arity) that is no
// function of the symbol table is it.
void drop_documentation_name(const FunctionType& type, const std::vector<Candidate>& candidates,
                             std::map<std::string, BoundFunction>& bound) {
  const auto misnamed = std::find_if(bound.begin(), bound.end(), [&](const auto& entry) {
    const BoundFunction& function = entry.second;
    const bool same = function.witness == "format string"
                          ? function.arity() == type.parameters.size()
                          : function.witness == "rtti" && function.parameters == type.parameters;
    return same && std::none_of(candidates.begin(), candidates.end(), [&](const Candidate& c) {
             return is_end_of(entry.first, c.name.base);
           });
  });
  if (misnamed != bound.end()) bound.erase(misnamed);
}

// A function of the symbol table with a type found beside it either gives one that the code binds
// its exact types, or is a bound function itself where the code told nothing of it.
void join_symbols_and_types(const std::vector<Candidate>& candidates,
                            const std::vector<FunctionType>& types,
                            const std::vector<ConstantBlock>& constants,
                            std::map<std::string, BoundFunction>& bound) {
  const bool code_was_read = !bound.empty();
  for (const Candidate& candidate : candidates) {
    const auto type = std::find_if(types.begin(), types.end(), [&](const FunctionType& t) {
      return t.parameters == candidate.name.parameters;
    });
    if (type == types.end()) continue;
    const char* witness = candidate.exported ? "dynsym + rtti" : "symtab + rtti";
    const auto known = std::find_if(bound.begin(), bound.end(), [&](const auto& entry) {
      return is_end_of(entry.first, candidate.name.base) &&
             entry.second.arity() == type->parameters.size();
    });
    std::string name;
    if (known != bound.end()) {
      name = known->first;
    } else if (!code_was_read || bound.count(candidate.name.base) == 0) {
      name = python_name(constants, candidate.name.base);
      if (code_was_read && name != candidate.name.base) name.clear();
    }
    if (name.empty() || (known == bound.end() && bound.count(name) != 0)) continue;
    if (code_was_read && known == bound.end()) {
      drop_documentation_name(*type, candidates, bound);
    }
    bound[name] = make_function(name, type->parameters, type->return_type, witness);
  }
}

void join_symbols_alone(const std::vector<Candidate>& candidates,
                        const std::vector<ConstantBlock>& constants,
                        std::map<std::string, BoundFunction>& bound) {
  for (const Candidate& candidate : candidates) {
    if (!candidate.name.context.empty() || bound.count(candidate.name.base) != 0) continue;
    if (!has_string_ending(constants, candidate.name.base)) continue;
    bound[candidate.name.base] = make_function(candidate.name.base, candidate.name.parameters, "",
                                               candidate.exported ? "dynsym" : "symtab");
  }
}

}  // namespace

Result<ModuleContract> read_contract(const Disk& disk, const std::string& path) {
  ModuleContract contract;
  contract.module_path = path;
  const ElfFacts facts = read_elf(disk, path, {.symbols = true, .sections = false});
  if (facts.state != ElfState::kOk) return Error(facts.problem);
  const Result<ReadFile> file = disk.open(path);
  if (!file.ok()) return file.error();
  ElfFacts headers;
  ElfImage image(*file, facts.size_bytes);
  if (!image.read_headers(headers) || !image.read_dynamic()) {
    return Error(printable(path) + ": no dynamic section, so no module that Python could import");
  }
  const std::vector<ElfSection> sections = read_sections(*file);
  const std::vector<ConstantBlock> constants = read_constants(image, sections);
  // The kernel library's modules list what they take in a docstring ("ssm-contract: fwd 4 5 7 8").
  contract.accepts_every_contract =
      std::any_of(constants.begin(), constants.end(), [](const ConstantBlock& block) {
        return block.bytes.find("ssm-contract: ") != std::string::npos;
      });

  const std::vector<FunctionType> types = find_function_types(constants);
  const std::vector<FormatSignature> formats = find_format_signatures(constants);
  const std::vector<Candidate> candidates = collect_candidates(image, facts, sections);
  std::map<std::string, BoundFunction> bound;
  for (BoundFunction& function : read_bindings_from_code(image, facts, constants, types, formats)) {
    const std::string name = function.name;
    bound.emplace(name, std::move(function));
  }
  join_symbols_and_types(candidates, types, constants, bound);
  if (bound.empty()) join_symbols_alone(candidates, constants, bound);
  for (auto& [name, function] : bound) contract.functions.push_back(std::move(function));
  return contract;
}

}  // namespace ssmend
