#include "grove/green/task_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/deadline_scope.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/spawn_hook.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class TaskGroupTest : public testing::Test {
 protected:
  TaskGroupTest() {
    SetErrorHandler([this](const UnhandledException&) { ++reports_; });
  }
  // To 10 us: each timer is rounded up to its slot of a microsecond.
  bool HasTaken(absl::Duration expected) const {
    const absl::Duration elapsed = absl::Nanoseconds(clock_.Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  int reports_ = 0;
  HubScope scope_{HubOptions{.clock = &clock_}};
};

// --- success ---

TEST_F(TaskGroupTest, OfNoTasksIsJoinedAtOnce) {
  TaskGroup group;
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(group.Join(absl::ZeroDuration()), absl::OkStatus());
}

TEST_F(TaskGroupTest, JoinWaitsForAllAndHandlesHaveTheResults) {
  TaskGroup group;
  const Greenlet<int> a = group.Spawn([] {
    Sleep(absl::Seconds(2));
    return 1;
  });
  const Greenlet<absl::StatusOr<std::string>> b =
      group.Spawn({.name = "b"}, []() -> absl::StatusOr<std::string> { return "x"; });
  const Greenlet<> c = group.Spawn([] { Sleep(absl::Seconds(1)); });
  EXPECT_EQ(b.name(), "b");
  EXPECT_EQ(group.running(), 3u);
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(group.running(), 0u);
  EXPECT_EQ(*a.Get(), 1);
  EXPECT_EQ(*b.Get(), "x");
  EXPECT_TRUE(c.successful());
}

TEST_F(TaskGroupTest, IsReadyAtOnceIfAllHaveEnded) {
  TaskGroup group;
  group.Spawn([] {});
  Sleep(absl::Seconds(1));
  EXPECT_EQ(group.Join(absl::ZeroDuration()), absl::OkStatus());
}

TEST_F(TaskGroupTest, TasksMaySpawnSiblingsWhileItIsJoined) {
  TaskGroup group;
  int ran = 0;
  struct Tree {
    static void Run(TaskGroup& group, int depth, int& ran) {
      ++ran;
      Sleep(absl::Seconds(1));
      if (depth == 0) return;
      for (int i = 0; i < 2; ++i) {
        group.Spawn([&group, depth, &ran] { Run(group, depth - 1, ran); });
      }
    }
  };
  group.Spawn([&] { Tree::Run(group, 4, ran); });
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(ran, 31);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TaskGroupTest, CanBeUsedAgainAfterASuccessfulJoin) {
  TaskGroup group;
  for (int i = 0; i < 3; ++i) {
    const Greenlet<int> g = group.Spawn([i] { return i; });
    EXPECT_EQ(group.Join(), absl::OkStatus());
    EXPECT_EQ(*g.Get(), i);
  }
}

TEST_F(TaskGroupTest, MoreThanOneMayJoin) {
  TaskGroup group;
  group.Spawn([] { Sleep(absl::Seconds(1)); });
  int joined = 0;
  std::vector<Greenlet<>> joiners;
  for (int i = 0; i < 3; ++i) {
    joiners.push_back(Spawn([&] {
      EXPECT_EQ(group.Join(), absl::OkStatus());
      ++joined;
    }));
  }
  EXPECT_EQ(group.Join(), absl::OkStatus());
  for (const Greenlet<>& g : joiners) g.Join();
  EXPECT_EQ(joined, 3);
}

TEST_F(TaskGroupTest, EndedTasksLeaveNothingBehind) {
  // A long-lived group, as a server's: each task's captures, result and stack are gone.
  TaskGroup group;
  auto shared = std::make_shared<int>(0);
  for (int i = 0; i < 1000; ++i) {
    group.Spawn([shared] { return shared; });
    Yield();
    EXPECT_EQ(shared.use_count(), 1);
    EXPECT_EQ(group.running(), 0u);
  }
  EXPECT_EQ(group.Join(), absl::OkStatus());
}

// --- failure ---

TEST_F(TaskGroupTest, AStatusIsReturnedWithTheTasksNameAndItsPayloads) {
  TaskGroup group({.name = "fetch"});
  group.Spawn([] {});
  group.Spawn({.name = "bad"}, [] { return ErrnoStatus(ECONNRESET, "read"); });
  const absl::Status status = group.Join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoOf(status), ECONNRESET);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("1 of 2 tasks of TaskGroup 'fetch' failed: greenlet 'bad' (#2), "
                        "spawned at green/task_group_test.cc:"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("read: Connection reset by peer"));
  EXPECT_EQ(group.Join(), status) << "the same again";
}

