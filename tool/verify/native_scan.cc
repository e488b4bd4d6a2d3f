// The native check of the selective scan.
#include "verify/native_check.h"

namespace ssmend {

std::vector<NativeCase> scan_native_cases() { return {}; }

}  // namespace ssmend
