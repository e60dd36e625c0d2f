#include "grove/green/wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// How many wait for a greenlet's end.
int Joiners(const AnyGreenlet& g) {
  int n = 0;
  for (auto* w = g.core()->joiners.front(); w; w = w->next()) ++n;
  return n;
}

class WaitTest : public testing::Test {
 protected:
  WaitTest() {
    SetErrorHandler([](const UnhandledException&) {});
  }
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }
  Greenlet<int> After(absl::Duration d, int result) {
    return Spawn([d, result] {
      Sleep(d);
      return result;
    });
  }
  Greenlet<int> FailAfter(absl::Duration d, const char* what) {
    return Spawn([d, what]() -> int {
      Sleep(d);
      throw std::runtime_error(what);
    });
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

using JoinAllTest = WaitTest;
using IWaitTest = WaitTest;
using KillAllTest = WaitTest;
using IdleTest = WaitTest;

// --- JoinAll (TL-10) ---

TEST_F(JoinAllTest, ReturnsThemInTheOrderOfTheirEnds) {
  const auto a = After(absl::Seconds(3), 1), b = After(absl::Seconds(1), 2),
             c = After(absl::Seconds(2), 3);
  EXPECT_THAT(JoinAll(std::vector{a, b, c}), ElementsAre(b, c, a));
  EXPECT_GE(Elapsed(), absl::Seconds(3));
}

TEST_F(JoinAllTest, ThoseThatHaveEndedComeFirstInTheOrderOfTheList) {
  const auto a = After(absl::Seconds(1), 1), b = After(absl::ZeroDuration(), 2),
             c = After(absl::ZeroDuration(), 3);
  c.Join();
  b.Join();
  EXPECT_THAT(JoinAll(std::vector{a, b, c}), ElementsAre(b, c, a));
}

TEST_F(JoinAllTest, OfThoseThatHaveEndedDoesNotSwitch) {
  const auto a = After(absl::ZeroDuration(), 1), b = After(absl::ZeroDuration(), 2);
  a.Join();
  b.Join();
  bool ran = false;
  Spawn([&] { ran = true; });
  EXPECT_THAT(JoinAll({a, b}), SizeIs(2));
  EXPECT_THAT(JoinAll({a, b}, {.deadline = Deadline::Passed()}), SizeIs(2));
  EXPECT_FALSE(ran);
}

TEST_F(JoinAllTest, OfNoneReturnsAtOnce) {
  EXPECT_THAT(JoinAll(std::vector<AnyGreenlet>()), IsEmpty());
  EXPECT_THAT(JoinAll({}), IsEmpty());
}

TEST_F(JoinAllTest, TakesAnyRangeAndKeepsItsType) {
  const std::list<Greenlet<int>> list = {After(absl::Seconds(1), 10),
                                         After(absl::Seconds(1), 20)};
  int sum = 0;
  for (const Greenlet<int>& g : JoinAll(list)) sum += *g.Get();
  EXPECT_EQ(sum, 30);
  const Greenlet<int> array[] = {list.front()};
  EXPECT_THAT(JoinAll(array), SizeIs(1));
  EXPECT_THAT(JoinAll({AnyGreenlet(list.front()), Spawn([] { return std::string(); })}),
              SizeIs(2));
}

TEST_F(JoinAllTest, ReturnsWhoHasEndedByTheDeadline) {
  const auto a = After(absl::Seconds(1), 1), b = After(absl::Seconds(10), 2);
  EXPECT_THAT(JoinAll({a, b}, {.deadline = absl::Seconds(5)}), ElementsAre(a));
  EXPECT_GE(Elapsed(), absl::Seconds(5));
  EXPECT_LT(Elapsed(), absl::Seconds(6));
  EXPECT_EQ(Joiners(b), 0);
  EXPECT_THAT(JoinAll({b}, {.deadline = Deadline::Passed()}), IsEmpty());
}

TEST_F(JoinAllTest, CountEndsItEarly) {
  const auto a = After(absl::Seconds(3), 1), b = After(absl::Seconds(1), 2),
             c = After(absl::Seconds(2), 3);
  EXPECT_THAT(JoinAll({a, b, c}, {.count = 2}), ElementsAre(b, c));
  EXPECT_EQ(Joiners(a), 0);
  EXPECT_THAT(JoinAll({a, b, c}, {.count = 0}), IsEmpty());
  EXPECT_THAT(JoinAll({a, b, c}, {.count = 100}), SizeIs(3));
}

TEST_F(JoinAllTest, OneThatIsListedTwiceIsMetTwice) {
  const auto a = After(absl::Seconds(1), 1), b = After(absl::Seconds(2), 2);
  EXPECT_THAT(JoinAll({a, b, a}), ElementsAre(a, a, b));
  EXPECT_THAT(JoinAll({a, b, a}, {.count = 3}), SizeIs(3));
}

TEST_F(JoinAllTest, FailuresAreReturnedLikeSuccesses) {
  const auto a = FailAfter(absl::Seconds(1), "a"), b = After(absl::Seconds(2), 2);
  EXPECT_THAT(JoinAll({a, b}), ElementsAre(a, b));
}

TEST_F(JoinAllTest, RethrowThrowsTheFirstFailureMetAndAtOnce) {
  const auto a = FailAfter(absl::Seconds(3), "late"), b = After(absl::Seconds(1), 2),
             c = FailAfter(absl::Seconds(2), "early");
  try {
    JoinAll({a, b, c}, {.rethrow = true});
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "early");
  }
  EXPECT_LT(Elapsed(), absl::Seconds(3));
  EXPECT_FALSE(a.ready());
  EXPECT_EQ(Joiners(a), 0);
}

