// Applying and giving back, without faults: tests/repair_crash_test.cc has those.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/text.h"
#include "repair_fixture.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;

class Repair : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = temporary_directory();
    make_small_environment(directory_);
    before_ = picture_of(directory_);
    site_ = directory_ + "/venv/lib/python3.10/site-packages";
  }
  void TearDown() override { fs::remove_all(directory_); }

  Result<ApplyReport> apply(const ApplyOptions& options = {}) {
    return apply_plan(*disk_, small_scope(directory_), small_plan(directory_), options);
  }
  Result<UndoReport> undo() { return undo_all(*disk_, small_scope(directory_)); }

  std::unique_ptr<Disk> disk_ = open_system_disk();
  std::string directory_;
  std::string site_;
  std::map<std::string, std::string> before_;
};

TEST_F(Repair, applies_every_change_and_undo_gives_back_the_whole_picture) {
  const Result<ApplyReport> applied = apply();
  ASSERT_TRUE(applied.ok()) << format_error(applied.error());
  EXPECT_EQ(applied->files_written, 6u);
  EXPECT_EQ(applied->files_removed, 3u);  // two .pyc and the module moved aside
  EXPECT_EQ(applied->directories_made, 3u);
  EXPECT_TRUE(is_repaired(directory_));
  EXPECT_NE(difference(before_, picture_of(directory_)), "");
  const Result<UndoReport> undone = undo();
  ASSERT_TRUE(undone.ok()) << format_error(undone.error());
  EXPECT_EQ(join(undone->left, "\n"), "");
  EXPECT_EQ(difference(before_, picture_of(directory_)), "");
}

TEST_F(Repair, the_hard_linked_twin_and_the_target_of_a_link_never_change) {
  const auto cache = picture_of(directory_ + "/cache");
  ASSERT_TRUE(apply().ok());
  // Only the number of links differs while the journal holds one.
  EXPECT_EQ(read_file(directory_ + "/cache/ops.py"), "import native\nnative.call(1)\n");
  EXPECT_EQ(read_file(directory_ + "/cache/linked.py"), "y = 1\n");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(difference(cache, picture_of(directory_ + "/cache")), "");
}

TEST_F(Repair, the_new_file_keeps_mode_and_attributes_of_the_old_one) {
  ASSERT_TRUE(apply().ok());
  struct stat raw;
  ASSERT_EQ(::lstat((site_ + "/pkg/ops.py").c_str(), &raw), 0);
  EXPECT_EQ(raw.st_mode & 07777, 0640u);
  EXPECT_NE(picture_of(site_)["pkg/ops.py"].find("note=kept"), std::string::npos);
}

TEST_F(Repair, undo_removes_bytecode_that_python_made_of_the_patched_source) {
  ASSERT_TRUE(apply().ok());
  write_file(site_ + "/pkg/__pycache__/ops.cpython-310.pyc", "bytecode of the patched file");
  write_file(site_ + "/pkg/__pycache__/ops.cpython-312.pyc", "of another Python");
  write_file(site_ + "/kernels/deep/stray.txt", "somebody's");
  const Result<UndoReport> undone = undo();
  ASSERT_TRUE(undone.ok());
  ASSERT_EQ(undone->left.size(), 2u);
  EXPECT_EQ(undone->left[0], site_ + "/kernels/deep: holds files that are not ours, left");
  fs::remove_all(site_ + "/kernels");
  auto after = picture_of(directory_);
  const std::string site_key = "venv/lib/python3.10/site-packages";
  after[site_key] = before_[site_key];  // its time changed with the folder removed just now
  EXPECT_EQ(difference(before_, after), "");
}

TEST_F(Repair, a_file_that_changed_since_is_left_and_named) {
  ASSERT_TRUE(apply().ok());
  write_file(site_ + "/pkg/ops.py", "edited by hand\n");
  const Result<StatusReport> status = read_status(*disk_, small_scope(directory_));
  ASSERT_TRUE(status.ok());
  ASSERT_EQ(status->repairs.size(), 1u);
  EXPECT_EQ(status->repairs[0].lost, 1u);
  const Result<UndoReport> undone = undo();
  ASSERT_TRUE(undone.ok());
  EXPECT_EQ(join(undone->left, "\n"), site_ + "/pkg/ops.py: changed since, left as it is");
  EXPECT_EQ(read_file(site_ + "/pkg/ops.py"), "edited by hand\n");
  EXPECT_FALSE(fs::exists(site_ + "/pkg/__pycache__/ops.cpython-310.pyc"));  // of another source
  EXPECT_FALSE(fs::exists(directory_ + "/venv/.ssmend"));
}

TEST_F(Repair, an_uninstalled_package_does_not_come_back) {
  ASSERT_TRUE(apply().ok());
  fs::remove_all(site_ + "/pkg");
  fs::remove_all(site_ + "/pkg-1.0.dist-info");
  const Result<UndoReport> undone = undo();
  ASSERT_TRUE(undone.ok()) << format_error(undone.error());
  EXPECT_FALSE(fs::exists(site_ + "/pkg"));
  EXPECT_FALSE(fs::exists(site_ + "/native.cpython-310-x86_64-linux-gnu.so"));
  EXPECT_FALSE(fs::exists(site_ + "/native.abi3.so"));
  EXPECT_EQ(undone->left.size(), 4u);
}

TEST_F(Repair, two_repairs_are_undone_newest_first) {
  ASSERT_TRUE(apply().ok());
  Plan second;
  Action action;
  FileChange change;
  change.path = site_ + "/pkg/ops.py";
  change.content = "second\n";
  action.changes.push_back(change);
  second.actions.push_back(action);
  ASSERT_TRUE(apply_plan(*disk_, small_scope(directory_), second, {}).ok());
  EXPECT_EQ(read_file(site_ + "/pkg/ops.py"), "second\n");
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(difference(before_, picture_of(directory_)), "");
}

