#include "grove/sync/semaphore.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_contract.h"
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

// A single permit is a lock.
template <typename S>
struct OnePermit {
  void lock() { semaphore.acquire(); }
  bool try_lock() { return semaphore.try_acquire(); }
  bool try_lock_until(Deadline deadline) { return semaphore.acquire(deadline); }
  void unlock() { semaphore.release(); }
  S semaphore{1};
};
GROVE_LOCK_CONTRACT(Semaphore, OnePermit<Semaphore>)
GROVE_LOCK_CONTRACT(BoundedSemaphore, OnePermit<BoundedSemaphore>)

// A CappedSemaphore is one in either direction.
struct OneToAcquire {
  void lock() { semaphore.acquire(); }
  bool try_lock() { return semaphore.try_acquire(); }
  bool try_lock_until(Deadline deadline) { return semaphore.acquire(deadline); }
  void unlock() { EXPECT_TRUE(semaphore.try_release()); }
  CappedSemaphore semaphore{1, 1};
};
struct OneToRelease {
  void lock() { semaphore.release(); }
  bool try_lock() { return semaphore.try_release(); }
  bool try_lock_until(Deadline deadline) { return semaphore.release(deadline); }
  void unlock() { EXPECT_TRUE(semaphore.try_acquire()); }
  CappedSemaphore semaphore{0, 1};
};
GROVE_LOCK_CONTRACT(CappedSemaphore, OneToAcquire)
GROVE_LOCK_CONTRACT(CappedSemaphoreUpwards, OneToRelease)

// --- permits ---

GREENLET_TEST(Semaphore, CountsItsPermits) {
  Semaphore semaphore(2);
  EXPECT_EQ(semaphore.available(), 2);
  EXPECT_FALSE(semaphore.locked());
  semaphore.acquire();
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_EQ(semaphore.available(), 0);
  EXPECT_TRUE(semaphore.locked());
  EXPECT_FALSE(semaphore.try_acquire());
  semaphore.release(2);
  EXPECT_EQ(semaphore.available(), 2);
}

GREENLET_TEST(Semaphore, HasOneByDefaultAndMayHaveNone) {
  Semaphore one;
  EXPECT_TRUE(one.try_acquire());
  EXPECT_FALSE(one.try_acquire());
  Semaphore none(0);
  EXPECT_TRUE(none.locked());
  EXPECT_FALSE(none.try_acquire());
}

GREENLET_TEST(Semaphore, MayBeGivenMoreThanItBeganWith) {
  Semaphore semaphore(1);
  semaphore.release();
  semaphore.release(10);
  semaphore.release(0);
  EXPECT_EQ(semaphore.available(), 12);
  EXPECT_TRUE(semaphore.try_acquire(12));
}

GREENLET_TEST(Semaphore, SeveralAreTakenAtOnceOrNone) {
  Semaphore semaphore(3);
  EXPECT_FALSE(semaphore.try_acquire(4));
  EXPECT_FALSE(semaphore.acquire(4, absl::Seconds(1)));
  EXPECT_EQ(semaphore.available(), 3);
  const Greenlet<> four = Spawn([&] { EXPECT_TRUE(semaphore.acquire(4, Deadline())); });
  Sleep(absl::Seconds(1));
  EXPECT_EQ(semaphore.available(), 3) << "none is kept for it";
  semaphore.release();
  EXPECT_EQ(semaphore.available(), 0) << "they are its own at once";
  four.Join();
}

