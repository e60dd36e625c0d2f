#include "grove/sync/mutex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/sync/lock_contract.h"
#include "grove/sync/lock_test_util.h"
#include "grove/sync/once.h"
#include "grove/sync/rlock.h"
#include "grove/sync/rw_lock.h"

namespace grove {
namespace {

using test_util::OnAnotherHub;
using test_util::OnPlainThread;
using test_util::Stopwatch;

GROVE_LOCK_CONTRACT(Mutex, Mutex)

// --- what the standard's guards need ---

GREENLET_TEST(Mutex, IsHeldByTheStandardsGuards) {
  Mutex a;
  Mutex b;
  { const std::lock_guard lock(a); }
  { const std::scoped_lock both(a, b); }
  {
    std::unique_lock lock(a, std::try_to_lock);
    EXPECT_TRUE(lock.owns_lock());
    const std::unique_lock other(b, std::defer_lock);
    EXPECT_FALSE(other.owns_lock());
  }
  EXPECT_FALSE(a.locked());
  EXPECT_FALSE(b.locked());
}

GREENLET_TEST(Mutex, IsWaitedForAsLongAsAChronoDurationSays) {
  Mutex mutex;
  mutex.lock();
  Spawn([&] {
    const Stopwatch watch;
    std::unique_lock lock(mutex, std::chrono::seconds(2));
    EXPECT_FALSE(lock.owns_lock());
    EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
    EXPECT_FALSE(lock.try_lock_for(std::chrono::milliseconds(500)));
    EXPECT_TRUE(watch.Shows(absl::Seconds(2.5)));
    // A time point that has passed.
    const std::unique_lock late(mutex, std::chrono::system_clock::now());
    EXPECT_FALSE(late.owns_lock());
    EXPECT_FALSE(mutex.try_lock_for(absl::Seconds(1)));
  }).Join();
  mutex.unlock();
  const std::unique_lock free(mutex,
                              std::chrono::steady_clock::now() + std::chrono::seconds(1));
  EXPECT_TRUE(free.owns_lock());
}

GREENLET_TEST(Mutex, TwoThatAreTakenInBothOrdersByScopedLockAreNoDeadlock) {
  Mutex a;
  Mutex b;
  int inside = 0;
  const auto use = [&](Mutex& first, Mutex& second) {
    for (int i = 0; i < 100; ++i) {
      const std::scoped_lock both(first, second);
      EXPECT_EQ(inside++, 0);
      Yield();
      --inside;
      if (i % 3) Yield();
    }
  };
  const Greenlet<> one = Spawn([&] { use(a, b); });
  const Greenlet<> two = Spawn([&] { use(b, a); });
  one.Join();
  two.Join();
}

// --- who holds it ---

GREENLET_TEST(Mutex, SaysWhetherItIsHeldAndByMe) {
  Mutex mutex;
  EXPECT_FALSE(mutex.locked());
  EXPECT_FALSE(mutex.held());
  mutex.lock();
  EXPECT_TRUE(mutex.locked());
  EXPECT_TRUE(mutex.held());
  const auto not_mine = [&] {
    EXPECT_TRUE(mutex.locked());
    EXPECT_FALSE(mutex.held());
  };
  Spawn(not_mine).Join();
  OnPlainThread(not_mine);
  OnAnotherHub(not_mine);
  mutex.unlock();
  OnPlainThread([&] {
    EXPECT_TRUE(mutex.try_lock());
    EXPECT_TRUE(mutex.held());
    mutex.unlock();
    EXPECT_FALSE(mutex.held());
  });
  OnAnotherHub([&] {
    std::lock_guard lock(mutex);
    EXPECT_TRUE(mutex.held());
  });
  EXPECT_FALSE(mutex.locked());
}

GREENLET_TEST(Mutex, TryingToLockWhatOneHoldsFails) {
  Mutex mutex;
  mutex.lock();
  EXPECT_FALSE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock_until(absl::Seconds(1)));
  mutex.unlock();
}

GREENLET_TEST(Mutex, ATimeoutEndsTheWaitForWhatOneHolds) {
  Mutex mutex;
  mutex.lock();
  EXPECT_EQ(WithTimeout(absl::Seconds(1), [&] { mutex.lock(); }).code(),
            absl::StatusCode::kDeadlineExceeded);
  mutex.unlock();
}

TEST(Mutex, WhatAThreadLocksBeforeItHasAHubItsMainGreenletUnlocks) {
  std::thread([] {
    Mutex first;
    Mutex second;
    Mutex third;
    EXPECT_TRUE(first.try_lock());
    EXPECT_TRUE(third.try_lock());
    const HubScope scope;
    EXPECT_TRUE(first.held());
    EXPECT_FALSE(first.try_lock());
    std::lock_guard lock(second);
    first.unlock();
    third.unlock();
    EXPECT_FALSE(first.locked());
  }).join();
}

// --- deadlocks that are none ---

// Two greenlets that lock a and b, the one way round and the other.
template <typename Forward, typename Backward>
void LockBothWays(Forward forward, Backward backward) {
  const Greenlet<> one = Spawn(forward);
  const Greenlet<> two = Spawn(backward);
  one.Join();
  two.Join();
}

GREENLET_TEST(Mutex, ACircleThatADeadlineEndsIsNoDeadlock) {
  Mutex a;
  Mutex b;
  for (const bool first_is_patient : {false, true}) {
    const auto patient = [&](Mutex& x, Mutex& y) {
      std::lock_guard lock(x);
      Sleep(absl::Seconds(1));
      y.lock();
      y.unlock();
    };
    const auto impatient = [&](Mutex& x, Mutex& y) {
      std::lock_guard lock(x);
      Sleep(absl::Seconds(1));
      EXPECT_FALSE(y.try_lock_until(absl::Seconds(1)));
    };
    if (first_is_patient) {
      LockBothWays([&] { patient(a, b); }, [&] { impatient(b, a); });
    } else {
      LockBothWays([&] { impatient(a, b); }, [&] { patient(b, a); });
    }
  }
}

GREENLET_TEST(Mutex, ACircleThatATimeoutEndsIsNoDeadlock) {
  Mutex a;
  Mutex b;
  for (const bool first_is_patient : {false, true}) {
    const auto patient = [&](Mutex& x, Mutex& y) {
      std::lock_guard lock(x);
      Sleep(absl::Seconds(1));
      y.lock();
      y.unlock();
    };
    const auto impatient = [&](Mutex& x, Mutex& y) {
      std::lock_guard lock(x);
      Sleep(absl::Seconds(1));
      EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { y.lock(); }).ok());
    };
    if (first_is_patient) {
      LockBothWays([&] { patient(a, b); }, [&] { impatient(b, a); });
    } else {
      LockBothWays([&] { impatient(a, b); }, [&] { patient(b, a); });
    }
  }
}

