#include "grove/sync/condition_variable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_test_util.h"
#include "grove/sync/mutex.h"
#include "grove/sync/rlock.h"
#include "grove/sync/rw_lock.h"

namespace grove {
namespace {

using test_util::Dice;
using test_util::JoinAll;
using test_util::kSeeds;
using test_util::OnAnotherHub;
using test_util::OnHubs;
using test_util::OnPlainThread;
using test_util::Stopwatch;

// Greenlets that wait, and write down who went on.
class ConditionVariableTest : public GreenletTest {
 protected:
  Greenlet<> SpawnWaiter(int name) {
    return Spawn([this, name] {
      std::unique_lock lock(mutex_);
      arrivals_.push_back(name);
      changed_.wait(lock);
      EXPECT_TRUE(mutex_.held());
      order_.push_back(name);
    });
  }
  // Until all that can run has.
  void Settle() { Sleep(absl::Milliseconds(1)); }

  Mutex mutex_;
  ConditionVariable changed_;
  std::vector<int> arrivals_;
  std::vector<int> order_;
};

// --- locks ---

// Waits once, with any lock, for a flag that another greenlet sets under it.
template <typename Lock>
void WaitsAndHoldsItsLockAgain(Lock& lock) {
  ConditionVariable changed;
  bool flag = false;
  lock.lock();
  const Greenlet<> setter = Spawn([&] {
    if constexpr (requires { lock.mutex(); }) {
      std::lock_guard held(*lock.mutex());
      flag = true;
    } else {
      std::lock_guard held(lock);
      flag = true;
    }
    changed.notify_one();
  });
  EXPECT_FALSE(flag);
  changed.wait(lock);
  EXPECT_TRUE(flag);
  EXPECT_FALSE(changed.wait_for(lock, absl::Seconds(1)));
  EXPECT_TRUE(changed.wait_for(lock, absl::Seconds(1), [&] { return flag; }));
  lock.unlock();
  setter.Join();
}

GREENLET_TEST(ConditionVariable, TakesAnyLock) {
  Mutex mutex;
  RLock rlock;
  RWLock rw_lock;
  WaitsAndHoldsItsLockAgain(mutex);
  WaitsAndHoldsItsLockAgain(rlock);
  WaitsAndHoldsItsLockAgain(rw_lock);
  std::unique_lock of_mutex(mutex, std::defer_lock);
  std::unique_lock of_rlock(rlock, std::defer_lock);
  std::unique_lock of_rw_lock(rw_lock, std::defer_lock);
  WaitsAndHoldsItsLockAgain(of_mutex);
  WaitsAndHoldsItsLockAgain(of_rlock);
  WaitsAndHoldsItsLockAgain(of_rw_lock);
}

GREENLET_TEST(ConditionVariable, UnlocksAnRLockAltogetherAndLocksItAsOftenAgain) {
  RLock lock;
  ConditionVariable changed;
  lock.lock();
  std::unique_lock unique(lock);
  const auto notify = [&] {
    return Spawn([&] {
      EXPECT_FALSE(lock.locked());
      std::lock_guard held(lock);
      changed.notify_one();
    });
  };
  const Greenlet<> first = notify();
  changed.wait(lock);
  const Greenlet<> second = notify();
  changed.wait(unique);
  EXPECT_FALSE(changed.wait_for(unique, absl::Seconds(1)));
  unique.unlock();
  EXPECT_TRUE(lock.held());
  lock.unlock();
  EXPECT_FALSE(lock.locked());
  first.Join();
  second.Join();
}

GREENLET_TEST_F(ConditionVariableTest, WaitingWithALockThatIsNotHeldLeavesNoTrace) {
  std::unique_lock lock(mutex_, std::defer_lock);
  EXPECT_THROW(changed_.wait(lock), std::system_error);
  OnAnotherHub([&] { EXPECT_THROW(changed_.wait(lock), std::system_error); });
  changed_.notify_all();
  EXPECT_FALSE(mutex_.locked());
}

// --- notifying ---

GREENLET_TEST_F(ConditionVariableTest, NotifyLetsAsManyGoOnAsItSaysInOrder) {
  std::vector<Greenlet<>> waiters;
  for (int i = 0; i < 10; ++i) waiters.push_back(SpawnWaiter(i));
  Settle();
  changed_.notify_one();
  Settle();
  EXPECT_EQ(order_.size(), 1u);
  changed_.notify(0);
  changed_.notify(3);
  Settle();
  EXPECT_EQ(order_.size(), 4u);
  changed_.notify_all();
  JoinAll(waiters);
  if (!seed()) {
    EXPECT_EQ(order_, arrivals_);
  }
}

GREENLET_TEST_F(ConditionVariableTest, ANotificationWithNobodyWaitingIsNotKept) {
  changed_.notify_one();
  changed_.notify_all();
  std::unique_lock lock(mutex_);
  const Stopwatch watch;
  EXPECT_FALSE(changed_.wait_for(lock, absl::Seconds(1)));
  EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
}

GREENLET_TEST_F(ConditionVariableTest, ItIsUnlockedMeanwhile) {
  const Greenlet<> waiter = SpawnWaiter(1);
  Settle();
  EXPECT_FALSE(mutex_.locked());
  mutex_.lock();
  changed_.notify_one();
  Settle();
  EXPECT_TRUE(order_.empty()) << "it has the lock first";
  mutex_.unlock();
  waiter.Join();
}

GREENLET_TEST_F(ConditionVariableTest, APredicateIsAskedBeforeAndAfterEachWait) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [] { return true; });
  int asked = 0;
  const Greenlet<> notifier = Spawn([&] {
    for (int i = 0; i < 3; ++i) {
      Settle();
      changed_.notify_all();
    }
  });
  changed_.wait(lock, [&] {
    EXPECT_TRUE(mutex_.held());
    return ++asked == 4;
  });
  EXPECT_EQ(asked, 4);
  notifier.Join();
}

