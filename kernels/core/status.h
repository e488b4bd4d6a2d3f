// The last error of a thread: one line of text that names the argument or call, the rule, the
// value.
#pragma once

#include "ssm_kernels.h"

namespace ssm {

// Remembers the text for ssm_last_error() and returns `code`.
__attribute__((format(printf, 2, 3))) ssm_status fail(ssm_status code, const char* format, ...);

}  // namespace ssm
