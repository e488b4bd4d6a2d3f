#include "core/status.h"

#include <cstdarg>
#include <cstdio>

namespace ssm {
namespace {

thread_local char last_error[768];

}  // namespace

ssm_status fail(ssm_status code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return code;
}

}  // namespace ssm

const char* ssm_last_error(void) { return ssm::last_error; }
const char* ssm_version(void) { return SSM_VERSION; }
