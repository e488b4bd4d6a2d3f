// SHA-256 (FIPS 180-4), as RECORD files and the journal use it.
#pragma once

#include <string>
#include <string_view>

namespace ssmend {

std::string sha256_hex(std::string_view bytes);
// urlsafe base64 without padding: the form of "sha256=..." in RECORD (PEP 376, PEP 427).
std::string sha256_record(std::string_view bytes);

}  // namespace ssmend
