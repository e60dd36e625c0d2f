// What becomes of a FileWatcher where the user's limits for inotify (inotify(7), user
// namespaces have their own) are used up. main() begins again in a namespace for each.
#include <gtest/gtest.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/file_watcher.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {
namespace {

constexpr char kLimits[] = "GROVE_FILE_WATCHER_LIMIT_TEST";

long LimitOf(const char* what) {
  long limit = -1;
  std::ifstream(absl::StrCat("/proc/sys/user/max_inotify_", what)) >> limit;
  return limit;
}

class FileWatcherLimitTest : public GreenletTest {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/file_watcher_limit_test_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }

  // A folder with a file.
  std::string Folder(const std::string& name) const {
    const std::string path = absl::StrCat(folder_, "/", name);
    EXPECT_TRUE(MakeDirectories(path).ok());
    EXPECT_TRUE(WriteFile(absl::StrCat(path, "/file"), "1").ok());
    return absl::StrCat(path, "/file");
  }
  // Changes the file, and says how long it took, on the test's clock, until it was told.
  absl::Duration Told(FileWatcher* watcher, const std::string& file) const {
    const absl::Duration before = Elapsed();
    EXPECT_TRUE(WriteFile(file, "22").ok());
    const absl::StatusOr<FileEvent> event = watcher->Next();
    EXPECT_TRUE(event.ok()) << event.status();
    EXPECT_EQ(event->path, file);
    return Elapsed() - before;
  }

  std::string folder_;
};

GREENLET_TEST_F(FileWatcherLimitTest, WithoutAnInstanceAllIsLookedAt) {
  ASSERT_EQ(LimitOf("instances"), 0) << "not the namespace";
  const std::string file = Folder("a");
  FileWatcher watcher({.poll_interval = absl::Minutes(1)});
  ASSERT_TRUE(watcher.Watch(file).ok());
  EXPECT_GE(Told(&watcher, file), absl::Minutes(1));
}

GREENLET_TEST_F(FileWatcherLimitTest, WhatHasNoWatchIsLookedAt) {
  ASSERT_EQ(LimitOf("watches"), 1) << "not the namespace";
  const std::string first = Folder("a");
  const std::string second = Folder("b");
  FileWatcher watcher({.poll_interval = absl::Minutes(1)});
  ASSERT_TRUE(watcher.Watch(first).ok());
  ASSERT_TRUE(watcher.Watch(second).ok());
  EXPECT_GE(Told(&watcher, second), absl::Minutes(1));
  EXPECT_LT(Told(&watcher, first), absl::Minutes(1)) << "the kernel tells of it";
  // Also if somebody waits already, for what the kernel tells.
  FileWatcher another({.poll_interval = absl::Minutes(1)});
  watcher.Close();
  ASSERT_TRUE(another.Watch(first).ok());
  const Greenlet<absl::StatusOr<FileEvent>> waits = Spawn([&] { return another.Next(); });
  Yield();
  ASSERT_TRUE(another.Watch(second).ok());
  EXPECT_TRUE(WriteFile(second, "333").ok());
  const absl::StatusOr<FileEvent> event = waits.Get();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->path, second);
}

// Runs that test with that limit; what its exit status says.
int BeginAgain(const std::string& limit, int value, const char* test) {
  char self[PATH_MAX] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
  setenv(kLimits, "1", 1);
  const std::string command =
      absl::StrCat("exec unshare --user --map-root-user sh -c 'echo ", value,
                   " > /proc/sys/user/max_inotify_", limit, " && exec \"", self,
                   "\" --gtest_filter=*.", test, "'");
  return system(command.c_str());
}

}  // namespace
}  // namespace grove

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (getenv(grove::kLimits) != nullptr) return RUN_ALL_TESTS();
  const int instances =
      grove::BeginAgain("instances", 0, "WithoutAnInstanceAllIsLookedAt");
  const int watches = grove::BeginAgain("watches", 1, "WhatHasNoWatchIsLookedAt");
  return instances != 0 || watches != 0;
}
