// From findings to a plan, on simulated trees and with a made-up kernel library.
#include <dlfcn.h>
#include <elf.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/sha256.h"
#include "base/text.h"
#include "repair/overlay_disk.h"
#include "repair/ownership.h"
#include "repair/planner.h"
#include "repair/record.h"
#include "repair/soname_shim.h"
#include "repair_fixture.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;

FileChange write_change(const std::string& path, const std::string& content) {
  FileChange change;
  change.path = path;
  change.content = content;
  return change;
}

TEST(Record, only_the_rows_of_changed_files_change) {
  FileChange patched = write_change("/site/pkg/a,b.py", "new\n");
  FileChange aside = write_change("/site/native.so", "");
  aside.kind = FileChange::Kind::kMoveAside;
  const std::string before =
      "pkg/__init__.py,sha256=x,1\r\n\"pkg/a,b.py\",sha256=y,2\r\nnative.so,sha256=z,3\r\n"
      "../../bin/tool,sha256=v,4\r\npkg-1.dist-info/RECORD,,";
  EXPECT_EQ(updated_record(before, "/site", {&patched, &aside}),
            "pkg/__init__.py,sha256=x,1\r\n\"pkg/a,b.py\",sha256=" + sha256_record("new\n") +
                ",4\r\n../../bin/tool,sha256=v,4\r\npkg-1.dist-info/RECORD,,");
}

TEST(Overlay, answers_for_the_tree_as_it_would_be) {
  const std::string directory = temporary_directory();
  write_file(directory + "/site/old.so", "old");
  write_file(directory + "/site/kept.py", "kept");
  fs::create_directory_symlink(directory + "/site", directory + "/link");
  const std::unique_ptr<Disk> disk = open_system_disk();
  OverlayDisk overlay(*disk);
  FileChange gone = write_change(directory + "/link/old.so", "");
  gone.kind = FileChange::Kind::kMoveAside;
  overlay.add(gone);
  overlay.add(write_change(directory + "/site/new/deep/a.so", std::string("a\0b", 3)));
  overlay.add(write_change(directory + "/link/kept.py", "changed"));

  EXPECT_FALSE(overlay.exists(directory + "/site/old.so"));
  EXPECT_EQ(overlay.open(directory + "/site/old.so").error().system_errno, ENOENT);
  EXPECT_EQ(overlay.read(directory + "/link/new/deep/a.so").value(), std::string("a\0b", 3));
  EXPECT_EQ(overlay.read(directory + "/site/kept.py").value(), "changed");
  EXPECT_TRUE(overlay.is_directory(directory + "/site/new/deep"));
  std::vector<std::string> names;
  const std::vector<DirectoryEntry> entries = overlay.list(directory + "/link").value();
  for (const DirectoryEntry& entry : entries) {
    names.push_back(entry.name);
  }
  EXPECT_EQ(join(names, " "), "kept.py new");
  EXPECT_EQ(overlay.list(directory + "/site/new").value().at(0).name, "deep");
  EXPECT_EQ(overlay.real_path(directory + "/link/new/deep/a.so").value(),
            fs::canonical(directory).string() + "/site/new/deep/a.so");
  EXPECT_FALSE(overlay.remove_file(directory + "/site/kept.py").ok());
  EXPECT_EQ(read_file(directory + "/site/kept.py"), "kept");
  fs::remove_all(directory);
}

