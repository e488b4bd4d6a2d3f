// The patch stage alone, for the matrix test: patches the Python files of an import directory for a
// contract and writes them in place. Prints "<state> <file> <reason>" a line.
//   patch_driver RULES CONTRACT IMPORT_DIRECTORY [name=version ... | feature:name=0 ... |
//                also=FURTHER_IMPORT_DIRECTORY ... | time=RUNS]
// With time=RUNS nothing is written; prints how long loading the rules, finding and reading the
// files, parsing, matching and planning take, all from the beginning in every run.
#include <chrono>
#include <fstream>
#include <iostream>

#include "base/text.h"
#include "patch/patch.h"
#include "patch/rules.h"

namespace {

class DirectoryFiles : public ssmend::PythonFiles {
 public:
  DirectoryFiles(const ssmend::Disk& disk, std::string root)
      : disk_(disk), roots_({std::move(root)}) {}
  void add(const std::string& root) { roots_.push_back(root); }
  std::optional<std::string> read(const std::string& relative) const override {
    for (const std::string& root : roots_) {
      ssmend::Result<std::string> content = disk_.read(ssmend::path_join(root, relative));
      if (content) return std::move(*content);
    }
    return std::nullopt;
  }

 private:
  const ssmend::Disk& disk_;
  std::vector<std::string> roots_;
};

void measure(const ssmend::Disk& disk, const std::string& rules_directory,
             const ssmend::PatchFacts& facts, const std::string& site, int runs) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  for (int run = 0; run < runs; ++run) {
    const Clock::time_point begin = Clock::now();
    ssmend::Result<std::vector<ssmend::RuleSet>> rules = ssmend::load_rules(disk, rules_directory);
    const Clock::time_point loaded = Clock::now();
    const std::vector<ssmend::PatchTarget> targets =
        ssmend::environment_targets(disk, *rules, {site});
    const Clock::time_point found = Clock::now();
    const std::vector<ssmend::FilePatch> patches =
        ssmend::plan_patches(disk, *rules, facts, targets);
    const Clock::time_point planned = Clock::now();
    size_t changes = 0;
    for (const ssmend::FilePatch& patch : patches) changes += patch.after.empty() ? 0 : 1;
    std::cout << "rules " << milliseconds(loaded - begin) << " ms, " << targets.size()
              << " files found " << milliseconds(found - loaded) << " ms, " << changes
              << " changes planned " << milliseconds(planned - found) << " ms, together "
              << milliseconds(planned - begin) << " ms\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  std::unique_ptr<ssmend::Disk> disk = ssmend::open_system_disk();
  ssmend::Result<std::vector<ssmend::RuleSet>> rules = ssmend::load_rules(*disk, argv[1]);
  if (!rules) {
    std::cerr << ssmend::format_error(rules.error()) << "\n";
    return 2;
  }
  std::optional<ssmend::PatchFacts> facts = ssmend::facts_of_contract(*rules, argv[2]);
  if (!facts) {
    std::cerr << argv[2] << ": no such contract\n";
    return 2;
  }
  DirectoryFiles files(*disk, argv[3]);
  int runs = 0;
  for (int i = 4; i < argc; ++i) {
    std::vector<std::string> parts = ssmend::split(argv[i], '=');
    if (parts[0].starts_with("feature:")) {
      facts->features[parts[0].substr(8)] = parts[1] == "1";
    } else if (parts[0] == "time") {
      runs = std::stoi(parts[1]);
    } else if (parts[0] == "also") {
      files.add(parts[1]);
    } else if (parts[0] == "python") {
      facts->python_version = parts[1];
    } else {
      facts->distributions[parts[0]] = parts[1];
    }
  }
  facts->files = &files;
  if (runs > 0) {
    measure(*disk, argv[1], *facts, argv[3], runs);
    return 0;
  }
  std::vector<ssmend::PatchTarget> targets = ssmend::environment_targets(*disk, *rules, {argv[3]});
  for (const ssmend::FilePatch& patch : ssmend::plan_patches(*disk, *rules, *facts, targets)) {
    std::cout << ssmend::patch_state_name(patch.state) << " " << patch.relative << " "
              << patch.reason << "\n";
    if (!patch.after.empty()) std::ofstream(patch.path, std::ios::binary) << patch.after;
  }
  return 0;
}