// --- deadlines ---

GREENLET_TEST_F(ConditionVariableTest, ADeadlineThatPassesReturnsFalseAndHoldsTheLock) {
  std::unique_lock lock(mutex_);
  const Stopwatch watch;
  EXPECT_FALSE(changed_.wait_for(lock, absl::Seconds(1)));
  EXPECT_TRUE(mutex_.held());
  EXPECT_FALSE(changed_.wait_until(lock, absl::Seconds(1)));
  EXPECT_FALSE(changed_.wait_for(lock, absl::Seconds(1), [] { return false; }));
  EXPECT_TRUE(watch.Shows(absl::Seconds(3)));
  EXPECT_FALSE(changed_.wait_for(lock, absl::ZeroDuration()));
  EXPECT_FALSE(changed_.wait_until(lock, Deadline::Passed()));
  EXPECT_TRUE(mutex_.held());
  changed_.notify_all();
}

GREENLET_TEST_F(ConditionVariableTest, PastTheDeadlineThePredicateDecides) {
  std::unique_lock lock(mutex_);
  bool flag = false;
  // Nobody is notified.
  const Greenlet<> setter = Spawn([&] { flag = true; });
  EXPECT_TRUE(changed_.wait_for(lock, absl::Seconds(1), [&] { return flag; }));
  EXPECT_TRUE(changed_.wait_until(lock, Deadline::Passed(), [&] { return flag; }));
  setter.Join();
}

GREENLET_TEST_F(ConditionVariableTest, WhoseDeadlineHasPassedStillWaitsForTheLock) {
  const Greenlet<> waiter = Spawn([&] {
    std::unique_lock lock(mutex_);
    const Stopwatch watch;
    EXPECT_FALSE(changed_.wait_for(lock, absl::Seconds(1)));
    EXPECT_TRUE(watch.Shows(absl::Seconds(3)));
  });
  Yield();
  while (!waiter.started()) Yield();
  std::unique_lock lock(mutex_);
  Sleep(absl::Seconds(3));
  lock.unlock();
  waiter.Join();
}

