#include "diagnose/diagnose.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/text.h"
#include "diagnose/codes.h"
#include "diagnose/knowledge.h"
#include "environment_tree.h"

namespace ssmend {
namespace {

const char kSite[] = "opt/venv/lib/python3.10/site-packages/";

// Every code that the design names; `ssmend explain` answers for each.
const std::set<std::string> kCodes = {"missing-library",      "load-order",
                                      "wrong-machine",        "undefined-symbol",
                                      "torch-mismatch",       "torch-replaced",
                                      "cuda-runtime-missing", "glibc-too-old",
                                      "libstdcxx-too-old",    "python-abi",
                                      "no-gpu-code",          "driver-too-old",
                                      "module-missing",       "python-module-missing",
                                      "import-guard",         "call-contract",
                                      "distributed-missing",  "removed-name",
                                      "earlier-repair",       "dtype-rule",
                                      "wrong-result",         "static-tls",
                                      "exec-stack",           "truncated-file",
                                      "bad-file-in-path",     "stale-ld-cache",
                                      "interpreter-missing",  "kernels-alone",
                                      "several-copies"};

TEST(Codes, the_table_has_every_code_once_and_complete) {
  std::set<std::string> found;
  for (const CodeInfo& info : all_codes()) {
    EXPECT_TRUE(found.insert(info.code).second) << info.code;
    EXPECT_FALSE(info.title.empty()) << info.code;
    EXPECT_FALSE(info.meaning.empty()) << info.code;
    EXPECT_FALSE(info.evidence.empty()) << info.code;
    EXPECT_FALSE(info.remedies.empty()) << info.code;
    EXPECT_NE(info.title.back(), '.') << info.code;
  }
  EXPECT_EQ(found, kCodes);
}

// A code in the rules that the table lacks would be a finding that nobody can explain.
TEST(Codes, the_rules_use_no_other_code) {
  const std::string folder = std::string(SSMEND_SOURCE_DIR) + "/tool/diagnose";
  const std::string call = "make_finding(\"";
  std::set<std::string> used;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    const std::string content = text.str();
    for (size_t at = content.find(call); at != std::string::npos; at = content.find(call, at + 1)) {
      const size_t start = at + call.size();
      used.insert(content.substr(start, content.find('"', start) - start));
    }
  }
  EXPECT_GT(used.size(), 15U);
  for (const std::string& code : used) EXPECT_NE(find_code(code), nullptr) << code;
}

TEST(Knowledge, sonames_have_their_source) {
  EXPECT_EQ(library_source("libc10.so").kind, LibraryKind::kTorch);
  EXPECT_EQ(library_source("libcudart.so.12").source, "pip: nvidia-cuda-runtime-cu12");
  EXPECT_EQ(library_source("libcuda.so.1").kind, LibraryKind::kDriver);
  EXPECT_EQ(library_source("libpython3.8.so.1.0").kind, LibraryKind::kPython);
  EXPECT_EQ(library_source("libnobody.so").kind, LibraryKind::kUnknown);
  EXPECT_EQ(soname_major("libcudart.so.11.0"), "11");
  EXPECT_EQ(soname_major("libc10.so"), "");
}

Inspection inspect(const TextTree& tree) {
  const std::unique_ptr<Disk> disk = tree.as_root();
  EnvironmentRequest request;
  request.python = "/opt/venv";
  Result<std::vector<Environment>> found = discover_environments(*disk, request);
  EXPECT_TRUE(found.ok());
  return diagnose(*disk, std::move(found->front()), DiagnoseOptions());
}

std::vector<std::string> lines_of(const Inspection& inspection) {
  std::vector<std::string> lines;
  for (const Finding& finding : inspection.findings) {
    lines.push_back(std::string(severity_name(finding.severity)) + " " + finding.code + " " +
                    finding.location.path + ":" + std::to_string(finding.location.line));
  }
  return lines;
}

void write_packages(const TextTree& tree) {
  write_environment(tree, "opt/venv");
  const std::string site = kSite;
  tree.write(site + "torch/__init__.py", "");
  tree.write(site + "causal_conv1d/__init__.py", "causal_conv1d_fn = None\n");
  tree.write(site + "mamba_ssm/__init__.py", "from mamba_ssm.ops import scan\n");
  tree.write(site + "mamba_ssm/ops/__init__.py", "");
  tree.write(site + "mamba_ssm/ops/scan.py", "import torch\n");
}

TEST(Diagnose, packages_without_a_fault_have_no_finding) {
  TextTree tree;
  write_packages(tree);
  EXPECT_TRUE(lines_of(inspect(tree)).empty());
}

TEST(Diagnose, an_unguarded_import_of_an_absent_package_is_followed_from_init) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  tree.write(site + "mamba_ssm/ops/scan.py",
             "import torch\nimport os\nfrom .helper import x\ntry:\n    import flash\nexcept "
             "ImportError:\n    flash = None\ndef late():\n    import later\n");
  tree.write(site + "mamba_ssm/ops/helper.py", "import einops, math\nx = 1\n");
  tree.write(site + "mamba_ssm/ops/never.py", "import nothing\n");
  const Inspection inspection = inspect(tree);
  EXPECT_EQ(lines_of(inspection),
            std::vector<std::string>{"error python-module-missing mamba_ssm/ops/helper.py:1"});
  EXPECT_EQ(inspection.findings[0].title, "`mamba_ssm` imports einops, which is not installed");
  EXPECT_EQ(inspection.findings[0].evidence[1].text,
            "mamba_ssm -> mamba_ssm.ops.scan -> mamba_ssm.ops.helper");
}