GREENLET_TEST(Semaphore, WhoAsksForManyIsNotPassedByWhoAsksForFew) {
  Semaphore semaphore(2);
  std::vector<int> order;
  const auto ask = [&](int64_t n) {
    return Spawn([&, n] {
      EXPECT_TRUE(semaphore.acquire(n, Deadline()));
      order.push_back(static_cast<int>(n));
    });
  };
  const Greenlet<> three = ask(3);
  Sleep(absl::Seconds(1));
  const Greenlet<> one = ask(1);
  EXPECT_FALSE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.acquire(absl::Seconds(1)));
  semaphore.release(2);
  three.Join();
  one.Join();
  EXPECT_EQ(order, (std::vector<int>{3, 1}));
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(Semaphore, WhoGivesUpAskingForManyLetsThoseBehindGoOn) {
  Semaphore semaphore(2);
  const Greenlet<> late =
      Spawn([&] { EXPECT_FALSE(semaphore.acquire(3, absl::Seconds(1))); });
  Sleep(absl::Milliseconds(1));
  const Greenlet<> one = Spawn([&] { semaphore.acquire(); });
  Sleep(absl::Seconds(1));
  EXPECT_TRUE(late.ready());
  EXPECT_TRUE(one.ready());
  const Greenlet<> killed = Spawn([&] { EXPECT_TRUE(semaphore.acquire(3, Deadline())); });
  Sleep(absl::Milliseconds(1));
  const Greenlet<> other = Spawn([&] { semaphore.acquire(); });
  Sleep(absl::Milliseconds(1));
  EXPECT_FALSE(other.ready());
  killed.KillSoon();
  EXPECT_EQ(semaphore.available(), 0);
  other.Join();
}

GREENLET_TEST(Semaphore, OneReleaseOfManyLetsManyGoOnInOrder) {
  Semaphore semaphore(0);
  std::vector<int> arrivals;
  std::vector<int> order;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 10; ++i) {
    greenlets.push_back(Spawn([&, i] {
      arrivals.push_back(i);
      semaphore.acquire();
      order.push_back(i);
    }));
  }
  Sleep(absl::Seconds(1));
  semaphore.release(3);
  Sleep(absl::Seconds(1));
  EXPECT_EQ(order.size(), 3u);
  semaphore.release(7);
  JoinAll(greenlets);
  if (!seed()) {
    EXPECT_EQ(order, arrivals);
  }
  EXPECT_EQ(order.size(), 10u);
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(Semaphore, APermitEndsWithItsScope) {
  Semaphore semaphore(1);
  BoundedSemaphore bounded(1);
  DummySemaphore dummy;
  {
    const Permit permit(semaphore);
    const Permit of_bounded(bounded);
    const Permit of_dummy(dummy);
    EXPECT_TRUE(semaphore.locked());
    EXPECT_TRUE(bounded.locked());
  }
  EXPECT_EQ(semaphore.available(), 1);
  EXPECT_EQ(bounded.available(), 1);
  EXPECT_THROW(
      {
        const Permit permit(semaphore);
        throw 1;
      },
      int);
  EXPECT_EQ(semaphore.available(), 1);
}

GREENLET_TEST(DummySemaphore, NeverMakesAnybodyWait) {
  DummySemaphore dummy;
  for (int i = 0; i < 100; ++i) {
    dummy.acquire();
    EXPECT_TRUE(dummy.try_acquire());
    EXPECT_TRUE(dummy.acquire(absl::ZeroDuration()));
    EXPECT_TRUE(dummy.acquire(5, absl::ZeroDuration()));
    EXPECT_TRUE(dummy.Wait(absl::ZeroDuration()));
    EXPECT_FALSE(dummy.locked());
  }
  dummy.release();
}

// --- Wait ---