TEST_F(JoinAllTest, RethrowTakesAKilledOneForNoFailure) {
  const auto a = Spawn(&SleepForEver);
  Yield();
  a.KillSoon();
  EXPECT_THAT(JoinAll({a}, {.rethrow = true}), ElementsAre(a));
}

TEST_F(JoinAllTest, IsKilledWhileItBlocks) {
  const auto target = Spawn(&SleepForEver);
  const auto joiner = Spawn([&] { JoinAll({target}); });
  Yield();
  EXPECT_EQ(Joiners(target), 1);
  joiner.Kill();
  EXPECT_TRUE(joiner.killed());
  EXPECT_EQ(Joiners(target), 0);
  EXPECT_FALSE(target.ready());
}

TEST_F(JoinAllTest, AnOutersTimeoutPassesThrough) {
  const auto target = Spawn(&SleepForEver);
  const absl::Status status =
      WithTimeout(absl::Seconds(1), [&] { JoinAll({target}, {.deadline = {}}); });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Joiners(target), 0);
}

TEST_F(JoinAllTest, ManyEndInOrder) {
  std::vector<Greenlet<int>> all;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(After(absl::Seconds(i * 7919 % 1000), i));
  }
  int at = 0;
  for (const auto& g : JoinAll(all)) EXPECT_EQ(*g.Get() * 7919 % 1000, at++);
  EXPECT_EQ(at, 1000);
}

TEST_F(JoinAllTest, ReportsWhatItWaitsFor) {
  const auto a = Spawn({.name = "first"}, &SleepForEver);
  const auto b = Spawn({.name = "second"}, &SleepForEver);
  const auto joiner = Spawn([&] { JoinAll({a, b}); });
  Yield();
  EXPECT_THAT(green_internal::Scheduler::Get().Report(),
              HasSubstr("one of 2, the last of which is the end of greenlet 'second'"));
  b.Kill();
  Yield();
  EXPECT_THAT(green_internal::Scheduler::Get().Report(), HasSubstr("one of several (2)"));
}

// --- IWait (TL-9, test__iwait, test__issue467) ---

TEST_F(IWaitTest, YieldsEachAsItEnds) {
  const auto a = After(absl::Seconds(2), 1), b = After(absl::Seconds(1), 2);
  std::vector<absl::Duration> when;
  std::vector<int> values;
  for (Greenlet<int>& g : IWait(std::vector{a, b})) {
    values.push_back(*g.Get());
    when.push_back(absl::Floor(Elapsed(), absl::Seconds(1)));
  }
  EXPECT_THAT(values, ElementsAre(2, 1));
  EXPECT_THAT(when, ElementsAre(absl::Seconds(1), absl::Seconds(2)));
}

