#include "grove/green/greenlet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "grove/green/greenlet_test_util.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/stack.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using test_util::Oops;
using test_util::SleepForEver;
using test_util::Witness;
using test_util::YieldsAtItsEnd;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GreenletTest : public test_util::GreenletTestBase {};

// --- states (GL-2 to GL-8) ---

TEST_F(GreenletTest, DoesNotRunBeforeItsSpawnerWaits) {
  bool ran = false;
  const Greenlet<> g = Spawn([&] { ran = true; });
  EXPECT_FALSE(ran);
  EXPECT_FALSE(g.started());
  EXPECT_FALSE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
  Yield();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(g.started());
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
}

TEST_F(GreenletTest, IsStartedAndNotReadyWhileItWaits) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(1)); });
  Yield();
  EXPECT_TRUE(g.started());
  EXPECT_FALSE(g.ready());
  EXPECT_FALSE(g.successful());
  g.Join();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
}

TEST_F(GreenletTest, IsReadyAndNotSuccessfulIfItThrew) {
  const Greenlet<> g = Spawn([] { throw Oops{1}; });
  g.Join();
  EXPECT_TRUE(g.ready());
  EXPECT_FALSE(g.successful());
  EXPECT_FALSE(g.killed());
  EXPECT_NE(g.exception(), nullptr);
}

TEST_F(GreenletTest, IsSuccessfulIfItWasKilled) {
  const Greenlet<> g = Spawn(&SleepForEver);
  Yield();
  g.Kill();
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(g.successful());
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(g.exception(), nullptr);
}

TEST_F(GreenletTest, OneThatThrowsGreenletExitItselfCountsAsKilled) {
  const Greenlet<> g = Spawn([] { throw GreenletExit(); });
  g.Join();
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(g.successful());
  EXPECT_EQ(g.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(reports_.empty());
}

TEST_F(GreenletTest, IsNotReadyWhileItRuns) {
  bool checked = false;
  Spawn([&] {
    const AnyGreenlet self = CurrentGreenlet();
    checked = self.started() && !self.ready() && !self.successful() && !self.killed();
  }).Join();
  EXPECT_TRUE(checked);
}

TEST_F(GreenletTest, RunsInTheOrderOfSpawning) {
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) Spawn([&order, i] { order.push_back(i); });
  Yield();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(GreenletTest, MaySpawnOthers) {
  const Greenlet<int> g = Spawn([] {
    int sum = 0;
    for (int i = 1; i <= 10; ++i) sum += *Spawn([i] { return i; }).Get();
    return sum;
  });
  EXPECT_EQ(*g.Get(), 55);
}

// --- Join ---

TEST_F(GreenletTest, JoinWaitsForTheEnd) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(3)); });
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.ready());
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

TEST_F(GreenletTest, JoinOfOneThatHasEndedDoesNotBlock) {
  const Greenlet<> g = Spawn([] {});
  g.Join();
  bool other_ran = false;
  Spawn([&] { other_ran = true; });
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.Join(absl::Seconds(1)));
  EXPECT_TRUE(g.Join(absl::ZeroDuration()));
  EXPECT_FALSE(other_ran);
}

TEST_F(GreenletTest, JoinReturnsFalseAtItsDeadline) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(10)); });
  EXPECT_FALSE(g.Join(absl::Seconds(4)));
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_FALSE(g.ready()) << "it goes on";
  EXPECT_TRUE(g.Join(absl::Seconds(7)));
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
}

TEST_F(GreenletTest, JoinWithAPassedDeadlineDoesNotBlock) {
  bool ran = false;
  const Greenlet<> g = Spawn([&] { ran = true; });
  EXPECT_FALSE(g.Join(absl::ZeroDuration()));
  EXPECT_FALSE(g.Join(-absl::Seconds(1)));
  EXPECT_FALSE(g.Join(Deadline::Passed()));
  EXPECT_FALSE(ran);
  EXPECT_TRUE(g.Join());
}

