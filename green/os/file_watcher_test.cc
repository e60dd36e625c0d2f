#include "grove/green/os/file_watcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file_system.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"

namespace grove {

void PrintTo(const FileEvent& event, std::ostream* out) {
  *out << "change " << static_cast<int>(event.change) << " of " << event.path;
}

namespace {

using absl::StatusCode;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A folder of the test's own, and plain system calls on what is in it.
class FileWatcherTest : public GreenletTest {
 protected:
  FileWatcherTest() {
    std::string name = testing::TempDir() + "/file_watcher_test_XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~FileWatcherTest() override {
    if (!folder_.empty()) system(absl::StrCat("rm -rf '", folder_, "'").c_str());
  }
  void SetUp() override {}
  void TearDown() override {}

  std::string Path(absl::string_view name) const {
    return absl::StrCat(folder_, "/", name);
  }
  void Append(absl::string_view name, absl::string_view data) const {
    const int fd =
        open(Path(name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    EXPECT_EQ(write(fd, data.data(), data.size()), static_cast<ssize_t>(data.size()));
    close(fd);
  }
  void Remove(absl::string_view name) const { EXPECT_EQ(unlink(Path(name).c_str()), 0); }
  void Rename(absl::string_view from, absl::string_view to) const {
    EXPECT_EQ(rename(Path(from).c_str(), Path(to).c_str()), 0);
  }
  FileEvent Event(absl::string_view name, FileChange change) const {
    return {Path(name), change};
  }
  static FileWatcher Watching(const std::string& path, FileWatcherOptions options = {}) {
    FileWatcher watcher(options);
    EXPECT_TRUE(watcher.Watch(path).ok());
    return watcher;
  }
  // All that has happened until now.
  static std::vector<FileEvent> EventsOf(FileWatcher& watcher) {
    std::vector<FileEvent> events;
    for (;;) {
      absl::StatusOr<FileEvent> event = watcher.Next(absl::ZeroDuration());
      if (!event.ok()) {
        EXPECT_EQ(event.status().code(), StatusCode::kDeadlineExceeded);
        return events;
      }
      events.push_back(*std::move(event));
    }
  }

  std::string folder_;
};

// --- a file --------------------------------------------------------------------------

GREENLET_TEST_F(FileWatcherTest, WhatHappensToAFileIsToldInOrder) {
  FileWatcher watcher = Watching(Path("file"));
  EXPECT_THAT(EventsOf(watcher), IsEmpty());
  Append("file", "1");
  Append("file", "2");
  ASSERT_EQ(chmod(Path("file").c_str(), 0640), 0);
  Rename("file", "other");
  Append("other", "not watched");
  Rename("other", "file");
  Remove("file");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("file", FileChange::kCreated),
                                             Event("file", FileChange::kModified),
                                             Event("file", FileChange::kAttributes),
                                             Event("file", FileChange::kMovedAway),
                                             Event("file", FileChange::kMovedHere),
                                             Event("file", FileChange::kRemoved)))
      << "and the two modifications are one";
}

GREENLET_TEST_F(FileWatcherTest, NextWaitsForAChange) {
  Append("file", "1");
  FileWatcher watcher = Watching(Path("file"));
  const Greenlet<> writer = Spawn([&] {
    Sleep(absl::Seconds(2));
    Append("file", "2");
  });
  EXPECT_EQ(*watcher.Next(), Event("file", FileChange::kModified));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  writer.Join();
}

GREENLET_TEST_F(FileWatcherTest, AFileIsFollowedThroughReplacements) {
  ASSERT_TRUE(WriteFile(Path("config"), "old").ok());
  FileWatcher watcher = Watching(Path("config"));
  for (const char* content : {"one", "two", "three"}) {
    const Greenlet<> replacer =
        Spawn([&] { EXPECT_TRUE(ReplaceFile(Path("config"), content).ok()); });
    EXPECT_EQ(*watcher.Next(), Event("config", FileChange::kMovedHere));
    EXPECT_EQ(*ReadFile(Path("config")), content);
    replacer.Join();
  }
  Append("config", "x");
  EXPECT_EQ(*watcher.Next(), Event("config", FileChange::kModified)) << "the new file";
}

GREENLET_TEST_F(FileWatcherTest, OthersInTheSameFolderAreNotTold) {
  Append("watched", "1");
  Append("beside", "1");
  FileWatcher watcher = Watching(Path("watched"));
  Append("beside", "2");
  EXPECT_THAT(EventsOf(watcher), IsEmpty());
  ASSERT_TRUE(watcher.Watch(Path("beside")).ok());
  Append("beside", "3");
  Append("watched", "3");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("beside", FileChange::kModified),
                                             Event("watched", FileChange::kModified)));
  watcher.Unwatch(Path("beside"));
  Append("beside", "4");
  Append("watched", "4");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("watched", FileChange::kModified)));
}

