// TaskGroups of whose tasks only so many may run at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/task_group.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class TaskGroupLimit : public GreenletTest {
 protected:
  // To 10 us: each timer is rounded up to its slot of a microsecond.
  bool HasTaken(absl::Duration expected) {
    const absl::Duration elapsed = absl::Nanoseconds(clock().Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

  const MonotonicNanos start_ = clock().Now();
};

GREENLET_TEST_F(TaskGroupLimit, NoMoreThanTheLimitRunAtOnceAndTheFirstComesFirst) {
  TaskGroup group({.max_running = 3});
  std::vector<int> begun;
  size_t most = 0;
  for (int i = 0; i < 10; ++i) {
    group.Spawn([&, i] {
      begun.push_back(i);
      most = std::max(most, group.running());
      Sleep(absl::Seconds(1));
    });
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));  // the tenth has begun as the ninth could
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_EQ(most, 3u);
  EXPECT_THAT(begun, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

GREENLET_TEST_F(TaskGroupLimit, NobodyTakesThePlaceOfOneThatWaitsLonger) {
  TaskGroup group({.max_running = 1});
  std::vector<char> begun;
  const Greenlet<> first = group.Spawn([] { Sleep(absl::Seconds(1)); });
  const Greenlet<> waits = Spawn([&] { group.Spawn([&] { begun.push_back('a'); }); });
  Yield();
  first.Join();  // its place is promised, and its new owner has not run
  group.Spawn([&] { begun.push_back('b'); });
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_THAT(begun, ElementsAre('a', 'b'));
}

GREENLET_TEST_F(TaskGroupLimit, AKillOfWhoWaitsForAPlaceSpawnsNothing) {
  TaskGroup group({.name = "g", .max_running = 1});
  group.Spawn([] { Sleep(absl::Seconds(1)); });
  bool ran = false;
  const Greenlet<> waits = Spawn([&] { group.Spawn([&] { ran = true; }); });
  Yield();
  waits.Kill();
  waits.Join();
  bool next_ran = false;
  group.Spawn([&] { next_ran = true; });
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_FALSE(ran);
  EXPECT_TRUE(next_ran);
}

GREENLET_TEST_F(TaskGroupLimit,
                CancellingLetsThoseInWhoWaitForAPlaceAndTheirTasksNeverBegin) {
  TaskGroup group({.max_running = 1});
  group.Spawn(&SleepForEver);
  bool ran = false;
  std::vector<Greenlet<>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(Spawn([&] {
      const Greenlet<> g = group.Spawn([&] { ran = true; });
      EXPECT_TRUE(g.killed());
    }));
  }
  Yield();
  group.Cancel();
  for (const Greenlet<>& g : waiting) g.Join();
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_FALSE(ran);
}

GREENLET_TEST_F(TaskGroupLimit, AFailureLetsThoseInWhoWaitForAPlace) {
  TaskGroup group({.max_running = 1});
  for (int i = 0; i < 3; ++i) {
    group.Spawn([i]() -> absl::Status {
      Sleep(absl::Seconds(1));
      return absl::AbortedError(absl::StrCat("task ", i));
    });
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(group.failures(), SizeIs(1));
}

GREENLET_TEST_F(TaskGroupLimit, ATaskOfAFullGroupDoesNotWaitForItself) {
  TaskGroup group({.max_running = 1});
  size_t running = 0;
  group.Spawn([&] { group.Spawn([&] { running = group.running(); }).Join(); });
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(running, 2u);
}

GREENLET_TEST_F(TaskGroupLimit, TheScopeEndsAfterThoseWhoWaitForAPlace) {
  bool ran = false;
  Greenlet<> waits;
  {
    TaskGroup group({.max_running = 1});
    group.Spawn(&SleepForEver);
    waits = Spawn([&] { group.Spawn([&] { ran = true; }); });
    Yield();
  }
  waits.Join();
  EXPECT_FALSE(ran);
}

TEST(TaskGroupLimitDeathTest, ALimitOfNoneIsFatal) {
  EXPECT_DEATH(TaskGroup({.name = "g", .max_running = 0}),
               "TaskGroup 'g' none of whose tasks may run");
}

}  // namespace
}  // namespace grove