TEST_F(GreenletTest, ManyMayJoinOneAndAreWokenInOrder) {
  const Greenlet<> g = Spawn([] { Sleep(absl::Seconds(1)); });
  std::vector<int> order;
  std::vector<Greenlet<>> joiners;
  for (int i = 0; i < 5; ++i) {
    joiners.push_back(Spawn([&, i] {
      EXPECT_TRUE(g.Join());
      order.push_back(i);
    }));
  }
  for (const auto& j : joiners) j.Join();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(GreenletTest, AJoinerThatIsKilledLeavesItsTargetAlone) {
  const Greenlet<> target = Spawn([] { Sleep(absl::Seconds(1)); });
  const Greenlet<> first = Spawn([&] { target.Join(); });
  const Greenlet<> second = Spawn([&] { target.Join(); });
  Yield();
  first.Kill();
  EXPECT_TRUE(first.killed());
  EXPECT_FALSE(target.ready());
  EXPECT_TRUE(second.Join());
  EXPECT_TRUE(target.successful());
  EXPECT_FALSE(target.killed());
}

TEST_F(GreenletTest, AKillDoesNotUndoAJoinThatWasGranted) {
  const Greenlet<> target = Spawn([] {});
  bool joined = false;
  const Greenlet<> joiner = Spawn([&] {
    joined = target.Join();
    Yield();
    ADD_FAILURE() << "the next blocking call throws the kill";
  });
  // When the target has ended, the joiner is ready but has not run.
  target.RawLink([&](const AnyGreenlet&) { joiner.KillSoon(); });
  joiner.Join();
  EXPECT_TRUE(joined);
  EXPECT_TRUE(joiner.killed());
}

// --- Get (GL-12) ---

static_assert(std::is_same_v<Greenlet<>::Result, absl::Status>);
static_assert(std::is_same_v<Greenlet<int>::Result, absl::StatusOr<int>>);
static_assert(std::is_same_v<Greenlet<absl::Status>::Result, absl::Status>);
static_assert(std::is_same_v<Greenlet<absl::StatusOr<int>>::Result, absl::StatusOr<int>>);

TEST_F(GreenletTest, GetOfVoidIsOk) {
  EXPECT_TRUE(Spawn([] { Sleep(absl::Seconds(1)); }).Get().ok());
}

TEST_F(GreenletTest, GetReturnsTheValueAsOftenAsAsked) {
  const Greenlet<std::string> g = Spawn([] { return std::string(100, 'x'); });
  EXPECT_EQ(*g.Get(), std::string(100, 'x'));
  EXPECT_EQ(*g.Get(), std::string(100, 'x'));
}

TEST_F(GreenletTest, GetOfAnRvalueMovesTheResultOut) {
  Greenlet<std::unique_ptr<int>> g = Spawn([] { return std::make_unique<int>(42); });
  const absl::StatusOr<std::unique_ptr<int>> result = std::move(g).Get();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(**result, 42);
}

TEST_F(GreenletTest, GetJoinsErrorsOfTheFunctionAndOfTheGreenlet) {
  EXPECT_TRUE(Spawn([] { return absl::OkStatus(); }).Get().ok());
  EXPECT_EQ(Spawn([] { return absl::NotFoundError("no"); }).Get(),
            absl::NotFoundError("no"));
  const Greenlet<absl::StatusOr<int>> value =
      Spawn([]() -> absl::StatusOr<int> { return 7; });
  EXPECT_EQ(*value.Get(), 7);
  const Greenlet<absl::StatusOr<int>> error =
      Spawn([]() -> absl::StatusOr<int> { return absl::DataLossError("gone"); });
  EXPECT_EQ(error.Get().status(), absl::DataLossError("gone"));
  EXPECT_TRUE(error.successful()) << "it has returned";
}

TEST_F(GreenletTest, GetIsDeadlineExceededAtItsDeadline) {
  const Greenlet<int> g = Spawn({.name = "slow"}, [] {
    Sleep(absl::Seconds(10));
    return 1;
  });
  const absl::StatusOr<int> early = g.Get(absl::Seconds(2));
  EXPECT_EQ(early.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(early.status().message()), HasSubstr("greenlet 'slow' (#1)"));
  EXPECT_EQ(g.Get(absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(*g.Get(absl::ZeroDuration()), 1) << "it has ended: nothing to wait for";
}

TEST_F(GreenletTest, GetOfAKilledOneIsCancelledAndNamesIt) {
  const Greenlet<int> g = Spawn({.name = "victim"}, [] {
    SleepForEver();
    return 1;
  });
  Yield();
  g.Kill();
  const absl::Status status = g.Get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("greenlet 'victim' (#1)"));
}

TEST_F(GreenletTest, GetThrowsWhatTheFunctionThrew) {
  const Greenlet<int> g = Spawn([]() -> int {
    Sleep(absl::Seconds(1));
    throw Oops{17};
  });
  for (int i = 0; i < 2; ++i) {
    try {
      (void)g.Get();
      ADD_FAILURE();
    } catch (const Oops& e) {
      EXPECT_EQ(e.value, 17);
    }
  }
}

TEST_F(GreenletTest, TwoMayHandleTheExceptionOfAThirdAtOnce) {
  const Greenlet<> failing = Spawn([] { throw Oops{17}; });
  int handled = 0;
  const auto handle = [&] {
    try {
      (void)failing.Get();
    } catch (const Oops& e) {
      Sleep(absl::Seconds(1));
      EXPECT_EQ(e.value, 17);
      ++handled;
    }
  };
  const Greenlet<> a = Spawn(handle);
  const Greenlet<> b = Spawn(handle);
  a.Join();
  b.Join();
  EXPECT_EQ(handled, 2);
}

TEST_F(GreenletTest, ATimeoutThatLeavesAGreenletIsItsError) {
  const Greenlet<> g = Spawn([] {
    Timeout timeout(absl::Seconds(1));
    SleepForEver();
  });
  EXPECT_THROW((void)g.Get(), TimeoutExpired);
  EXPECT_FALSE(g.successful());
  EXPECT_EQ(reports_.size(), 1u);
}

// --- what it captures (GL-24) ---

TEST_F(GreenletTest, CapturesEndWithTheFunctionAndNotWithTheHandle) {
  bool ended = false;
  const Greenlet<> g = Spawn([w = Witness(&ended)] { Sleep(absl::Seconds(1)); });
  Yield();
  EXPECT_FALSE(ended);
  bool ended_before_links = false;
  g.RawLink([&](const AnyGreenlet&) { ended_before_links = ended; });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(ended);
  EXPECT_TRUE(ended_before_links);
}

TEST_F(GreenletTest, CapturesOfOneThatNeverRunsEndWhenItIsKilled) {
  bool ended = false;
  bool ended_later = false;
  const Greenlet<> g = Spawn([w = Witness(&ended)] {});
  const Greenlet<> later =
      SpawnLater(absl::Hours(1), [w = Witness(&ended_later)] { FAIL(); });
  g.KillSoon();
  later.KillSoon();
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
  EXPECT_TRUE(ended);
  EXPECT_TRUE(ended_later);
}

TEST_F(GreenletTest, CapturesMayBlockWhenTheyEnd) {
  int ended = 0;
  const Greenlet<> g = Spawn([captured = YieldsAtItsEnd(&ended)] {});
  // Killed in the middle of that: nothing is thrown out of a destructor.
  Yield();
  EXPECT_FALSE(g.ready());
  g.Kill();
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(g.successful());
}

TEST_F(GreenletTest, MoveOnlyFunctionsAreFine) {
  auto value = std::make_unique<int>(9);
  EXPECT_EQ(*Spawn([v = std::move(value)] { return *v; }).Get(), 9);
}

TEST_F(GreenletTest, MutableFunctionsAreFine) {
  EXPECT_EQ(*Spawn([n = 0]() mutable { return ++n; }).Get(), 1);
}

TEST_F(GreenletTest, TheResultLivesAsLongAsAHandle) {
  bool ended = false;
  {
    const Greenlet<std::shared_ptr<Witness>> g =
        Spawn([&] { return std::make_shared<Witness>(&ended); });
    g.Join();
    const AnyGreenlet other = g;
    EXPECT_FALSE(ended);
  }
  EXPECT_TRUE(ended);
}

// --- names, ids, places (GL-20, GL-21) ---

TEST_F(GreenletTest, HasANameThatCanBeChanged) {
  const Greenlet<> plain = Spawn([] {});
  EXPECT_EQ(plain.name(), "greenlet-1");
  plain.set_name("worker");
  EXPECT_EQ(plain.name(), "worker");
  const Greenlet<> named = Spawn({.name = "named"}, [] {});
  EXPECT_EQ(named.name(), "named");
  EXPECT_EQ(CurrentGreenlet().name(), "main");
  CurrentGreenlet().set_name("boss");
  EXPECT_EQ(CurrentGreenlet().name(), "boss");
}

TEST_F(GreenletTest, HasAnIdOfItsOwnAndKnowsItsParent) {
  EXPECT_EQ(CurrentGreenlet().id(), 0u);
  std::set<uint64_t> ids{0};
  for (int i = 0; i < 10; ++i) {
    const Greenlet<> g = Spawn([] {});
    EXPECT_TRUE(ids.insert(g.id()).second);
    EXPECT_EQ(g.parent_id(), 0u);
    g.Join();
  }
  const Greenlet<uint64_t> outer = Spawn([] {
    const Greenlet<> inner = Spawn([] {});
    EXPECT_EQ(CurrentGreenlet().parent_id(), 0u);
    return inner.parent_id();
  });
  EXPECT_EQ(*outer.Get(), outer.id());
}

TEST_F(GreenletTest, KnowsWhereItWasSpawned) {
  const Greenlet<> g = Spawn([] {});
  const int line = __LINE__ - 1;
  EXPECT_STREQ(g.spawn_site().file, __FILE__);
  EXPECT_EQ(g.spawn_site().line, line);
  const Greenlet<> with_options = Spawn({.name = "x"}, [] {});
  EXPECT_EQ(with_options.spawn_site().line, __LINE__ - 1);
  const Greenlet<> later = SpawnLater(absl::Seconds(1), [] {});
  EXPECT_EQ(later.spawn_site().line, __LINE__ - 1);
}

TEST_F(GreenletTest, CurrentGreenletIsTheOneThatRuns) {
  AnyGreenlet seen;
  const Greenlet<> g = Spawn([&] { seen = CurrentGreenlet(); });
  g.Join();
  EXPECT_EQ(seen, g);
  EXPECT_NE(CurrentGreenlet(), g);
}

// --- handles ---

TEST_F(GreenletTest, HandlesAreCopiedAndMoved) {
  AnyGreenlet none;
  EXPECT_FALSE(none);
  const Greenlet<int> g = Spawn([] { return 1; });
  AnyGreenlet copy = g;
  EXPECT_TRUE(copy);
  EXPECT_EQ(copy, g);
  const AnyGreenlet moved = std::move(copy);
  EXPECT_EQ(moved, g);
  none = moved;
  none = AnyGreenlet(none);
  EXPECT_EQ(none, moved);
  none = AnyGreenlet();
  EXPECT_FALSE(none);
  EXPECT_EQ(*g.Get(), 1);
}

TEST_F(GreenletTest, GoesOnWithoutAnyHandle) {
  int steps = 0;
  Spawn([&] {
    ++steps;
    Sleep(absl::Seconds(1));
    ++steps;
  });
  Spawn([] { throw std::runtime_error("nobody asks"); });
  EXPECT_EQ(LiveGreenlets(), 2u);
  Sleep(absl::Seconds(2));
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(LiveGreenlets(), 0u);
  EXPECT_EQ(reports_.size(), 1u);
}

TEST_F(GreenletTest, HandlesMayBeDroppedBeforeTheStartAndAfterAKill) {
  bool ran = false;
  {
    const Greenlet<> g = Spawn([&] { ran = true; });
    g.KillSoon();
  }
  {
    const Greenlet<> g = SpawnLater(absl::Seconds(1), [&] { ran = true; });
    g.KillSoon();
  }
  Sleep(absl::Seconds(2));
  EXPECT_FALSE(ran);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

// --- SpawnLater (TL-2) ---

TEST_F(GreenletTest, SpawnLaterRunsAtItsTime) {
  MonotonicNanos at = 0;
  const Greenlet<> g = SpawnLater(absl::Seconds(5), [&] { at = clock_.Now(); });
  Sleep(absl::Seconds(4));
  EXPECT_FALSE(g.started());
  EXPECT_TRUE(g.Join());
  EXPECT_GE(at, start_ + 5'000'000'000);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

TEST_F(GreenletTest, SpawnLaterIsOrderedByTime) {
  std::vector<int> order;
  SpawnLater(absl::Seconds(3), [&] { order.push_back(3); });
  SpawnLater(absl::Seconds(1), [&] { order.push_back(1); });
  SpawnLater(absl::Seconds(2), [&] { order.push_back(2); });
  SpawnLater(absl::ZeroDuration(), [&] { order.push_back(0); });
  SpawnLater(-absl::Seconds(1), [&] { order.push_back(-1); });
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, ElementsAre(0, -1, 1, 2, 3));
}

TEST_F(GreenletTest, SpawnLaterGoesOnWithoutAHandle) {
  bool ran = false;
  SpawnLater(absl::Seconds(1), [&] { ran = true; });
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(ran);
}

TEST_F(GreenletTest, SpawnLaterReturnsAResultAndIsKilledOnceItRuns) {
  EXPECT_EQ(*SpawnLater(absl::Seconds(1), [] { return 4; }).Get(), 4);
  const Greenlet<> g = SpawnLater(absl::Seconds(1), &SleepForEver);
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(g.started());
  g.Kill();
  EXPECT_TRUE(g.killed());
}

// --- stacks and numbers ---

[[gnu::noinline]] int UseStack(int kilobytes) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(kilobytes);
  return kilobytes == 0 ? 0 : UseStack(kilobytes - 1) + 1 + frame[0] * 0;
}

TEST_F(GreenletTest, MayHaveAStackOfAnotherSize) {
  EXPECT_EQ(*Spawn({.stack_size = 4 << 20}, [] { return UseStack(3000); }).Get(), 3000);
  EXPECT_EQ(*Spawn({.stack_size = 32 << 10}, [] { return 1; }).Get(), 1);
  EXPECT_EQ(*Spawn({.stack_size = 100'000}, [] { return UseStack(60); }).Get(), 60);
}

TEST_F(GreenletTest, TensOfThousandsAreFine) {
  // Fewer where a sanitizer keeps much for each stack.
  const int n = GROVE_ASAN || GROVE_TSAN ? 500 : 20'000;
  int64_t sum = 0;
  std::vector<Greenlet<int>> greenlets;
  for (int i = 0; i < n; ++i) {
    greenlets.push_back(Spawn([i, &sum] {
      Yield();
      Sleep(absl::Milliseconds(i % 7));
      sum += i;
      return i;
    }));
  }
  EXPECT_EQ(LiveGreenlets(), static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) EXPECT_EQ(*greenlets[i].Get(), i);
  EXPECT_EQ(sum, int64_t{n} * (n - 1) / 2);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(GreenletTest, StacksAreReused) {
  Spawn([] {}).Join();
  const size_t cut = green_internal::GetStackStats().cut;
  for (int i = 0; i < 10'000; ++i) Spawn([] {}).Join();
  EXPECT_EQ(green_internal::GetStackStats().cut, cut);
}

TEST_F(GreenletTest, ThoseThatYieldTakeTurns) {
  int turns[3] = {};
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 3; ++i) {
    greenlets.push_back(Spawn([&turns, i] {
      for (int round = 0; round < 10'000; ++round) {
        ++turns[i];
        Yield();
        // Nobody is ever more than a turn ahead.
        for (int other : turns) EXPECT_LE(std::abs(turns[i] - other), 1);
      }
    }));
  }
  for (const auto& g : greenlets) g.Join();
}

TEST_F(GreenletTest, LoopCallbacksMaySpawnKillAndThrow) {
  const Greenlet<> victim = Spawn(&SleepForEver);
  const Greenlet<> target = Spawn([] { EXPECT_THROW(SleepForEver(), Oops); });
  bool ran = false;
  Yield();
  ThisHub().RunCallback([&] {
    victim.KillSoon();
    target.Throw(std::make_exception_ptr(Oops{1}));
    Spawn([&] { ran = true; });
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(victim.killed());
  EXPECT_TRUE(target.successful());
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace grove
