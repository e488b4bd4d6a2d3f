// Stand-ins for what a C++ source takes from headers that are not there. Inside tool/elf only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "elf/libclang.h"

namespace ssmend {

// The types of the standard library, torch and pybind11 that stand in the parameters of bound
// functions, with the names that a compiled module's symbols give them.
extern const char kSourcePrelude[];

// Declarations of the names that these complaints about `text` are about ("no type named 'X' in
// namespace 'a'"), without those in `known`, to which they are added. Empty where nothing new is
// missing.
std::string stubs_for(const std::vector<ParsedText::Complaint>& errors, std::string_view text,
                      std::vector<std::string>* known);

}  // namespace ssmend