TEST(SonameShim, loads_and_brings_what_it_needs) {
  const std::string directory = temporary_directory();
  const Result<std::string> bytes =
      soname_shim_bytes({EM_X86_64, "libmade_up.so", "libm.so.6", "$ORIGIN/.."});
  ASSERT_TRUE(bytes.ok());
  write_file(directory + "/libmade_up.so", *bytes);
#ifdef __x86_64__
  void* library = ::dlopen((directory + "/libmade_up.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  EXPECT_NE(::dlsym(library, "cos"), nullptr);
  ::dlclose(library);
#endif
  EXPECT_FALSE(soname_shim_bytes({EM_386, "x", "y", ""}).ok());
  fs::remove_all(directory);
}

class Planning : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = temporary_directory();
    site_ = directory_ + "/venv/lib/python3.10/site-packages";
    write_file(site_ + "/selective_scan_cuda.cpython-310-x86_64-linux-gnu.so", "broken");
    write_file(site_ + "/mamba_ssm/__init__.py", "import selective_scan_cuda\n");
    write_file(site_ + "/mamba_ssm-2.2.4.dist-info/RECORD",
               "selective_scan_cuda.cpython-310-x86_64-linux-gnu.so,sha256=q,6\n");
    const std::string kernels = directory_ + "/kernels/linux_x86_64";
    write_file(kernels + "/manifest.json", R"({
      "name": "ssm-kernels", "version": "0.1.0", "machine": "x86_64", "glibc_min": "2.27",
      "python_min": "3.8", "components": [
        {"name": "library", "files": ["ssm_kernels/lib.so"], "provides_module": "ssm_kernels"},
        {"name": "scan", "files": ["selective_scan_cuda.abi3.so"],
         "provides_module": "selective_scan_cuda"},
        {"name": "conv", "files": ["causal_conv1d_cuda.abi3.so"],
         "provides_module": "causal_conv1d_cuda"}]})");
    write_file(kernels + "/ssm_kernels/lib.so", "the library");
    write_file(kernels + "/selective_scan_cuda.abi3.so", "the scan module");
    write_file(kernels + "/causal_conv1d_cuda.abi3.so", "the convolution module");

    Environment& environment = inspection_.environment;
    environment.prefix = directory_ + "/venv";
    environment.name_for_people = environment.prefix;
    environment.python.machine = EM_X86_64;
    environment.python.version = "3.10";
    environment.python.extension_suffixes = {".cpython-310-x86_64-linux-gnu.so", ".abi3.so", ".so"};
    environment.host.glibc = {"2.36", "libc.so.6"};
    environment.site_directories = {site_};
    Distribution mamba;
    mamba.name = "mamba-ssm";
    mamba.normalized_name = "mamba-ssm";
    mamba.metadata_directory = site_ + "/mamba_ssm-2.2.4.dist-info";
    mamba.site_directory = site_;
    RecordEntry entry;
    entry.path = site_ + "/selective_scan_cuda.cpython-310-x86_64-linux-gnu.so";
    mamba.files.push_back(entry);
    environment.distributions.push_back(mamba);
    request_.disk = request_.data_disk = disk_.get();
    request_.scope = scope_of(*disk_, environment);
    request_.payloads = load_payloads(*disk_, directory_ + "/kernels").value();
    request_.ssmend_version = "0.1.0";
    // The simulated tree is judged by what is on it.
    request_.inspect = [this](const Disk& disk) -> Result<Inspection> {
      Inspection after = inspection_;
      after.findings.clear();
      if (disk.exists(site_ + "/selective_scan_cuda.cpython-310-x86_64-linux-gnu.so")) {
        after.findings = inspection_.findings;
      }
      return after;
    };
  }
  void TearDown() override { fs::remove_all(directory_); }

  void find(const std::string& code, const std::string& module,
            Severity severity = Severity::kError) {
    Finding finding;
    finding.code = code;
    finding.severity = severity;
    finding.title = code + " of " + module;
    finding.subject = module;
    finding.details = {{"module", module}};
    inspection_.findings.push_back(finding);
  }

  Plan plan() {
    Result<Plan> made = make_plan(request_, inspection_);
    EXPECT_TRUE(made.ok()) << format_error(made.error());
    return made.ok() ? std::move(made).value() : Plan();
  }

  std::unique_ptr<Disk> disk_ = open_system_disk();
  std::string directory_;
  std::string site_;
  Inspection inspection_;
  PlanRequest request_;
};

TEST_F(Planning, nothing_is_planned_where_only_the_import_order_matters) {
  find("load-order", "causal_conv1d_cuda", Severity::kNote);
  EXPECT_TRUE(plan().empty());
}

TEST_F(Planning, a_module_for_another_machine_is_moved_aside_for_the_drop_in) {
  find("wrong-machine", "selective_scan_cuda");
  const Plan made = plan();
  ASSERT_EQ(made.actions.size(), 2u);
  EXPECT_EQ(made.actions[0].kind, Action::Kind::kMoveAside);
  EXPECT_EQ(made.actions[0].changes[0].only_with, site_ + "/mamba_ssm-2.2.4.dist-info/RECORD");
  std::vector<std::string> files;
  for (const FileChange& change : made.actions[1].changes) {
    files.push_back(change.path.substr(site_.size() + 1));
  }
  EXPECT_EQ(join(files, " "),
            "selective_scan_cuda.abi3.so ssm_kernels/lib.so ssm_kernels-0.1.0.dist-info/METADATA "
            "ssm_kernels-0.1.0.dist-info/WHEEL ssm_kernels-0.1.0.dist-info/INSTALLER "
            "ssm_kernels-0.1.0.dist-info/RECORD");
  ASSERT_EQ(made.bookkeeping.size(), 1u);
  EXPECT_EQ(made.bookkeeping[0].content, "");  // its only row is of the file moved aside
  EXPECT_TRUE(made.remaining.empty());
}

