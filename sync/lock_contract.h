#ifndef GROVE_SYNC_LOCK_CONTRACT_H_
#define GROVE_SYNC_LOCK_CONTRACT_H_

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_test_util.h"

// What all that lets one greenlet at a time through has to keep, as tests for any `L`
// with lock(), try_lock(), try_lock_until() and unlock(). GROVE_LOCK_CONTRACT(Suite, L)
// in a test file makes a test of each.
// Long, since it is in effect one test file for seven types.
namespace grove::lock_contract {

using test_util::Dice;
using test_util::JoinAll;
using test_util::kSeeds;
using test_util::OnAnotherHub;
using test_util::OnHubs;
using test_util::OnPlainThread;
using test_util::OnPlainThreads;
using test_util::Stopwatch;

template <typename L>
void ExpectFree(L& lock) {
  ASSERT_TRUE(lock.try_lock());
  lock.unlock();
}

// A greenlet that locks, writes `name` down, and unlocks.
template <typename L>
Greenlet<> SpawnWaiter(L& lock, std::vector<int>& order, int name) {
  return Spawn([&lock, &order, name] {
    std::lock_guard held(lock);
    order.push_back(name);
  });
}

// --- one hub ---

template <typename L>
void AFreeOneIsTakenAtOnce() {
  L lock;
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  lock.lock();
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(Deadline()));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(absl::Hours(1)));
  lock.unlock();
  EXPECT_FALSE(other_ran) << "that blocked";
  other.Join();
}

template <typename L>
void OneThatIsTakenIsWaitedFor() {
  L lock;
  const Stopwatch watch;
  lock.lock();
  const Greenlet<> waiter = Spawn([&] {
    lock.lock();
    EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
    lock.unlock();
  });
  const Greenlet<> patient = Spawn([&] {
    EXPECT_TRUE(lock.try_lock_until(absl::Seconds(3)));
    lock.unlock();
  });
  Sleep(absl::Seconds(2));
  EXPECT_FALSE(waiter.ready());
  lock.unlock();
  waiter.Join();
  patient.Join();
  ExpectFree(lock);
}

template <typename L>
void ManyAreServedInTheOrderInWhichTheyCame() {
  constexpr int kMany = 200;
  L lock;
  std::vector<int> order;
  std::vector<int> arrivals;
  std::vector<Greenlet<>> waiters;
  lock.lock();
  for (int i = 0; i < kMany; ++i) {
    waiters.push_back(Spawn([&, i] {
      arrivals.push_back(i);
      std::lock_guard held(lock);
      order.push_back(i);
      Yield();
    }));
  }
  while (arrivals.size() < kMany) Yield();
  lock.unlock();
  JoinAll(waiters);
  EXPECT_EQ(order, arrivals);
}

