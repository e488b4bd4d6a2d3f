// A shared library without code whose only use is its name: where a torch was linked in one piece
// and ships no libc10.so, a file with that SONAME whose single NEEDED is the library that has the
// symbols lets an extension load that was built against the usual split.
//
// The bytes are laid down here (System V gABI, program headers and dynamic section only), so that
// no compiler is needed and every machine can be made on every other.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace ssmend {

struct SonameShim {
  uint16_t machine = 0;  // EM_X86_64 or EM_AARCH64
  std::string soname;    // "libc10.so"
  std::string needed;    // "libtorch_cpu.so"
  std::string runpath;   // where `needed` lies, from the shim: "$ORIGIN/../torch/lib"; may be empty
};

Result<std::string> soname_shim_bytes(const SonameShim& shim);

}  // namespace ssmend