GREENLET_TEST(Mutex, AChainIsNoCircle) {
  Mutex mutexes[5];
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i + 1 < 5; ++i) {
    greenlets.push_back(Spawn([&, i] {
      std::lock_guard mine(mutexes[i]);
      Sleep(absl::Seconds(1));
      std::lock_guard next(mutexes[i + 1]);
      Sleep(absl::Seconds(1));
    }));
  }
  test_util::JoinAll(greenlets);
}

GREENLET_TEST(Mutex, WhatIsHandedOverIsNotWaitedForAnyMore) {
  // `two` is given b just before it would close a circle with who waits for b.
  Mutex a;
  Mutex b;
  const Greenlet<> one = Spawn([&] {
    b.lock();
    Sleep(absl::Seconds(1));
    b.unlock();
    std::lock_guard lock_a(a);
  });
  const Greenlet<> two = Spawn([&] {
    std::lock_guard lock_a(a);
    Yield();
    std::lock_guard lock_b(b);
  });
  one.Join();
  two.Join();
}

// --- what is fatal ---

TEST(MutexDeathTest, UnlockingWhatIsNotHeldIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.unlock();
      },
      "greenlet 'main' unlocks Mutex 0x[0-9a-f]+, which is held by nobody");
  EXPECT_DEATH(
      {
        Mutex mutex;
        mutex.unlock();
      },
      "a thread that has no hub unlocks Mutex 0x[0-9a-f]+, which is held by nobody");
}

TEST(MutexDeathTest, UnlockingWhatAnotherHoldsIsFatalAndNamesBoth) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.lock();
        Spawn({.name = "thief"}, [&] { mutex.unlock(); }).Join();
      },
      "greenlet 'thief' \\(#1\\) unlocks Mutex .*, which is held by greenlet 'main'");
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.lock();
        OnAnotherHub([&] { mutex.unlock(); });
      },
      "a greenlet that .* belongs to another hub unlocks Mutex .*, which is held by "
      "greenlet 'main'");
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.lock();
        OnPlainThread([&] { mutex.unlock(); });
      },
      "a thread that has no hub unlocks Mutex .*, which is held by greenlet 'main'");
}

TEST(MutexDeathTest, LockingTwiceIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        Spawn({.name = "twice"}, [&] {
          mutex.lock();
          mutex.lock();
        }).Join();
      },
      "deadlock:\n  greenlet 'twice' \\(#1\\) waits for Mutex 0x[0-9a-f]+, held by "
      "greenlet 'twice' \\(#1\\)");
}

TEST(MutexDeathTest, LockingTwiceFromAnotherHubIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        OnAnotherHub([&] {
          mutex.lock();
          mutex.lock();
        });
      },
      "deadlock:\n  a greenlet of hub .hub-0. waits for Mutex .*: it holds that itself");
}