template <typename L>
void NobodyGetsInBetweenWhileItIsHandedOver() {
  L lock;
  std::vector<int> order;
  lock.lock();
  const Greenlet<> waiter = SpawnWaiter(lock, order, 1);
  Sleep(absl::Seconds(1));  // it waits
  lock.unlock();
  EXPECT_TRUE(order.empty()) << "unlock() has blocked";
  EXPECT_FALSE(lock.try_lock()) << "it is the waiter's";
  lock.lock();
  order.push_back(2);
  lock.unlock();
  waiter.Join();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

template <typename L>
void TryingDoesNotWait() {
  L lock;
  lock.lock();
  bool other_ran = false;
  const Greenlet<> g = Spawn([&] {
    const Greenlet<> other = Spawn([&] { other_ran = true; });
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_until(Deadline::Passed()));
    EXPECT_FALSE(lock.try_lock_until(absl::ZeroDuration()));
    EXPECT_FALSE(lock.try_lock_until(-absl::InfiniteDuration()));
    EXPECT_FALSE(other_ran) << "that blocked";
    other.Join();
  });
  g.Join();
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

template <typename L>
void ADeadlineThatPassesReturnsFalseAndLeavesNoTrace() {
  L lock;
  lock.lock();
  Spawn([&] {
    const Stopwatch watch;
    EXPECT_FALSE(lock.try_lock_until(absl::Seconds(2)));
    EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
  }).Join();
  lock.unlock();
  ExpectFree(lock);
}

template <typename L>
void AGrantAtTheMomentOfTheDeadlineIsNotLost() {
  for (const bool holders_timer_is_first : {true, false}) {
    L lock;
    std::vector<int> order;
    const Greenlet<> holder = Spawn([&] {
      lock.lock();
      if (!holders_timer_is_first) Yield();
      Sleep(absl::Seconds(1));
      lock.unlock();
    });
    const Greenlet<> waiter = Spawn([&] {
      if (lock.try_lock_until(absl::Seconds(1))) lock.unlock();
    });
    const Greenlet<> next = SpawnWaiter(lock, order, 1);
    holder.Join();
    waiter.Join();
    next.Join();
    EXPECT_EQ(order.size(), 1u);
    ExpectFree(lock);
  }
}

template <typename L>
void OneThatIsKilledWhileItWaitsDoesNotHoldIt() {
  L lock;
  std::vector<int> order;
  lock.lock();
  const Greenlet<> killed = SpawnWaiter(lock, order, 1);
  const Greenlet<> killed_soon = SpawnWaiter(lock, order, 2);
  const Greenlet<> with_deadline = Spawn([&] {
    if (lock.try_lock_until(absl::Hours(1))) ADD_FAILURE() << "got it";
  });
  const Greenlet<> next = SpawnWaiter(lock, order, 3);
  Sleep(absl::Seconds(1));
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  killed_soon.KillSoon();
  EXPECT_FALSE(killed_soon.ready());
  with_deadline.Kill();
  EXPECT_TRUE(with_deadline.killed());
  lock.unlock();
  next.Join();
  EXPECT_TRUE(killed_soon.killed());
  EXPECT_EQ(order, std::vector<int>{3});
  ExpectFree(lock);
}

template <typename L>
void OneThatIsKilledInTheTurnOfItsGrantHoldsItAndReleasesIt() {
  L lock;
  bool got = false;
  bool went_on = false;
  std::vector<int> order;
  lock.lock();
  const Greenlet<> first = Spawn([&] {
    std::lock_guard held(lock);
    got = true;
    Yield();
    went_on = true;
  });
  Yield();
  Sleep(absl::Seconds(1));
  const Greenlet<> next = SpawnWaiter(lock, order, 2);
  Sleep(absl::Seconds(1));
  lock.unlock();
  first.KillSoon();
  first.Join();
  next.Join();
  EXPECT_TRUE(got) << "a grant is no blocking call that could throw";
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(first.killed());
  EXPECT_EQ(order, std::vector<int>{2});
  ExpectFree(lock);
}

template <typename L>
void AGrantInTheTurnOfAKillGoesToTheNext() {
  L lock;
  std::vector<int> order;
  lock.lock();
  const Greenlet<> first = SpawnWaiter(lock, order, 1);
  Sleep(absl::Seconds(1));
  const Greenlet<> next = SpawnWaiter(lock, order, 2);
  Sleep(absl::Seconds(1));
  first.KillSoon();
  lock.unlock();
  next.Join();
  first.Join();
  EXPECT_TRUE(first.killed());
  EXPECT_EQ(order, std::vector<int>{2});
  ExpectFree(lock);
}

template <typename L>
void ATimeoutAroundPassesThrough() {
  L lock;
  lock.lock();
  Spawn([&] {
    const Stopwatch watch;
    EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { lock.lock(); }).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
    // The call's own deadline is later.
    EXPECT_EQ(WithTimeout(absl::Seconds(1),
                          [&] { (void)lock.try_lock_until(absl::Seconds(2)); })
                  .code(),
              absl::StatusCode::kDeadlineExceeded);
    // And sooner.
    EXPECT_TRUE(WithTimeout(absl::Seconds(2), [&] {
                  EXPECT_FALSE(lock.try_lock_until(absl::Seconds(1)));
                }).ok());
  }).Join();
  lock.unlock();
  ExpectFree(lock);
}