GREENLET_TEST_F(ConditionVariableTest, ANotificationGoesToThoseWhoStillWait) {
  const Greenlet<> late = Spawn([&] {
    std::unique_lock lock(mutex_);
    EXPECT_FALSE(changed_.wait_for(lock, absl::Milliseconds(1)));
  });
  const Greenlet<> killed = SpawnWaiter(1);
  Settle();
  const Greenlet<> patient = SpawnWaiter(2);
  Sleep(absl::Seconds(1));
  killed.KillSoon();
  changed_.notify_one();
  patient.Join();
  late.Join();
  EXPECT_EQ(order_, std::vector<int>{2});
}

GREENLET_TEST_F(ConditionVariableTest, ATimeoutAroundPassesThroughOnceTheLockIsHeld) {
  std::unique_lock lock(mutex_);
  bool held = false;
  EXPECT_EQ(WithTimeout(absl::Seconds(1),
                        [&] {
                          try {
                            changed_.wait(lock);
                          } catch (const TimeoutExpired&) {
                            held = mutex_.held() && lock.owns_lock();
                            throw;
                          }
                        })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(held);
}

// --- kills ---

// Waits, and writes down how that ended.
struct Killed {
  bool threw = false;
  bool returned = false;
  bool held = false;
};
template <typename Lock>
Greenlet<> SpawnWitness(Killed& k, ConditionVariable& cv, Lock& mutex) {
  return Spawn([&] {
    std::unique_lock lock(mutex);
    try {
      cv.wait(lock);
      k.returned = true;
    } catch (const GreenletExit&) {
      k.threw = true;
    }
    k.held = mutex.held() && lock.owns_lock();
  });
}

template <typename Lock>
void AKillIsThrownOnceTheLockIsHeld() {
  Lock lock;
  ConditionVariable changed;
  Killed one;
  Killed two;
  const Greenlet<> killed = SpawnWitness(one, changed, lock);
  const Greenlet<> killed_soon = SpawnWitness(two, changed, lock);
  Sleep(absl::Seconds(1));
  lock.lock();
  killed_soon.KillSoon();
  Sleep(absl::Seconds(1));
  EXPECT_FALSE(killed_soon.ready()) << "it does not have the lock yet";
  lock.unlock();
  killed_soon.Join();
  killed.Kill();
  for (const Killed& k : {one, two}) {
    EXPECT_TRUE(k.threw);
    EXPECT_TRUE(k.held);
  }
  EXPECT_FALSE(lock.locked());
  changed.notify_all();
}

GREENLET_TEST(ConditionVariable, AKillIsThrownOnceTheLockIsHeld) {
  AKillIsThrownOnceTheLockIsHeld<Mutex>();
  AKillIsThrownOnceTheLockIsHeld<RLock>();
}

GREENLET_TEST_F(ConditionVariableTest, ANotificationGoesBeforeAKillInTheSameTurn) {
  Killed k;
  const Greenlet<> killed = SpawnWitness(k, changed_, mutex_);
  Settle();
  changed_.notify_one();
  killed.KillSoon();
  killed.Join();
  EXPECT_TRUE(k.returned);
  EXPECT_TRUE(k.held);
}

// --- any order ---

TEST(ConditionVariable, NoNotificationIsLostWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Mutex mutex;
    ConditionVariable changed;
    Dice dice;
    int items = 0;  // guarded by mutex
    int taken = 0;
    int given = 0;
    std::vector<Greenlet<>> consumers;
    for (int i = 0; i < 4; ++i) {
      consumers.push_back(Spawn([&] {
        for (;;) {
          std::unique_lock lock(mutex);
          const auto some = [&] { return items > 0; };
          if (dice.Roll(2)) {
            changed.wait(lock, some);
          } else if (!changed.wait_for(lock, absl::Microseconds(dice.Roll(20)), some)) {
            continue;
          }
          EXPECT_TRUE(mutex.held());
          --items;
          ++taken;
        }
      }));
    }
    const Greenlet<> producer = Spawn([&] {
      for (int i = 0; i < 15; ++i) {
        dice.Pause();
        std::unique_lock lock(mutex);
        ++items;
        ++given;
        lock.unlock();
        changed.notify_one();
      }
    });
    // A notification that a killed one got is passed on only by its predicate's loop:
    // those that are left are told once more.
    dice.Pause();
    consumers[dice.Roll(4)].KillSoon();
    producer.Join();
    changed.notify_all();
    Sleep(absl::Seconds(1));
    EXPECT_EQ(items, 0);
    EXPECT_EQ(taken, given);
    for (const Greenlet<>& c : consumers) c.Kill();
    EXPECT_FALSE(mutex.locked());
  });
}

