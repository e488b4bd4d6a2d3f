#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "report/report.h"

namespace ssmend {
namespace {

constexpr int kLabelWidth = 10;

const char* colour_of(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "\x1b[1;31m";
    case Severity::kWarning:
      return "\x1b[1;33m";
    case Severity::kNote:
      return "\x1b[1;36m";
  }
  return "";
}

std::string shown(std::string_view text, const TextStyle& style) {
  std::string safe = printable(text);
  if (style.utf8) return safe;
  std::string ascii;
  for (const char c : safe) {
    if (static_cast<unsigned char>(c) < 0x80) {
      ascii += c;
    } else {
      ascii += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return ascii;
}

std::string heading(const Finding& finding, const TextStyle& style) {
  const std::string tag = fmt::format("{}[{}]", severity_name(finding.severity), finding.code);
  const std::string title = shown(finding.title, style);
  const std::string body = fold(title, style.columns, static_cast<int>(tag.size()) + 2, 4);
  if (!style.colour) return tag + ": " + body + "\n";
  return fmt::format("{}{}\x1b[0m: \x1b[1m{}\x1b[0m\n", colour_of(finding.severity), tag, body);
}

std::string evidence_line(std::string_view label, std::string_view text, const TextStyle& style) {
  std::string left = fmt::format("   = {:<{}}", shown(label, style) + ":", kLabelWidth);
  if (left.back() != ' ') left += ' ';  // a label that fills its column
  const int column = static_cast<int>(left.size());
  return left + fold(shown(text, style), style.columns, column, column) + "\n";
}

std::string environment_line(const Inspection& inspection, const TextStyle& style) {
  const Environment& environment = inspection.environment;
  std::string line = "Environment " + environment.name_for_people;
  std::vector<std::string> facts;
  if (!environment.python.version.empty()) facts.push_back("Python " + environment.python.version);
  if (environment.host.machine.known()) facts.push_back(environment.host.machine.value);
  if (environment.host.soc.known()) facts.push_back(environment.host.soc.value);
  if (environment.host.l4t.known()) facts.push_back("L4T " + environment.host.l4t.value);
  if (!facts.empty()) line += " (" + join(facts, ", ") + ")";
  return fold(shown(line, style), style.columns, 0, 4) + "\n\n";
}

// At most three, each once, in the order of the findings; "..." where there are more.
std::vector<std::string> first_codes(const std::vector<Inspection>& inspections,
                                     Severity severity) {
  std::vector<std::string> codes;
  for (const Inspection& inspection : inspections) {
    for (const Finding& finding : inspection.findings) {
      if (finding.severity != severity) continue;
      if (std::find(codes.begin(), codes.end(), finding.code) != codes.end()) continue;
      if (codes.size() == 3) {
        codes.emplace_back("...");
        return codes;
      }
      codes.push_back(finding.code);
    }
  }
  return codes;
}

}  // namespace

std::string fold(std::string_view text, int columns, int first_column, int indent) {
  std::string folded;
  int column = first_column;
  bool line_has_word = false;
  for (const std::string& word : split(text, ' ')) {
    const int width = static_cast<int>(word.size());
    if (line_has_word && column + 1 + width > columns) {
      folded += "\n" + std::string(static_cast<size_t>(indent), ' ');
      column = indent;
      line_has_word = false;
    }
    if (line_has_word) {
      folded += ' ';
      ++column;
    }
    folded += word;
    column += width;
    line_has_word = true;
  }
  return folded;
}

std::string render_finding(const Finding& finding, const TextStyle& style) {
  std::string text = heading(finding, style);
  if (style.quiet) return text;
  if (!finding.location.path.empty()) {
    text += "  --> " + shown(finding.location.path, style);
    if (finding.location.line > 0) text += fmt::format(":{}", finding.location.line);
    text += "\n";
  }
  for (const Evidence& evidence : finding.evidence) {
    text += evidence_line(evidence.label, evidence.text, style);
  }
  for (const std::string& ruled_out : finding.ruled_out) {
    text += evidence_line("not", ruled_out, style);
  }
  if (!finding.meaning.empty()) text += evidence_line("so", finding.meaning, style);
  for (const Remedy& remedy : finding.remedies) {
    std::string words = remedy.text;
    if (!remedy.changes.empty()) words += " (changes " + remedy.changes + ")";
    text += "help: " + fold(shown(words, style), style.columns, 6, 6) + "\n";
  }
  text += fmt::format("more: `ssmend explain {}`\n", finding.code);
  return text;
}

size_t count_findings(const std::vector<Inspection>& inspections, Severity severity) {
  size_t count = 0;
  for (const Inspection& inspection : inspections) {
    for (const Finding& finding : inspection.findings) count += finding.severity == severity;
  }
  return count;
}

std::vector<const Distribution*> main_distributions(const Inspection& inspection) {
  const Environment& environment = inspection.environment;
  std::set<std::string> subjects;
  for (const Finding& finding : inspection.findings) subjects.insert(to_lower(finding.subject));
  std::set<int> owners;
  for (const NativeFile& file : environment.native_files) {
    const bool plain = !file.module_name.empty() && file.module_name.find('.') == std::string::npos;
    if (plain) owners.insert(file.owner);
  }
  std::vector<const Distribution*> chosen;
  for (size_t i = 0; i < environment.distributions.size(); ++i) {
    const Distribution& distribution = environment.distributions[i];
    if (distribution.normalized_name == "torch" || owners.count(static_cast<int>(i)) != 0 ||
        subjects.count(to_lower(distribution.name)) != 0) {
      chosen.push_back(&distribution);
    }
  }
  return chosen;
}

std::string summary_line(const std::vector<Inspection>& inspections) {
  size_t native = 0;
  size_t files = 0;
  double seconds = 0;
  for (const Inspection& inspection : inspections) {
    for (const NativeFile& file : inspection.environment.native_files) {
      native += !file.module_name.empty();
    }
    files += inspection.elf_files_checked;
    seconds += inspection.seconds;
  }
  std::vector<std::string> counts;
  const auto add = [&](Severity severity, const char* word) {
    const size_t count = count_findings(inspections, severity);
    if (count == 0) return;
    const std::vector<std::string> codes = first_codes(inspections, severity);
    const bool named = severity != Severity::kNote;
    counts.push_back(count_of(count, word) + (named ? " (" + join(codes, ", ") + ")" : ""));
  };
  add(Severity::kError, "error");
  add(Severity::kWarning, "warning");
  add(Severity::kNote, "note");
  return fmt::format("Checked {} ({}) in {:.2f} s: {}\n", count_of(native, "extension"),
                     count_of(files, "ELF file"), seconds,
                     counts.empty() ? "nothing found" : join(counts, ", "));
}

std::string render_text(const std::vector<Inspection>& inspections, const TextStyle& style) {
  std::string text;
  for (const Inspection& inspection : inspections) {
    if (!style.quiet) text += environment_line(inspection, style);
    std::map<std::string, size_t> shown_of_code;
    std::map<std::string, size_t> hidden_of_code;
    for (const Finding& finding : inspection.findings) {
      if (++shown_of_code[finding.code] > style.repeat_limit) {
        ++hidden_of_code[finding.code];
        continue;
      }
      text += render_finding(finding, style);
      if (!style.quiet) text += "\n";
    }
    for (const auto& [code, count] : hidden_of_code) {
      text += fmt::format("{} more of {} (all of them: --json)\n\n", count, code);
    }
    if (style.quiet) continue;
    for (const std::string& problem : inspection.environment.problems) {
      text += fold("not read: " + shown(problem, style), style.columns, 0, 4) + "\n";
    }
    for (const std::string& missed : inspection.not_checked) {
      text += fold("not checked: " + shown(missed, style), style.columns, 0, 4) + "\n";
    }
  }
  return text + fold(summary_line(inspections), style.columns, 0, 4);
}

}  // namespace ssmend