GREENLET_TEST(Semaphore, WaitingForOneTakesNone) {
  Semaphore semaphore(1);
  EXPECT_TRUE(semaphore.Wait());
  EXPECT_EQ(semaphore.available(), 1);
  semaphore.acquire();
  EXPECT_FALSE(semaphore.Wait(absl::ZeroDuration()));
  const Stopwatch watch;
  EXPECT_FALSE(semaphore.Wait(absl::Seconds(1)));
  EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
  const Greenlet<> killed = Spawn([&] { semaphore.Wait(); });
  const Greenlet<> waiter = Spawn([&] { EXPECT_TRUE(semaphore.Wait()); });
  const Greenlet<> other = Spawn([&] { EXPECT_TRUE(semaphore.Wait(absl::Hours(1))); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  semaphore.release();
  waiter.Join();
  other.Join();
  EXPECT_EQ(semaphore.available(), 1);
}

GREENLET_TEST(Semaphore, WhoOnlyWaitsStandsInLineAsTheOthers) {
  Semaphore semaphore(0);
  const Greenlet<> first = Spawn([&] { semaphore.Wait(); });
  Sleep(absl::Seconds(1));
  const Greenlet<> second = Spawn([&] { semaphore.acquire(); });
  Sleep(absl::Seconds(1));
  const Greenlet<> third = Spawn([&] { semaphore.Wait(); });
  Sleep(absl::Seconds(1));
  semaphore.release();
  first.Join();
  second.Join();
  EXPECT_FALSE(third.Join(absl::Seconds(1))) << "the second has the permit";
  semaphore.release();
  third.Join();
}

// --- BoundedSemaphore ---

GREENLET_TEST(BoundedSemaphore, HasNeverMoreThanItBeganWith) {
  BoundedSemaphore semaphore(2);
  EXPECT_TRUE(semaphore.acquire(2, absl::Seconds(1)));
  semaphore.release();
  semaphore.release();
  EXPECT_EQ(semaphore.available(), 2);
}

// --- CappedSemaphore ---

GREENLET_TEST(CappedSemaphore, StaysBetweenNoneAndItsLimit) {
  CappedSemaphore semaphore(1, 2);
  EXPECT_EQ(semaphore.balance(), 1);
  semaphore.release();
  EXPECT_EQ(semaphore.available(), 2);
  EXPECT_FALSE(semaphore.try_release());
  EXPECT_FALSE(semaphore.release(absl::Seconds(1)));
  semaphore.acquire();
  semaphore.acquire();
  EXPECT_FALSE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.acquire(absl::Seconds(1)));
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(CappedSemaphore, BalanceCountsThoseWhoWait) {
  CappedSemaphore semaphore(1, 2);
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 4; ++i) greenlets.push_back(Spawn([&] { semaphore.release(); }));
  Sleep(absl::Seconds(1));
  EXPECT_EQ(semaphore.available(), 2);
  EXPECT_EQ(semaphore.balance(), 5);
  greenlets[3].Kill();
  EXPECT_EQ(semaphore.balance(), 4);
  for (int i = 0; i < 6; ++i) greenlets.push_back(Spawn([&] { semaphore.acquire(); }));
  Sleep(absl::Seconds(1));
  EXPECT_EQ(semaphore.available(), 0);
  EXPECT_EQ(semaphore.balance(), -2);
  semaphore.release();
  semaphore.release();
  JoinAll(greenlets);
  EXPECT_EQ(semaphore.balance(), 0);
}

GREENLET_TEST(CappedSemaphore, KeepsTwoSidesInStepAcrossHubs) {
  constexpr int kSteps = 200;
  CappedSemaphore semaphore(0, 3);
  const Greenlet<> here = Spawn([&] {
    for (int i = 0; i < kSteps; ++i) semaphore.acquire();
  });
  OnAnotherHub([&] {
    for (int i = 0; i < kSteps; ++i) semaphore.release();
  });
  here.Join();
  EXPECT_EQ(semaphore.balance(), 0);
}

// --- any order ---

TEST(Semaphore, PermitsAreConservedWhateverTheSeed) {
  constexpr int kPermits = 3;
  constexpr int kGreenlets = 6;
  ForEachSeed(kSeeds, [&] {
    BoundedSemaphore semaphore(kPermits);
    Dice dice;
    int taken = 0;
    const auto use = [&](int n) {
      struct Use {
        Use(BoundedSemaphore& s, int& t, int c) : semaphore(s), taken(t), n(c) {
          taken += n;
        }
        ~Use() {
          taken -= n;
          semaphore.release(n);
        }
        BoundedSemaphore& semaphore;
        int& taken;
        const int n;
      } in_use(semaphore, taken, n);
      EXPECT_LE(taken, kPermits);
      dice.Pause();
    };
    const auto one_round = [&] {
      const absl::Duration soon = absl::Microseconds(dice.Roll(20));
      const int n = 1 + dice.Roll(kPermits);
      switch (dice.Roll(5)) {
        case 0:
          semaphore.acquire();
          return use(1);
        case 1:
          if (semaphore.try_acquire(n)) use(n);
          return;
        case 2:
          if (semaphore.acquire(n, soon)) use(n);
          return;
        case 3:
          (void)semaphore.Wait(soon);
          return;
        default:
          WithTimeout(soon, [&] {
            if (semaphore.acquire(n, Deadline())) use(n);
          }).IgnoreError();
      }
    };
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < kGreenlets; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < 5; ++round) {
          one_round();
          dice.Pause();
        }
      }));
    }
    for (int i = 0; i < 2; ++i) {
      dice.Pause();
      greenlets[dice.Roll(kGreenlets)].KillSoon();
    }
    JoinAll(greenlets);
    EXPECT_EQ(taken, 0);
    EXPECT_EQ(semaphore.available(), kPermits);
  });
}