TEST_F(IWaitTest, NextWorksWithoutALoop) {
  const auto a = After(absl::Seconds(1), 1);
  auto ends = IWait({a});
  EXPECT_EQ(ends.Next(), a);
  EXPECT_EQ(ends.Next(), std::nullopt);
  EXPECT_EQ(ends.Next(), std::nullopt);
}

TEST_F(IWaitTest, TheCallerMaySwitchBetweenItems) {
  const auto worker = [] { Sleep(absl::Milliseconds(1)); };
  const auto done = Spawn(worker);
  done.Join();
  const auto failed = Spawn([] { throw std::runtime_error("oops"); });
  std::vector<AnyGreenlet> all = {done, Spawn(worker), Spawn(worker), failed};
  int n = 0;
  for (const AnyGreenlet& g : IWait(all)) {
    EXPECT_TRUE(g.ready());
    Sleep(absl::Milliseconds(10));  // all others end meanwhile
    ++n;
  }
  EXPECT_EQ(n, 4);
}

TEST_F(IWaitTest, LeavingEarlyLeavesNoTrace) {
  const auto stays = Spawn(&SleepForEver);
  const auto ends = After(absl::Seconds(1), 1);
  {
    auto wait = IWait({stays, ends});
    EXPECT_EQ(wait.Next(), ends);
    EXPECT_EQ(Joiners(stays), 1);
  }
  EXPECT_EQ(Joiners(stays), 0);
  for (const AnyGreenlet& g : IWait({stays, ends})) {
    EXPECT_EQ(g, ends);
    break;
  }
  EXPECT_EQ(Joiners(stays), 0);
  stays.Kill();
}

TEST_F(IWaitTest, LeavingByAnExceptionLeavesNoTrace) {
  const auto stays = Spawn(&SleepForEver);
  const auto ends = After(absl::Seconds(1), 1);
  try {
    for (const AnyGreenlet& g : IWait({stays, ends})) throw g;
  } catch (const AnyGreenlet&) {
  }
  EXPECT_EQ(Joiners(stays), 0);
}

TEST_F(IWaitTest, TheDeadlineEndsTheIteration) {
  const auto a = After(absl::Seconds(1), 1), b = After(absl::Seconds(10), 2);
  std::vector<AnyGreenlet> met;
  for (const AnyGreenlet& g : IWait({a, b}, {.deadline = absl::Seconds(2)})) {
    met.push_back(g);
  }
  EXPECT_THAT(met, ElementsAre(a));
  EXPECT_LT(Elapsed(), absl::Seconds(3));
}

TEST_F(IWaitTest, CountEndsTheIteration) {
  const auto a = After(absl::Seconds(1), 1), b = After(absl::Seconds(2), 2);
  int n = 0;
  for ([[maybe_unused]] const AnyGreenlet& g : IWait({a, b}, {.count = 1})) ++n;
  EXPECT_EQ(n, 1);
  EXPECT_EQ(Joiners(b), 0);
}

TEST_F(IWaitTest, AKillWhileItBlocksLosesNothing) {
  const auto a = After(absl::Seconds(1), 1);
  std::vector<int> met;
  const auto caller = Spawn([&] {
    auto ends = IWait(std::vector{a});
    try {
      ends.Next();
      FAIL();
    } catch (const std::runtime_error&) {
    }
    while (auto g = ends.Next()) met.push_back(*g->Get());
  });
  Yield();
  caller.Throw(std::make_exception_ptr(std::runtime_error("stop")));
  caller.Join();
  EXPECT_THAT(met, ElementsAre(1));
}

TEST_F(IWaitTest, AnEndThatCameBeforeTheKillIsDelivered) {
  const auto a = Spawn([] { Sleep(absl::Seconds(1)); });
  bool met = false;
  const auto caller = Spawn([&] {
    auto ends = IWait({a});
    met = ends.Next().has_value();
    Yield();
    ADD_FAILURE() << "the kill has been lost";
  });
  Yield();
  a.RawLink([&](const AnyGreenlet&) { caller.KillSoon(); });
  caller.Join();
  EXPECT_TRUE(met);
  EXPECT_TRUE(caller.killed());
}

