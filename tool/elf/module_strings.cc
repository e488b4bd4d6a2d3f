#include "elf/module_strings.h"

#include <elf.h>

#include <algorithm>
#include <cctype>

#include "elf/demangle.h"

namespace ssmend {
namespace {

constexpr uint64_t kLargestBlock = uint64_t{64} << 20;
constexpr size_t kLongestSignature = 65536;
constexpr size_t kMostTypes = 65536;

bool is_constant_section(const ElfSection& section) {
  return section.name == ".rodata" || section.name.rfind(".rodata.", 0) == 0 ||
         section.name == ".lrodata";
}

bool is_mangled_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  });
}

std::string_view text_at(std::string_view bytes, size_t at) {
  const size_t end = bytes.find('\0', at);
  return end == std::string_view::npos ? std::string_view() : bytes.substr(at, end - at);
}

// pybind11 3 writes `@typing.SupportsInt@int@`: what a caller may pass, and what it gets. The
// second is the plain type.
std::string plain_type(std::string text) {
  for (size_t first = text.find('@'); first != std::string::npos; first = text.find('@')) {
    const size_t second = text.find('@', first + 1);
    const size_t third = second == std::string::npos ? second : text.find('@', second + 1);
    if (third == std::string::npos) break;
    text = text.substr(0, first) + text.substr(second + 1, third - second - 1) +
           text.substr(third + 1);
  }
  return text;
}

}  // namespace

std::vector<ConstantBlock> read_constants(const ElfImage& image,
                                          const std::vector<ElfSection>& sections) {
  std::vector<ConstantBlock> blocks;
  for (const ElfSection& section : sections) {
    if (!is_constant_section(section)) continue;
    blocks.push_back(
        {section.address,
         image.read_offset(section.offset, std::min(section.size_bytes, kLargestBlock))});
  }
  if (!blocks.empty()) return blocks;
  for (const ProgramHeader& segment : image.segments()) {
    if (segment.type != PT_LOAD || (segment.flags & PF_X) != 0 || (segment.flags & PF_W) != 0)
      continue;
    blocks.push_back(
        {segment.virtual_address,
         image.read_offset(segment.offset, std::min(segment.file_size_bytes, kLargestBlock))});
  }
  return blocks;
}

std::vector<FunctionType> find_function_types(const std::vector<ConstantBlock>& blocks) {
  std::vector<FunctionType> types;
  for (const ConstantBlock& block : blocks) {
    const std::string_view bytes = block.bytes;
    for (size_t at = bytes.find("PF"); at != std::string_view::npos;
         at = bytes.find("PF", at + 2)) {
      // GCC marks the names of local types with '*'.
      if (at != 0 && bytes[at - 1] != '\0' && bytes[at - 1] != '*') continue;
      const std::string_view mangled = text_at(bytes, at);
      if (mangled.size() < 4 || mangled.size() > kLongestSignature || mangled.back() != 'E' ||
          !is_mangled_text(mangled) || types.size() >= kMostTypes) {
        continue;
      }
      const std::string text = demangle_type(mangled);
      const size_t star = text.find(" (*)(");
      if (star == std::string::npos || text.back() != ')') continue;
      types.push_back({block.address + at, text.substr(0, star),
                       split_parameters(std::string_view(text).substr(star + 4))});
    }
  }
  return types;
}

std::vector<FormatSignature> find_format_signatures(const std::vector<ConstantBlock>& blocks) {
  std::vector<FormatSignature> signatures;
  for (const ConstantBlock& block : blocks) {
    const std::string_view bytes = block.bytes;
    for (size_t at = bytes.find('('); at != std::string_view::npos; at = bytes.find('(', at + 1)) {
      if (at != 0 && bytes[at - 1] != '\0') continue;
      const std::string_view text = text_at(bytes, at);
      const size_t arrow = text.rfind(") -> ");
      if (text.size() > kLongestSignature || arrow == std::string_view::npos ||
          (text[1] != '{' && text[1] != ')') || signatures.size() >= kMostTypes) {
        continue;
      }
      FormatSignature signature;
      signature.address = block.address + at;
      signature.text = text;
      signature.return_type = plain_type(std::string(text.substr(arrow + 5)));
      for (const std::string& part : split_parameters(text.substr(0, arrow + 1))) {
        const bool braces = part.size() >= 2 && part.front() == '{' && part.back() == '}';
        signature.parameters.push_back(plain_type(braces ? part.substr(1, part.size() - 2) : part));
      }
      signatures.push_back(std::move(signature));
    }
  }
  return signatures;
}

bool has_string_ending(const std::vector<ConstantBlock>& blocks, std::string_view text) {
  std::string wanted(text);
  wanted.push_back('\0');
  return std::any_of(blocks.begin(), blocks.end(), [&](const ConstantBlock& block) {
    return block.bytes.find(wanted) != std::string::npos;
  });
}

}  // namespace ssmend
