// The promise of the journal: a kill, or a failing system call, at every single call that writes
// leaves the old or the new environment for the next run, and undo still gives back everything.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>

#include "base/text.h"
#include "repair_faults.h"
#include "repair_fixture.h"

namespace ssmend {
namespace {

namespace fs = std::filesystem;

struct FaultCase {
  const char* name;
  Fault::Kind kind;
  int error;
  bool copies = false;  // the journal falls back to copies, which cannot share an inode any more
};

constexpr FaultCase kFaults[] = {
    {"kill", Fault::Kind::kKill, 0},
    {"kill in the middle of the call", Fault::Kind::kTear, 0},
    {"ENOSPC once", Fault::Kind::kFail, ENOSPC},
    {"EIO once", Fault::Kind::kFail, EIO},
    {"EROFS once", Fault::Kind::kFail, EROFS},
    {"EXDEV once", Fault::Kind::kFail, EXDEV, true},
    {"EPERM once", Fault::Kind::kFail, EPERM, true},
    {"ENOSPC from there on", Fault::Kind::kFailOnward, ENOSPC},
    {"EROFS from there on", Fault::Kind::kFailOnward, EROFS},
};

class Crash : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = memory_directory();
    make_environment();
  }
  void TearDown() override { fs::remove_all(directory_); }

  void make_environment() {
    fs::remove_all(directory_ + "/venv");
    fs::remove_all(directory_ + "/cache");
    make_small_environment(directory_);
    before_ = picture();
    picture_before_without_links_ = picture(false);
  }

  // Without the time of the folder that holds the journal: its last change is the journal's going.
  std::map<std::string, std::string> picture(bool with_links = true) const {
    auto all = picture_of(directory_, false);
    all["venv"] = all["venv"].substr(0, all["venv"].find(' '));
    for (auto& [path, what] : all) {
      const size_t links = what.find("links=");
      if (!with_links && links != std::string::npos)
        what.erase(links, what.find(' ', links) - links);
    }
    return all;
  }

