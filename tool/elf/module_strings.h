// The constant texts of a native module: where pybind11 leaves the names, types and signatures of
// what it binds. Inside tool/elf only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/disk.h"
#include "elf/elf_image.h"
#include "elf/sections.h"

namespace ssmend {

struct ConstantBlock {
  uint64_t address = 0;
  std::string bytes;
};

// `.rodata*` where there are sections, else every read-only segment; never code, never GPU code.
std::vector<ConstantBlock> read_constants(const ElfImage& image,
                                          const std::vector<ElfSection>& sections);

// A function pointer type found as typeid(Return (*)(Parameters...)).name().
struct FunctionType {
  uint64_t address = 0;  // of the text
  std::string return_type;
  std::vector<std::string> parameters;
};
std::vector<FunctionType> find_function_types(const std::vector<ConstantBlock>& blocks);

// "({torch.Tensor}, {bool}) -> None": what pybind11 renders a call's help text from. `%` stands for
// a class that is only known at run time.
struct FormatSignature {
  uint64_t address = 0;
  std::string text;
  std::string return_type;
  std::vector<std::string> parameters;
};
std::vector<FormatSignature> find_format_signatures(const std::vector<ConstantBlock>& blocks);

// Is there a text that is, or (merged by the linker) ends with, `text`?
bool has_string_ending(const std::vector<ConstantBlock>& blocks, std::string_view text);

}  // namespace ssmend
