#include "grove/green/timeout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <optional>
#include <vector>

#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/os/signals.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/testing/socket_pair.h"

namespace grove {
namespace {

using ::testing::ElementsAre;

struct Custom {
  int value = 0;
};

class TimeoutTest : public MainGreenletTest {};

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

TEST_F(TimeoutTest, EndsABlockingCallWhenItsTimeHasCome) {
  Timeout timeout(absl::Seconds(2));
  EXPECT_TRUE(timeout.pending());
  EXPECT_EQ(timeout.after(), absl::Seconds(2));
  try {
    SleepForEver();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &timeout);
    EXPECT_EQ(e.after(), absl::Seconds(2));
    EXPECT_EQ(e.ToString(), "timed out after 2s");
  }
  EXPECT_FALSE(timeout.pending());
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_F(TimeoutTest, IsThrownOnce) {
  Timeout timeout(absl::Seconds(1));
  EXPECT_THROW(SleepForEver(), TimeoutExpired);
  Sleep(absl::Seconds(10));
  Yield();
  CheckInterrupt();
  EXPECT_TRUE(HasTaken(absl::Seconds(11)));
}

TEST_F(TimeoutTest, DoesNothingOnceItsScopeHasEnded) {
  {
    Timeout timeout(absl::Seconds(1));
    Sleep(absl::Milliseconds(500));
  }
  Sleep(absl::Seconds(10));
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
}

TEST_F(TimeoutTest, DoesNotInterruptWhatDoesNotBlock) {
  // TO-11. It is told at the first blocking call after.
  bool computed = false;
  EXPECT_THROW(
      {
        Timeout timeout(absl::Milliseconds(10));
        clock_.Advance(absl::Seconds(1));
        computed = true;
        SleepForEver();
      },
      TimeoutExpired);
  EXPECT_TRUE(computed);
}

TEST_F(TimeoutTest, IsNotAStdException) {
  EXPECT_THROW(
      {
        Timeout timeout(absl::Seconds(1));
        try {
          SleepForEver();
        } catch (const std::exception&) {
          ADD_FAILURE() << "what handles errors must not see it";
        }
      },
      TimeoutExpired);
}

TEST_F(TimeoutTest, AnInfiniteOneCostsNoTimer) {
  // TO-1, TO-10.
  Timeout timeout(absl::InfiniteDuration());
  EXPECT_FALSE(timeout.pending());
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
  Sleep(absl::Hours(24 * 365));
  timeout.Restart();
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
  timeout.Cancel();
  EXPECT_TRUE(WithTimeout(absl::InfiniteDuration(), [] { Sleep(absl::Hours(1)); }).ok());
}

TEST_F(TimeoutTest, OneOfCenturiesNeitherExpiresNorKeepsTheHubBusy) {
  // Later than the clock can count.
  for (const absl::Duration after :
       {absl::Hours(24 * 365 * 250), absl::Hours(24 * 365 * 400)}) {
    Timeout timeout(after);
    Sleep(absl::Hours(1));
    if (ThisHub().timers().armed() == 0) continue;
    EXPECT_GT(*ThisHub().timers().NextLook(), clock_.Now())
        << "a hub that looks at its timers at once, for ever, never sleeps";
  }
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
}

TEST_F(TimeoutTest, OfZeroOrLessExpiresAtTheNextCallThatWaits) {
  for (const absl::Duration after :
       {absl::ZeroDuration(), -absl::Seconds(1), -absl::InfiniteDuration()}) {
    Timeout timeout(after);
    EXPECT_TRUE(timeout.pending());
    EXPECT_THROW(SleepForEver(), TimeoutExpired) << after;
  }
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_F(TimeoutTest, CancelBeforeItsTime) {
  Timeout timeout(absl::Seconds(1));
  timeout.Cancel();
  EXPECT_FALSE(timeout.pending());
  timeout.Cancel();
  Sleep(absl::Seconds(5));
}

TEST_F(TimeoutTest, CancelAfterItsTimeAndBeforeItIsThrown) {
  Timeout timeout(absl::Seconds(1));
  {
    Shield shield;
    Sleep(absl::Seconds(5));
  }
  EXPECT_TRUE(timeout.pending()) << "expired, and not thrown yet";
  timeout.Cancel();
  EXPECT_FALSE(timeout.pending());
  Sleep(absl::Seconds(1));
  CheckInterrupt();
}

TEST_F(TimeoutTest, EndingTheScopeAfterItsTimeForgetsIt) {
  {
    Timeout timeout(absl::Seconds(1));
    Shield shield;
    Sleep(absl::Seconds(5));
  }
  Yield();
  Sleep(absl::Seconds(1));
}

TEST_F(TimeoutTest, AShieldKeepsItPending) {
  Timeout timeout(absl::Seconds(1));
  bool survived = false;
  EXPECT_THROW(
      {
        {
          Shield shield;
          Sleep(absl::Seconds(5));
          survived = true;
        }
        CheckInterrupt();
      },
      TimeoutExpired);
  EXPECT_TRUE(survived);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, IsNotThrownWhileTheStackUnwinds) {
  struct Slow {
    ~Slow() { Sleep(absl::Seconds(5)); }
  };
  Timeout timeout(absl::Seconds(1));
  try {
    Slow slow;
    throw Custom{1};
  } catch (const Custom&) {
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_THROW(Yield(), TimeoutExpired);
}

TEST_F(TimeoutTest, RestartCountsFromNow) {
  Timeout timeout(absl::Seconds(3));
  Sleep(absl::Seconds(2));
  timeout.Restart();
  Sleep(absl::Seconds(2));
  EXPECT_THROW(SleepForEver(), TimeoutExpired);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, RestartAfterItHasExpiredAndBeforeItIsThrown) {
  Timeout timeout(absl::Seconds(3));
  {
    Shield shield;
    Sleep(absl::Seconds(4));
  }
  timeout.Restart();
  Sleep(absl::Seconds(2));
  EXPECT_THROW(SleepForEver(), TimeoutExpired);
  EXPECT_TRUE(HasTaken(absl::Seconds(7)));
}

TEST_F(TimeoutTest, RestartAfterItWasThrown) {
  // gevent's test__timeout: the same object may expire again and again.
  Timeout timeout(absl::Seconds(1));
  for (int i = 1; i <= 3; ++i) {
    EXPECT_TRUE(timeout.pending());
    EXPECT_THROW(SleepForEver(), TimeoutExpired);
    EXPECT_FALSE(timeout.pending());
    EXPECT_TRUE(HasTaken(absl::Seconds(i)));
    timeout.Restart();
  }
  timeout.Cancel();
  timeout.Restart();
  EXPECT_TRUE(timeout.pending());
}

TEST_F(TimeoutTest, ThrowsAnErrorOfOnesOwn) {
  Timeout timeout(absl::Seconds(1), {.error = std::make_exception_ptr(Custom{7})});
  for (int i = 0; i < 2; ++i) {
    try {
      SleepForEver();
      ADD_FAILURE();
    } catch (const Custom& e) {
      EXPECT_EQ(e.value, 7);
    }
    timeout.Restart();
  }
}

TEST_F(TimeoutTest, BelongsToTheGreenletThatMadeIt) {
  bool other_finished = false;
  const Greenlet<> other = Spawn([&] {
    Sleep(absl::Seconds(5));
    other_finished = true;
  });
  {
    Timeout timeout(absl::Seconds(1));
    EXPECT_THROW(other.Join(), TimeoutExpired);
  }
  other.Join();
  EXPECT_TRUE(other_finished);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, ManyGreenletsHaveTheirOwn) {
  std::vector<int> order;
  for (int i = 5; i >= 1; --i) {
    Spawn([&order, i] {
      Timeout timeout(absl::Seconds(i));
      try {
        SleepForEver();
      } catch (const TimeoutExpired& e) {
        EXPECT_EQ(e.scope(), &timeout);
        order.push_back(i);
      }
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4, 5));
}

// --- nested scopes (TO-6) ---

TEST_F(TimeoutTest, TheInnerOneIsFirst) {
  Timeout outer(absl::Seconds(5));
  {
    Timeout inner(absl::Seconds(1));
    try {
      SleepForEver();
      ADD_FAILURE();
    } catch (const TimeoutExpired& e) {
      EXPECT_EQ(e.scope(), &inner);
    }
    EXPECT_TRUE(outer.pending());
    EXPECT_FALSE(inner.pending());
  }
  try {
    SleepForEver();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &outer);
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, TheOuterOneIsFirstAndTheInnerOneStaysPending) {
  Timeout outer(absl::Seconds(1));
  {
    Timeout inner(absl::Seconds(5));
    try {
      SleepForEver();
      ADD_FAILURE();
    } catch (const TimeoutExpired& e) {
      EXPECT_EQ(e.scope(), &outer);
    }
    EXPECT_TRUE(inner.pending());
    EXPECT_FALSE(outer.pending());
    try {
      SleepForEver();
      ADD_FAILURE();
    } catch (const TimeoutExpired& e) {
      EXPECT_EQ(e.scope(), &inner);
    }
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, AnOuterExpiryPassesThroughWithTimeout) {
  Timeout outer(absl::Seconds(1));
  bool inner_returned = false;
  try {
    (void)WithTimeout(absl::Seconds(5), [] { SleepForEver(); });
    inner_returned = true;
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &outer);
  }
  EXPECT_FALSE(inner_returned);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  Sleep(absl::Seconds(10));  // the inner one ended with its scope
}

TEST_F(TimeoutTest, WithTimeoutNests) {
  absl::Status inner;
  const absl::Status outer = WithTimeout(absl::Seconds(5), [&] {
    inner = WithTimeout(absl::Seconds(1), [] { SleepForEver(); });
    SleepForEver();
  });
  EXPECT_EQ(inner.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(inner.message(), "timed out after 1s");
  EXPECT_EQ(outer.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(outer.message(), "timed out after 5s");
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(TimeoutTest, OfTwoThatHaveExpiredTheEarlierIsThrownFirst) {
  Timeout outer(absl::Seconds(2));
  Timeout inner(absl::Seconds(1));
  {
    Shield shield;
    Sleep(absl::Seconds(5));
  }
  try {
    CheckInterrupt();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &inner);
  }
  EXPECT_TRUE(outer.pending());
  try {
    CheckInterrupt();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &outer);
  }
  CheckInterrupt();
}

TEST_F(TimeoutTest, OfTwoWithTheSameMomentTheOuterIsThrown) {
  // It ends more; the inner one ends with its scope on the way, unseen.
  Timeout outer(absl::Seconds(1));
  try {
    Timeout inner(absl::Seconds(1));
    SleepForEver();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), &outer);
  }
  Sleep(absl::Seconds(1));
}

TEST_F(TimeoutTest, ScopesMayEndInAnyOrder) {
  auto first = std::make_unique<Timeout>(absl::Seconds(1));
  auto second = std::make_unique<Timeout>(absl::Seconds(2));
  auto third = std::make_unique<Timeout>(absl::Seconds(3));
  second.reset();
  first.reset();
  try {
    SleepForEver();
    ADD_FAILURE();
  } catch (const TimeoutExpired& e) {
    EXPECT_EQ(e.scope(), third.get());
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_F(TimeoutTest, AKillIsThrownBeforeATimeout) {
  const Greenlet<> g = Spawn([] {
    Timeout timeout(absl::Seconds(1));
    {
      Shield shield;
      Sleep(absl::Seconds(5));
    }
    CheckInterrupt();
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
}

// --- WithTimeout (TL-17) ---

TEST_F(TimeoutTest, WithTimeoutReturnsWhatTheFunctionReturns) {
  EXPECT_TRUE(WithTimeout(absl::Seconds(1), [] {}).ok());
  const absl::StatusOr<int> value = WithTimeout(absl::Seconds(1), [] { return 5; });
  EXPECT_EQ(*value, 5);
  const absl::StatusOr<std::unique_ptr<int>> pointer =
      WithTimeout(absl::Seconds(1), [] { return std::make_unique<int>(6); });
  EXPECT_EQ(**pointer, 6);
  const absl::Status status =
      WithTimeout(absl::Seconds(1), [] { return absl::NotFoundError("x"); });
  EXPECT_EQ(status, absl::NotFoundError("x"));
  const absl::StatusOr<int> status_or = WithTimeout(
      absl::Seconds(1), []() -> absl::StatusOr<int> { return absl::DataLossError("y"); });
  EXPECT_EQ(status_or.status(), absl::DataLossError("y"));
  EXPECT_EQ(ThisHub().timers().armed(), 0u);
}

TEST_F(TimeoutTest, WithTimeoutIsDeadlineExceededWhateverTheType) {
  const auto expired = [](const absl::Status& s) {
    return s.code() == absl::StatusCode::kDeadlineExceeded &&
           s.message() == "timed out after 1s";
  };
  EXPECT_TRUE(expired(WithTimeout(absl::Seconds(1), [] { SleepForEver(); })));
  EXPECT_TRUE(expired(WithTimeout(absl::Seconds(1), [] {
                        SleepForEver();
                        return 1;
                      }).status()));
  EXPECT_TRUE(expired(WithTimeout(absl::Seconds(1), [] {
    SleepForEver();
    return absl::OkStatus();
  })));
  EXPECT_TRUE(expired(WithTimeout(absl::Seconds(1), []() -> absl::StatusOr<int> {
                        SleepForEver();
                        return 1;
                      }).status()));
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
}

TEST_F(TimeoutTest, WithTimeoutLetsOtherExceptionsThrough) {
  EXPECT_THROW((void)WithTimeout(absl::Seconds(1), [] { throw Custom{1}; }), Custom);
  const Greenlet<> g =
      Spawn([] { (void)WithTimeout(absl::Seconds(1), [] { SleepForEver(); }); });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
}

TEST_F(TimeoutTest, WithTimeoutUnwindsTheFunction) {
  auto token = std::make_shared<int>(0);
  (void)WithTimeout(absl::Seconds(1), [&] {
    const std::shared_ptr<int> on_the_stack = token;
    SleepForEver();
  });
  EXPECT_EQ(token.use_count(), 1);
}

// --- fairness (TO-9, sleep0) ---

TEST_F(TimeoutTest, IoThatIsReadyInTheSameTurnWins) {
  SocketPair pair;
  clock_.set_auto_advance(false);
  // Both happen before the hub looks again.
  Spawn([&] {
    pair.Send();
    clock_.Advance(absl::Seconds(5));
  });
  const absl::StatusOr<WaitResult> by_scope =
      WithTimeout(absl::Seconds(1), [&] { return pair.near.WaitReadable(); });
  ASSERT_TRUE(by_scope.ok()) << by_scope.status();
  EXPECT_EQ(*by_scope, WaitResult::kReady);
  // The same for a deadline of the call itself.
  pair.Receive();
  Spawn([&] {
    pair.Send();
    clock_.Advance(absl::Seconds(5));
  });
  EXPECT_EQ(pair.near.WaitReadable(absl::Seconds(1)), WaitResult::kReady);
}

TEST_F(TimeoutTest, IoThatIsReadyWinsThoughTheHubHasMuchElseToDo) {
  // More is ready than fits a slice: the timer must not be looked at before the socket.
  SocketPair pair;
  clock_.set_auto_advance(false);
  std::optional<WaitResult> result;
  const Greenlet<> reader =
      Spawn([&] { result = pair.near.WaitReadable(absl::Seconds(1)); });
  Yield();
  Spawn([&] {
    pair.Send();
    clock_.Advance(absl::Seconds(5));
  });
  for (int i = 0; i < 1000; ++i) {
    Spawn([] {
      for (int round = 0; round < 3; ++round) Yield();
    });
  }
  reader.Join();
  EXPECT_EQ(result, WaitResult::kReady);
}

TEST_F(TimeoutTest, IoThatIsReadyWinsAgainstADeadlineThatHasPassedMeanwhile) {
  SocketPair pair;
  pair.Send();
  const Deadline deadline = absl::Seconds(1);
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(pair.near.WaitReadable(deadline), WaitResult::kReady);
}

TEST_F(TimeoutTest, OthersThatYieldForEverDoNotStarveIt) {
  // Each round of theirs takes a microsecond of the virtual clock: the timeout has to
  // come however ready they are.
  bool stop = false;
  int64_t rounds = 0;
  for (int i = 0; i < 3; ++i) {
    Spawn([&] {
      while (!stop) {
        clock_.Advance(absl::Microseconds(1));
        ++rounds;
        Yield();
      }
    });
  }
  const absl::Status status = WithTimeout(absl::Milliseconds(10), &SleepForEver);
  stop = true;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(rounds, 10'000);
}

TEST_F(TimeoutTest, ItEndsALoopThatOnlyYields) {
  const absl::Status status = WithTimeout(absl::Milliseconds(10), [&] {
    for (;;) {
      clock_.Advance(absl::Microseconds(1));
      Yield();
    }
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(RealTimeoutTest, ABusyYieldLoopDoesNotStarveIt) {
  HubScope scope;
  bool stop = false;
  Spawn([&] {
    while (!stop) Yield();
  });
  EXPECT_EQ(WithTimeout(absl::Milliseconds(5), &SleepForEver).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(WithTimeout(absl::Milliseconds(5),
                        [] {
                          for (;;) Yield();
                        })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  stop = true;
}

TEST(RealTimeoutTest, IsNeverEarlyThoughTheHubHasNotLookedAtTheClockForLong) {
  // gevent#97, and "update_now": a loop's idea of now is as old as its last poll.
  HubScope scope;
  Yield();
  for (int round = 0; round < 3; ++round) {
    const MonotonicNanos busy_until = Clock::ReadMonotonic() + 50'000'000;
    while (Clock::ReadMonotonic() < busy_until) {
    }
    const MonotonicNanos start = Clock::ReadMonotonic();
    (void)WithTimeout(absl::Milliseconds(20), &SleepForEver);
    EXPECT_GE(Clock::ReadMonotonic() - start, 20'000'000);
    const MonotonicNanos sleep_start = Clock::ReadMonotonic();
    Sleep(absl::Milliseconds(5));
    EXPECT_GE(Clock::ReadMonotonic() - sleep_start, 5'000'000);
  }
}

TEST_F(TimeoutTest, OneWithoutRefDoesNotKeepTheHubGoing) {
  const Greenlet<> g = Spawn([] {
    Timeout timeout(absl::Hours(1), {.ref = false});
    SleepForEver();
  });
  Yield();
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_THROW(g.Join(), LoopExit);
}

// --- every blocking call ---

// One blocking call, on something that will never let it go on by itself. Returns whether
// it did not end by its deadline.
struct BlockingCall {
  const char* name;
  bool (*wait)(Deadline deadline);
};

const BlockingCall kBlockingCalls[] = {
    {"Join",
     [](Deadline deadline) {
       const Greenlet<> g = Spawn(&SleepForEver);
       const bool ended = g.Join(deadline);
       g.KillSoon();
       return ended;
     }},
    {"Get",
     [](Deadline deadline) {
       const Greenlet<int> g = Spawn([] {
         SleepForEver();
         return 1;
       });
       const absl::StatusOr<int> result = g.Get(deadline);
       if (!result.ok()) g.KillSoon();
       return result.status().code() != absl::StatusCode::kDeadlineExceeded;
     }},
    {"Kill",
     [](Deadline deadline) {
       const Greenlet<> g = Spawn([] {
         Shield shield;
         Sleep(absl::Seconds(8));
       });
       Yield();
       g.Kill({.deadline = deadline});
       return g.ready();
     }},
    {"SleepUntil",
     [](Deadline deadline) {
       SleepUntil(deadline);
       return !deadline.HasPassed();
     }},
    {"JoinHub",
     [](Deadline deadline) {
       const Greenlet<> g = Spawn([] { Sleep(absl::Hours(1000)); });
       const bool dry = JoinHub(deadline);
       g.KillSoon();
       return dry;
     }},
    {"WaitReadable",
     [](Deadline deadline) {
       SocketPair pair;
       return pair.near.WaitReadable(deadline) != WaitResult::kDeadline;
     }},
    {"WaitWritable",
     [](Deadline deadline) {
       SocketPair pair;
       pair.FillNear();
       return pair.near.WaitWritable(deadline) != WaitResult::kDeadline;
     }},
    {"SignalListenerWait",
     [](Deadline deadline) {
       SignalListener signals({SIGUSR2});
       return signals.Wait(deadline).has_value();
     }},
};

class EveryBlockingCall : public MainGreenletTest,
                          public testing::WithParamInterface<BlockingCall> {};

INSTANTIATE_TEST_SUITE_P(All, EveryBlockingCall, testing::ValuesIn(kBlockingCalls),
                         [](const auto& info) { return info.param.name; });

TEST_P(EveryBlockingCall, EndsAtItsDeadline) {
  EXPECT_FALSE(GetParam().wait(absl::Seconds(3)));
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_P(EveryBlockingCall, TakesNoTimeWithADeadlineThatHasPassed) {
  EXPECT_FALSE(GetParam().wait(absl::ZeroDuration()));
  EXPECT_FALSE(GetParam().wait(Deadline::At(clock_.Now() - 1)));
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_P(EveryBlockingCall, ATimeoutAroundItIsNotLost) {
  for (const absl::Duration own : {absl::Seconds(5), absl::InfiniteDuration()}) {
    Timeout outer(absl::Seconds(1));
    try {
      GetParam().wait(own);
      ADD_FAILURE();
    } catch (const TimeoutExpired& e) {
      EXPECT_EQ(e.scope(), &outer);
    }
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_P(EveryBlockingCall, ThrowsTheErrorOfATimeoutAroundIt) {
  Timeout outer(absl::Seconds(1), {.error = std::make_exception_ptr(Custom{1})});
  EXPECT_THROW(GetParam().wait(absl::InfiniteDuration()), Custom);
}

TEST_P(EveryBlockingCall, ItsOwnDeadlineComesBeforeALaterTimeout) {
  Timeout outer(absl::Seconds(5));
  EXPECT_FALSE(GetParam().wait(absl::Seconds(1)));
  EXPECT_TRUE(outer.pending());
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_P(EveryBlockingCall, IsEndedByAKill) {
  for (const absl::Duration own : {absl::Seconds(5), absl::InfiniteDuration()}) {
    bool returned = false;
    const Greenlet<> g = Spawn([&] {
      GetParam().wait(own);
      returned = true;
    });
    Sleep(absl::Seconds(1));
    EXPECT_FALSE(g.ready());
    g.Kill();
    EXPECT_TRUE(g.killed());
    EXPECT_FALSE(returned);
  }
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

TEST_P(EveryBlockingCall, ThrowsAKillThatIsPendingWithoutWaiting) {
  bool returned = false;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().KillSoon();
    GetParam().wait(absl::Seconds(5));
    returned = true;
  });
  g.Join();
  EXPECT_TRUE(g.killed());
  EXPECT_FALSE(returned);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

TEST_P(EveryBlockingCall, AShieldKeepsItFromBeingEnded) {
  bool returned = false;
  const Greenlet<> g = Spawn([&] {
    Shield shield;
    Timeout timeout(absl::Seconds(1));
    EXPECT_FALSE(GetParam().wait(absl::Seconds(5)));
    returned = true;
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(returned);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_P(EveryBlockingCall, LetsOthersRun) {
  int ticks = 0;
  const Greenlet<> ticker = Spawn([&] {
    for (;; ++ticks) Sleep(absl::Milliseconds(100));
  });
  EXPECT_FALSE(GetParam().wait(absl::Milliseconds(1050)));
  EXPECT_EQ(ticks, 10);
}

// --- misuse ---

TEST(TimeoutDeathTest, RestartByAnotherGreenletIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Timeout timeout(absl::Seconds(1));
        Spawn({.name = "thief"}, [&] { timeout.Restart(); }).Join();
      },
      "a Timeout of greenlet 'main' is started by another greenlet");
}

TEST(CheckInterrupt, LetsATimeoutEndALoopThatComputes) {
  const HubScope scope;
  EXPECT_TRUE(absl::IsDeadlineExceeded(WithTimeout(absl::Milliseconds(5), [] {
    for (;;) CheckInterrupt();
  })));
}

TEST(CheckInterrupt, LetsAnotherKillALoopThatComputes) {
  const HubScope scope;
  const Greenlet<> loop = Spawn([] {
    for (;;) CheckInterrupt();
  });
  Yield();
  loop.Kill();
  EXPECT_TRUE(loop.killed());
}

}  // namespace
}  // namespace grove
