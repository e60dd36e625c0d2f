#include "grove/sync/rate_limiter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"
#include "grove/hub/hub.h"
#include "grove/sync/blocking_call_tests.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::Lots;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

// Tokens come with time only, so that the tests of every blocking call are not for it.
class RateLimiterTest : public GreenletTest {
 protected:
  static bool Near(double a, double b) { return std::abs(a - b) < 1e-6; }
};

GREENLET_TEST_F(RateLimiterTest, BeginsWithABurstAndThenLetsThroughAtItsRate) {
  RateLimiter limiter({.tokens = 10, .per = absl::Seconds(1), .burst = 3});
  EXPECT_EQ(limiter.available(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.Acquire());
  EXPECT_EQ(Elapsed(), absl::ZeroDuration());
  EXPECT_FALSE(limiter.TryAcquire());
  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(limiter.Acquire());
    EXPECT_TRUE(HasTaken(i * absl::Milliseconds(100)));
  }
}

GREENLET_TEST_F(RateLimiterTest, TheBurstIsAsLargeAsTheTokensIfNothingIsSaid) {
  RateLimiter limiter({.tokens = 5});
  EXPECT_TRUE(limiter.TryAcquire(5));
  EXPECT_FALSE(limiter.TryAcquire(0.01));
  EXPECT_TRUE(limiter.TryAcquire(0));
}

GREENLET_TEST_F(RateLimiterTest, FillsUpToTheBurstAndNoFurther) {
  RateLimiter limiter({.tokens = 10, .burst = 4});
  EXPECT_TRUE(limiter.TryAcquire(4));
  Sleep(absl::Milliseconds(200));
  EXPECT_TRUE(limiter.available() > 1.99 && limiter.available() < 2.01);
  Sleep(absl::Hours(1));
  EXPECT_EQ(limiter.available(), 4);
}

