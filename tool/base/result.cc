#include "base/result.h"

namespace ssmend {

std::string format_error(const Error& error) {
  std::string text = error.message;
  for (const std::string& cause : error.causes) text += "\n  caused by: " + cause;
  return text;
}

}  // namespace ssmend