TEST_F(IWaitTest, LetsGoOfTheStacksOfThoseItHasYielded) {
  auto ends = IWait({Spawn([] {})});
  auto g = ends.Next();
  EXPECT_EQ(g->core()->refs, 1u);
}

// --- Wait (TL-8) ---

TEST_F(WaitTest, ReturnsPositionsInTheOrderOfReadiness) {
  const auto a = After(absl::Seconds(2), 1), b = After(absl::Seconds(1), 2);
  EXPECT_THAT(Wait({a, b}), ElementsAre(1, 0));
  EXPECT_THAT(Wait({a, b}), ElementsAre(0, 1));
}

TEST_F(WaitTest, IsShorterOnTheDeadlineOrWithACount) {
  const auto a = After(absl::Seconds(20), 1), b = After(absl::Seconds(1), 2);
  EXPECT_THAT(Wait({a, b}, {.deadline = absl::Seconds(2)}), ElementsAre(1));
  EXPECT_THAT(Wait({a, b}, {.count = 1}), ElementsAre(1));
  EXPECT_THAT(Wait({a}, {.deadline = Deadline::Passed()}), IsEmpty());
  EXPECT_EQ(Joiners(a), 0);
}

TEST_F(WaitTest, OneAndTheSameTwiceIsReadyTwice) {
  const Waitable a = After(absl::Seconds(1), 1);
  EXPECT_THAT(Wait({a, a}), ElementsAre(0, 1));
  EXPECT_THAT(Wait({a, a}, {.count = 2}), SizeIs(2));
}

// A thing that becomes ready, as the layers above have them.
class Flag {
 public:
  void Raise() {
    raised_ = true;
    while (auto* w = line_.PopFront()) w->Notify();
  }
  bool HasWaiters() const { return !line_.empty(); }

  class RaisedOperation final : public green_internal::Operation {
   public:
    explicit RaisedOperation(Flag* flag) : Operation(&flag->line_), flag_(flag) {}
    bool Try() override { return flag_->raised_; }
    std::string Describe() const override { return "a flag"; }

   private:
    Flag* const flag_;
  };
  Waitable AsWaitable() { return Waitable::Of<RaisedOperation>(this); }

 private:
  bool raised_ = false;
  green_internal::WaiterList line_;
};

TEST_F(WaitTest, TakesWhateverHasAnOperation) {
  Flag flag, never;
  const auto g = After(absl::Seconds(2), 1);
  const auto raiser = Spawn([&] {
    Sleep(absl::Seconds(1));
    flag.Raise();
  });
  EXPECT_THAT(Wait({never.AsWaitable(), g, flag.AsWaitable(), raiser}, {.count = 3}),
              ElementsAre(2, 3, 1));
  EXPECT_FALSE(never.HasWaiters());
  EXPECT_THAT(Wait({never.AsWaitable(), flag.AsWaitable()}, {.count = 1}),
              ElementsAre(1));
}

TEST_F(WaitTest, OneListOfWaitablesServesManyWaiters) {
  Flag flag;
  const std::vector<Waitable> list = {flag.AsWaitable()};
  std::vector<Greenlet<size_t>> waiters;
  for (int i = 0; i < 3; ++i) waiters.push_back(Spawn([&] { return Wait(list).size(); }));
  Yield();
  flag.Raise();
  for (const auto& w : waiters) EXPECT_EQ(*w.Get(), 1u);
}

TEST_F(WaitTest, IsKilledWhileItBlocks) {
  Flag flag;
  const auto waiter = Spawn([&] { Wait({flag.AsWaitable()}); });
  Yield();
  EXPECT_TRUE(flag.HasWaiters());
  waiter.Kill();
  EXPECT_FALSE(flag.HasWaiters());
}

TEST_F(WaitTest, WithoutObjectsWaitsUntilTheHubHasNothingToDo) {
  Spawn([] { Sleep(absl::Seconds(5)); });
  EXPECT_FALSE(Wait(absl::Seconds(1)));
  EXPECT_TRUE(Wait());
  EXPECT_EQ(LiveGreenlets(), 0u);
}