template <typename L>
void AGrantAtTheMomentOfATimeoutIsNotLost() {
  for (const bool holders_timer_is_first : {true, false}) {
    L lock;
    std::vector<int> order;
    const Greenlet<> holder = Spawn([&] {
      lock.lock();
      if (!holders_timer_is_first) Yield();
      Sleep(absl::Seconds(1));
      lock.unlock();
    });
    const Greenlet<> waiter = Spawn([&] {
      WithTimeout(absl::Seconds(1), [&] {
        std::lock_guard held(lock);
        Sleep(absl::Seconds(1));
      }).IgnoreError();
    });
    const Greenlet<> next = SpawnWaiter(lock, order, 1);
    holder.Join();
    waiter.Join();
    next.Join();
    EXPECT_EQ(order.size(), 1u);
    ExpectFree(lock);
  }
}

template <typename L>
void AShieldedWaitGoesOnAndTheKillComesAfter() {
  L lock;
  bool got = false;
  bool went_on = false;
  lock.lock();
  const Greenlet<> waiter = Spawn([&] {
    {
      const Shield shield;
      lock.lock();
    }
    got = true;
    lock.unlock();
    Yield();
    went_on = true;
  });
  Sleep(absl::Seconds(1));
  waiter.KillSoon();
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(waiter.ready());
  lock.unlock();
  waiter.Join();
  EXPECT_TRUE(got);
  EXPECT_FALSE(went_on);
}

template <typename L>
void ThoseWhoGaveUpLeaveNoTrace() {
  constexpr int kMany = 30;
  L lock;
  std::vector<int> order;
  std::vector<int> arrivals;
  std::vector<Greenlet<>> waiters;
  lock.lock();
  for (int i = 0; i < kMany; ++i) {
    waiters.push_back(Spawn([&, i] {
      if (i % 3 == 2) arrivals.push_back(i);
      if (i % 3 == 1) {
        EXPECT_FALSE(lock.try_lock_until(absl::Seconds(i)));
        return;
      }
      std::lock_guard held(lock);
      order.push_back(i);
    }));
  }
  Sleep(absl::Seconds(kMany));
  for (int i = 0; i < kMany; i += 3) waiters[i].KillSoon();
  lock.unlock();
  JoinAll(waiters);
  EXPECT_EQ(order, arrivals);
  ExpectFree(lock);
}