  // In a child process; true where it was killed.
  bool run(const Fault& fault, const std::function<bool()>& work) {
    const pid_t child = ::fork();
    if (child == 0) {
      arm(fault);
      const bool ok = work();
      disarm();
      ::_exit(ok ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  }

  long count_calls(const std::function<bool()>& work) {
    arm(Fault());
    EXPECT_TRUE(work());
    disarm();
    return writing_calls();
  }

  bool apply() {
    const RepairScope scope = small_scope(directory_);
    return recover(*disk_, scope).ok() &&
           apply_plan(*disk_, scope, small_plan(directory_), {}).ok();
  }
  bool undo() { return undo_all(*disk_, small_scope(directory_)).ok(); }
  bool recover_only() { return recover(*disk_, small_scope(directory_)).ok(); }

  // After a fault: the next run finds the old or the new tree, can go on, and undo is complete.
  void check_next_run(const std::string& what, bool with_links = true) {
    if (!with_links) before_ = picture_before_without_links_;
    ASSERT_TRUE(recover_only()) << what;
    const bool committed = fs::exists(directory_ + "/venv/.ssmend/0001/committed");
    if (committed) {
      ASSERT_TRUE(is_repaired(directory_)) << what;
    } else {
      ASSERT_EQ(difference(before_, picture(with_links)), "") << what;
      ASSERT_TRUE(apply()) << what;
      ASSERT_TRUE(is_repaired(directory_)) << what;
    }
    ASSERT_TRUE(undo()) << what;
    ASSERT_EQ(difference(before_, picture(with_links)), "") << what;
    ASSERT_FALSE(fs::exists(directory_ + "/venv/.ssmend")) << what;
    ++points_;
  }

  std::unique_ptr<Disk> disk_ = open_system_disk();
  std::string directory_;
  std::map<std::string, std::string> before_;
  std::map<std::string, std::string> picture_before_without_links_;
  long points_ = 0;
};

TEST_F(Crash, every_writing_call_of_an_application) {
  const long calls = count_calls([&] { return apply(); });
  ASSERT_GT(calls, 50);
  for (const FaultCase& fault : kFaults) {
    for (long at = 1; at <= calls; ++at) {
      make_environment();
      run({fault.kind, at, fault.error}, [&] { return apply(); });
      check_next_run(std::string(fault.name) + " at call " + std::to_string(at), !fault.copies);
      if (HasFatalFailure()) return;
    }
  }
  std::printf("apply: %ld writing calls, %ld points tried\n", calls, points_);
}

TEST_F(Crash, every_writing_call_of_an_undo) {
  ASSERT_TRUE(apply());
  const long calls = count_calls([&] { return undo(); });
  ASSERT_GT(calls, 30);
  for (const FaultCase& fault : kFaults) {
    for (long at = 1; at <= calls; ++at) {
      make_environment();
      ASSERT_TRUE(apply());
      run({fault.kind, at, fault.error}, [&] { return undo(); });
      check_next_run(std::string(fault.name) + " at call " + std::to_string(at) + " of undo",
                     !fault.copies);
      if (HasFatalFailure()) return;
    }
  }
  std::printf("undo: %ld writing calls, %ld points tried\n", calls, points_);
}

TEST_F(Crash, every_writing_call_of_a_recovery) {
  const long calls = count_calls([&] { return apply(); });
  // Killed at the last step before the commit, at the middle, and right after the journal.
  for (const long first : {calls - 2, calls - 12, calls - 24}) {
    make_environment();
    run({Fault::Kind::kKill, first, 0}, [&] { return apply(); });
    const long recovery = count_calls([&] { return recover_only(); });
    ASSERT_GT(recovery, 3);
    for (long at = 1; at <= recovery; ++at) {
      make_environment();
      ASSERT_TRUE(run({Fault::Kind::kKill, first, 0}, [&] { return apply(); }));
      ASSERT_TRUE(run({Fault::Kind::kKill, at, 0}, [&] { return recover_only(); }));
      check_next_run("kill at " + std::to_string(first) + ", then at " + std::to_string(at));
      if (HasFatalFailure()) return;
    }
  }
  std::printf("recovery: %ld points tried\n", points_);
}

// A real full disk: a file system in memory, a page larger each time until the repair fits.
TEST_F(Crash, a_small_file_system_that_is_full) {
  const std::string mount_point = directory_ + "/small";
  fs::create_directories(mount_point);
  if (::mount("none", mount_point.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "no right to mount a file system here";
  }
  long full = 0;
  bool fits = false;
  for (int pages = 20; pages < 200 && !fits; ++pages) {
    const std::string size = "size=" + std::to_string(pages * 4096);
    ::umount(mount_point.c_str());
    ASSERT_EQ(::mount("none", mount_point.c_str(), "tmpfs", 0, size.c_str()), 0);
    const std::string place = mount_point + "/env";
    fs::create_directories(place);
    make_small_environment(place);
    const auto before = picture_of(mount_point);
    const RepairScope scope = small_scope(place);
    const Result<ApplyReport> applied = apply_plan(*disk_, scope, small_plan(place), {});
    if (applied.ok()) {
      fits = true;
      EXPECT_TRUE(is_repaired(place));
    } else {
      ++full;
      EXPECT_NE(format_error(applied.error()).find("No space left on device"), std::string::npos)
          << format_error(applied.error());
      EXPECT_EQ(applied.error().message, "the repair stopped; nothing is changed");
      EXPECT_EQ(difference(before, picture_of(mount_point)), "") << size;
    }
    ASSERT_TRUE(undo_all(*disk_, scope).ok());
    EXPECT_EQ(difference(before, picture_of(mount_point)), "") << size;
  }
  EXPECT_TRUE(fits);
  EXPECT_GT(full, 5);
  ::umount(mount_point.c_str());
  std::printf("full disk: %ld sizes too small, then one that fits\n", full);
}

}  // namespace
}  // namespace ssmend