// --- KillAll (TL-12, test__greenletset) ---

TEST_F(KillAllTest, ThoseThatHaveNotBegunNeverDo) {
  bool ran = false;
  std::vector<Greenlet<>> all;
  for (int i = 0; i < 3; ++i) all.push_back(Spawn([&] { ran = true; }));
  EXPECT_TRUE(KillAll(all));
  JoinHub();
  EXPECT_FALSE(ran);
  for (const auto& g : all) EXPECT_TRUE(g.killed());
}

TEST_F(KillAllTest, NotEvenWhenTheCapturesOfAnotherBlockAtTheirEnd) {
  struct BlocksAtItsEnd {
    ~BlocksAtItsEnd() { Sleep(absl::Seconds(1)); }
  };
  bool ran = false;
  auto slow = Spawn([keep = std::make_unique<BlocksAtItsEnd>(), &ran] { ran = true; });
  auto other = Spawn([&] { ran = true; });
  auto later = SpawnLater(absl::Milliseconds(1), [&] { ran = true; });
  EXPECT_TRUE(KillAll({slow, later, other}));
  JoinHub();
  EXPECT_FALSE(ran);
  EXPECT_TRUE(other.killed());
  EXPECT_TRUE(later.killed());
}

TEST_F(KillAllTest, StartedLaterAndNotStartedAllEnd) {
  const auto started = Spawn(&SleepForEver);
  Yield();
  const auto fresh = Spawn(&SleepForEver);
  const auto later = SpawnLater(absl::Hours(1), &SleepForEver);
  const auto ended = Spawn([] {});
  ended.Join();
  EXPECT_TRUE(KillAll({started, fresh, later, ended, started}));
  EXPECT_TRUE(started.killed());
  EXPECT_TRUE(fresh.killed());
  EXPECT_TRUE(later.killed());
  EXPECT_FALSE(ended.killed());
  EXPECT_LT(Elapsed(), absl::Seconds(1));
}

TEST_F(KillAllTest, OfNoneReturnsAtOnce) {
  EXPECT_TRUE(KillAll(std::vector<Greenlet<>>()));
  EXPECT_TRUE(KillAll({}));
}

TEST_F(KillAllTest, WithoutWaitingTheyEndSoon) {
  const auto a = Spawn(&SleepForEver), b = Spawn(&SleepForEver);
  Yield();
  EXPECT_FALSE(KillAll({a, b}, {.wait = false}));
  EXPECT_FALSE(a.ready());
  Yield();
  EXPECT_TRUE(a.killed());
  EXPECT_TRUE(b.killed());
  EXPECT_TRUE(KillAll({a, b}, {.wait = false}));
}

TEST_F(KillAllTest, ThrowsTheErrorItIsGiven) {
  const auto error = std::make_exception_ptr(std::runtime_error("out"));
  const auto a = Spawn(&SleepForEver);
  Yield();
  const auto fresh = Spawn(&SleepForEver);
  EXPECT_TRUE(KillAll({a, fresh}, {.error = error}));
  EXPECT_THROW(a.Get().IgnoreError(), std::runtime_error);
  EXPECT_THROW(fresh.Get().IgnoreError(), std::runtime_error);
}

TEST_F(KillAllTest, ItsDeadlineReturnsFalseAndTheKillStaysInForce) {
  const auto stubborn = Spawn([] {
    Shield shield;
    Sleep(absl::Seconds(10));
  });
  const auto other = Spawn(&SleepForEver);
  Yield();
  EXPECT_FALSE(KillAll({stubborn, other}, {.deadline = absl::Seconds(1)}));
  EXPECT_LT(Elapsed(), absl::Seconds(2));
  EXPECT_TRUE(other.killed());
  EXPECT_FALSE(KillAll({stubborn}, {.deadline = Deadline::Passed()}));
  EXPECT_TRUE(KillAll({stubborn}));
  EXPECT_GE(Elapsed(), absl::Seconds(10));
}