// --- a folder ------------------------------------------------------------------------

GREENLET_TEST_F(FileWatcherTest, AFolderTellsOfAllThatIsInIt) {
  FileWatcher watcher = Watching(folder_ + "/");
  Append("a", "");
  ASSERT_EQ(mkdir(Path("b").c_str(), 0700), 0);
  Append("b/below", "not told");
  Rename("a", "c");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("a", FileChange::kCreated),
                                             Event("b", FileChange::kCreated),
                                             Event("a", FileChange::kMovedAway),
                                             Event("c", FileChange::kMovedHere)));
}

GREENLET_TEST_F(FileWatcherTest, OneThingMayHaveSeveralNames) {
  const std::string also = absl::StrCat(folder_, "/.");
  FileWatcher watcher = Watching(Path("a"));
  ASSERT_TRUE(watcher.Watch(absl::StrCat(also, "/a")).ok());
  Append("a", "");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("./a", FileChange::kCreated),
                                             Event("a", FileChange::kCreated)));
  watcher.Unwatch(Path("a"));
  Append("a", "1");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("./a", FileChange::kModified)));
  watcher.Unwatch(Path("./a"));
  ASSERT_TRUE(watcher.Watch(folder_).ok());
  ASSERT_TRUE(watcher.Watch(also).ok());
  Remove("a");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("a", FileChange::kRemoved),
                                             Event("./a", FileChange::kRemoved)));
}

GREENLET_TEST_F(FileWatcherTest, AFolderThatIsGoneIsToldAsTheEnd) {
  ASSERT_EQ(mkdir(Path("removed").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(Path("renamed").c_str(), 0700), 0);
  FileWatcher watcher = Watching(Path("removed"));
  ASSERT_TRUE(watcher.Watch(Path("renamed/file")).ok());
  ASSERT_EQ(rmdir(Path("removed").c_str()), 0);
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("removed", FileChange::kUnwatched)));
  Rename("renamed", "new");
  EXPECT_THAT(EventsOf(watcher),
              ElementsAre(Event("renamed/file", FileChange::kUnwatched)));
  Append("new/file", "1");
  EXPECT_THAT(EventsOf(watcher), IsEmpty());
  ASSERT_TRUE(watcher.Watch(Path("new/file")).ok());
  Append("new/file", "2");
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("new/file", FileChange::kModified)));
}