TEST(Diagnose, native_modules_guarded_are_a_note_and_unguarded_an_error) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  tree.write(site + "mamba_ssm/ops/scan.py",
             "import torch\ntry:\n    from causal_conv1d import causal_conv1d_fn\n    import "
             "causal_conv1d_cuda\nexcept ImportError:\n    causal_conv1d_fn = causal_conv1d_cuda = "
             "None\nimport selective_scan_cuda\n");
  EXPECT_EQ(lines_of(inspect(tree)),
            (std::vector<std::string>{"error module-missing mamba_ssm/ops/scan.py:7",
                                      "warning import-guard mamba_ssm/ops/scan.py:2",
                                      "note module-missing mamba_ssm/ops/scan.py:4"}));
}

TEST(Diagnose, an_optional_package_over_a_native_module_is_noted_where_both_are_absent) {
  TextTree tree;
  write_environment(tree, "opt/venv");
  const std::string site = kSite;
  tree.write(site + "mamba_ssm/__init__.py", "from mamba_ssm.ops import scan\n");
  tree.write(site + "mamba_ssm/ops/__init__.py", "");
  tree.write(site + "mamba_ssm/ops/scan.py",
             "import os\ntry:\n    from causal_conv1d.cpp_functions import f\nexcept "
             "ImportError:\n    f = None\n");
  const Inspection inspection = inspect(tree);
  EXPECT_EQ(lines_of(inspection),
            (std::vector<std::string>{"note module-missing mamba_ssm/ops/scan.py:3"}));
  EXPECT_EQ(inspection.findings[0].title,
            "`mamba_ssm` imports causal_conv1d, which is not there; nor is causal_conv1d_cuda");
  EXPECT_EQ(inspection.findings[0].detail("module"), "causal_conv1d_cuda");
  tree.write(site + "causal_conv1d/__init__.py", "");
  tree.write(site + "causal_conv1d/cpp_functions.py", "f = 1\n");
  EXPECT_TRUE(lines_of(inspect(tree)).empty());
}

TEST(Diagnose, a_package_in_two_import_directories_is_noted_with_both_versions) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  const auto metadata = [&](const std::string& folder, const std::string& version) {
    tree.write(folder + "mamba_ssm-" + version + ".dist-info/METADATA",
               "Metadata-Version: 2.1\nName: mamba-ssm\nVersion: " + version + "\n");
  };
  metadata(site, "2.2.4");
  EXPECT_TRUE(lines_of(inspect(tree)).empty());
  tree.write(site + "more.pth", "/opt/other\n/opt/third\n/opt/again\n");
  tree.write("opt/other/mamba_ssm/__init__.py", "");
  metadata("opt/other/", "1.2.0");
  tree.write("opt/third/mamba_ssm.py", "");
  tree.link("/opt/other", "opt/again");
  const Inspection inspection = inspect(tree);
  EXPECT_EQ(lines_of(inspection),
            std::vector<std::string>{"note several-copies mamba_ssm/__init__.py:0"});
  const Finding& finding = inspection.findings[0];
  EXPECT_EQ(finding.title, "`mamba_ssm` lies in 3 import directories; Python takes the first");
  std::vector<std::string> evidence;
  for (const auto& each : finding.evidence) evidence.push_back(each.label + ": " + each.text);
  EXPECT_EQ(evidence, (std::vector<std::string>{
                          "imported: /" + site + "mamba_ssm/__init__.py (2.2.4)",
                          "not used: /opt/other/mamba_ssm/__init__.py (1.2.0)",
                          "not used: /opt/third/mamba_ssm.py (no metadata beside it)"}));
}

