// Escaping for the formats that reports are written in. Everything a report prints comes from
// files of the target, so every text passes through one of these; all of them first make control
// bytes and invalid UTF-8 visible as \xNN (base/text.h, printable), which also keeps out the
// characters that XML 1.0 cannot carry at all.
#pragma once

#include <string>
#include <string_view>

namespace ssmend {

// For text and for attribute values in double or single quotes, in HTML and XML. Line feeds and
// tabs stay.
std::string escape_markup(std::string_view text);

// A relative path or an absolute path as a URI reference (RFC 3986): bytes that are not unreserved
// or '/' are percent-encoded, and a first segment with ':' cannot be taken for a scheme.
std::string escape_uri_path(std::string_view path);

// GitHub's workflow commands: in the message '%', CR and LF are encoded, in property values ':'
// and ',' as well (actions/toolkit, packages/core/src/command.ts).
std::string escape_github_message(std::string_view text);
std::string escape_github_property(std::string_view text);

// A fence of backticks that no run of backticks inside `text` can close (CommonMark, 4.5).
std::string fence_for(std::string_view text);

// The same text line by line through `printable`, so that line ends survive.
std::string printable_lines(std::string_view text);

}  // namespace ssmend