TEST_F(KillAllTest, OneThatSwallowsTheKillIsWaitedFor) {
  const auto g = Spawn([] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      Shield shield;
      Sleep(absl::Seconds(3));
    }
  });
  Yield();
  EXPECT_TRUE(KillAll({g}));
  EXPECT_TRUE(g.successful());
  EXPECT_GE(Elapsed(), absl::Seconds(3));
}

TEST_F(KillAllTest, TheCallerAmongThemIsKilledLast) {
  const auto other = Spawn(&SleepForEver);
  std::vector<AnyGreenlet> all = {other};
  const auto caller = Spawn([&] {
    KillAll(all);
    ADD_FAILURE() << "went on";
  });
  all.insert(all.begin(), caller);
  Yield();
  JoinAll(all);
  EXPECT_TRUE(caller.killed());
  EXPECT_TRUE(other.killed());
}

TEST_F(KillAllTest, IsKilledWhileItBlocks) {
  const auto stubborn = Spawn([] {
    Shield shield;
    Sleep(absl::Seconds(10));
  });
  Yield();
  const auto killer = Spawn([&] { KillAll({stubborn}); });
  Yield();
  killer.Kill();
  EXPECT_TRUE(killer.killed());
  EXPECT_FALSE(stubborn.ready());
  stubborn.Join();
  EXPECT_EQ(Joiners(stubborn), 0);
}

// --- Idle (TL-7) ---

TEST_F(IdleTest, WaitsUntilNothingElseIsReady) {
  int turns = 0;
  Spawn([&] {
    for (; turns < 1000; ++turns) Yield();
  });
  EXPECT_TRUE(Idle());
  EXPECT_EQ(turns, 1000);
}

TEST_F(IdleTest, OfAHubThatHasNothingToDoReturns) {
  EXPECT_TRUE(Idle());
  Sleep(absl::ZeroDuration());
  EXPECT_TRUE(Idle());
}

TEST_F(IdleTest, DoesNotWaitForTimersThatAreNotDue) {
  Spawn([] { Sleep(absl::Hours(1)); });
  EXPECT_TRUE(Idle());
  EXPECT_LT(Elapsed(), absl::Seconds(1));
  EXPECT_EQ(LiveGreenlets(), 1u);
}

TEST_F(IdleTest, LetsIoThatIsReadyGoFirst) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  bool woken = false;
  {
    Descriptor in(pipe[0]);
    const auto reader = Spawn([&] { woken = in.WaitReadable() == WaitResult::kReady; });
    Yield();
    EXPECT_TRUE(Idle());
    EXPECT_TRUE(woken);
  }
  ::close(pipe[1]);
}

TEST_F(IdleTest, SeveralGoOnAndNoneStarves) {
  int first = 0, second = 0;
  const auto a = Spawn([&] {
    for (; first < 10; ++first) Idle();
  });
  const auto b = Spawn([&] {
    for (; second < 10; ++second) Idle();
  });
  JoinAll({a, b});
  EXPECT_EQ(first + second, 20);
}

TEST_F(IdleTest, ItsDeadlineReturnsFalse) {
  EXPECT_FALSE(Idle(Deadline::Passed()));
  const auto busy = Spawn([&] {
    for (;;) {
      clock_.Advance(absl::Milliseconds(1));
      Yield();
    }
  });
  EXPECT_FALSE(Idle(absl::Seconds(1)));
  busy.Kill();
}

TEST_F(IdleTest, IsKilledWhileItBlocks) {
  const auto busy = Spawn([] {
    for (;;) Yield();
  });
  const auto g = Spawn([] { Idle(); });
  Yield();
  g.Kill();
  EXPECT_TRUE(g.killed());
  busy.Kill();
  EXPECT_EQ(ThisHub().loop().active_watchers(), 1) << "but the mailbox's";
}

// --- what is forbidden ---

using WaitDeathTest = WaitTest;

TEST_F(WaitDeathTest, JoiningOneselfIsFatal) {
  EXPECT_DEATH(Spawn([] { JoinAll({CurrentGreenlet()}); }).Join(), "joins itself");
}

}  // namespace
}  // namespace grove
