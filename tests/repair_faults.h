// Faults at the system calls that write. The functions are defined in the test program itself, so
// that the linker takes them instead of libc's for everything linked into it; each counts, and at
// the chosen count kills the process, tears a write in half, or fails with an errno.
#pragma once

namespace ssmend {

struct Fault {
  enum class Kind {
    kNone,        // only count
    kKill,        // SIGKILL before the call
    kTear,        // a write puts half of its bytes, then SIGKILL; other calls as kKill but after
    kFail,        // this call fails with `error`
    kFailOnward,  // this and every later one
  };
  Kind kind = Kind::kNone;
  long at = 0;  // 1: the first writing call after arm()
  int error = 0;
};

void arm(const Fault& fault);  // starts counting anew
void disarm();
long writing_calls();  // since arm()

}  // namespace ssmend