TEST(Diagnose, call_sites_are_collected_through_aliases) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  tree.write(
      site + "mamba_ssm/ops/scan.py",
      "try:\n    import causal_conv1d_cuda as native\n    from selective_scan_cuda import fwd "
      "as run\n    from causal_conv1d import causal_conv1d_fn\nexcept ImportError:\n    pass\n"
      "a = native.causal_conv1d_fwd(x, w, b,\n    None)\nb = run(*args)\n"
      "c = (causal_conv1d_fn(x) if causal_conv1d_fn is not None\n     else "
      "native.causal_conv1d_fwd(x, w))\n");
  const Inspection inspection = inspect(tree);
  ASSERT_EQ(inspection.call_sites.size(), 3U);
  const CallSite& first = inspection.call_sites[0];
  EXPECT_EQ(first.module + "." + first.function, "causal_conv1d_cuda.causal_conv1d_fwd");
  EXPECT_EQ(first.arguments, 4);
  EXPECT_EQ(first.line, 7);
  EXPECT_EQ(first.text, "(x, w, b, None)");
  EXPECT_FALSE(first.fallback);
  EXPECT_EQ(inspection.call_sites[1].module + "." + inspection.call_sites[1].function,
            "selective_scan_cuda.fwd");
  EXPECT_TRUE(inspection.call_sites[1].star);
  EXPECT_EQ(inspection.call_sites[2].line, 11);
  EXPECT_TRUE(inspection.call_sites[2].fallback);
}

TEST(Diagnose, a_name_that_triton_moved_and_a_file_that_asks_for_the_version) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  tree.write(site + "triton/language/math.py", "def log(x): ...\n");
  tree.write(site + "mamba_ssm/ops/state.py",
             "import triton.language as tl\n\n\ndef kernel(x):\n    return tl.math.log1p(x)\n");
  tree.write(site + "mamba_ssm/ops/softplus.py",
             "import triton.language as tl\nif not TRITON3:\n    f = lambda x: tl.math.log1p(x)\n");
  EXPECT_EQ(lines_of(inspect(tree)),
            (std::vector<std::string>{"warning removed-name mamba_ssm/ops/state.py:5"}));
  tree.write(site + "triton/language/math.py", "def log1p(x): ...\n");
  EXPECT_EQ(lines_of(inspect(tree)), std::vector<std::string>());
}

TEST(Diagnose, stubs_hooks_and_backups_of_an_earlier_repair) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  tree.write(site + "selective_scan_cuda.py", "def fwd(*a): ...\n");
  tree.write(site + "sitecustomize.py", "import fix_causal_conv1d\n");
  tree.write(site + "mamba_ssm/ops/scan.py.bak", "");
  EXPECT_EQ(lines_of(inspect(tree)),
            (std::vector<std::string>{"warning earlier-repair sitecustomize.py:0",
                                      "warning earlier-repair selective_scan_cuda.py:0",
                                      "note earlier-repair mamba_ssm/ops/scan.py.bak:0"}));
}

TEST(Diagnose, files_that_are_no_library_are_findings_and_no_crash) {
  TextTree tree;
  write_packages(tree);
  const std::string site = kSite;
  const std::string suffix = ".cpython-310-aarch64-linux-gnu.so";
  tree.write(site + "causal_conv1d_cuda" + suffix, "");
  tree.write(site + "selective_scan_cuda" + suffix, "a text of more than sixteen bytes\n");
  tree.link("selective_scan_cuda_core.so", site + "selective_scan_cuda_core.so");
  const std::vector<std::string> lines = lines_of(inspect(tree));
  EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()),
            (std::set<std::string>{"error truncated-file causal_conv1d_cuda" + suffix + ":0",
                                   "error bad-file-in-path selective_scan_cuda" + suffix + ":0",
                                   "error bad-file-in-path selective_scan_cuda_core.so:0"}));
}

}  // namespace
}  // namespace ssmend