GREENLET_TEST_F(FileWatcherTest, LostEventsAreToldAsARescan) {
  size_t limit = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
  ASSERT_GT(limit, 0u);
  const int a = open(Path("a").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int b = open(Path("b").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  FileWatcher watcher = Watching(folder_);
  // In turns, for equal events in a row are one.
  for (size_t i = 0; i <= limit / 2; ++i) {
    ASSERT_EQ(pwrite(a, "x", 1, 0), 1);
    ASSERT_EQ(pwrite(b, "x", 1, 0), 1);
  }
  EXPECT_THAT(EventsOf(watcher), Contains(FileEvent{"", FileChange::kRescan}));
  ASSERT_EQ(pwrite(a, "x", 1, 0), 1);
  EXPECT_THAT(EventsOf(watcher), ElementsAre(Event("a", FileChange::kModified)))
      << "it goes on";
  close(a);
  close(b);
}

// --- waiting -------------------------------------------------------------------------

GREENLET_TEST_F(FileWatcherTest, NextEndsAtItsDeadline) {
  FileWatcher watcher = Watching(folder_);
  EXPECT_EQ(watcher.Next(absl::Seconds(3)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  Append("file", "");
  EXPECT_EQ(*watcher.Next(Deadline::Passed()), Event("file", FileChange::kCreated))
      << "what is there needs no wait";
}

GREENLET_TEST_F(FileWatcherTest, AKillLosesNoChange) {
  FileWatcher watcher = Watching(folder_);
  const Greenlet<> killed = Spawn([&] { watcher.Next().IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  Append("file", "");
  EXPECT_EQ(*watcher.Next(), Event("file", FileChange::kCreated));
}

GREENLET_TEST_F(FileWatcherTest, ATimeoutScopeEndsAWait) {
  FileWatcher watcher = Watching(folder_);
  EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { return watcher.Next(); }).status().code(),
            StatusCode::kDeadlineExceeded);
}

GREENLET_TEST_F(FileWatcherTest, ClosingWakesWhoWaits) {
  auto watcher = std::make_unique<FileWatcher>(Watching(folder_));
  const Greenlet<absl::Status> waiter = Spawn([&] { return watcher->Next().status(); });
  Yield();
  const Greenlet<> closer = Spawn({.name = "closer"}, [&] { watcher.reset(); });
  const absl::Status status = waiter.Get();
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_NE(status.message().find("closed by greenlet 'closer'"), std::string::npos);
  closer.Join();
  FileWatcher closed = Watching(folder_);
  closed.Close();
  EXPECT_EQ(closed.Next().status().code(), StatusCode::kCancelled);
  EXPECT_EQ(closed.Watch(folder_).code(), StatusCode::kCancelled);
}

GREENLET_TEST_F(FileWatcherTest, MistakesAreErrorsAndNoEndlessWaits) {
  FileWatcher watcher;
  EXPECT_EQ(watcher.Next().status().code(), StatusCode::kFailedPrecondition);
  const absl::Status status = watcher.Watch(Path("none/file"));
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(status.message(),
            absl::StrCat("watch '", Path("none/file"), "': No such file or directory"));
}

GREENLET_TEST_F(FileWatcherTest, AWatcherCanBeMoved) {
  FileWatcher first = Watching(folder_);
  FileWatcher second = std::move(first);
  Append("file", "");
  EXPECT_EQ(*second.Next(), Event("file", FileChange::kCreated));
  FileWatcher third;
  third = std::move(second);
  Remove("file");
  EXPECT_EQ(*third.Next(), Event("file", FileChange::kRemoved));
}

// --- looking again, where the kernel tells nothing -----------------------------------

GREENLET_TEST_F(FileWatcherTest, HoweverOftenItLooksADeadlineEndsIt) {
  Append("file", "1");
  FileWatcher watcher = Watching(
      Path("file"), {.poll_interval = absl::ZeroDuration(), .always_poll = true});
  EXPECT_TRUE(absl::IsDeadlineExceeded(watcher.Next(Deadline::Passed()).status()));
}

GREENLET_TEST_F(FileWatcherTest, PollingSeesWhatHasChangedSinceTheLastLook) {
  Append("file", "1");
  FileWatcher watcher =
      Watching(Path("file"), {.poll_interval = absl::Minutes(1), .always_poll = true});
  struct Step {
    std::function<void()> change;
    FileChange seen;
  };
  const Step steps[] = {
      {[&] { Append("file", "2"); }, FileChange::kModified},
      {[&] { chmod(Path("file").c_str(), 0640); }, FileChange::kAttributes},
      {[&] { ReplaceFile(Path("file"), "new").IgnoreError(); }, FileChange::kMovedHere},
      {[&] { Remove("file"); }, FileChange::kRemoved},
      {[&] { Append("file", ""); }, FileChange::kCreated},
  };
  absl::Duration expected;
  for (const Step& step : steps) {
    step.change();
    EXPECT_EQ(*watcher.Next(), Event("file", step.seen));
    expected += absl::Minutes(1);
    EXPECT_GE(Elapsed(), expected);
  }
}

GREENLET_TEST_F(FileWatcherTest, PollingSeesWhatIsInAFolder) {
  Append("a", "1");
  FileWatcher watcher = Watching(folder_, {.always_poll = true});
  Append("a", "2");
  Append("b", "");
  EXPECT_EQ(*watcher.Next(), Event("a", FileChange::kModified));
  EXPECT_EQ(*watcher.Next(), Event("b", FileChange::kCreated));
  watcher.Unwatch(folder_);
  Append("c", "");
  EXPECT_EQ(watcher.Next(absl::Minutes(1)).status().code(),
            StatusCode::kDeadlineExceeded);
}

// For one moment there are no descriptors, say.
GREENLET_TEST_F(FileWatcherTest, WhatCannotBeSeenHasNotChanged) {
  Append("a", "1");
  FileWatcher watcher =
      Watching(folder_, {.poll_interval = absl::Seconds(1), .always_poll = true});
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(watcher.Next(absl::Seconds(5)).status().code(),
            StatusCode::kDeadlineExceeded);
  FileWatcher another({.always_poll = true});
  EXPECT_EQ(ErrnoOf(another.Watch(folder_)), EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  Append("b", "");
  EXPECT_EQ(*watcher.Next(), Event("b", FileChange::kCreated));
}

GREENLET_TEST_F(FileWatcherTest, PollingEndsAtADeadlineAKillAndClose) {
  FileWatcher watcher = Watching(folder_, {.always_poll = true});
  EXPECT_EQ(watcher.Next(absl::Seconds(10)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_GE(Elapsed(), absl::Seconds(10));
  const Greenlet<> killed = Spawn([&] { watcher.Next().IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed = Spawn([&] { return watcher.Next().status(); });
  Yield();
  watcher.Close();
  EXPECT_EQ(closed.Get().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace grove