TEST_F(Planning, applied_undone_and_planned_again_it_is_the_same) {
  find("wrong-machine", "selective_scan_cuda");
  const auto before = picture_of(directory_);
  ASSERT_TRUE(apply_plan(*disk_, request_.scope, plan(), {}).ok());
  EXPECT_EQ(read_file(site_ + "/selective_scan_cuda.abi3.so"), "the scan module");
  EXPECT_FALSE(fs::exists(site_ + "/causal_conv1d_cuda.abi3.so"));
  EXPECT_EQ(read_file(site_ + "/ssm_kernels-0.1.0.dist-info/INSTALLER"), "ssmend\n");
  const Result<Plan> again = make_install_plan(request_, inspection_, {"selective_scan_cuda"});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->empty());
  ASSERT_TRUE(undo_all(*disk_, request_.scope).ok());
  EXPECT_EQ(difference(before, picture_of(directory_)), "");
}

TEST_F(Planning, a_second_component_keeps_the_first_in_record) {
  const Result<Plan> first = make_install_plan(request_, inspection_, {"selective_scan_cuda"});
  ASSERT_TRUE(first.ok() && apply_plan(*disk_, request_.scope, *first, {}).ok());
  const Result<Plan> second = make_install_plan(request_, inspection_, {"causal_conv1d_cuda"});
  ASSERT_TRUE(second.ok() && apply_plan(*disk_, request_.scope, *second, {}).ok());
  const std::string record = read_file(site_ + "/ssm_kernels-0.1.0.dist-info/RECORD");
  EXPECT_NE(record.find("selective_scan_cuda.abi3.so,sha256="), std::string::npos);
  EXPECT_NE(record.find("causal_conv1d_cuda.abi3.so,sha256="), std::string::npos);
}

TEST_F(Planning, a_replaced_torch_blocks_every_other_change) {
  find("torch-replaced", "torch");
  find("module-missing", "selective_scan_cuda");
  const Plan made = plan();
  EXPECT_TRUE(made.empty());
  ASSERT_EQ(made.refusals.size(), 1u);
  EXPECT_EQ(made.refusals[0], "no change can help while this stands: torch-replaced of torch");
  EXPECT_EQ(made.remaining.size(), 2u);
}

TEST_F(Planning, only_restricts_the_plan_to_a_code) {
  find("wrong-machine", "selective_scan_cuda");
  request_.only = {"call-contract"};
  EXPECT_TRUE(plan().empty());
}

TEST_F(Planning, why_no_kernel_library_fits_is_said) {
  find("module-missing", "selective_scan_cuda");
  inspection_.environment.python.machine = EM_AARCH64;
  EXPECT_EQ(plan().refusals.at(0),
            "selective_scan_cuda: no kernel library for aarch64; there is one for x86-64");
  inspection_.environment.python.machine = EM_X86_64;
  inspection_.environment.host.glibc.value = "2.17";
  EXPECT_EQ(plan().refusals.at(0),
            "selective_scan_cuda: the kernel library needs glibc 2.27, this system has 2.17");
  inspection_.environment.host.glibc.value = "2.31";
  inspection_.environment.python.version = "3.7";
  EXPECT_EQ(plan().refusals.at(0),
            "selective_scan_cuda: the kernel library needs Python 3.8, this environment has 3.7");
}

TEST_F(Planning, files_of_dpkg_are_refused_and_checkouts_asked_for) {
  EXPECT_NE(refusal_of(inspection_.environment, "/usr/lib/python3/dist-packages/torch/x.py"), "");
  EXPECT_EQ(refusal_of(inspection_.environment, "/usr/local/lib/python3.10/dist-packages/x.py"),
            "");
  Distribution editable;
  editable.name = "mamba-fork";
  editable.editable = true;
  editable.direct_url = R"({"url": "file:///home/me/fork", "dir_info": {"editable": true}})";
  inspection_.environment.distributions.push_back(editable);
  EXPECT_EQ(question_of(inspection_.environment, "/home/me/fork/mamba_ssm/x.py"),
            "/home/me/fork/mamba_ssm/x.py is in the checkout that mamba-fork is installed from "
            "(editable); change it there?");
  EXPECT_EQ(question_of(inspection_.environment, site_ + "/mamba_ssm/__init__.py"), "");
}

TEST_F(Planning, an_earlier_import_directory_also_shadows) {
  const std::string user = directory_ + "/user";
  write_file(user + "/selective_scan_cuda.py", "stub");
  inspection_.environment.site_directories = {user, site_};
  EXPECT_EQ(join(shadowing_files(*disk_, inspection_.environment, "selective_scan_cuda",
                                 site_ + "/selective_scan_cuda.abi3.so"),
                 " "),
            user + "/selective_scan_cuda.py " + site_ +
                "/selective_scan_cuda.cpython-310-x86_64-linux-gnu.so");
}

}  // namespace
}  // namespace ssmend