TEST(CappedSemaphore, StepsBalanceWhateverTheSeed) {
  constexpr int kLimit = 2;
  constexpr int kGreenlets = 6;
  ForEachSeed(kSeeds, [&] {
    CappedSemaphore semaphore(1, kLimit);
    Dice dice;
    int steps = 1;
    const auto one_round = [&] {
      const absl::Duration soon = absl::Microseconds(dice.Roll(20));
      const bool up = dice.Roll(2);
      const auto step = [&](Deadline deadline) {
        const bool done = up ? semaphore.release(deadline) : semaphore.acquire(deadline);
        if (done) steps += up ? 1 : -1;
      };
      if (dice.Roll(2)) {
        step(soon);
      } else {
        WithTimeout(soon, [&] { step(Deadline()); }).IgnoreError();
      }
      EXPECT_GE(semaphore.available(), 0);
      EXPECT_LE(semaphore.available(), kLimit);
    };
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < kGreenlets; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < 5; ++round) {
          one_round();
          dice.Pause();
        }
      }));
    }
    for (int i = 0; i < 2; ++i) {
      dice.Pause();
      greenlets[dice.Roll(kGreenlets)].KillSoon();
    }
    JoinAll(greenlets);
    EXPECT_EQ(semaphore.available(), steps);
    EXPECT_EQ(semaphore.balance(), steps);
  });
}

// --- from elsewhere ---

GREENLET_TEST(Semaphore, NeverExceedsItsPermitsAcrossHubsAndThreads) {
  constexpr int kPermits = 3;
  BoundedSemaphore semaphore(kPermits);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  const auto use = [&] {
    const int now = ++inside;
    for (int before = most; now > before && !most.compare_exchange_weak(before, now);) {
    }
    if (Hub::Current()) Yield();
    --inside;
  };
  const Greenlet<> threads = Spawn([&] {
    OnPlainThreads(2, [&](int) {
      for (int i = 0; i < 50; ++i) {
        if (!semaphore.try_acquire()) continue;
        use();
        semaphore.release();
      }
    });
  });
  OnHubs(2, [&](int) {
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < 3; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int j = 0; j < 30; ++j) {
          const Permit permit(semaphore);
          use();
        }
      }));
    }
    JoinAll(greenlets);
  });
  threads.Join();
  EXPECT_LE(most, kPermits);
  EXPECT_TRUE(semaphore.Wait()) << "what was released elsewhere arrives";
  OnAnotherHub([&] { EXPECT_TRUE(semaphore.acquire(kPermits, Deadline())); });
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(Semaphore, IsASignalFromAThread) {
  Semaphore semaphore(0);
  const Greenlet<> waiter = Spawn([&] {
    for (int i = 0; i < 100; ++i) semaphore.acquire();
  });
  OnPlainThread([&] {
    for (int i = 0; i < 50; ++i) semaphore.release(2);
  });
  waiter.Join();
  EXPECT_EQ(semaphore.available(), 0);
}

GREENLET_TEST(Semaphore, WhoAsksForManyElsewhereIsNotPassed) {
  Semaphore semaphore(1);
  std::atomic<bool> asked{false};
  const Greenlet<> other = Spawn([&] {
    OnAnotherHub([&] {
      asked = true;
      EXPECT_TRUE(semaphore.acquire(3, Deadline()));
      semaphore.release(3);
    });
  });
  while (!asked) Sleep(absl::Microseconds(1));
  semaphore.release(2);
  other.Join();
  // What it released was sent before its hub ended.
  EXPECT_TRUE(semaphore.acquire(3, Deadline()));
}