TEST_F(TaskGroupTest, AStatusOrThatIsNotOkIsAFailure) {
  TaskGroup group;
  const auto g = group.Spawn([]() -> absl::StatusOr<std::unique_ptr<int>> {
    return absl::NotFoundError("no such thing");
  });
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(group.failures()[0].status, absl::NotFoundError("no such thing"));
  EXPECT_EQ(group.failures()[0].exception, nullptr);
}

TEST_F(TaskGroupTest, AnExceptionIsThrownAsATaskGroupError) {
  TaskGroup group;
  group.Spawn({.name = "bad"}, [] { throw std::runtime_error("oops"); });
  for (int i = 0; i < 2; ++i) {
    try {
      group.Join().IgnoreError();
      FAIL();
    } catch (const std::exception& e) {
      EXPECT_THAT(e.what(),
                  HasSubstr("1 of 1 tasks of a TaskGroup failed: greenlet 'bad' "
                            "(#1), spawned at green/task_group_test.cc:"));
      EXPECT_THAT(e.what(), HasSubstr(": std::runtime_error: oops"));
      const auto& failures = dynamic_cast<const TaskGroupError&>(e).failures();
      ASSERT_THAT(failures, SizeIs(1));
      EXPECT_THROW(std::rethrow_exception(failures[0].exception), std::runtime_error);
      EXPECT_EQ(failures[0].status.code(), absl::StatusCode::kUnknown);
    }
  }
  EXPECT_EQ(reports_, 0) << "the group reports it";
}

TEST_F(TaskGroupTest, TheFirstFailureCancelsTheOthers) {
  TaskGroup group;
  bool unwound = false;
  bool began = false;
  const Greenlet<> waits = group.Spawn([&] {
    struct Unwound {
      bool* flag;
      ~Unwound() { *flag = true; }
    } witness{&unwound};
    SleepForEver();
  });
  group.Spawn([] {
    Sleep(absl::Seconds(1));
    return absl::AbortedError("x");
  });
  const Greenlet<> later = group.Spawn([&] {
    Sleep(absl::Seconds(2));
    began = true;
  });
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_TRUE(unwound);
  EXPECT_FALSE(began);
  EXPECT_TRUE(waits.killed());
  EXPECT_TRUE(later.killed());
  EXPECT_THAT(group.failures(), SizeIs(1)) << "what was cancelled has not failed";
  EXPECT_TRUE(group.cancelled());
}

TEST_F(TaskGroupTest, AFailureCancelsThoseThatHaveNotBegun) {
  TaskGroup group;
  bool ran = false;
  group.Spawn([] { throw std::runtime_error("x"); });
  const Greenlet<> g = group.Spawn([&] { ran = true; });
  EXPECT_THROW(group.Join().IgnoreError(), TaskGroupError);
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(ran);
}

TEST_F(TaskGroupTest, AFailureCancelsThoughNobodyJoinsYet) {
  TaskGroup group;
  const Greenlet<> g = group.Spawn(&SleepForEver);
  group.Spawn([] { return absl::AbortedError("x"); });
  Sleep(absl::Seconds(1));
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(group.cancelled());
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kAborted);
}

