#include <unistd.h>

#include <array>

#include "base/text.h"
#include "cli/command.h"
#include "report/explain.h"

namespace ssmend {
namespace {

// A build log can be long; what is wrong stands in its last part.
constexpr size_t kInputLimit = size_t{64} << 20;

struct ExplainOptions {
  std::string code;
  bool all = false;
  bool json = false;
};

Result<std::string> read_standard_input() {
  std::string text;
  std::array<char, 1 << 16> block;
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, block.data(), block.size());
    if (count < 0) return Error("standard input: read failed", errno);
    if (count == 0) return text;
    text.append(block.data(), static_cast<size_t>(count));
    if (text.size() > kInputLimit) text.erase(0, text.size() - kInputLimit);
  }
}

int explain_code(const ExplainOptions& options, const TextStyle& style) {
  const CodeInfo* info = find_code(options.code);
  if (info == nullptr) {
    std::vector<std::string> codes;
    for (const CodeInfo& known : all_codes()) codes.push_back(known.code);
    return fail(Error("explain: no code '" + printable(options.code) + "'; there are " +
                      join(codes, ", ")));
  }
  print(options.json ? render_codes_json({*info}) : render_code(*info, style));
  return kExitHealthy;
}

int run_explain(const ExplainOptions& options) {
  const Terminal terminal = probe_terminal();
  TextStyle style;
  style.utf8 = terminal.utf8;
  style.columns = terminal.columns;
  if (options.all) {
    print(options.json ? render_codes_json(all_codes()) : render_code_list(all_codes(), style));
    return kExitHealthy;
  }
  if (!options.code.empty()) return explain_code(options, style);

  if (::isatty(STDIN_FILENO) == 1) {
    print_progress("paste the error text, then Control-D\n");
  }
  const Result<std::string> text = read_standard_input();
  if (!text.ok()) return fail(text.error());
  const std::vector<RecognisedText> found = recognise(*text);
  print(options.json ? render_recognised_json(found) : render_recognised(found, style));
  return found.empty() ? kExitBroken : kExitHealthy;
}

}  // namespace

void add_explain_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = app.add_subcommand(
      "explain", "say what a code means, or what an error text on standard input can mean");
  CLI::Option* code =
      command->add_option("code", options->code, "such as call-contract; none: read a text");
  command->add_flag("--all", options->all, "list every code")->excludes(code);
  command->add_flag("--json", options->json, "the same as JSON");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_explain(*options); }; });
}

}  // namespace ssmend
