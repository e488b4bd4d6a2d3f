#include "elf/contract_code.h"

#include <elf.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace ssmend {
namespace {

constexpr uint64_t kMostCodeBytes = uint64_t{64} << 20;
constexpr int kDeepestCall = 3;  // initialiser -> module_::def -> cpp_function -> initialize
constexpr size_t kLongestFunction = 4096;  // references in one function

enum class Reference { kName, kType, kFormat, kCall };

struct Event {
  uint64_t at = 0;
  Reference kind = Reference::kCall;
  uint64_t target = 0;
};

// What an address stands for.
struct Landmarks {
  const std::vector<ConstantBlock>* constants = nullptr;
  std::map<uint64_t, const FunctionType*> types;  // by address of the type_info object
  std::map<uint64_t, const FormatSignature*> formats;
  std::vector<std::pair<uint64_t, uint64_t>> code;  // [begin, end)
};

std::string identifier_at(const std::vector<ConstantBlock>& blocks, uint64_t address) {
  constexpr size_t kLongestName = 128;
  for (const ConstantBlock& block : blocks) {
    if (address < block.address || address - block.address >= block.bytes.size()) continue;
    const size_t begin = address - block.address;
    size_t end = begin;
    while (end < block.bytes.size() && end - begin < kLongestName &&
           (std::isalnum(static_cast<unsigned char>(block.bytes[end])) != 0 ||
            block.bytes[end] == '_')) {
      ++end;
    }
    if (end == begin || end >= block.bytes.size() || block.bytes[end] != '\0' ||
        std::isdigit(static_cast<unsigned char>(block.bytes[begin])) != 0) {
      return {};
    }
    return block.bytes.substr(begin, end - begin);
  }
  return {};
}

bool in_code(const Landmarks& marks, uint64_t address) {
  return std::any_of(marks.code.begin(), marks.code.end(), [address](const auto& range) {
    return address >= range.first && address < range.second;
  });
}

void note_address(const Landmarks& marks, uint64_t at, uint64_t target,
                  std::vector<Event>& events) {
  if (marks.types.count(target) != 0) {
    events.push_back({at, Reference::kType, target});
  } else if (marks.formats.count(target) != 0) {
    events.push_back({at, Reference::kFormat, target});
  } else if (in_code(marks, target)) {
    events.push_back({at, Reference::kCall, target});  // a callback handed on counts as called
  } else if (identifier_at(*marks.constants, target).size() >= 2) {
    events.push_back({at, Reference::kName, target});
  }
}

void scan_x86_64(ByteView code, uint64_t base, const Landmarks& marks, std::vector<Event>& events) {
  const auto relative = [&](uint64_t at) {
    return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(code.u32(at))));
  };
  for (uint64_t at = 0; code.has(at, 7); ++at) {
    const uint8_t first = code.u8(at);
    if ((first == 0x48 || first == 0x4C) && code.u8(at + 1) == 0x8D &&
        (code.u8(at + 2) & 0xC7) == 0x05) {
      note_address(marks, base + at, base + at + 7 + relative(at + 3), events);
    } else if (first == 0xE8) {
      // Compilers align functions to 16: the check drops nearly all bytes that only look like
      // calls.
      const uint64_t target = base + at + 5 + relative(at + 1);
      if ((target & 15) == 0 && in_code(marks, target)) {
        events.push_back({base + at, Reference::kCall, target});
      }
    }
  }
}

void scan_aarch64(ByteView code, uint64_t base, const Landmarks& marks,
                  std::vector<Event>& events) {
  uint64_t page[32] = {};
  const auto sign_extend = [](uint64_t value, unsigned bits) {
    const uint64_t sign = uint64_t{1} << (bits - 1);
    return (value ^ sign) - sign;
  };
  for (uint64_t at = 0; code.has(at, 4); at += 4) {
    const uint32_t word = code.u32(at);
    const uint64_t here = base + at;
    const unsigned destination = word & 31;
    const uint64_t immediate21 = (uint64_t{(word >> 5) & 0x7FFFF} << 2) | ((word >> 29) & 3);
    if ((word & 0x9F000000) == 0x90000000) {  // adrp
      page[destination] = (here & ~uint64_t{0xFFF}) + (sign_extend(immediate21, 21) << 12);
    } else if ((word & 0x9F000000) == 0x10000000) {  // adr
      note_address(marks, here, here + sign_extend(immediate21, 21), events);
    } else if ((word & 0xFFC00000) == 0x91000000) {  // add x, x, #imm12
      const uint64_t from = page[(word >> 5) & 31];
      if (from != 0) note_address(marks, here, from + ((word >> 10) & 0xFFF), events);
    } else if ((word & 0xFC000000) == 0x94000000) {  // bl
      const uint64_t target = here + (sign_extend(word & 0x3FFFFFF, 26) << 2);
      if (in_code(marks, target)) events.push_back({here, Reference::kCall, target});
    }
  }
}

