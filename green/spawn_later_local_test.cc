#include "grove/green/spawn_later_local.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/spawn_hook.h"

namespace grove {
namespace {

class SpawnLaterLocalTest : public testing::Test {
 protected:
  bool HasTaken(absl::Duration expected) const {
    const absl::Duration elapsed = absl::Nanoseconds(clock_.Now() - start_);
    return elapsed >= expected && elapsed <= expected + absl::Microseconds(10);
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

TEST_F(SpawnLaterLocalTest, RunsWhenItsTimeHasComeIfTheSpawnerStillLives) {
  const Greenlet<int> g = SpawnLaterLocal(absl::Seconds(1), [] { return 7; });
  EXPECT_EQ(*g.Get(), 7);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(SpawnLaterLocalTest, IsCancelledWhenTheSpawnerHasEndedBefore) {
  bool ran = false;
  Greenlet<> g;
  auto captured = std::make_shared<int>(0);
  Spawn([&] {
    g = SpawnLaterLocal(absl::Seconds(1), [&ran, captured] { ran = true; });
    EXPECT_EQ(captured.use_count(), 2);
  }).Join();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(captured.use_count(), 1) << "what it captured is destroyed at once";
  EXPECT_TRUE(JoinHub());
  EXPECT_FALSE(ran);
  EXPECT_TRUE(HasTaken(absl::ZeroDuration())) << "the timer is gone too";
}

TEST_F(SpawnLaterLocalTest, IsCancelledWhenTheSpawnerFailsOrIsKilled) {
  SetErrorHandler([](const UnhandledException&) {});
  bool ran = false;
  Spawn([&] {
    SpawnLaterLocal(absl::Seconds(1), [&] { ran = true; });
    throw std::runtime_error("x");
  }).Join();
  const Greenlet<> g = Spawn([&] {
    SpawnLaterLocal(absl::Seconds(1), [&] { ran = true; });
    Sleep(absl::InfiniteDuration());
  });
  Yield();
  g.Kill();
  EXPECT_TRUE(JoinHub());
  EXPECT_FALSE(ran);
}

TEST_F(SpawnLaterLocalTest, OneThatHasBegunGoesOn) {
  Greenlet<int> g;
  Spawn([&] {
    g = SpawnLaterLocal(absl::Seconds(1), [] {
      Sleep(absl::Seconds(5));
      return 7;
    });
    Sleep(absl::Seconds(2));
  }).Join();
  EXPECT_EQ(*g.Get(), 7);
  EXPECT_TRUE(HasTaken(absl::Seconds(6)));
}

TEST_F(SpawnLaterLocalTest, MayBeKilledBeforeItBegins) {
  Spawn([&] {
    const Greenlet<> g = SpawnLaterLocal(absl::Seconds(1), [] {});
    g.Kill();
    EXPECT_TRUE(g.killed());
    Sleep(absl::Seconds(2));
  }).Join();
}

TEST_F(SpawnLaterLocalTest, MayBeKilledByAHookAtOnce) {
  AddSpawnHook([](const AnyGreenlet& g) { g.KillSoon(); });
  const Greenlet<> g = SpawnLaterLocal(absl::Seconds(1), [] {});
  EXPECT_TRUE(g.killed());
}

TEST_F(SpawnLaterLocalTest, OfManyAllAreCancelled) {
  int ran = 0;
  Spawn([&] {
    for (int i = 0; i < 100; ++i) {
      SpawnLaterLocal(absl::Seconds(i), [&] { ++ran; });
    }
    Sleep(absl::Milliseconds(9500));
  }).Join();
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

// EG-6: there is no call of its own for it.
TEST_F(SpawnLaterLocalTest, CancelIfNotStartedIsAQuestionAndAKill) {
  const auto cancel = [](const AnyGreenlet& g) {
    if (!g.started()) g.Kill();
  };
  const Greenlet<> waits = SpawnLater(absl::Seconds(1), [] {});
  cancel(waits);
  EXPECT_TRUE(waits.killed());
  const Greenlet<int> runs = Spawn([] {
    Sleep(absl::Seconds(1));
    return 7;
  });
  Yield();
  cancel(runs);
  EXPECT_EQ(*runs.Get(), 7);
}

TEST(SpawnLaterLocalDeathTest, InACallbackItIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThisHub().RunCallback([] { SpawnLaterLocal(absl::Seconds(1), [] {}); });
        Yield();
      },
      "SpawnLaterLocal\\(\\) in a loop callback");
}

}  // namespace
}  // namespace grove