TEST(MutexDeathTest, ACircleOfTwoIsFatalAndNamesThemInOrder) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex a;
        Mutex b;
        const Greenlet<> one = Spawn({.name = "one"}, [&] {
          a.lock();
          Yield();
          b.lock();
        });
        const Greenlet<> two = Spawn({.name = "two"}, [&] {
          b.lock();
          Yield();
          a.lock();
        });
        one.Join();
      },
      "deadlock:\n"
      "  greenlet 'two' \\(#2\\) waits for Mutex 0x[0-9a-f]+, held by greenlet 'one' .*\n"
      "  greenlet 'one' \\(#1\\) waits for Mutex 0x[0-9a-f]+, held by greenlet 'two'");
}

TEST(MutexDeathTest, ACircleOfThreeIsFatalAndNamesThemInOrder) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutexes[3];
        std::vector<Greenlet<>> greenlets;
        for (int i = 0; i < 3; ++i) {
          greenlets.push_back(Spawn({.name = std::string(1, 'a' + i)}, [&, i] {
            mutexes[i].lock();
            Yield();
            mutexes[(i + 1) % 3].lock();
          }));
        }
        greenlets[0].Join();
      },
      "deadlock:\n"
      "  greenlet 'c' \\(#3\\) waits for Mutex 0x[0-9a-f]+, held by greenlet 'a' .*\n"
      "  greenlet 'a' \\(#1\\) waits for Mutex 0x[0-9a-f]+, held by greenlet 'b' .*\n"
      "  greenlet 'b' \\(#2\\) waits for Mutex 0x[0-9a-f]+, held by greenlet 'c'");
}

TEST(MutexDeathTest, ACircleOfSeveralKindsOfLocksIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock rlock;
        RWLock rw_lock;
        Once once;
        const Greenlet<> one = Spawn({.name = "one"}, [&] {
          rlock.lock();
          Yield();
          rw_lock.lock_shared();
        });
        const Greenlet<> two = Spawn({.name = "two"}, [&] {
          rw_lock.lock();
          Yield();
          once.Call([] {});
        });
        const Greenlet<> three = Spawn({.name = "three"}, [&] {
          once.Call([&] {
            Yield();
            rlock.lock();
          });
        });
        one.Join();
      },
      "deadlock:\n"
      "  greenlet 'three' .* waits for Mutex 0x.*, held by greenlet 'one' .*\n"
      "  greenlet 'one' .* waits for RWLock 0x.*, to read, held by greenlet 'two' .*\n"
      "  greenlet 'two' .* waits for Once 0x.*, which greenlet 'three' .* does");
}

TEST(MutexDeathTest, ACircleThatIsClosedAfterAHandOverIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex a;
        Mutex b;
        a.lock();
        // Both wait for what the main greenlet holds, and `one` is given it.
        const Greenlet<> one = Spawn({.name = "one"}, [&] {
          a.lock();
          Yield();
          b.lock();
        });
        const Greenlet<> two = Spawn({.name = "two"}, [&] {
          b.lock();
          a.lock();
        });
        Yield();
        a.unlock();
        one.Join();
      },
      "greenlet 'one' .* waits for Mutex .*, held by greenlet 'two'");
}

TEST(MutexDeathTest, DestroyingOneThatIsHeldIsFatalAndNamesTheHolder) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.lock();
      },
      "Mutex 0x[0-9a-f]+ is destroyed while it is held by greenlet 'main'");
  EXPECT_DEATH(
      {
        Mutex mutex;
        (void)mutex.try_lock();
      },
      "Mutex 0x[0-9a-f]+ is destroyed while it is held by a thread that has no hub");
}

TEST(MutexDeathTest, DestroyingOneThatIsWaitedForIsFatalAndNamesWhoWaits) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        mutex.lock();
        const Greenlet<> one = Spawn({.name = "one"}, [&] { mutex.lock(); });
        const Greenlet<> two = Spawn({.name = "two"}, [&] { mutex.lock(); });
        Yield();
        mutex.~Mutex();
      },
      "Mutex 0x[0-9a-f]+ is destroyed while 2 wait for it:\n  greenlet 'one' \\(#1\\)\n"
      "  greenlet 'two' \\(#2\\)");
}

#ifndef NDEBUG
TEST(MutexDeathTest, EndingWhileOneHoldsItIsFatalAndNamesTheGreenlet) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Mutex mutex;
        Spawn({.name = "forgetful"}, [&] { mutex.lock(); }).Join();
      },
      "greenlet 'forgetful' \\(#1\\), spawned at sync/mutex_test.cc:[0-9]+, has ended "
      "and "
      "still holds 1 lock");
  EXPECT_DEATH(
      {
        Mutex mutex;
        OnAnotherHub([&] { mutex.lock(); });
      },
      "hub 'hub-0' ends while its main greenlet holds 1 lock");
}
#endif

}  // namespace
}  // namespace grove
