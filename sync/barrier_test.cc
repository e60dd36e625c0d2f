#include "grove/sync/barrier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
using test_util::Stopwatch;

constexpr auto kAborted = absl::StatusCode::kAborted;
constexpr auto kDeadlineExceeded = absl::StatusCode::kDeadlineExceeded;

GREENLET_TEST(Barrier, ForOneNeverWaits) {
  Barrier barrier(1);
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  EXPECT_EQ(*barrier.Wait(), 0u);
  EXPECT_EQ(*barrier.Wait(absl::ZeroDuration()), 0u);
  barrier.arrive_and_wait();
  EXPECT_FALSE(other_ran);
  other.Join();
}

GREENLET_TEST(Barrier, LetsAllGoOnOnceTheLastHasCome) {
  Barrier barrier(3);
  EXPECT_EQ(barrier.parties(), 3u);
  const Stopwatch watch;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 3; ++i) {
    greenlets.push_back(Spawn([&, i] {
      Sleep(absl::Seconds(i));
      EXPECT_EQ(barrier.waiting(), static_cast<size_t>(i));
      const absl::StatusOr<size_t> place = barrier.Wait(absl::Hours(1));
      EXPECT_EQ(*place, static_cast<size_t>(i)) << "the place in which it came";
      EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
    }));
  }
  JoinAll(greenlets);
  EXPECT_EQ(barrier.waiting(), 0u);
}

GREENLET_TEST(Barrier, IsUsedAgainAndAgain) {
  constexpr int kParties = 5;
  Barrier barrier(kParties);
  int phase[kParties] = {};
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < kParties; ++i) {
    greenlets.push_back(Spawn([&, i] {
      for (int round = 0; round < 20; ++round) {
        ++phase[i];
        barrier.arrive_and_wait();
        for (const int p : phase) EXPECT_EQ(p, round + 1);
        barrier.arrive_and_wait();
      }
    }));
  }
  JoinAll(greenlets);
}

GREENLET_TEST(Barrier, CallsItsFunctionBeforeAnybodyGoesOn) {
  int trips = 0;
  int gone_on = 0;
  Barrier barrier(2, [&] {
    EXPECT_EQ(gone_on, 2 * trips);
    ++trips;
  });
  const auto wait = [&] {
    for (int i = 0; i < 3; ++i) {
      barrier.arrive_and_wait();
      EXPECT_EQ(trips, i + 1);
      ++gone_on;
    }
  };
  const Greenlet<> one = Spawn(wait);
  const Greenlet<> two = Spawn(wait);
  one.Join();
  two.Join();
  EXPECT_EQ(trips, 3);
}

// --- deadlines and kills ---

GREENLET_TEST(Barrier, OneWhoseDeadlinePassesHasNotCome) {
  Barrier barrier(2);
  const Stopwatch watch;
  EXPECT_EQ(barrier.Wait(absl::Seconds(1)).status().code(), kDeadlineExceeded);
  EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
  EXPECT_EQ(barrier.Wait(absl::ZeroDuration()).status().code(), kDeadlineExceeded);
  EXPECT_EQ(barrier.waiting(), 0u);
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { barrier.arrive_and_wait(); }).ok());
  EXPECT_EQ(barrier.waiting(), 0u);
  const Greenlet<> other = Spawn([&] { EXPECT_EQ(*barrier.Wait(), 0u); });
  while (barrier.waiting() == 0) Yield();
  EXPECT_EQ(*barrier.Wait(absl::ZeroDuration()), 1u) << "the last does not wait";
  other.Join();
}

