#include <unistd.h>
#include <climits>

#include "base/text.h"
#include "cli/command.h"
#include "fmt/format.h"
#include "loader/resolution_json.h"
#include "loader/resolve.h"

namespace ssmend {
namespace {

constexpr size_t kShownSymbols = 20;

struct ResolveOptions {
  TargetOptions target;
  std::string file;
  std::string program;
  bool alone = false;
  std::vector<std::string> loaded;
  std::string library_path;
  std::string working_directory;
  bool json = false;
};

std::string working_directory() {
  char buffer[PATH_MAX];
  return ::getcwd(buffer, sizeof buffer) != nullptr ? buffer : "/";
}

bool is_program(const ElfFacts& facts) {
  return facts.state == ElfState::kOk && (facts.type == 2 || !facts.interpreter.empty());
}

// The interpreter of the chosen environment, or of the active one; empty where there is none, which
// only means that the file is looked at alone.
std::string find_interpreter(const ResolveOptions& options) {
  Result<Target> target = open_target(options.target);
  if (!target.ok() || target->environments.empty()) return {};
  return target->environments.front().python.executable;
}

std::string render_missing(const MissingLibrary& missing) {
  std::string text = fmt::format("missing: {}, needed by {}\n  = {}\n", printable(missing.name),
                                 printable(missing.needed_by), missing.reason);
  size_t number = 0;
  size_t folded = 0;
  for (const TriedPath& tried : missing.tried) {
    if (tried.subdirectory && tried.refused.rfind("no such", 0) == 0) {
      ++folded;
      continue;
    }
    text += fmt::format("  {:>3}. {}  ({}): {}\n", ++number, printable(tried.path),
                        printable(tried.rule), tried.refused);
  }
  if (folded != 0) {
    text += fmt::format("       and {} in subdirectories for some processors\n",
                        count_of(folded, "path"));
  }
  return text;
}

std::string render_undefined(const Resolution& resolution) {
  const size_t count = resolution.undefined.size();
  if (count != 0 && !resolution.missing.empty()) {
    return fmt::format("undefined: {} while {} missing\n", count_of(count, "symbol"),
                       resolution.missing.size() == 1 ? "a library is" : "libraries are");
  }
  std::string text;
  for (size_t i = 0; i < count && i < kShownSymbols; ++i) {
    const UndefinedSymbol& undefined = resolution.undefined[i];
    const std::string& name = undefined.demangled.empty() ? undefined.symbol : undefined.demangled;
    text += fmt::format("undefined: {}, needed by {}\n", printable(name),
                        printable(undefined.needed_by));
  }
  if (count > kShownSymbols) text += fmt::format("{} more undefined\n", count - kShownSymbols);
  return text;
}

std::string render_resolution(const std::string& file, const Resolution& resolution) {
  std::string text =
      fmt::format("{}: {}\n", printable(file),
                  resolution.loads ? "loads" : "does not load: " + printable(resolution.reason));
  for (const LoadedLibrary& library : resolution.libraries) {
    text += fmt::format("  {} => {}  ({})\n", printable(library.name), printable(library.path),
                        printable(library.rule));
  }
  for (const MissingLibrary& missing : resolution.missing) text += render_missing(missing);
  for (const VersionProblem& problem : resolution.versions) {
    text +=
        fmt::format("version: {} is not defined by {}, needed by {}\n", printable(problem.version),
                    printable(problem.provider), printable(problem.needed_by));
  }
  text += render_undefined(resolution);
  for (const std::string& warning : resolution.warnings) {
    text += fmt::format("warning: {}\n", printable(warning));
  }
  return text;
}

int run_resolve(const ResolveOptions& options) {
  Result<std::unique_ptr<Disk>> disk = open_target_disk(options.target.root);
  if (!disk.ok()) return fail(disk.error());
  LoaderContext context;
  context.loaded = options.loaded;
  context.program = options.program;
  context.library_path = options.library_path;
  if (!(*disk)->is_mounted_root()) {
    context.working_directory = working_directory();
    context.page_size_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const char* set = ::getenv("LD_LIBRARY_PATH");
    if (options.library_path.empty() && set != nullptr) context.library_path = set;
  }
  if (!options.working_directory.empty()) context.working_directory = options.working_directory;
  ElfCache cache(**disk, {.symbols = true, .sections = false});
  const std::shared_ptr<const ElfFacts> facts =
      cache.get(path_join(context.working_directory, options.file));
  if (facts->state == ElfState::kUnreadable) return fail(Error(facts->problem));
  if (context.program.empty() && !options.alone && !is_program(*facts)) {
    context.program = find_interpreter(options);
  }
  const Resolution resolution = resolve(cache, context, options.file);
  if (options.json) {
    print(resolution_json(options.file, context, resolution)
              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
  } else {
    print(render_resolution(options.file, resolution));
  }
  return resolution.loads ? kExitHealthy : kExitBroken;
}

}  // namespace

void add_resolve_command(CLI::App& app, Selected& selected) {
  auto options = std::make_shared<ResolveOptions>();
  CLI::App* command = app.add_subcommand("resolve", "say what the loader would do for one file");
  command->add_option("file", options->file, "an extension, a library or a program")->required();
  add_target_options(*command, options->target);
  command->add_option("--program", options->program,
                      "the program that opens it; default: the environment's interpreter");
  command->add_flag("--alone", options->alone, "no program: as if the file were loaded by itself");
  command->add_option("--loaded", options->loaded,
                      "opened before it, in this order; global:FILE as with RTLD_GLOBAL");
  command->add_option("--library-path", options->library_path,
                      "LD_LIBRARY_PATH; default: this process's, none for --root");
  command->add_option("--working-directory", options->working_directory,
                      "what relative paths stand for; default: this one, / for --root");
  command->add_flag("--json", options->json, "everything that was found, as JSON");
  command->callback(
      [options, &selected] { selected.run = [options] { return run_resolve(*options); }; });
}

}  // namespace ssmend