GREENLET_TEST_F(RateLimiterTest, ManySmallAcquisitionsDoNotDrift) {
  RateLimiter limiter({.tokens = 3, .per = absl::Seconds(7), .burst = 1});
  EXPECT_TRUE(limiter.Acquire(1));
  for (int i = 0; i < 30'000; ++i) EXPECT_TRUE(limiter.Acquire(0.001));
  // 30 tokens take 70 s. Each timer is a microsecond late at most, and what came
  // meanwhile is not lost.
  EXPECT_GE(Elapsed(), absl::Seconds(70) - absl::Microseconds(1));
  EXPECT_LE(Elapsed(), absl::Seconds(70) + absl::Milliseconds(1));
}

GREENLET_TEST_F(RateLimiterTest, OneWhoWantsManyIsNotPassedByThoseWhoWantFew) {
  RateLimiter limiter({.tokens = 1, .burst = 10});
  EXPECT_TRUE(limiter.Acquire(10));
  const Greenlet<> many = Spawn([&] { limiter.Acquire(10); });
  Settle();
  const Greenlet<> few = Spawn([&] { limiter.Acquire(1); });
  Settle();
  EXPECT_FALSE(limiter.TryAcquire(0.5));
  many.Join();
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
  EXPECT_FALSE(few.ready());
  few.Join();
  EXPECT_TRUE(HasTaken(absl::Seconds(11)));
}

GREENLET_TEST_F(RateLimiterTest, WhoLeavesTheLineLetsThoseBehindGoOn) {
  RateLimiter limiter({.tokens = 1, .burst = 10});
  EXPECT_TRUE(limiter.Acquire(10));
  const Greenlet<> killed = Spawn([&] { limiter.Acquire(10); });
  Settle();
  const Greenlet<> late =
      Spawn([&] { EXPECT_FALSE(limiter.Acquire(10, absl::Seconds(3))); });
  Settle();
  const Greenlet<> few = Spawn([&] { EXPECT_TRUE(limiter.Acquire(2)); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  few.Join();  // two are there, but `late` stands before it
  EXPECT_TRUE(late.ready());
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  EXPECT_TRUE(limiter.available() > 0.99 && limiter.available() < 1.01);
}

GREENLET_TEST_F(RateLimiterTest, ADeadlineOrAnInterruptTakesNothing) {
  RateLimiter limiter({.tokens = 1, .per = absl::Seconds(10)});
  EXPECT_TRUE(limiter.Acquire());
  EXPECT_FALSE(limiter.Acquire(1, absl::Seconds(2)));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  {
    Timeout timeout(absl::Seconds(2));
    EXPECT_THROW(limiter.Acquire(), TimeoutExpired);
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_TRUE(limiter.Acquire(1, absl::Seconds(7)));
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
}

GREENLET_TEST_F(RateLimiterTest, AKillInTheTurnOfTheGrantLosesNoToken) {
  RateLimiter limiter({.tokens = 1, .per = absl::Seconds(1)});
  EXPECT_TRUE(limiter.Acquire());
  bool done = false;
  const Greenlet<> g = Spawn([&] { done = limiter.Acquire(); });
  Settle();
  Sleep(absl::Seconds(1) - Elapsed());
  g.Kill();
  EXPECT_EQ(limiter.TryAcquire(0.999), !done);
}

// --- homes ---

GREENLET_TEST_F(RateLimiterTest, WhatDoesNotWaitMakesNoHub) {
  RateLimiter limiter({.tokens = 2});
  OnThread([&] {
    EXPECT_TRUE(limiter.TryAcquire(2));
    EXPECT_FALSE(limiter.TryAcquire());
    EXPECT_LT(limiter.available(), 1);
    EXPECT_EQ(Hub::Current(), nullptr);
  });
}

GREENLET_TEST_F(RateLimiterTest, OtherHubsWaitByTheClockOfTheHome) {
  RateLimiter limiter({.tokens = 1, .per = absl::Hours(1)});
  EXPECT_TRUE(limiter.Acquire());
  OnHub([&] { EXPECT_TRUE(limiter.Acquire()); });
  EXPECT_GE(Elapsed(), absl::Hours(1) - absl::Microseconds(1));
}

GREENLET_TEST_F(RateLimiterTest, KillsOnAnotherHubThatRaceWithTokensTakeNothing) {
  RateLimiter limiter({.tokens = 1, .per = absl::Microseconds(10), .burst = 1'000'000});
  EXPECT_TRUE(limiter.Acquire(1'000'000));
  clock().set_auto_advance(false);
  const MonotonicNanos start = hub().Now();
  int done = 0;
  OnHub([&, home = hub().handle()] {
    for (int i = 0; i < 300; ++i) {
      const Greenlet<> g = Spawn([&] { done += limiter.Acquire() ? 1 : 0; });
      Yield();
      EXPECT_TRUE(home.Post([&] { clock().Advance(absl::Microseconds(10)); }).ok());
      for (int spin = 0; spin < i * 37 % 3000; ++spin) asm volatile("");
      g.Kill();
    }
  });
  clock().set_auto_advance(true);
  const double came = static_cast<double>(hub().Now() - start) / 10'000;
  EXPECT_TRUE(Near(limiter.available() + done, came))
      << limiter.available() << " + " << done << " of " << came;
}

TEST(RateLimiterHome, MadeBeforeThereIsAHubAndUsedOnSeveralOneAfterTheOther) {
  RateLimiter limiter({.tokens = 1, .per = absl::Seconds(1)});
  EXPECT_TRUE(limiter.TryAcquire());
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 0; i < 3; ++i) {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    EXPECT_TRUE(limiter.Acquire(1, absl::Hours(1)));
    EXPECT_TRUE(limiter.Acquire(1, absl::Hours(1)));
  }
}

// --- misuse ---

TEST(RateLimiterDeathTest, MisuseIsFatal) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  using Options = RateLimiter::Options;
  for (const Options& options :
       {Options{.tokens = 0}, Options{.tokens = -1}, Options{.tokens = kInfinity},
        Options{.per = absl::ZeroDuration()}, Options{.per = absl::InfiniteDuration()},
        Options{.burst = -1}, Options{.burst = kInfinity}}) {
    EXPECT_DEATH(RateLimiter limiter(options), "a RateLimiter of ");
  }
  RateLimiter limiter({.tokens = 5});
  EXPECT_DEATH(limiter.TryAcquire(6), "acquiring 6 tokens of .*, which has at most 5");
  EXPECT_DEATH(limiter.TryAcquire(-1), "acquiring -1 tokens");
}

struct EmptyLimiter {
  EmptyLimiter() { EXPECT_TRUE(limiter.TryAcquire()); }
  bool Call() { return limiter.Acquire(); }
  RateLimiter limiter{{.per = absl::Hours(1)}};
};
BLOCKING_CALL_DEATH_TEST(EmptyLimiter, "RateLimiter");

// --- any order ---

TEST(RateLimiterSeeds, NoMoreIsTakenThanCameAndNothingIsLost) {
  ForEachSeed(1000, [] {
    Lots lots;
    const MonotonicNanos start = ThisHub().Now();
    RateLimiter limiter({.tokens = 1, .per = absl::Microseconds(1), .burst = 8});
    double taken = 0;
    std::vector<Greenlet<>> all;
    for (int g = 0; g < 4; ++g) {
      all.push_back(Spawn([&] {
        for (int n = 0; n < 6; ++n) {
          const double tokens = 1 + lots.Below(8);
          if (limiter.Acquire(tokens, lots.SomeDeadline())) taken += tokens;
        }
      }));
    }
    for (int n = 0; n < 4; ++n) {
      Sleep(absl::Microseconds(lots.Below(8)));
      if (lots.OneIn(3)) all[lots.Below(4)].KillSoon();
      const double came = static_cast<double>(ThisHub().Now() - start) / 1000;
      EXPECT_LE(taken, 8 + came + 0.001);
    }
    for (const Greenlet<>& g : all) EXPECT_TRUE(g.Join(absl::Seconds(1)));
    Sleep(absl::Microseconds(8));
    EXPECT_TRUE(limiter.TryAcquire(8));
  });
}

TEST(RateLimiter, CountsFromTheBeginningOfTimeToo) {
  ManualClock clock(0);
  const HubScope scope({.clock = &clock});
  RateLimiter limiter({.tokens = 1, .per = absl::Seconds(1)});
  EXPECT_TRUE(limiter.TryAcquire());
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(limiter.TryAcquire());
}

}  // namespace
}  // namespace grove
