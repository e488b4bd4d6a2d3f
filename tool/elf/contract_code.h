// What a stripped module binds, read from the code of its initialiser. Inside tool/elf only.
//
// A compiler turns `m.def("fwd", &f, "doc")` into instructions that take the address of the text
// "fwd" and, soon after, in the same function or one that it calls, the addresses of the type_info
// of f's pointer type and of the format string. All three are addresses of known things, so no
// disassembler is needed: x86-64 takes them with `lea reg, [rip + x]`, aarch64 with `adrp` + `add`,
// and calls are `call x` / `bl x`.
#pragma once

#include <vector>

#include "elf/contract.h"
#include "elf/elf_image.h"
#include "elf/module_strings.h"

namespace ssmend {

std::vector<BoundFunction> read_bindings_from_code(const ElfImage& image, const ElfFacts& facts,
                                                   const std::vector<ConstantBlock>& constants,
                                                   const std::vector<FunctionType>& types,
                                                   const std::vector<FormatSignature>& formats);

}  // namespace ssmend