GREENLET_TEST(Barrier, OneThatIsKilledHasNotComeAndTheOthersWaitOn) {
  Barrier barrier(3);
  const Greenlet<> killed = Spawn([&] { barrier.arrive_and_wait(); });
  Sleep(absl::Seconds(1));
  const Greenlet<> second = Spawn([&] { EXPECT_EQ(*barrier.Wait(), 0u) << "moved up"; });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(barrier.waiting(), 2u);
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  EXPECT_EQ(barrier.waiting(), 1u);
  const Greenlet<> soon = Spawn([&] { barrier.arrive_and_wait(); });
  Sleep(absl::Seconds(1));
  soon.KillSoon();
  EXPECT_FALSE(second.ready());
  const Greenlet<> third = Spawn([&] { EXPECT_EQ(*barrier.Wait(), 1u); });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(*barrier.Wait(), 2u);
  second.Join();
  third.Join();
  EXPECT_TRUE(soon.killed());
}

GREENLET_TEST(Barrier, OneThatIsKilledInTheTurnOfTheTripHasCome) {
  Barrier barrier(2);
  bool came = false;
  const Greenlet<> killed = Spawn([&] {
    EXPECT_TRUE(barrier.Wait().ok());
    came = true;
    Yield();
    ADD_FAILURE() << "went on";
  });
  Sleep(absl::Seconds(1));
  EXPECT_TRUE(barrier.Wait().ok());
  killed.KillSoon();
  killed.Join();
  EXPECT_TRUE(came);
}

// --- fewer, abort, reset ---

GREENLET_TEST(Barrier, WhoDropsOutComesOnceMoreAndIsNotWaitedForAnyMore) {
  Barrier barrier(3);
  const auto waiter = [&] { return Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); }); };
  {
    const Greenlet<> one = waiter();
    const Greenlet<> two = waiter();
    Sleep(absl::Seconds(1));
    barrier.ArriveAndDrop();
    one.Join();
    two.Join();
  }
  EXPECT_EQ(barrier.parties(), 2u);
  const Greenlet<> one = waiter();
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(one.ready());
  barrier.ArriveAndDrop();
  one.Join();
  EXPECT_EQ(*barrier.Wait(), 0u) << "alone";
}

GREENLET_TEST(Barrier, AbortEndsThoseWhoWaitAndThoseWhoCome) {
  Barrier barrier(3);
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 2; ++i) {
    greenlets.push_back(
        Spawn([&] { EXPECT_EQ(barrier.Wait().status().code(), kAborted); }));
  }
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(barrier.aborted());
  barrier.Abort();
  EXPECT_TRUE(barrier.aborted());
  JoinAll(greenlets);
  EXPECT_EQ(barrier.Wait().status().code(), kAborted);
  EXPECT_EQ(barrier.Wait(absl::ZeroDuration()).status().code(), kAborted);
  EXPECT_EQ(barrier.waiting(), 0u);
}

GREENLET_TEST(Barrier, ResetEndsThoseWhoWaitAndBeginsAnew) {
  Barrier barrier(2);
  const Greenlet<> one =
      Spawn([&] { EXPECT_EQ(barrier.Wait().status().code(), kAborted); });
  Sleep(absl::Seconds(1));
  barrier.Reset();
  EXPECT_FALSE(barrier.aborted());
  EXPECT_EQ(barrier.waiting(), 0u);
  one.Join();
  for (const bool aborted : {false, true}) {
    if (aborted) {
      barrier.Abort();
      barrier.Reset();
    }
    const Greenlet<> two = Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); });
    EXPECT_TRUE(barrier.Wait().ok());
    two.Join();
  }
}

GREENLET_TEST(Barrier, OneThatHasTrippedIsNotAbortedAfterwards) {
  Barrier barrier(2);
  const Greenlet<> one = Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); });
  Sleep(absl::Seconds(1));
  EXPECT_TRUE(barrier.Wait().ok());
  barrier.Abort();
  one.Join();
}

// --- any order ---