template <typename L>
void OneAtATimeInOrderWhateverTheSeed() {
  constexpr int kGreenlets = 5;
  constexpr int kRounds = 5;
  ForEachSeed(kSeeds, [] {
    L lock;
    Dice dice;
    int inside = 0;
    int tickets = 0;
    int last_ticket = -1;
    const auto critical_section = [&](int ticket) {
      std::lock_guard held(lock, std::adopt_lock);
      EXPECT_EQ(inside, 0);
      EXPECT_GT(ticket, last_ticket) << "somebody was passed";
      last_ticket = ticket;
      ++inside;
      struct Leave {
        ~Leave() { --inside; }
        int& inside;
      } leave{inside};
      dice.Pause();
    };
    const auto one_round = [&] {
      const int ticket = tickets++;
      switch (dice.Roll(4)) {
        case 0:
          lock.lock();
          return critical_section(ticket);
        case 1:
          if (lock.try_lock()) critical_section(ticket);
          return;
        case 2:
          if (lock.try_lock_until(absl::Microseconds(dice.Roll(20)))) {
            critical_section(ticket);
          }
          return;
        default:
          WithTimeout(absl::Microseconds(dice.Roll(20)), [&] {
            lock.lock();
            critical_section(ticket);
          }).IgnoreError();
      }
    };
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < kGreenlets; ++i) {
      greenlets.push_back(Spawn([&] {
        for (int round = 0; round < kRounds; ++round) {
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
    EXPECT_EQ(inside, 0);
    ExpectFree(lock);
  });
}

// --- several hubs and threads ---

template <typename L>
void AnotherHubWaitsForItAndIsWaitedFor() {
  L lock;
  lock.lock();
  std::atomic<bool> comes{false};
  bool there = false;  // guarded by the lock
  const Greenlet<> other = Spawn([&] {
    OnAnotherHub([&] {
      EXPECT_FALSE(lock.try_lock());
      EXPECT_FALSE(lock.try_lock_until(absl::Microseconds(10)));
      comes = true;
      lock.lock();
      there = true;
      lock.unlock();
    });
  });
  while (!comes) Sleep(absl::Microseconds(1));
  for (int i = 0; i < 100; ++i) Sleep(absl::Microseconds(1));
  EXPECT_FALSE(there);
  lock.unlock();
  other.Join();
  lock.lock();
  EXPECT_TRUE(there);
  lock.unlock();
}

template <typename L>
void CountsAreConservedAcrossHubs() {
  constexpr int kHubs = 3;
  constexpr int kGreenlets = 2;
  constexpr int kRounds = 50;
  L lock;
  int count = 0;  // guarded by the lock
  const auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      std::lock_guard held(lock);
      const int before = count;
      if (i % 5 == 0) Yield();
      count = before + 1;
    }
  };
  const Greenlet<> here = Spawn(work);
  OnHubs(kHubs, [&](int) {
    std::vector<Greenlet<>> greenlets;
    for (int i = 0; i < kGreenlets; ++i) greenlets.push_back(Spawn(work));
    JoinAll(greenlets);
  });
  here.Join();
  lock.lock();
  EXPECT_EQ(count, (kHubs * kGreenlets + 1) * kRounds);
  lock.unlock();
}

template <typename L>
void AThreadWithoutAHubTriesAndUnlocksAndGetsNone() {
  L lock;
  lock.lock();
  OnPlainThread([&] { EXPECT_FALSE(lock.try_lock()); });
  lock.unlock();
  OnPlainThread([&] {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock()) << "it is taken";
    lock.unlock();
    EXPECT_TRUE(lock.try_lock()) << "what one thread does is done in that order";
    lock.unlock();
  });
  ExpectFree(lock);
}

template <typename L>
void OneThatAThreadHoldsIsHandedOver() {
  L lock;
  Latch taken(1);
  Latch waits(1);
  bool unlocked = false;  // guarded by the lock
  const Greenlet<> waiter = Spawn([&] {
    taken.wait();
    waits.count_down();
    std::lock_guard held(lock);
    EXPECT_TRUE(unlocked);
  });
  OnPlainThread([&] {
    EXPECT_TRUE(lock.try_lock());
    taken.count_down();
    while (!waits.try_wait()) std::this_thread::yield();
    unlocked = true;
    lock.unlock();
  });
  waiter.Join();
  ExpectFree(lock);
}

// In a plain TEST: there is no hub on this thread.
template <typename L>
void OneThatIsMadeBeforeAnyHubIsUsedByAll() {
  ASSERT_EQ(Hub::Current(), nullptr);
  constexpr int kThreads = 3;
  constexpr int kRounds = 100;
  L lock;
  int count = 0;  // guarded by the lock
  ASSERT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int done = 0; done < kRounds;) {
        if (!lock.try_lock()) {
          std::this_thread::yield();
          continue;
        }
        ++count;
        lock.unlock();
        ++done;
      }
      EXPECT_EQ(Hub::Current(), nullptr);
    });
  }
  // Meanwhile it gets a home, which ends, and another.
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        const HubScope scope;
        for (int j = 0; j < kRounds / 5; ++j) {
          std::lock_guard held(lock);
          ++count;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(count, 2 * kThreads * kRounds);
  lock.unlock();
  EXPECT_EQ(Hub::Current(), nullptr);
}