TEST_F(TaskGroupTest, AllErrorsAreReported) {
  // Two fail on their way out.
  TaskGroup group;
  group.Spawn({.name = "cleanup"}, [] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      throw std::runtime_error("cleanup failed");
    }
  });
  group.Spawn({.name = "other"}, []() -> absl::Status {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
    }
    return absl::DataLossError("half written");
  });
  group.Spawn({.name = "first"}, [] { return absl::AbortedError("x"); });
  try {
    group.Join().IgnoreError();
    FAIL();
  } catch (const TaskGroupError& e) {
    EXPECT_THAT(e.failures(), SizeIs(3));
    EXPECT_THAT(e.what(), HasSubstr("3 of 3 tasks"));
    EXPECT_THAT(e.what(), HasSubstr("greenlet 'first' (#3)"));
    EXPECT_THAT(e.what(), HasSubstr("ABORTED: x; greenlet 'cleanup' (#1)"));
    EXPECT_THAT(e.what(), HasSubstr("std::runtime_error: cleanup failed"));
    EXPECT_THAT(e.what(), HasSubstr("DATA_LOSS: half written"));
  }
}

TEST_F(TaskGroupTest, WithoutCancelOnFailureAllRunAndAllFailuresAreCollected) {
  TaskGroup group({.cancel_on_failure = false});
  for (int i = 0; i < 5; ++i) {
    group.Spawn([i]() -> absl::Status {
      Sleep(absl::Seconds(i));
      return i % 2 ? absl::AbortedError(std::to_string(i)) : absl::OkStatus();
    });
  }
  const absl::Status status = group.Join();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 of 5 tasks"));
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_FALSE(group.cancelled());
}

TEST_F(TaskGroupTest, ATaskThatIsKilledFromOutsideHasNotFailed) {
  TaskGroup group;
  const Greenlet<> g = group.Spawn(&SleepForEver);
  const Greenlet<> never = group.Spawn(&SleepForEver);
  const Greenlet<int> other = group.Spawn([] {
    Sleep(absl::Seconds(1));
    return 7;
  });
  never.Kill();
  Yield();
  g.Kill();
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(*other.Get(), 7);
}

TEST_F(TaskGroupTest, OneThatIsKilledWithAnErrorHasFailedByIt) {
  TaskGroup group;
  const Greenlet<> g = group.Spawn(&SleepForEver);
  Yield();
  g.Kill({.error = std::make_exception_ptr(std::runtime_error("killed with this"))});
  const Greenlet<> unstarted = group.Spawn(&SleepForEver);
  EXPECT_TRUE(unstarted.killed());
  EXPECT_THROW(group.Join().IgnoreError(), TaskGroupError);
}

TEST_F(TaskGroupTest, AnErrorThrownIntoOneThatHasNotBegunIsAFailure) {
  TaskGroup group;
  const Greenlet<> g = group.Spawn(&SleepForEver);
  g.Throw(std::make_exception_ptr(std::runtime_error("x")));
  EXPECT_THROW(group.Join().IgnoreError(), TaskGroupError);
  EXPECT_EQ(reports_, 0);
}

TEST_F(TaskGroupTest, ATimeoutThatEndsATaskIsDeadlineExceeded) {
  TaskGroup group;
  group.Spawn([] {
    Timeout timeout(absl::Seconds(1));
    SleepForEver();
  });
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(group.failures()[0].exception, nullptr);
}

// --- Cancel ---

TEST_F(TaskGroupTest, CancelKillsAllAndIsNoFailure) {
  TaskGroup group;
  const Greenlet<> a = group.Spawn(&SleepForEver);
  Yield();
  const Greenlet<> b = group.Spawn(&SleepForEver);
  group.Cancel();
  EXPECT_FALSE(a.ready());
  EXPECT_TRUE(b.ready()) << "it had not begun";
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_TRUE(a.killed());
  EXPECT_TRUE(b.killed());
}

TEST_F(TaskGroupTest, WhatIsSpawnedIntoACancelledGroupNeverBegins) {
  TaskGroup group;
  group.Cancel();
  bool ran = false;
  const Greenlet<> g = group.Spawn([&] { ran = true; });
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(group.Join(), absl::OkStatus());
  Yield();
  EXPECT_FALSE(ran);
}