TEST(Barrier, AllGoInStepWhateverTheSeed) {
  constexpr int kParties = 4;
  constexpr int kRounds = 5;
  ForEachSeed(kSeeds, [&] {
    Dice dice;
    int trips = 0;
    Barrier barrier(kParties, [&] { ++trips; });
    std::vector<int> places;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < kParties; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < kRounds;) {
          dice.Pause();
          EXPECT_EQ(trips, round) << "one was not waited for";
          const absl::StatusOr<size_t> place =
              barrier.Wait(dice.Roll(2) ? Deadline() : absl::Microseconds(dice.Roll(20)));
          if (!place.ok()) continue;
          EXPECT_EQ(trips, round + 1);
          places.push_back(static_cast<int>(*place));
          ++round;
        }
      }));
    }
    // Those who come and go do not count.
    const Greenlet<> guest = Spawn([&] {
      for (;;) {
        dice.Pause();
        if (barrier.waiting() + 1 < barrier.parties()) {
          (void)barrier.Wait(absl::Microseconds(0));
        }
      }
    });
    JoinAll(greenlets);
    guest.Kill();
    EXPECT_EQ(trips, kRounds);
    std::sort(places.begin(), places.end());
    for (int i = 0; i < kParties * kRounds; ++i) EXPECT_EQ(places[i], i / kRounds);
  });
}

TEST(Barrier, KilledOnesAreReplacedWhateverTheSeed) {
  constexpr int kParties = 3;
  ForEachSeed(kSeeds, [&] {
    Dice dice;
    Barrier barrier(kParties);
    int came = 0;
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < 10; ++i) {
      greenlets.push_back(Spawn([&] {
        dice.Pause();
        if (barrier.Wait().ok()) ++came;
      }));
    }
    for (int i = 0; i < 5; ++i) {
      dice.Pause();
      greenlets[dice.Roll(10)].KillSoon();
    }
    Sleep(absl::Seconds(1));
    EXPECT_EQ(came % kParties, 0);
    EXPECT_LT(barrier.waiting(), static_cast<size_t>(kParties));
    barrier.Abort();
    JoinAll(greenlets);
    EXPECT_EQ(barrier.waiting(), 0u);
  });
}

// --- from elsewhere ---

GREENLET_TEST(Barrier, KeepsHubsInStep) {
  constexpr int kHubs = 3;
  constexpr int kRounds = 20;
  std::atomic<int> trips{0};
  Barrier barrier(kHubs + 1, [&] { ++trips; });
  const auto phases = [&] {
    for (int i = 0; i < kRounds; ++i) {
      EXPECT_TRUE(barrier.Wait().ok());
      EXPECT_GE(trips, i + 1);
      EXPECT_LE(trips, i + 2) << "some are a whole round ahead";
    }
  };
  const Greenlet<> here = Spawn(phases);
  OnHubs(kHubs, [&](int) { phases(); });
  here.Join();
  EXPECT_EQ(trips, kRounds);
}

GREENLET_TEST(Barrier, IsTriedAbortedAndResetByAThreadWithoutAHub) {
  Barrier barrier(2);
  OnPlainThread([&] {
    EXPECT_EQ(barrier.Wait(absl::ZeroDuration()).status().code(), kDeadlineExceeded);
    barrier.Abort();
    EXPECT_EQ(barrier.Wait(absl::ZeroDuration()).status().code(), kAborted);
    barrier.Reset();
  });
  const Greenlet<> one = Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); });
  while (barrier.waiting() == 0) Yield();
  OnPlainThread([&] { EXPECT_EQ(*barrier.Wait(absl::ZeroDuration()), 1u); });
  one.Join();
  const Greenlet<> two = Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); });
  while (barrier.waiting() == 0) Yield();
  OnPlainThread([&] { barrier.ArriveAndDrop(); });
  two.Join();
}