TEST_F(Repair, a_directory_link_that_leads_out_is_refused) {
  fs::create_directories(directory_ + "/outside");
  fs::create_directory_symlink(directory_ + "/outside", site_ + "/evil");
  Plan plan = small_plan(directory_);
  plan.actions[2].changes[0].path = site_ + "/evil/ops.py";
  const auto before = picture_of(directory_);
  const Result<ApplyReport> applied = apply_plan(*disk_, small_scope(directory_), plan, {});
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(format_error(applied.error()), "nothing is changed\n  caused by: " + site_ +
                                               "/evil/ops.py: leads out of the environment to " +
                                               directory_ + "/outside/ops.py");
  EXPECT_EQ(difference(before, picture_of(directory_)), "");
}

TEST_F(Repair, a_second_ssmend_is_told_so) {
  const RepairScope scope = small_scope(directory_);
  const auto first = lock_scope(*disk_, scope);
  ASSERT_TRUE(first.ok());
  const auto second = lock_scope(*disk_, scope);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message, "another ssmend is working on " + directory_ +
                                        "/venv: run this again when it has ended");
}

TEST_F(Repair, source_date_epoch_makes_two_repairs_equal_with_their_journals) {
  ApplyOptions options;
  options.source_date_epoch = 1700000000;
  std::map<std::string, std::string> pictures[2];
  for (auto& picture : pictures) {
    const std::string root = temporary_directory();
    make_small_environment(root + "/image");
    fs::remove(root + "/image/venv/lib/python3.10/site-packages/pkg/linked.py");
    Result<std::unique_ptr<Disk>> disk = open_root_disk(root);
    ASSERT_TRUE(disk.ok());
    const std::string site = root + "/image/venv/lib/python3.10/site-packages";
    fs::last_write_time(site + "/pkg", fs::file_time_type(std::chrono::seconds(12)));
    const Result<ApplyReport> applied =
        apply_plan(**disk, small_scope("/image"), small_plan("/image"), options);
    ASSERT_TRUE(applied.ok()) << format_error(applied.error());
    picture = picture_of(root + "/image/venv");
    fs::remove_all(root);
  }
  EXPECT_GT(pictures[0].count(".ssmend/0001/journal.json"), 0u);
  EXPECT_EQ(difference(pictures[0], pictures[1]), "");
}

TEST_F(Repair, a_hostile_journal_cannot_reach_out_of_the_environment) {
  write_file(directory_ + "/precious", "keep me");
  Journal journal;
  JournalEntry entry;
  entry.kind = JournalEntry::Kind::kWrite;
  entry.path = directory_ + "/precious";
  entry.new_sha256 = "2e1cf4aa8e2b7ee3b5b8f0fbd8b1c8e1";
  journal.entries.push_back(entry);
  write_file(directory_ + "/venv/.ssmend/0001/journal.json", journal_to_json(journal));
  write_file(directory_ + "/venv/.ssmend/0001/committed", "");
  const Result<UndoReport> undone = undo();
  ASSERT_FALSE(undone.ok());
  EXPECT_NE(format_error(undone.error()).find("lies outside the environment"), std::string::npos);
  EXPECT_EQ(read_file(directory_ + "/precious"), "keep me");
}

TEST_F(Repair, a_journal_with_an_unclean_path_is_refused_whole) {
  Journal journal;
  JournalEntry entry;
  entry.path = "/venv/../etc/passwd";
  journal.entries.push_back(entry);
  const Result<Journal> read = journal_from_json(journal_to_json(journal), "j");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().message, "j: not an absolute, normal path: /venv/../etc/passwd");
  EXPECT_FALSE(journal_from_json("{\"schema\": 1}", "j").ok());
  EXPECT_FALSE(journal_from_json("not json", "j").ok());
}

TEST_F(Repair, a_file_name_that_is_no_utf8_survives) {
  const std::string odd = site_ + "/pkg/caf\xe9.py";
  write_file(odd, "old\n");
  const auto before = picture_of(directory_);
  Plan plan = small_plan(directory_);
  plan.actions[2].changes[0].path = odd;
  ASSERT_TRUE(apply_plan(*disk_, small_scope(directory_), plan, {}).ok());
  ASSERT_TRUE(undo().ok());
  EXPECT_EQ(difference(before, picture_of(directory_)), "");
}

TEST_F(Repair, a_mounted_root_is_repaired_through_its_absolute_links) {
  // /opt/venv is an absolute link inside the root; the same path of the host does not exist.
  const std::string root = temporary_directory();
  make_small_environment(root + "/data");
  fs::create_directories(root + "/opt");
  fs::create_directory_symlink("/data/venv", root + "/opt/venv");
  fs::remove(root + "/data/venv/lib/python3.10/site-packages/pkg/linked.py");
  const auto before = picture_of(root);
  Result<std::unique_ptr<Disk>> disk = open_root_disk(root);
  ASSERT_TRUE(disk.ok());
  RepairScope scope = small_scope("/data");
  Plan plan = small_plan("/data");
  plan.actions[2].changes[0].path = "/opt/venv/lib/python3.10/site-packages/pkg/ops.py";
  const Result<ApplyReport> applied = apply_plan(**disk, scope, plan, {});
  ASSERT_TRUE(applied.ok()) << format_error(applied.error());
  EXPECT_TRUE(is_repaired(root + "/data"));
  ASSERT_TRUE(undo_all(**disk, scope).ok());
  EXPECT_EQ(difference(before, picture_of(root)), "");
  fs::remove_all(root);
}

}  // namespace
}  // namespace ssmend