TEST_F(TaskGroupTest, ATaskMayCancelItsOwnGroup) {
  // The first one that has an answer.
  TaskGroup group;
  std::string answer;
  for (const int i : {3, 1, 2}) {
    group.Spawn([&, i] {
      Sleep(absl::Seconds(i));
      answer = std::to_string(i);
      group.Cancel();
    });
  }
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(answer, "1");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(TaskGroupTest, NoneBeginsWhileTheEndOfAnotherBlocks) {
  struct SlowEnd {
    SlowEnd() = default;
    SlowEnd(SlowEnd&& other) : on(std::exchange(other.on, false)) {}
    ~SlowEnd() {
      if (on) Sleep(absl::Seconds(1));
    }
    bool on = true;
  };
  bool began = false;
  TaskGroup group;
  group.Spawn([slow = SlowEnd()] {});
  group.Spawn([&] { began = true; });
  group.Cancel();
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_FALSE(began);
}

TEST_F(TaskGroupTest, CancelMayBeCalledFromACallback) {
  TaskGroup group;
  group.Spawn(&SleepForEver);
  Yield();
  ThisHub().RunCallback([&] { group.Cancel(); });
  EXPECT_EQ(group.Join(), absl::OkStatus());
}

TEST_F(TaskGroupTest, DestructorsOfCancelledTasksMayBlockWhileTheGroupEnds) {
  // Those of captures of tasks that have not begun run in the task that has failed.
  struct Slow {
    explicit Slow(int* n) : ended(n) {}
    Slow(Slow&& o) noexcept : ended(std::exchange(o.ended, nullptr)) {}
    ~Slow() {
      if (ended == nullptr) return;
      Sleep(absl::Seconds(1));
      ++*ended;
    }
    int* ended;
  };
  int ended = 0;
  {
    TaskGroup group;
    group.Spawn([&] { SleepForEver(); });
    group.Spawn([] { return absl::AbortedError("x"); });
    for (int i = 0; i < 3; ++i) group.Spawn([slow = Slow(&ended)] {});
    Yield();
  }
  EXPECT_EQ(ended, 3);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

// --- the end of the scope ---

TEST_F(TaskGroupTest, AtTheEndOfTheScopeTasksThatAreLeftAreKilledAndJoined) {
  Greenlet<> g;
  bool ended = false;
  {
    TaskGroup group;
    g = group.Spawn([&] {
      try {
        SleepForEver();
      } catch (const GreenletExit&) {
        Shield shield;
        Sleep(absl::Seconds(1));
        ended = true;
        throw;
      }
    });
    Yield();
  }
  EXPECT_TRUE(ended);
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(TaskGroupTest, AnExceptionLeavesTheScopeAfterTheTasksHaveEnded) {
  Greenlet<> g;
  try {
    TaskGroup group;
    g = group.Spawn([] {
      try {
        SleepForEver();
      } catch (const GreenletExit&) {
        Shield shield;
        Sleep(absl::Seconds(1));
        throw;
      }
    });
    Yield();
    throw std::runtime_error("body");
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "body");
    EXPECT_TRUE(g.killed());
    EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  }
}

TEST_F(TaskGroupTest, AKillOfTheOwnerInJoinEndsTheTasks) {
  Greenlet<> task;
  const Greenlet<> owner = Spawn([&] {
    TaskGroup group;
    task = group.Spawn(&SleepForEver);
    group.Join().IgnoreError();
    ADD_FAILURE() << "Join() returned";
  });
  Yield();
  Yield();
  owner.Kill();
  EXPECT_TRUE(owner.killed());
  EXPECT_TRUE(task.killed());
}

TEST_F(TaskGroupTest, AKillOfTheOwnerInTheBodyEndsTheTasks) {
  Greenlet<> task;
  const Greenlet<> owner = Spawn([&] {
    TaskGroup group;
    task = group.Spawn(&SleepForEver);
    SleepForEver();
  });
  Yield();
  Yield();
  owner.Kill();
  EXPECT_TRUE(task.killed());
}

TEST_F(TaskGroupTest, AKillWhileTheScopeEndsStaysPending) {
  bool after = false;
  const Greenlet<> owner = Spawn([&] {
    {
      TaskGroup group;
      group.Spawn([] {
        try {
          SleepForEver();
        } catch (const GreenletExit&) {
          Shield shield;
          Sleep(absl::Seconds(2));
          throw;
        }
      });
      Yield();
    }
    after = true;
    Yield();
    ADD_FAILURE() << "the kill was lost";
  });
  Sleep(absl::Seconds(1));
  owner.Kill();
  EXPECT_TRUE(after);
  EXPECT_TRUE(owner.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(TaskGroupTest, ATimeoutAroundItPassesThroughJoinAndEndsTheTasks) {
  Greenlet<> task;
  EXPECT_EQ(WithTimeout(absl::Seconds(1),
                        [&] {
                          TaskGroup group;
                          task = group.Spawn(&SleepForEver);
                          return group.Join();
                        })
                .message(),
            "timed out after 1s");
  EXPECT_TRUE(task.killed());
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(TaskGroupTest, JoinReturnsAtItsDeadlineAndTheTasksGoOn) {
  TaskGroup group({.name = "g"});
  const Greenlet<int> g = group.Spawn({.name = "slow"}, [] {
    Sleep(absl::Seconds(3));
    return 7;
  });
  EXPECT_EQ(group.Join(absl::ZeroDuration()).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_EQ(group.Join(absl::Seconds(1)),
            absl::DeadlineExceededError("1 of 1 tasks of TaskGroup 'g' have not ended in "
                                        "time, among them greenlet 'slow' (#1)"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_THAT(group.failures(), IsEmpty());
  EXPECT_EQ(group.Join(absl::Seconds(10)), absl::OkStatus());
  EXPECT_EQ(*g.Get(), 7);
}

TEST_F(TaskGroupTest, AnExceptionThatNobodyJoinedForIsPrinted) {
  testing::internal::CaptureStderr();
  {
    TaskGroup group({.name = "g"});
    group.Spawn({.name = "bad"}, [] { throw std::runtime_error("oops"); });
    group.Spawn([] { return absl::AbortedError("a status is not"); });
    Yield();
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, HasSubstr("grove: a task of TaskGroup 'g', which nobody joined, "
                              "failed: greenlet 'bad' (#1), spawned at"));
  EXPECT_THAT(text, HasSubstr("std::runtime_error: oops\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("a status is not")));
}

// --- nesting ---

TEST_F(TaskGroupTest, CancellingAnOuterGroupCancelsTheInnerOnes) {
  std::vector<Greenlet<>> inner;
  TaskGroup group;
  for (int i = 0; i < 3; ++i) {
    group.Spawn([&] {
      TaskGroup nested;
      for (int k = 0; k < 3; ++k) inner.push_back(nested.Spawn(&SleepForEver));
      nested.Join().IgnoreError();
    });
  }
  Yield();
  Yield();
  EXPECT_EQ(inner.size(), 9u);
  group.Cancel();
  EXPECT_EQ(group.Join(), absl::OkStatus());
  for (const Greenlet<>& g : inner) EXPECT_TRUE(g.killed());
}

TEST_F(TaskGroupTest, AFailureInAnInnerGroupTravelsOutAsWhatItsTaskReturnsOrThrows) {
  Greenlet<> sibling;
  TaskGroup group;
  sibling = group.Spawn(&SleepForEver);
  group.Spawn({.name = "outer"}, [] {
    TaskGroup nested({.name = "nested"});
    nested.Spawn({.name = "inner"}, [] { return absl::DataLossError("x"); });
    return nested.Join();
  });
  const absl::Status status = group.Join();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("greenlet 'outer'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("TaskGroup 'nested'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("greenlet 'inner'"));
  EXPECT_TRUE(sibling.killed());
}

// --- deadlines ---

TEST_F(TaskGroupTest, AtTheGroupsDeadlineTheTasksAreTold) {
  TaskGroup group({.deadline = absl::Seconds(2)});
  absl::Duration left;
  const Greenlet<> a = group.Spawn([&] {
    left = RemainingTime();
    SleepForEver();
  });
  const Greenlet<> b = group.Spawn(&SleepForEver);
  EXPECT_TRUE(CurrentDeadline().infinite()) << "the owner's own is not changed";
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(left, absl::Seconds(2));
  EXPECT_EQ(a.Get().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(b.ready());
}

TEST_F(TaskGroupTest, WhatTasksSpawnHasTheGroupsDeadlineToo) {
  Greenlet<> detached;
  {
    TaskGroup group({.deadline = absl::Seconds(2)});
    group.Spawn([&] { detached = Spawn(&SleepForEver); });
    EXPECT_EQ(group.Join(), absl::OkStatus());
  }
  EXPECT_EQ(detached.Get().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(TaskGroupTest, CollectingAllOfThemRunOutOfTime) {
  TaskGroup group({.cancel_on_failure = false, .deadline = absl::Seconds(2)});
  for (const int i : {1, 3, 4, 5}) group.Spawn([i] { Sleep(absl::Seconds(i)); });
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(group.failures(), SizeIs(3));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(TaskGroupTest, AnEarlierDeadlineAroundItCounts) {
  Greenlet<> task;
  const absl::Status status = WithDeadline(absl::Seconds(1), [&] {
    TaskGroup group({.deadline = absl::Seconds(5)});
    task = group.Spawn([] {
      EXPECT_EQ(RemainingTime(), absl::Seconds(1));
      SleepForEver();
    });
    return group.Join();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(task.ready()) << "by the same deadline, or killed as the scope ended";
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(TaskGroupTest, TasksInheritTheContextOfTheirSpawner) {
  static const ContextKey<std::string> kTrace;
  TaskGroup group({.deadline = absl::Seconds(5)});
  ContextScope scope(kTrace, "a");
  const Greenlet<std::string> g = group.Spawn([] { return kTrace.GetOr("none"); });
  EXPECT_EQ(group.Join(), absl::OkStatus());
  EXPECT_EQ(*g.Get(), "a");
}

// --- looking inside, and wrong use ---

TEST_F(TaskGroupTest, ADeadlockNamesTheGroup) {
  std::string report;
  TaskGroup group({.name = "g"});
  group.Spawn({.name = "stuck"}, &SleepForEver);
  try {
    group.Join().IgnoreError();
  } catch (const LoopExit& e) {
    report = e.ToString();
  }
  EXPECT_THAT(report, HasSubstr("waits for the end of 1 task of TaskGroup 'g'\n"));
}

TEST_F(TaskGroupTest, ATaskThatAHookKillsIsAnEndedOne) {
  const SpawnHookId hook = AddSpawnHook([](const AnyGreenlet& g) { g.KillSoon(); });
  TaskGroup group;
  EXPECT_TRUE(group.Spawn(&SleepForEver).killed());
  EXPECT_EQ(group.Join(), absl::OkStatus());
  RemoveSpawnHook(hook);
}

TEST_F(TaskGroupTest, OfThousandsOneFails) {
  TaskGroup group;
  for (int i = 0; i < 5000; ++i) {
    group.Spawn([i]() -> absl::Status {
      Sleep(absl::Milliseconds(i + 1));
      return i == 2500 ? absl::AbortedError("x") : absl::OkStatus();
    });
  }
  EXPECT_EQ(group.Join().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(LiveGreenlets(), 0u);
  EXPECT_TRUE(HasTaken(absl::Milliseconds(2501)));
}

TEST(TaskGroupDeathTest, ATaskThatJoinsItsOwnGroupIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub;
        TaskGroup group({.name = "g"});
        group.Spawn({.name = "t"}, [&] { group.Join().IgnoreError(); });
        group.Join().IgnoreError();
      },
      "greenlet 't' \\(#1\\) joins TaskGroup 'g', of which it is a task");
}

TEST(TaskGroupDeathTest, UseOnAnotherThreadIsFatal) {
  EXPECT_DEATH(
      {
        HubScope hub({.name = "here"});
        TaskGroup group({.name = "g"});
        std::thread([&] { group.Spawn([] {}); }).join();
      },
      "Spawn of TaskGroup 'g' of hub 'here', from a thread without a hub");
}

TEST(TaskGroupDeathTest, EndingItInOneOfItsTasksIsFatal) {
  EXPECT_DEATH(
      {
        const HubScope scope;
        auto group = std::make_shared<TaskGroup>();
        group->Spawn([&group] { group.reset(); });
        Sleep(absl::Seconds(1));
      },
      "ends a TaskGroup, of which it is a task");
}

}  // namespace
}  // namespace grove
