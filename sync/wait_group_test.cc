#include "grove/sync/wait_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_test_util.h"

namespace grove {
namespace {

using test_util::Dice;
using test_util::JoinAll;
using test_util::kSeeds;
using test_util::OnAnotherHub;
using test_util::OnHubs;
using test_util::OnPlainThread;
using test_util::OnPlainThreads;
using test_util::Stopwatch;

GREENLET_TEST(WaitGroup, OfNoneDoesNotWait) {
  WaitGroup group;
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  EXPECT_TRUE(group.Wait());
  EXPECT_TRUE(group.Wait(absl::ZeroDuration()));
  EXPECT_FALSE(other_ran);
  other.Join();
}

GREENLET_TEST(WaitGroup, WaitsUntilAllAreDoneAndIsUsedAgain) {
  WaitGroup group(1);
  group.Done();
  for (int round = 0; round < 3; ++round) {
    const Stopwatch watch;
    for (int i = 1; i <= 3; ++i) {
      group.Add();
      Spawn([&, i] {
        Sleep(absl::Seconds(i));
        group.Done();
      });
    }
    EXPECT_EQ(group.count(), 3);
    EXPECT_TRUE(group.Wait(absl::Hours(1)));
    EXPECT_TRUE(watch.Shows(absl::Seconds(3)));
    EXPECT_EQ(group.count(), 0);
  }
  group.Add(5);
  group.Done(5);
  EXPECT_TRUE(group.Wait());
}

GREENLET_TEST(WaitGroup, ItIsEnoughThatTheCountWasZeroMeanwhile) {
  WaitGroup group(1);
  const Greenlet<> waiter = Spawn([&] { EXPECT_TRUE(group.Wait()); });
  Sleep(absl::Seconds(1));
  group.Done();
  group.Add();
  waiter.Join();
  EXPECT_FALSE(group.Wait(absl::ZeroDuration()));
  group.Done();
}

GREENLET_TEST(WaitGroup, ADeadlineThatPassesReturnsFalse) {
  WaitGroup group(1);
  const Stopwatch watch;
  EXPECT_FALSE(group.Wait(absl::ZeroDuration()));
  EXPECT_FALSE(group.Wait(absl::Seconds(1)));
  EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { group.Wait(); }).ok());
  EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
  group.Done();
}

GREENLET_TEST(WaitGroup, AllWhoWaitGoOnInOrderButThoseWhoAreKilled) {
  WaitGroup group(1);
  std::vector<int> arrivals;
  std::vector<int> order;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 10; ++i) {
    greenlets.push_back(Spawn([&, i] {
      if (i > 1) arrivals.push_back(i);
      group.Wait();
      order.push_back(i);
    }));
  }
  Sleep(absl::Seconds(1));
  greenlets[0].Kill();
  EXPECT_TRUE(greenlets[0].killed());
  greenlets[1].KillSoon();
  group.Done();
  JoinAll(greenlets);
  EXPECT_TRUE(greenlets[1].killed());
  EXPECT_EQ(order.size(), 8u);
  if (!seed()) {
    EXPECT_EQ(order, arrivals);
  }
}

GREENLET_TEST(WaitGroup, OneThatIsKilledInTheTurnOfTheEndHasWaited) {
  WaitGroup group(1);
  bool returned = false;
  const Greenlet<> killed = Spawn([&] {
    returned = group.Wait();
    Yield();
    ADD_FAILURE() << "went on";
  });
  Sleep(absl::Seconds(1));
  group.Done();
  killed.KillSoon();
  killed.Join();
  EXPECT_TRUE(returned);
}

TEST(WaitGroup, NobodyGoesOnBeforeZeroWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Dice dice;
    WaitGroup group;
    int left = 0;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < 4; ++i) {
      group.Add();
      ++left;
      greenlets.push_back(Spawn([&] {
        dice.Pause();
        if (dice.Roll(2)) {
          group.Add();
          ++left;
          dice.Pause();
          --left;
          group.Done();
        }
        --left;
        group.Done();
      }));
    }
    for (int i = 0; i < 4; ++i) {
      greenlets.push_back(Spawn([&] {
        if (dice.Roll(2)) {
          group.Wait();
          EXPECT_EQ(left, 0);
        } else if (group.Wait(absl::Microseconds(dice.Roll(20)))) {
          EXPECT_EQ(left, 0);
        }
      }));
    }
    dice.Pause();
    greenlets[4 + dice.Roll(4)].KillSoon();
    JoinAll(greenlets);
    EXPECT_TRUE(group.Wait(absl::ZeroDuration()));
  });
}

TEST(Latch, NobodyGoesOnBeforeZeroWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Dice dice;
    const int count = 1 + dice.Roll(5);
    Latch latch(count);
    int arrived = 0;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < count; ++i) {
      greenlets.push_back(Spawn([&] {
        dice.Pause();
        ++arrived;
        if (dice.Roll(2)) {
          latch.count_down();
        } else {
          latch.arrive_and_wait();
          EXPECT_EQ(arrived, count);
        }
      }));
    }
    for (int i = 0; i < 3; ++i) {
      greenlets.push_back(Spawn([&] {
        dice.Pause();
        latch.wait();
        EXPECT_EQ(arrived, count);
      }));
    }
    const Greenlet<> killed = Spawn([&] { latch.wait(); });
    dice.Pause();
    killed.Kill();
    JoinAll(greenlets);
    EXPECT_TRUE(latch.try_wait());
  });
}

