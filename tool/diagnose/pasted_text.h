// Recognises the error texts that people paste (tracebacks, build logs, dmesg) and says which
// findings each can mean and what tells them apart. The same text has several causes, so nothing
// here names one: only `ssmend inspect` reads the files. Data: diagnose/data/texts.json.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ssmend {

struct PossibleCause {
  std::string code;
  std::string told;  // what tells this cause from the others
};

struct TextMeaning {
  std::string id;
  std::vector<std::string> patterns;  // see match_pattern
  std::vector<PossibleCause> can_be;  // most frequent first; empty where no finding is behind it
  std::string cause;                  // may be empty
  std::vector<std::string> remedies;
};

const std::vector<TextMeaning>& all_text_meanings();

struct RecognisedText {
  const TextMeaning* meaning = nullptr;
  int line = 0;      // the first one, from 1
  int repeats = 1;   // lines with the same meaning and the same captures
  std::string text;  // that line, blanks at both ends removed
  std::vector<std::pair<std::string, std::string>> captures;  // name -> text
};

// In the order of their first lines.
std::vector<RecognisedText> recognise(std::string_view text);

// Whether the pattern occurs anywhere in the line. A pattern is literal text in which "{name}"
// stands for a run of at least one byte without blanks, quotes or brackets, and "{name:start}" for
// such a run that begins with `start`; the run is as long as the rest of the pattern allows.
// `captures` gets the runs, in order. Linear in the line for each placeholder.
bool match_pattern(std::string_view pattern, std::string_view line,
                   std::vector<std::pair<std::string, std::string>>* captures);

}  // namespace ssmend