GREENLET_TEST(Barrier, KillsAndDeadlinesElsewhereRaceWithTrips) {
  Barrier barrier(2);
  std::atomic<bool> done{false};
  std::atomic<int> trips{0};
  const Greenlet<> here = Spawn([&] {
    while (!done) {
      if (barrier.Wait(absl::Microseconds(1)).ok()) ++trips;
    }
  });
  int trips_there = 0;
  OnAnotherHub([&] {
    for (int i = 0; i < 200; ++i) {
      const Greenlet<> waiter = Spawn([&] {
        if (barrier.Wait().ok()) ++trips_there;
      });
      for (int j = 0; j < i % 5; ++j) Sleep(absl::Microseconds(j));
      waiter.Kill();
      if (barrier.Wait(absl::Microseconds(i % 50)).ok()) ++trips_there;
    }
  });
  done = true;
  here.Join();
  EXPECT_EQ(trips, trips_there);
  EXPECT_EQ(barrier.waiting(), 0u);
}

GREENLET_TEST(Barrier, TheOtherHubMayDestroyItOnceItHasTripped) {
  for (int i = 0; i < 100; ++i) {
    auto barrier = std::make_unique<Barrier>(2);
    Barrier* const mine = barrier.get();
    const Greenlet<> other = Spawn([&] {
      OnAnotherHub([&] {
        EXPECT_TRUE(barrier->Wait().ok());
        barrier.reset();
      });
    });
    while (mine->waiting() == 0) Sleep(absl::Microseconds(1));
    EXPECT_TRUE(mine->Wait(absl::ZeroDuration()).ok());
    other.Join();
  }
}

TEST(Barrier, OneWithoutAHubAndOneWhoseHubHasEndedWork) {
  Barrier barrier(2);
  EXPECT_FALSE(barrier.Wait(absl::ZeroDuration()).ok());
  for (int i = 0; i < 3; ++i) {
    std::thread([&] {
      const HubScope scope;
      const Greenlet<> one = Spawn([&] { EXPECT_TRUE(barrier.Wait().ok()); });
      EXPECT_TRUE(barrier.Wait().ok());
      one.Join();
    }).join();
  }
  EXPECT_EQ(Hub::Current(), nullptr);
}

// --- what is fatal ---

TEST(BarrierDeathTest, OneForNobodyIsFatal) {
  EXPECT_DEATH(Barrier(0), "a barrier for 0");
  EXPECT_DEATH(Barrier(-1), "a barrier for -1");
}

TEST(BarrierDeathTest, TheLastOneThatDropsOutIsFatal) {
  EXPECT_DEATH(Barrier(1).ArriveAndDrop(), "the last one leaves Barrier 0x");
}

TEST(BarrierDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Barrier barrier(3);
        const Greenlet<> one = Spawn({.name = "one"}, [&] { barrier.arrive_and_wait(); });
        const Greenlet<> two = Spawn({.name = "two"}, [&] { barrier.arrive_and_wait(); });
        Yield();
        barrier.~Barrier();
      },
      "Barrier 0x[0-9a-f]+ is destroyed while 2 wait for it:\n  greenlet 'one' \\(#1\\)\n"
      "  greenlet 'two' \\(#2\\)");
}

GREENLET_TEST(Barrier, WhoIsKilledWhileItTripsDoesNotCountTwice) {
  Greenlet<> victim;
  bool kill = true;
  Barrier barrier(3, [&] {
    if (std::exchange(kill, false)) victim.KillSoon();
  });
  victim = Spawn([&] { barrier.arrive_and_wait(); });
  const Greenlet<> other = Spawn([&] { barrier.arrive_and_wait(); });
  Yield();
  barrier.arrive_and_wait();
  other.Join();
  victim.Join();
  EXPECT_EQ(barrier.waiting(), 0u);
  const Greenlet<> a = Spawn([&] { barrier.arrive_and_wait(); });
  Yield();
  EXPECT_EQ(barrier.waiting(), 1u);
  const Greenlet<> b = Spawn([&] { barrier.arrive_and_wait(); });
  barrier.arrive_and_wait();
  a.Join();
  b.Join();
}

}  // namespace
}  // namespace grove