// --- from elsewhere ---

GREENLET_TEST(WaitGroup, IsDoneAndWaitedForFromElsewhere) {
  constexpr int kEach = 100;
  WaitGroup group(4 * kEach);
  const Greenlet<> threads = Spawn([&] {
    OnPlainThreads(2, [&](int) {
      for (int i = 0; i < kEach; ++i) {
        group.Add();
        group.Done(2);
      }
    });
  });
  OnHubs(2, [&](int) {
    for (int i = 0; i < kEach; ++i) {
      group.Done();
      if (i % 10 == 0) {
        (void)group.Wait(absl::Microseconds(1));
      }
    }
    EXPECT_TRUE(group.Wait());
    EXPECT_EQ(group.count(), 0);
  });
  threads.Join();
  OnPlainThread([&] { EXPECT_TRUE(group.Wait(absl::ZeroDuration())); });
}

GREENLET_TEST(WaitGroup, KillsElsewhereRaceWithTheEnd) {
  WaitGroup group;
  std::atomic<bool> done{false};
  const Greenlet<> here = Spawn([&] {
    while (!done) {
      group.Add();
      Sleep(absl::Microseconds(1));
      group.Done();
      Sleep(absl::Microseconds(1));
    }
  });
  OnAnotherHub([&] {
    for (int i = 0; i < 200; ++i) {
      const Greenlet<> waiter = Spawn([&] { group.Wait(); });
      for (int j = 0; j < i % 5; ++j) Yield();
      waiter.Kill();
      (void)group.Wait(absl::Microseconds(i % 50));
    }
  });
  done = true;
  here.Join();
}

GREENLET_TEST(WaitGroup, WhoHasWaitedElsewhereMayDestroyIt) {
  for (int i = 0; i < 100; ++i) {
    auto group = std::make_unique<WaitGroup>(1);
    WaitGroup* const mine = group.get();
    std::atomic<bool> comes{false};
    const Greenlet<> other = Spawn([&] {
      OnAnotherHub([&] {
        comes = true;
        group->Wait();
        group.reset();
      });
    });
    while (!comes) Sleep(absl::Microseconds(1));
    for (int j = 0; j < i % 20; ++j) Sleep(absl::Microseconds(1));
    mine->Done();
    other.Join();
  }
}

TEST(WaitGroup, OneWithoutAHubAndOneWhoseHubHasEndedWork) {
  WaitGroup group(1);
  EXPECT_FALSE(group.Wait(absl::ZeroDuration()));
  group.Add();
  for (int i = 0; i < 3; ++i) {
    std::thread([&] {
      const HubScope scope;
      const Greenlet<> waiter = Spawn([&] { EXPECT_TRUE(group.Wait()); });
      Yield();
      group.Done(2);
      waiter.Join();
    }).join();
    EXPECT_TRUE(group.Wait(absl::ZeroDuration()));
    group.Add(2);
  }
  EXPECT_EQ(Hub::Current(), nullptr);
}

// --- Latch ---

GREENLET_TEST(Latch, OpensOnceAtZero) {
  Latch latch(3);
  EXPECT_FALSE(latch.try_wait());
  EXPECT_FALSE(latch.wait(absl::Seconds(1)));
  const Greenlet<> waiter = Spawn([&] { EXPECT_TRUE(latch.wait()); });
  latch.count_down(2);
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(waiter.ready());
  EXPECT_TRUE(latch.arrive_and_wait());
  EXPECT_TRUE(latch.try_wait());
  EXPECT_TRUE(latch.wait());
  EXPECT_TRUE(latch.wait(absl::ZeroDuration()));
  waiter.Join();
  EXPECT_TRUE(Latch(0).try_wait());
}

GREENLET_TEST(Latch, OneThatArrivedHasAlthoughItsWaitFailed) {
  Latch latch(3);
  EXPECT_FALSE(latch.arrive_and_wait(absl::Seconds(1)));
  const Greenlet<> killed = Spawn([&] { latch.arrive_and_wait(); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  EXPECT_TRUE(latch.arrive_and_wait(absl::ZeroDuration()));
}

GREENLET_TEST(Latch, CountsDownFromThreadsAndHubs) {
  Latch latch(4);
  const Greenlet<> threads =
      Spawn([&] { OnPlainThreads(2, [&](int) { latch.count_down(); }); });
  OnHubs(2, [&](int) { EXPECT_TRUE(latch.arrive_and_wait()); });
  EXPECT_TRUE(latch.try_wait());
  threads.Join();
}

// --- what is fatal ---

TEST(WaitGroupDeathTest, LessThanNoneIsFatal) {
  EXPECT_DEATH(WaitGroup(-1), "WaitGroup 0x[0-9a-f]+ of 0 is told that 1 are done");
  EXPECT_DEATH(WaitGroup(1).Done(2),
               "WaitGroup 0x[0-9a-f]+ of 1 is told that 2 are done");
  EXPECT_DEATH(Latch(-1), "of 0 is told that 1 are done");
  EXPECT_DEATH(Latch(1).count_down(2), "of 1 is told that 2 are done");
}

TEST(WaitGroupDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        WaitGroup group(1);
        const Greenlet<> one = Spawn({.name = "one"}, [&] { group.Wait(); });
        Yield();
        group.~WaitGroup();
      },
      "WaitGroup 0x[0-9a-f]+ is destroyed while 1 wait for it:\n"
      "  greenlet 'one' \\(#1\\)");
}

}  // namespace
}  // namespace grove
