// Annotations: the workflow commands that GitHub Actions reads from a step's output. Severities
// have the same names there, except that a note is a notice.
#include <fmt/format.h>

#include "base/text.h"
#include "report/escape.h"
#include "report/fingerprint.h"
#include "report/report.h"

namespace ssmend {
namespace {

const char* command_of(Severity severity) {
  return severity == Severity::kNote ? "notice" : severity_name(severity);
}

// GitHub shows an annotation beside the source only where the path is one of the repository.
std::string file_of(const Place& place, const std::string& repository) {
  if (!repository.empty() && place.absolute != repository &&
      is_inside(place.absolute, repository)) {
    return place.absolute.substr(repository.size() + 1);
  }
  return place.relative;
}

}  // namespace

std::string render_github(const std::vector<Inspection>& inspections,
                          const ReportContext& context) {
  std::string text;
  for (const Inspection& inspection : inspections) {
    for (const Finding& finding : inspection.findings) {
      const Place place = place_of(inspection, finding);
      std::vector<std::string> properties;
      const std::string file = file_of(place, context.repository);
      if (!file.empty()) properties.push_back("file=" + escape_github_property(file));
      if (place.line > 0) properties.push_back(fmt::format("line={}", place.line));
      properties.push_back("title=" + escape_github_property("ssmend: " + finding.code));

      std::string message = finding.title;
      for (const Evidence& evidence : finding.evidence) {
        message += "\n" + evidence.label + ": " + evidence.text;
      }
      if (!finding.meaning.empty()) message += "\nso: " + finding.meaning;
      for (const Remedy& remedy : finding.remedies) message += "\nhelp: " + remedy.text;
      text += fmt::format("::{} {}::{}\n", command_of(finding.severity), join(properties, ","),
                          escape_github_message(message));
    }
  }
  return text;
}

}  // namespace ssmend
