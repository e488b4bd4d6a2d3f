// Unified diffs as `diff -u` prints them (POSIX diff, "Diff -U Output Format"), for showing and for
// GNU patch to apply.
#pragma once

#include <string>
#include <string_view>

namespace ssmend {

// Empty where both texts are the same bytes. `old_name` and `new_name` go after --- and +++.
std::string unified_diff(std::string_view before, std::string_view after, std::string_view old_name,
                         std::string_view new_name, int context = 3);

}  // namespace ssmend