TEST(ConditionVariable, AsManyGoOnAsWereNotifiedWhateverTheSeed) {
  ForEachSeed(kSeeds, [] {
    Mutex mutex;
    ConditionVariable changed;
    Dice dice;
    int waiting = 0;  // guarded by mutex
    int went_on = 0;
    std::vector<Greenlet<>> waiters;
    for (int i = 0; i < 6; ++i) {
      waiters.push_back(Spawn([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        changed.wait(lock);
        ++went_on;
      }));
    }
    int notified = 0;
    while (notified < 6) {
      dice.Pause();
      mutex.lock();
      const int n = std::min(dice.Roll(3), waiting);
      waiting -= n;
      mutex.unlock();
      changed.notify(n);
      notified += n;
      EXPECT_LE(went_on, notified);
    }
    JoinAll(waiters);
    EXPECT_EQ(went_on, 6);
  });
}

// --- from elsewhere ---

GREENLET_TEST_F(ConditionVariableTest, AThreadWithoutAHubNotifies) {
  std::vector<Greenlet<>> waiters;
  for (int i = 0; i < 5; ++i) waiters.push_back(SpawnWaiter(i));
  Settle();
  OnPlainThread([&] {
    changed_.notify_one();
    changed_.notify(2);
    changed_.notify_all();
  });
  JoinAll(waiters);
}

GREENLET_TEST_F(ConditionVariableTest, AnotherHubWaitsAndIsNotified) {
  std::atomic<int> waiting{0};
  bool flag = false;  // guarded by mutex_
  const Greenlet<> other = Spawn([&] {
    OnHubs(2, [&](int) {
      std::unique_lock lock(mutex_);
      EXPECT_FALSE(changed_.wait_for(lock, absl::Microseconds(10)));
      EXPECT_FALSE(changed_.wait_for(lock, absl::ZeroDuration()));
      ++waiting;
      changed_.wait(lock, [&] { return flag; });
      EXPECT_TRUE(mutex_.held());
    });
  });
  while (waiting < 2) Sleep(absl::Microseconds(1));
  {
    // Who says that it waits holds the lock until it does.
    std::lock_guard lock(mutex_);
    flag = true;
  }
  changed_.notify_all();
  other.Join();
}

// The hub of this test has nothing left to wait for but what is elsewhere.
GREENLET_TEST(ConditionVariable, AWaitForWhatBelongsElsewhereIsNoDeadlock) {
  std::atomic<ConditionVariable*> there{nullptr};
  std::atomic<bool> waits{false};
  Mutex mutex;
  std::thread other([&] {
    const HubScope scope;
    ConditionVariable changed;
    there = &changed;
    while (!waits) Sleep(absl::Microseconds(100));
    // It waits once it has unlocked.
    { const std::lock_guard lock(mutex); }
    changed.notify_all();
  });
  while (there == nullptr) std::this_thread::yield();
  {
    std::unique_lock lock(mutex);
    waits = true;
    there.load()->wait(lock);
  }
  OnPlainThread([&] { other.join(); });
}

// Unlocking such a lock asks its home, and meanwhile the notification comes.
GREENLET_TEST(ConditionVariable, NoNotificationIsLostWhileALockElsewhereIsUnlocked) {
  for (int i = 0; i < 100; ++i) {
    ConditionVariable changed;
    std::unique_ptr<RLock> lock;
    std::atomic<bool> made{false};
    std::atomic<bool> done{false};
    const Greenlet<> elsewhere = Spawn([&] {
      OnAnotherHub([&] {
        lock = std::make_unique<RLock>();
        made = true;
        while (!done) Sleep(absl::Microseconds(1));
        lock.reset();
      });
    });
    while (!made) Sleep(absl::Microseconds(1));
    const Greenlet<> waiter = Spawn([&] {
      lock->lock();
      changed.wait(*lock);
      lock->unlock();
    });
    // One notification is enough, whenever the waiter has got in line: the one who holds
    // the lock is not in line yet.
    while (!lock->locked()) Yield();
    while (!waiter.ready()) {
      changed.notify_one();
      Sleep(absl::Microseconds(1));
    }
    done = true;
    elsewhere.Join();
  }
}

