// Takes out of a text what a stranger need not read: home directories, the user's and the
// machine's name, and passwords inside URLs. For what is pasted into a public issue.
#pragma once

#include <string>
#include <string_view>

namespace ssmend {

struct Redactions {
  std::string home_directory;  // of the running user, such as /srv/people/ann; becomes "~"
  std::string user_name;       // becomes USER, as a whole word
  std::string host_name;       // becomes HOST, as a whole word; its first label too
};

// Besides the given names: "/home/NAME" and "/Users/NAME" of anybody become "~", and the user part
// of "scheme://user:password@host" becomes "REDACTED". Names that would hit ordinary words ("root",
// "user", "localhost", "jetson", shorter than three letters) stay.
std::string redact(std::string_view text, const Redactions& redactions);

}  // namespace ssmend
