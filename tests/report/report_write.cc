// Writes every report of the sample inspections into a folder, for tests in other languages and
// for looking at: report_write FOLDER.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "report/compare.h"
#include "report/report_samples.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: report_write FOLDER\n";
    return 2;
  }
  using namespace ssmend;
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  const ReportContext context{
      "0.0.0-test", "/home/ann/venv/lib/python3.10/site-packages/mamba_ssm", {}};
  const std::vector<std::pair<std::string, std::vector<Inspection>>> samples = {
      {"jetson", {jetson_inspection()}},    {"healthy", {healthy_inspection()}},
      {"hostile", {hostile_inspection()}},  {"two", {jetson_inspection(), healthy_inspection()}},
      {"large", {large_inspection(10000)}}, {"none", {}}};
  for (const auto& [name, inspections] : samples) {
    const auto write = [&, &name = name](const std::string& suffix, const std::string& text) {
      std::ofstream(folder / (name + suffix), std::ios::binary) << text;
    };
    write(".json", render_json(inspections));
    write(".sarif", render_sarif(inspections, context));
    write(".xml", render_junit(inspections));
    write(".github", render_github(inspections, context));
    write(".md", render_markdown(inspections, context));
    write(".html",
          render_html(inspections, name == "jetson" ? sample_checks() : std::vector<CheckRow>{},
                      context));
    const Result<Comparison> same = compare_with(render_json(inspections), {healthy_inspection()});
    if (!same.ok()) return 1;
    write(".comparison", render_comparison_json(same.value()));
  }
  return 0;
}