// In a plain TEST.
template <typename L>
void OneWhoseHubHasEndedBelongsToTheNextThatUsesIt() {
  std::unique_ptr<L> lock;
  std::thread([&] {
    const HubScope scope;
    lock = std::make_unique<L>();
    std::lock_guard held(*lock);
    Yield();
  }).join();
  ExpectFree(*lock);
  for (int i = 0; i < 2; ++i) {
    std::thread([&] {
      const HubScope scope;
      std::vector<int> order;
      lock->lock();
      const Greenlet<> waiter = SpawnWaiter(*lock, order, 1);
      Yield();
      lock->unlock();
      waiter.Join();
      EXPECT_EQ(order.size(), 1u);
    }).join();
  }
  ExpectFree(*lock);
}

// In a plain TEST: who waits on another hub when the home ends goes on with the next.
template <typename L>
void WaitersFromElsewhereOutliveItsHub() {
  for (int i = 0; i < 20; ++i) {
    std::optional<HubScope> home(std::in_place);
    auto lock = std::make_unique<L>();
    std::atomic<int> got{0};
    const auto elsewhere = [&] {
      const HubScope scope;
      for (int j = 0; j < 10; ++j) {
        std::lock_guard held(*lock);
        ++got;
        if (j % 2) Yield();
      }
    };
    std::thread a(elsewhere);
    std::thread b(elsewhere);
    for (int j = 0; j < i; ++j) Yield();
    home.reset();
    a.join();
    b.join();
    EXPECT_EQ(got, 20);
  }
}

template <typename L>
void KillsAndDeadlinesElsewhereRaceWithGrants() {
  constexpr int kRounds = 200;
  L lock;
  int inside = 0;  // guarded by the lock
  std::atomic<bool> done{false};
  const auto use = [&inside] {
    EXPECT_EQ(inside, 0);
    ++inside;
    --inside;
  };
  const Greenlet<> here = Spawn([&] {
    while (!done) {
      {
        std::lock_guard held(lock);
        use();
        Yield();
      }
      Yield();
    }
  });
  OnHubs(2, [&](int hub) {
    for (int i = 0; i < kRounds; ++i) {
      if (hub == 0) {
        const Greenlet<> waiter = Spawn([&] {
          std::lock_guard held(lock);
          use();
        });
        for (int j = 0; j < i % 5; ++j) Yield();
        waiter.Kill();
      } else if (lock.try_lock_until(absl::Microseconds(i % 50))) {
        use();
        lock.unlock();
      }
    }
  });
  done = true;
  here.Join();
  ExpectFree(lock);
}

// What was sent home arrives there first.
template <typename L>
void OneMayBeDestroyedElsewhereOnceItIsUnlocked() {
  for (int i = 0; i < 100; ++i) {
    auto lock = std::make_unique<L>();
    OnPlainThread([&] {
      if (lock->try_lock()) lock->unlock();
      lock.reset();
    });
  }
  for (int i = 0; i < 50; ++i) {
    auto lock = std::make_unique<L>();
    OnAnotherHub([&] {
      lock->lock();
      lock->unlock();
      lock.reset();
    });
  }
}

// While the one who handed it over may still be about it.
template <typename L>
void TheNextHolderElsewhereMayDestroyIt() {
  for (int i = 0; i < 100; ++i) {
    auto lock = std::make_unique<L>();
    std::atomic<bool> comes{false};
    L* const mine = lock.get();
    mine->lock();
    const Greenlet<> other = Spawn([&] {
      OnAnotherHub([&] {
        comes = true;
        lock->lock();
        lock->unlock();
        lock.reset();
      });
    });
    while (!comes) Sleep(absl::Microseconds(1));
    for (int j = 0; j < i % 20; ++j) Sleep(absl::Microseconds(1));
    mine->unlock();
    other.Join();
  }
}