// type_info objects: two words, the second points to the type's name. The pointer is filled in by a
// relocation whose addend is the name's address.
void find_type_objects(const ElfImage& image, const std::vector<FunctionType>& types,
                       Landmarks& marks) {
  std::map<uint64_t, const FunctionType*> by_name;
  for (const FunctionType& type : types) by_name[type.address] = &type;
  const std::string bytes = image.read_address(image.tag(DT_RELA), image.tag(DT_RELASZ));
  ByteView table = image.view(bytes);
  for (uint64_t at = 0; table.has(at, 24); at += 24) {
    const auto found = by_name.find(table.u64(at + 16));
    if (found != by_name.end()) marks.types[table.u64(at) - 8] = found->second;
  }
  // With DT_RELR the address stands in the data itself.
  for (const ProgramHeader& segment : image.segments()) {
    if (segment.type != PT_LOAD || (segment.flags & PF_W) == 0) continue;
    const std::string data =
        image.read_offset(segment.offset, std::min<uint64_t>(segment.file_size_bytes, 16 << 20));
    ByteView words = image.view(data);
    for (uint64_t at = 8; words.has(at, 8); at += 8) {
      const auto found = by_name.find(words.u64(at));
      if (found != by_name.end()) {
        marks.types[segment.virtual_address + at - 8] = found->second;
      }
    }
  }
}

class BindingReader {
 public:
  BindingReader(std::vector<Event> events, const Landmarks& marks)
      : events_(std::move(events)), marks_(marks) {
    for (const Event& event : events_) {
      if (event.kind == Reference::kCall) starts_.push_back(event.target);
    }
    std::sort(starts_.begin(), starts_.end());
    starts_.erase(std::unique(starts_.begin(), starts_.end()), starts_.end());
  }

  void walk(uint64_t function, int depth) {
    if (depth > kDeepestCall || !walked_.insert(function).second) return;
    uint64_t last = 0;
    uint64_t before = 0;  // taken just before `last`
    for (const Event& event : body(function)) {
      if (event.kind == Reference::kName) {
        before = last;
        last = event.target;
      } else if (event.kind == Reference::kCall) {
        const std::set<uint64_t> reached = signatures_below(event.target, kDeepestCall);
        if (last != 0 && is_one_signature(reached)) {
          for (const uint64_t target : reached) bind(last, before, target);
        } else if (!reached.empty()) {
          walk(event.target, depth + 1);
        }
      } else if (last != 0) {
        bind(last, before, event.target);
      }
    }
  }

  [[nodiscard]] std::vector<BoundFunction> bindings() const {
    std::vector<BoundFunction> list;
    for (const auto& [name, function] : bound_) {
      if (!is_own_helper(function)) list.push_back(function);
    }
    return list;
  }

 private:
  // pybind11 binds two functions of its own: a callback for weak references and its conduit.
  static bool is_own_helper(const BoundFunction& function) {
    const std::vector<std::string>& types = function.parameters;
    if (function.witness == "format string") {
      return types.size() == 1 && (types[0] == "object" || types[0] == "handle") &&
             function.return_type == "void";
    }
    return types.size() == 4 && types[2] == "pybind11::capsule const&";
  }

  std::vector<Event> body(uint64_t function) const {
    const auto next = std::upper_bound(starts_.begin(), starts_.end(), function);
    const uint64_t end = next == starts_.end() ? UINT64_MAX : *next;
    auto at = std::lower_bound(events_.begin(), events_.end(), function,
                               [](const Event& e, uint64_t address) { return e.at < address; });
    std::vector<Event> found;
    for (; at != events_.end() && at->at < end && found.size() < kLongestFunction; ++at) {
      found.push_back(*at);
    }
    return found;
  }