GREENLET_TEST_F(ConditionVariableTest, KillsAndDeadlinesElsewhereRaceWithNotifications) {
  std::atomic<bool> done{false};
  const Greenlet<> notifier = Spawn([&] {
    while (!done) {
      changed_.notify_one();
      Sleep(absl::Microseconds(1));
    }
  });
  OnHubs(2, [&](int hub) {
    for (int i = 0; i < 100; ++i) {
      if (hub == 0) {
        const Greenlet<> waiter = Spawn([&] {
          std::unique_lock lock(mutex_);
          changed_.wait(lock);
        });
        for (int j = 0; j < i % 5; ++j) Sleep(absl::Microseconds(j));
        waiter.Kill();
      } else {
        std::unique_lock lock(mutex_);
        (void)changed_.wait_for(lock, absl::Microseconds(i % 50));
        EXPECT_TRUE(mutex_.held());
      }
    }
  });
  done = true;
  notifier.Join();
  EXPECT_FALSE(mutex_.locked());
}

TEST(ConditionVariable, OneWithoutAHubAndOneWhoseHubHasEndedAreNotified) {
  Mutex mutex;
  ConditionVariable changed;
  changed.notify_all();
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 0; i < 3; ++i) {
    std::thread([&] {
      const HubScope scope;
      bool flag = false;
      const Greenlet<> waiter = Spawn([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return flag; });
      });
      Yield();
      flag = true;
      changed.notify_one();
      waiter.Join();
    }).join();
    changed.notify_one();
  }
  EXPECT_EQ(Hub::Current(), nullptr);
}

TEST(ConditionVariable, WaitersFromElsewhereOutliveItsHub) {
  for (int i = 0; i < 20; ++i) {
    std::optional<HubScope> home(std::in_place);
    Mutex mutex;
    ConditionVariable changed;
    int flag = 0;
    const auto wait = [&] {
      const HubScope scope;
      std::unique_lock lock(mutex);
      flag += 1;
      changed.notify_all();
      changed.wait(lock, [&] { return flag == 2; });
    };
    std::thread a(wait);
    std::thread b(wait);
    for (int j = 0; j < i; ++j) Sleep(absl::Microseconds(10));
    home.reset();
    a.join();
    b.join();
  }
}

// --- what is fatal ---

TEST(ConditionVariableDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        ConditionVariable changed;
        const Greenlet<> one = Spawn({.name = "one"}, [&] {
          std::unique_lock lock(mutex);
          changed.wait(lock);
        });
        Yield();
        changed.~ConditionVariable();
      },
      "ConditionVariable 0x[0-9a-f]+ is destroyed while 1 wait for it:\n"
      "  greenlet 'one' \\(#1\\)");
}

TEST(ConditionVariableDeathTest, WaitingWithAMutexThatIsNotHeldIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        ConditionVariable changed;
        changed.wait(mutex);
      },
      "greenlet 'main' unlocks Mutex 0x[0-9a-f]+, which is held by nobody");
}

TEST(ConditionVariableDeathTest, NotifyingLessThanNobodyIsFatal) {
  EXPECT_DEATH(ConditionVariable().notify(-1), "notify\\(-1\\)");
}

// A lock whose unlock() waits.
struct SlowLock {
  void lock() {}
  void unlock() { Sleep(absl::Seconds(1)); }
};

GREENLET_TEST_F(ConditionVariableTest, WhoIsKilledInUnlockPassesItsNotificationOn) {
  SlowLock slow;
  const Greenlet<> killed = Spawn([&] { changed_.wait(slow); });
  Yield();
  const Greenlet<> next = SpawnWaiter(1);
  Settle();
  changed_.notify_one();  // for the first, which has not come out of unlock() yet
  killed.Kill();
  EXPECT_TRUE(next.Join(absl::Seconds(1)));
  next.Kill();
}

}  // namespace
}  // namespace grove
