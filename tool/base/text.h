// Small text helpers used by every layer. All work on bytes; none looks at the locale.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ssmend {

std::string_view trim(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
std::vector<std::string> split_lines(std::string_view text);  // drops "\n" and "\r\n"
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string to_lower(std::string_view text);
bool is_all_digits(std::string_view text);  // false for the empty text
std::string replace_all(std::string text, std::string_view from, std::string_view to);

// Shell-style match with `*` (any run, '/' included) and `?` (one byte).
bool glob_match(std::string_view pattern, std::string_view text);

// Paths are '/'-separated bytes. `normal_path` removes "." and "//" and resolves ".." by spelling
// alone; a ".." that would climb above "/" stays at "/", one above a relative start is kept.
std::string normal_path(std::string_view path);
std::string path_join(std::string_view directory, std::string_view name);  // absolute name wins
std::string_view base_name(std::string_view path);
std::string_view directory_name(std::string_view path);             // "/" for "/a", "." for "a"
bool is_inside(std::string_view path, std::string_view directory);  // both normal; equal counts

// "1 file", "2 files", "1 library", "2 libraries": `plural` is given where "s" is not enough.
std::string count_of(size_t count, std::string_view singular, std::string_view plural = "");

// Makes untrusted text safe for a terminal: control bytes and invalid UTF-8 become \xNN.
std::string printable(std::string_view text);

}  // namespace ssmend
