#include "grove/green/deadline_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/call.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using ::testing::HasSubstr;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class DeadlineScopeTest : public testing::Test {
 protected:
  DeadlineScopeTest() {
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

TEST_F(DeadlineScopeTest, WithoutOneThereIsNoDeadline) {
  EXPECT_TRUE(CurrentDeadline().infinite());
  EXPECT_EQ(RemainingTime(), absl::InfiniteDuration());
  std::thread([] {
    EXPECT_TRUE(CurrentDeadline().infinite());
    EXPECT_EQ(Hub::Current(), nullptr);
  }).join();
}

TEST_F(DeadlineScopeTest, IsReadable) {
  const Deadline deadline = absl::Seconds(2);
  {
    DeadlineScope scope(deadline);
    EXPECT_EQ(scope.deadline(), deadline);
    EXPECT_EQ(CurrentDeadline(), deadline);
    EXPECT_EQ(RemainingTime(), absl::Seconds(2));
    Sleep(absl::Seconds(1));
    EXPECT_LE(RemainingTime(), absl::Seconds(1));
    EXPECT_EQ(*Spawn([] { return CurrentDeadline(); }).Get(), deadline);
  }
  EXPECT_TRUE(CurrentDeadline().infinite());
}

TEST_F(DeadlineScopeTest, EndsABlockingCallInIt) {
  DeadlineScope scope(absl::Seconds(2));
  try {
    SleepForEver();
    FAIL();
  } catch (const TimeoutExpired& e) {
    EXPECT_TRUE(scope.Threw(e));
    EXPECT_EQ(e.after(), absl::Seconds(2));
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(RemainingTime(), absl::ZeroDuration());
  Sleep(absl::Seconds(1));  // it is thrown once
}

TEST_F(DeadlineScopeTest, WithDeadlineReturnsWhatTheFunctionReturns) {
  EXPECT_EQ(*WithDeadline(absl::Seconds(1), [] { return 1; }), 1);
  EXPECT_EQ(WithDeadline(absl::Seconds(1), [] {}), absl::OkStatus());
  EXPECT_EQ(WithDeadline(absl::Seconds(1), [] { return absl::AbortedError("x"); }),
            absl::AbortedError("x"));
  EXPECT_THROW(
      WithDeadline(absl::Seconds(1), [] { throw std::runtime_error("x"); }).IgnoreError(),
      std::runtime_error);
}

TEST_F(DeadlineScopeTest, WithDeadlineReturnsDeadlineExceeded) {
  EXPECT_EQ(WithDeadline(absl::Seconds(2), &SleepForEver).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, OneThatHasPassedEndsTheFirstCallThatHasToWait) {
  int steps = 0;
  EXPECT_EQ(WithDeadline(absl::ZeroDuration(),
                         [&] {
                           ++steps;
                           SleepForEver();
                           ++steps;
                         })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(steps, 1);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(DeadlineScopeTest, ChildrenHaveWhatIsLeft) {
  Greenlet<> child;
  {
    DeadlineScope scope(absl::Seconds(3));
    Sleep(absl::Seconds(1));
    child = Spawn(&SleepForEver);
  }
  const absl::Status outcome = child.Get();
  EXPECT_EQ(outcome.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(outcome.message()),
              HasSubstr("has run out of the time that it inherited"));
  EXPECT_TRUE(HasTaken(absl::Seconds(3))) << "though the spawner's scope had ended";
  EXPECT_FALSE(child.successful());
  EXPECT_FALSE(child.killed());
  EXPECT_NE(child.exception(), nullptr);
  EXPECT_EQ(reports_, 0) << "that is no error nobody knew of";
}

TEST_F(DeadlineScopeTest, GrandchildrenHaveItToo) {
  Greenlet<> grandchild;
  DeadlineScope scope(absl::Seconds(2));
  Spawn([&] { grandchild = Spawn(&SleepForEver); }).Join();
  {
    Shield shield;  // the scope ends what waits for it, here, as well
    grandchild.Join();
  }
  EXPECT_EQ(grandchild.Get().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, AChildMayHandleItsExpiryWhichIsThrownOnce) {
  Greenlet<int> child;
  {
    DeadlineScope scope(absl::Seconds(1));
    child = Spawn([] {
      try {
        SleepForEver();
      } catch (const TimeoutExpired& e) {
        EXPECT_NE(e.scope(), nullptr);
      }
      Sleep(absl::Seconds(1));
      return 1;
    });
  }
  EXPECT_EQ(*child.Get(), 1);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, AnExpiryPassesThroughInnerScopesOfTheChild) {
  Greenlet<> child;
  bool passed = false;
  {
    DeadlineScope scope(absl::Seconds(1));
    child = Spawn([&] {
      // All of these are later than what is inherited.
      const absl::Status inner = WithTimeout(absl::Seconds(5), [&] {
        const absl::Status innermost = WithDeadline(absl::Seconds(4), &SleepForEver);
        passed = true;
      });
      passed = true;
    });
  }
  EXPECT_EQ(child.Get().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(passed);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(DeadlineScopeTest, AnInnerScopeMayBeEarlier) {
  EXPECT_EQ(WithDeadline(absl::Seconds(5),
                         [&]() -> absl::Status {
                           EXPECT_EQ(WithDeadline(absl::Seconds(2), &SleepForEver).code(),
                                     absl::StatusCode::kDeadlineExceeded);
                           EXPECT_TRUE(HasTaken(absl::Seconds(2)));
                           EXPECT_EQ(CurrentDeadline(),
                                     Deadline::At(start_ + 5'000'000'000));
                           return absl::AbortedError("went on");
                         }),
            absl::AbortedError("went on"));
}

TEST_F(DeadlineScopeTest, AnInnerScopeDoesNotExtendTheOuterOne) {
  bool passed = false;
  EXPECT_EQ(WithDeadline(absl::Seconds(1),
                         [&] {
                           EXPECT_EQ(WithDeadline(absl::Seconds(5),
                                                  [&] {
                                                    EXPECT_EQ(RemainingTime(),
                                                              absl::Seconds(1));
                                                    SleepForEver();
                                                  }),
                                     absl::OkStatus());
                           passed = true;
                         })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(passed);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(DeadlineScopeTest, ATimeoutAroundItPassesThrough) {
  Timeout outer(absl::Seconds(1));
  try {
    WithDeadline(absl::Seconds(2), &SleepForEver).IgnoreError();
    FAIL();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &outer);
  }
  EXPECT_TRUE(CurrentDeadline().infinite());
}

TEST_F(DeadlineScopeTest, APlainTimeoutIsNotInherited) {
  Greenlet<> child;
  {
    Timeout timeout(absl::Seconds(1));
    child = Spawn([] { Sleep(absl::Seconds(2)); });
  }
  EXPECT_EQ(child.Get(), absl::OkStatus());
}

TEST_F(DeadlineScopeTest, AKillPassesThrough) {
  bool passed = false;
  const Greenlet<> g = Spawn([&] {
    WithDeadline(absl::Seconds(2), &SleepForEver).IgnoreError();
    passed = true;
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(passed);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(DeadlineScopeTest, AChildThatIsKilledCountsAsKilled) {
  DeadlineScope scope(absl::Seconds(2));
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(g.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(DeadlineScopeTest, AShieldHoldsItBack) {
  Greenlet<> child;
  {
    DeadlineScope scope(absl::Seconds(1));
    child = Spawn([] {
      Shield shield;
      Sleep(absl::Seconds(2));
    });
  }
  EXPECT_EQ(child.Get(), absl::OkStatus());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, WhatWasSpawnedBeforeIsNotAffected) {
  const Greenlet<> before = Spawn([] {
    Sleep(absl::Seconds(2));
    EXPECT_TRUE(CurrentDeadline().infinite());
  });
  EXPECT_FALSE(WithDeadline(absl::Seconds(1), [&] { before.Join(); }).ok());
  EXPECT_EQ(before.Get(), absl::OkStatus());
}

TEST_F(DeadlineScopeTest, WithoutDeadlineIsForWhatOutlivesTheScope) {
  static const ContextKey<std::string> kTrace;
  ContextScope trace(kTrace, "a");
  Greenlet<std::string> g;
  EXPECT_EQ(WithDeadline(absl::Seconds(1),
                         [&] {
                           g = WithoutDeadline([] {
                             return Spawn([] {
                               Sleep(absl::Seconds(2));
                               return kTrace.GetOr("none");
                             });
                           });
                           EXPECT_EQ(RemainingTime(), absl::Seconds(1));
                           g.Join();
                         })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(*g.Get(), "a") << "the rest is inherited";
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, ACapturedContextHasTheDeadlineForWhatItSpawns) {
  Context captured;
  {
    DeadlineScope scope(absl::Seconds(1));
    captured = Context::Current();
  }
  Greenlet<> g;
  captured.Run([&] {
    EXPECT_EQ(RemainingTime(), absl::Seconds(1));
    Sleep(absl::Seconds(2));  // not interrupted itself
    g = Spawn(&SleepForEver);
  });
  EXPECT_EQ(g.Get().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(DeadlineScopeTest, UnderACapturedContextItsDeadlineEndsWhatIsInAScope) {
  Context captured;
  {
    DeadlineScope scope(absl::Seconds(1));
    captured = Context::Current();
  }
  EXPECT_EQ(
      captured.Run([] { return WithDeadline(absl::Seconds(5), &SleepForEver); }).code(),
      absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(DeadlineScopeTest, OneThatCostsNothingArmsNoTimer) {
  DeadlineScope none{Deadline()};
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
  EXPECT_TRUE(Context::Current().empty());
}

TEST_F(DeadlineScopeTest, ManyChildrenAllEndAtTheDeadline) {
  std::vector<Greenlet<>> all;
  {
    DeadlineScope scope(absl::Seconds(1));
    for (int i = 0; i < 1000; ++i) all.push_back(Spawn(&SleepForEver));
  }
  for (Greenlet<>& g : all) {
    EXPECT_EQ(g.Get().code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(DeadlineScopeTest, ATimeoutAtAMomentKeepsItWhenRestarted) {
  Timeout timeout(Deadline(absl::Seconds(2)));
  Sleep(absl::Seconds(1));
  timeout.Restart();
  EXPECT_THROW(SleepForEver(), TimeoutExpired);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST(InheritedDeadline, ACallThatRunsOutOfItReturnsThat) {
  const HubScope scope;
  HubGroup hubs({.hubs = 1});
  const absl::Status status = WithDeadline(absl::Milliseconds(1), [&] {
    const Shield shield;
    return Call(hubs.handle(0), [] { Sleep(absl::InfiniteDuration()); });
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace grove