  const std::set<uint64_t>& signatures_below(uint64_t function, int depth) {
    const auto [known, fresh] = below_.try_emplace(function);
    if (!fresh || depth == 0) return known->second;
    std::set<uint64_t> found;
    for (const Event& event : body(function)) {
      if (event.kind == Reference::kType || event.kind == Reference::kFormat) {
        found.insert(event.target);
      } else if (event.kind == Reference::kCall && event.target != function) {
        const std::set<uint64_t>& deeper = signatures_below(event.target, depth - 1);
        found.insert(deeper.begin(), deeper.end());
      }
    }
    return below_[function] = std::move(found);
  }

  // A type and a format string of one arity belong together; two of a kind are two functions.
  bool is_one_signature(const std::set<uint64_t>& targets) const {
    size_t types = 0;
    size_t formats = 0;
    for (const uint64_t target : targets) ++(marks_.types.count(target) != 0 ? types : formats);
    return !targets.empty() && types <= 1 && formats <= 1;
  }

  // A documentation text of one word looks like a name too. Both are arguments of one call, so they
  // are taken one after the other and stored side by side; the one with a '_' is the name.
  std::string choose_name(uint64_t last, uint64_t before) const {
    std::string name = identifier_at(*marks_.constants, last);
    if (before == 0 || name.find('_') != std::string::npos) return name;
    const std::string other = identifier_at(*marks_.constants, before);
    const bool side_by_side = last + name.size() + 1 == before || before + other.size() + 1 == last;
    return side_by_side && other.find('_') != std::string::npos ? other : name;
  }

  void bind(uint64_t last, uint64_t before, uint64_t target) {
    const std::string name = choose_name(last, before);
    BoundFunction& function = bound_[name];
    function.name = name;
    const auto type = marks_.types.find(target);
    if (type != marks_.types.end()) {
      function.parameters = type->second->parameters;
      function.return_type = type->second->return_type;
      function.witness = "rtti";
    } else if (function.witness.empty()) {
      const FormatSignature& format = *marks_.formats.at(target);
      function.parameters = format.parameters;
      function.return_type = format.return_type == "None" ? "void" : format.return_type;
      function.witness = "format string";
    }
    function.arity_known = true;
  }

  std::vector<Event> events_;
  const Landmarks& marks_;
  std::vector<uint64_t> starts_;
  std::map<uint64_t, std::set<uint64_t>> below_;
  std::set<uint64_t> walked_;
  std::map<std::string, BoundFunction> bound_;
};

}  // namespace

std::vector<BoundFunction> read_bindings_from_code(const ElfImage& image, const ElfFacts& facts,
                                                   const std::vector<ConstantBlock>& constants,
                                                   const std::vector<FunctionType>& types,
                                                   const std::vector<FormatSignature>& formats) {
  Landmarks marks;
  marks.constants = &constants;
  for (const FormatSignature& format : formats) marks.formats[format.address] = &format;
  find_type_objects(image, types, marks);
  if (marks.types.empty() && marks.formats.empty()) return {};
  for (const ProgramHeader& segment : image.segments()) {
    if (segment.type != PT_LOAD || (segment.flags & PF_X) == 0) continue;
    marks.code.emplace_back(segment.virtual_address,
                            segment.virtual_address + segment.file_size_bytes);
  }
  std::vector<Event> events;
  for (const auto& [begin, end] : marks.code) {
    const std::string bytes = image.read_address(begin, std::min(end - begin, kMostCodeBytes));
    ByteView code = image.view(bytes);
    if (facts.machine == EM_X86_64) scan_x86_64(code, begin, marks, events);
    if (facts.machine == EM_AARCH64) scan_aarch64(code, begin, marks, events);
  }
  std::sort(events.begin(), events.end(),
            [](const Event& l, const Event& r) { return l.at < r.at; });
  BindingReader reader(std::move(events), marks);
  for (const ElfSymbol& symbol : facts.defined) {
    if (symbol.name.substr(0, 7) == "PyInit_") reader.walk(symbol.value, 0);
  }
  return reader.bindings();
}

}  // namespace ssmend
