#include "base/version.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "base/text.h"

namespace ssmend {
namespace {

// Order of what follows the release number: 1.0.dev1 < 1.0a1 < 1.0b1 < 1.0rc1 < 1.0.
constexpr int kDevOnly = -1;
constexpr int kAlpha = 0;
constexpr int kBeta = 1;
constexpr int kCandidate = 2;
constexpr int kFinal = 3;

// A PEP 440 version taken apart. Numbers are kept as digit text without leading zeros, so that no
// length overflows; they compare by length, then as text.
struct Parsed {
  std::string epoch = "0";
  std::vector<std::string> release;
  int pre_rank = kFinal;
  std::string pre_number = "0";
  bool has_post = false;
  std::string post_number = "0";
  bool has_dev = false;
  std::string dev_number = "0";
  std::vector<std::string> local;
};

std::string strip_zeros(std::string_view digits) {
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  return std::string(digits);
}

int compare_numbers(std::string_view left, std::string_view right) {
  if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
  return left.compare(right);
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  [[nodiscard]] bool done() const { return at_ == text_.size(); }
  bool eat(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  std::string digits() {
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  bool eat_separator() { return eat(".") || eat("-") || eat("_"); }
  [[nodiscard]] size_t mark() const { return at_; }
  void back_to(size_t mark) { at_ = mark; }
  std::string rest() {
    std::string text(text_.substr(at_));
    at_ = text_.size();
    return text;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

std::string optional_number(Scanner& scanner) {
  const size_t mark = scanner.mark();
  scanner.eat_separator();
  std::string number = scanner.digits();
  if (number.empty()) {
    scanner.back_to(mark);
    return "0";
  }
  return strip_zeros(number);
}

void scan_pre(Scanner& scanner, Parsed& parsed) {
  static const struct {
    const char* spelling;
    int rank;
  } kSpellings[] = {{"alpha", kAlpha},  {"a", kAlpha},           {"beta", kBeta},
                    {"b", kBeta},       {"preview", kCandidate}, {"pre", kCandidate},
                    {"rc", kCandidate}, {"c", kCandidate}};
  const size_t mark = scanner.mark();
  scanner.eat_separator();
  for (const auto& spelling : kSpellings) {
    if (scanner.eat(spelling.spelling)) {
      parsed.pre_rank = spelling.rank;
      parsed.pre_number = optional_number(scanner);
      return;
    }
  }
  scanner.back_to(mark);
}

void scan_post(Scanner& scanner, Parsed& parsed) {
  const size_t mark = scanner.mark();
  if (scanner.eat("-")) {
    std::string number = scanner.digits();
    if (!number.empty()) {
      parsed.has_post = true;
      parsed.post_number = strip_zeros(number);
      return;
    }
    scanner.back_to(mark);
  }
  scanner.eat_separator();
  if (scanner.eat("post") || scanner.eat("rev") || scanner.eat("r")) {
    parsed.has_post = true;
    parsed.post_number = optional_number(scanner);
    return;
  }
  scanner.back_to(mark);
}

void scan_dev(Scanner& scanner, Parsed& parsed) {
  const size_t mark = scanner.mark();
  scanner.eat_separator();
  if (scanner.eat("dev")) {
    parsed.has_dev = true;
    parsed.dev_number = optional_number(scanner);
    return;
  }
  scanner.back_to(mark);
}

std::optional<Parsed> parse(std::string_view version) {
  const std::string lower = to_lower(trim(version));
  Scanner scanner(lower);
  Parsed parsed;
  scanner.eat("v");
  std::string number = scanner.digits();
  if (number.empty()) return std::nullopt;
  if (scanner.eat("!")) {
    parsed.epoch = strip_zeros(number);
    number = scanner.digits();
    if (number.empty()) return std::nullopt;
  }
  parsed.release.push_back(strip_zeros(number));
  for (;;) {
    const size_t mark = scanner.mark();
    if (!scanner.eat(".")) break;
    number = scanner.digits();
    if (number.empty()) {
      scanner.back_to(mark);
      break;
    }
    parsed.release.push_back(strip_zeros(number));
  }
  scan_pre(scanner, parsed);
  scan_post(scanner, parsed);
  scan_dev(scanner, parsed);
  if (parsed.pre_rank == kFinal && !parsed.has_post && parsed.has_dev) parsed.pre_rank = kDevOnly;
  if (scanner.eat("+")) {
    std::string local = scanner.rest();
    for (char& c : local) {
      if (c == '-' || c == '_') c = '.';
    }
    parsed.local = split(local, '.');
  }
  if (!scanner.done()) return std::nullopt;
  return parsed;
}

int compare_release(const std::vector<std::string>& left, const std::vector<std::string>& right) {
  for (size_t i = 0; i < left.size() || i < right.size(); ++i) {
    const std::string_view l = i < left.size() ? std::string_view(left[i]) : "0";
    const std::string_view r = i < right.size() ? std::string_view(right[i]) : "0";
    if (const int order = compare_numbers(l, r); order != 0) return order;
  }
  return 0;
}

int compare_local(const std::vector<std::string>& left, const std::vector<std::string>& right) {
  for (size_t i = 0; i < left.size() && i < right.size(); ++i) {
    const bool l_digits = is_all_digits(left[i]);
    const bool r_digits = is_all_digits(right[i]);
    if (l_digits != r_digits) return l_digits ? 1 : -1;  // numbers sort after words
    const int order = l_digits ? compare_numbers(strip_zeros(left[i]), strip_zeros(right[i]))
                               : left[i].compare(right[i]);
    if (order != 0) return order;
  }
  if (left.size() == right.size()) return 0;
  return left.size() < right.size() ? -1 : 1;
}

int compare_public(const Parsed& left, const Parsed& right) {
  if (const int order = compare_numbers(left.epoch, right.epoch); order != 0) return order;
  if (const int order = compare_release(left.release, right.release); order != 0) return order;
  if (left.pre_rank != right.pre_rank) return left.pre_rank < right.pre_rank ? -1 : 1;
  if (const int order = compare_numbers(left.pre_number, right.pre_number); order != 0)
    return order;
  if (left.has_post != right.has_post) return left.has_post ? 1 : -1;
  if (const int order = compare_numbers(left.post_number, right.post_number); order != 0) {
    return order;
  }
  if (left.has_dev != right.has_dev) return left.has_dev ? -1 : 1;
  return compare_numbers(left.dev_number, right.dev_number);
}

int compare_parsed(const Parsed& left, const Parsed& right) {
  const int order = compare_public(left, right);
  return order != 0 ? order : compare_local(left.local, right.local);
}

struct Clause {
  std::string operation;
  std::string version;
  bool prefix = false;  // "==1.5.*"
};

std::optional<Clause> parse_clause(std::string_view text) {
  text = trim(text);
  Clause clause;
  for (const char* operation : {"===", "==", "!=", ">=", "<=", "~=", ">", "<"}) {
    if (text.substr(0, std::string_view(operation).size()) == operation) {
      clause.operation = operation;
      break;
    }
  }
  if (clause.operation.empty()) return std::nullopt;
  clause.version = trim(text.substr(clause.operation.size()));
  if ((clause.operation == "==" || clause.operation == "!=") && clause.version.size() > 2 &&
      clause.version.substr(clause.version.size() - 2) == ".*") {
    clause.prefix = true;
    clause.version.resize(clause.version.size() - 2);
  }
  if (clause.operation != "===" && !parse(clause.version)) return std::nullopt;
  if (clause.operation == "~=" && parse(clause.version)->release.size() < 2) return std::nullopt;
  return clause;
}

bool has_release_prefix(const Parsed& version, const std::vector<std::string>& prefix,
                        size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const std::string part = i < version.release.size() ? version.release[i] : "0";
    if (part != prefix[i]) return false;
  }
  return true;
}

bool satisfies_clause(const Parsed& version, std::string_view raw, const Clause& clause) {
  if (clause.operation == "===") return to_lower(raw) == to_lower(clause.version);
  const Parsed wanted = *parse(clause.version);
  if (clause.operation == "==" || clause.operation == "!=") {
    bool equal = false;
    if (clause.prefix) {
      equal = compare_numbers(version.epoch, wanted.epoch) == 0 &&
              has_release_prefix(version, wanted.release, wanted.release.size());
    } else {
      equal = compare_public(version, wanted) == 0 &&
              (wanted.local.empty() || compare_local(version.local, wanted.local) == 0);
    }
    return equal == (clause.operation == "==");
  }
  const int order = compare_public(version, wanted);
  if (clause.operation == ">=") return order >= 0;
  if (clause.operation == "<=") return order <= 0;
  if (clause.operation == ">") return order > 0;
  if (clause.operation == "<") return order < 0;
  return order >= 0 && has_release_prefix(version, wanted.release, wanted.release.size() - 1);
}

}  // namespace

int compare_pep440(std::string_view left, std::string_view right) {
  const std::optional<Parsed> l = parse(left);
  const std::optional<Parsed> r = parse(right);
  if (!l || !r) {
    if (l.has_value() != r.has_value()) return l ? 1 : -1;
    return left.compare(right);
  }
  return compare_parsed(*l, *r);
}

bool is_valid_specifier(std::string_view specifier) {
  if (trim(specifier).empty()) return true;
  for (const std::string& clause : split(specifier, ',')) {
    if (!trim(clause).empty() && !parse_clause(clause)) return false;
  }
  return true;
}

bool satisfies_pep440(std::string_view version, std::string_view specifier) {
  if (trim(specifier).empty()) return true;
  const std::optional<Parsed> parsed = parse(version);
  if (!parsed) return false;
  for (const std::string& text : split(specifier, ',')) {
    if (trim(text).empty()) continue;
    const std::optional<Clause> clause = parse_clause(text);
    if (!clause || !satisfies_clause(*parsed, trim(version), *clause)) return false;
  }
  return true;
}

int compare_dotted(std::string_view left, std::string_view right) {
  const auto numbers = [](std::string_view text) {
    std::vector<std::string> parts;
    for (const std::string& part : split(text, '.')) {
      parts.push_back(is_all_digits(part) ? strip_zeros(part) : "0");
    }
    return parts;
  };
  return compare_release(numbers(left), numbers(right));
}

std::string normalized_distribution_name(std::string_view name) {
  std::string normal;
  bool separator = false;
  for (const char c : to_lower(name)) {
    if (c == '-' || c == '_' || c == '.') {
      separator = true;
      continue;
    }
    if (separator && !normal.empty()) normal += '-';
    separator = false;
    normal += c;
  }
  return normal;
}

}  // namespace ssmend
