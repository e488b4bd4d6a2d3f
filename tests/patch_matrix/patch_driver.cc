// The patch stage alone, for the matrix test: patches the Python files of an import directory for a
// contract and writes them in place. Prints "<state> <file> <reason>" a line.
//   patch_driver RULES CONTRACT IMPORT_DIRECTORY [name=version ... | feature:name=0 ... |
//                also=FURTHER_IMPORT_DIRECTORY ...]
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
  for (int i = 4; i < argc; ++i) {
    std::vector<std::string> parts = ssmend::split(argv[i], '=');
    if (parts[0].starts_with("feature:")) {
      facts->features[parts[0].substr(8)] = parts[1] == "1";
    } else if (parts[0] == "also") {
      files.add(parts[1]);
    } else if (parts[0] == "python") {
      facts->python_version = parts[1];
    } else {
      facts->distributions[parts[0]] = parts[1];
    }
  }
  facts->files = &files;
  std::vector<ssmend::PatchTarget> targets = ssmend::environment_targets(*disk, *rules, {argv[3]});
  for (const ssmend::FilePatch& patch : ssmend::plan_patches(*disk, *rules, *facts, targets)) {
    std::cout << ssmend::patch_state_name(patch.state) << " " << patch.relative << " "
              << patch.reason << "\n";
    if (!patch.after.empty()) std::ofstream(patch.path, std::ios::binary) << patch.after;
  }
  return 0;
}