// --- what is fatal ---

TEST(SemaphoreDeathTest, NegativeNumbersAreFatal) {
  EXPECT_DEATH(Semaphore(-1), "a semaphore of -1 permits");
  EXPECT_DEATH(BoundedSemaphore(-1), "a semaphore of -1 permits");
  EXPECT_DEATH(Semaphore(0).release(-1), "releasing -1 permits of Semaphore 0x");
  EXPECT_DEATH((void)Semaphore(1).try_acquire(-1), "acquiring -1 permits of Semaphore");
  EXPECT_DEATH((void)Semaphore(1).try_acquire(0), "acquiring 0 permits of Semaphore");
}

TEST(SemaphoreDeathTest, ReleasingWhatWasNotAcquiredIsFatalIfItIsBounded) {
  EXPECT_DEATH(
      {
        HubScope scope;
        BoundedSemaphore semaphore(2);
        semaphore.release();
      },
      "releasing 1 permits of Semaphore 0x[0-9a-f]+, which has 2 of 2: they were not "
      "acquired");
  EXPECT_DEATH(
      {
        BoundedSemaphore semaphore(2);
        (void)semaphore.try_acquire();
        semaphore.release(2);
      },
      "releasing 2 permits of Semaphore 0x[0-9a-f]+, which has 1 of 2");
  EXPECT_DEATH(
      {
        Semaphore semaphore(std::numeric_limits<int64_t>::max());
        semaphore.release();
      },
      "they were not acquired");
}

TEST(SemaphoreDeathTest, AskingABoundedOneForMoreThanItHasIsFatal) {
  EXPECT_DEATH((void)BoundedSemaphore(2).try_acquire(3),
               "acquiring 3 permits of Semaphore 0x[0-9a-f]+, which has 2 at most");
}

TEST(SemaphoreDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Semaphore semaphore(0);
        const Greenlet<> one = Spawn({.name = "one"}, [&] { semaphore.acquire(); });
        const Greenlet<> two = Spawn({.name = "two"}, [&] { semaphore.Wait(); });
        Yield();
        semaphore.~Semaphore();
      },
      "Semaphore 0x[0-9a-f]+ is destroyed while 2 wait for it:\n"
      "  greenlet 'one' \\(#1\\)\n  greenlet 'two' \\(#2\\)");
  EXPECT_DEATH(
      {
        HubScope scope;
        CappedSemaphore semaphore(1, 1);
        const Greenlet<> one = Spawn({.name = "one"}, [&] { semaphore.release(); });
        Yield();
        semaphore.~CappedSemaphore();
      },
      "CappedSemaphore 0x[0-9a-f]+ is destroyed while 1 wait for it:\n"
      "  greenlet 'one' \\(#1\\)");
}

TEST(SemaphoreDeathTest, WhoWaitsFromElsewhereIsNamedByItsHub) {
  EXPECT_DEATH(
      {
        HubScope scope;
        auto* semaphore = new Semaphore(0);
        HubGroup group({.hubs = 1, .pin = false, .name = "abroad"},
                       [&](int) { semaphore->acquire(); });
        for (int i = 0; i < 100; ++i) Sleep(absl::Milliseconds(1));
        delete semaphore;
      },
      "is destroyed while 1 wait for it:\n  a greenlet of hub 'abroad-0'");
}

TEST(CappedSemaphoreDeathTest, LimitsThatMakeNoSenseAreFatal) {
  EXPECT_DEATH(CappedSemaphore(0, 0), "a CappedSemaphore of 0 permits and at most 0");
  EXPECT_DEATH(CappedSemaphore(-1, 2), "a CappedSemaphore of -1 permits and at most 2");
  EXPECT_DEATH(CappedSemaphore(3, 2), "a CappedSemaphore of 3 permits and at most 2");
}

}  // namespace
}  // namespace grove