template <typename L>
void AHubMayEndAsSoonAsItHasItsAnswer() {
  L lock;
  for (int i = 0; i < 50; ++i) {
    OnAnotherHub([&] {
      lock.lock();
      lock.unlock();
    });
  }
}

}  // namespace grove::lock_contract

#define GROVE_LOCK_GREENLET_TEST(Suite, L, Name) \
  GREENLET_TEST(Suite, Name) { lock_contract::Name<L>(); }
#define GROVE_LOCK_PLAIN_TEST(Suite, L, Name) \
  TEST(Suite, Name) { lock_contract::Name<L>(); }

#define GROVE_LOCK_CONTRACT(Suite, L)                                                 \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AFreeOneIsTakenAtOnce)                           \
  GROVE_LOCK_GREENLET_TEST(Suite, L, OneThatIsTakenIsWaitedFor)                       \
  GROVE_LOCK_GREENLET_TEST(Suite, L, ManyAreServedInTheOrderInWhichTheyCame)          \
  GROVE_LOCK_GREENLET_TEST(Suite, L, NobodyGetsInBetweenWhileItIsHandedOver)          \
  GROVE_LOCK_GREENLET_TEST(Suite, L, TryingDoesNotWait)                               \
  GROVE_LOCK_GREENLET_TEST(Suite, L, ADeadlineThatPassesReturnsFalseAndLeavesNoTrace) \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AGrantAtTheMomentOfTheDeadlineIsNotLost)         \
  GROVE_LOCK_GREENLET_TEST(Suite, L, OneThatIsKilledWhileItWaitsDoesNotHoldIt)        \
  GROVE_LOCK_GREENLET_TEST(Suite, L,                                                  \
                           OneThatIsKilledInTheTurnOfItsGrantHoldsItAndReleasesIt)    \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AGrantInTheTurnOfAKillGoesToTheNext)             \
  GROVE_LOCK_GREENLET_TEST(Suite, L, ATimeoutAroundPassesThrough)                     \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AGrantAtTheMomentOfATimeoutIsNotLost)            \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AShieldedWaitGoesOnAndTheKillComesAfter)         \
  GROVE_LOCK_GREENLET_TEST(Suite, L, ThoseWhoGaveUpLeaveNoTrace)                      \
  GROVE_LOCK_PLAIN_TEST(Suite, L, OneAtATimeInOrderWhateverTheSeed)                   \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AnotherHubWaitsForItAndIsWaitedFor)              \
  GROVE_LOCK_GREENLET_TEST(Suite, L, CountsAreConservedAcrossHubs)                    \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AThreadWithoutAHubTriesAndUnlocksAndGetsNone)    \
  GROVE_LOCK_GREENLET_TEST(Suite, L, OneThatAThreadHoldsIsHandedOver)                 \
  GROVE_LOCK_PLAIN_TEST(Suite, L, OneThatIsMadeBeforeAnyHubIsUsedByAll)               \
  GROVE_LOCK_PLAIN_TEST(Suite, L, OneWhoseHubHasEndedBelongsToTheNextThatUsesIt)      \
  GROVE_LOCK_PLAIN_TEST(Suite, L, WaitersFromElsewhereOutliveItsHub)                  \
  GROVE_LOCK_GREENLET_TEST(Suite, L, KillsAndDeadlinesElsewhereRaceWithGrants)        \
  GROVE_LOCK_GREENLET_TEST(Suite, L, OneMayBeDestroyedElsewhereOnceItIsUnlocked)      \
  GROVE_LOCK_GREENLET_TEST(Suite, L, TheNextHolderElsewhereMayDestroyIt)              \
  GROVE_LOCK_GREENLET_TEST(Suite, L, AHubMayEndAsSoonAsItHasItsAnswer)

#endif  // GROVE_SYNC_LOCK_CONTRACT_H_
