#include "grove/sync/rlock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/sync/lock_contract.h"
#include "grove/sync/lock_test_util.h"

namespace grove {
namespace {

using test_util::OnAnotherHub;
using test_util::OnPlainThread;
using test_util::Stopwatch;

// The contract is about greenlets that exclude one another. As its holder may lock an
// RLock again, what the test itself tries while it holds it is tried by another.
struct TriedByAnother : RLock {
  bool try_lock() {
    if (!held()) return RLock::try_lock();
    return false;
  }
};
GROVE_LOCK_CONTRACT(RLock, TriedByAnother)

GREENLET_TEST(RLock, ItsHolderLocksItAgainAndUnlocksItAsOften) {
  RLock lock;
  bool free = false;
  const Greenlet<> other = Spawn([&] {
    lock.lock();
    EXPECT_TRUE(free);
    lock.unlock();
  });
  lock.lock();
  lock.lock();
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.try_lock_for(absl::Seconds(1)));
  EXPECT_TRUE(lock.try_lock_until(absl::Seconds(1)));
  for (int i = 0; i < 4; ++i) {
    lock.unlock();
    EXPECT_TRUE(lock.held());
    Sleep(absl::Seconds(1));
  }
  free = true;
  lock.unlock();
  EXPECT_FALSE(lock.held());
  other.Join();
  EXPECT_FALSE(lock.locked());
}

GREENLET_TEST(RLock, MayBeLockedAgainFromElsewhere) {
  RLock lock;
  const auto twice = [&] {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
    EXPECT_TRUE(lock.held());
    lock.unlock();
    EXPECT_FALSE(lock.held());
  };
  OnAnotherHub(twice);
  OnPlainThread(twice);
  EXPECT_FALSE(lock.locked());
}

GREENLET_TEST(RLock, IsHeldByTheStandardsGuards) {
  RLock a;
  RLock b;
  {
    const std::scoped_lock both(a, b);
    const std::lock_guard again(a);
    const std::unique_lock once_more(a, std::chrono::seconds(1));
    EXPECT_TRUE(once_more.owns_lock());
  }
  EXPECT_FALSE(a.locked());
  a.lock();
  Spawn([&] {
    const Stopwatch watch;
    const std::unique_lock lock(a, std::chrono::seconds(2));
    EXPECT_FALSE(lock.owns_lock());
    EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
    const std::unique_lock late(a, std::chrono::steady_clock::now());
    EXPECT_FALSE(late.owns_lock());
  }).Join();
  a.unlock();
}

GREENLET_TEST(RLock, AFailedAttemptDoesNotCount) {
  RLock lock;
  lock.lock();
  Spawn([&] {
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_for(absl::Seconds(1)));
  }).Join();
  const Greenlet<> killed = Spawn([&] { lock.lock(); });
  Yield();
  killed.Kill();
  lock.unlock();
  EXPECT_FALSE(lock.locked());
}

GREENLET_TEST(RLock, IsUnlockedAltogetherAndLockedAsOftenAgain) {
  RLock lock;
  lock.lock();
  lock.lock();
  EXPECT_EQ(lock.UnlockAll(), 2);
  EXPECT_FALSE(lock.locked());
  lock.LockAgain(2);
  lock.unlock();
  EXPECT_TRUE(lock.held());
  lock.unlock();
  EXPECT_FALSE(lock.locked());
}

TEST(RLock, WhatAThreadLocksBeforeItHasAHubItsMainGreenletUnlocks) {
  std::thread([] {
    RLock lock;
    EXPECT_TRUE(lock.try_lock());
    const HubScope scope;
    EXPECT_TRUE(lock.held());
    lock.lock();
    lock.unlock();
    EXPECT_TRUE(lock.held());
    lock.unlock();
    EXPECT_FALSE(lock.locked());
    lock.lock();
    lock.unlock();
    EXPECT_FALSE(lock.locked()) << "it is free once it was unlocked as often";
  }).join();
}

TEST(RLockDeathTest, UnlockingWhatIsNotHeldIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        lock.unlock();
      },
      "greenlet 'main' unlocks Mutex 0x[0-9a-f]+, which is held by nobody");
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        lock.lock();
        lock.unlock();
        lock.unlock();
      },
      "which is held by nobody");
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        (void)lock.UnlockAll();
      },
      "which is held by nobody");
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        lock.lock();
        Spawn({.name = "thief"}, [&] { lock.unlock(); }).Join();
      },
      "greenlet 'thief' .* unlocks Mutex .*, which is held by greenlet 'main'");
}

TEST(RLockDeathTest, ACircleIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock a;
        RLock b;
        const Greenlet<> one = Spawn({.name = "one"}, [&] {
          a.lock();
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
      "deadlock:\n  greenlet 'two' .*held by greenlet 'one' .*\n  greenlet 'one' .*held "
      "by "
      "greenlet 'two'");
}

TEST(RLockDeathTest, DestroyingOneThatIsHeldIsFatalAndNamesTheHolder) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        lock.lock();
      },
      "is destroyed while it is held by greenlet 'main'");
}

#ifndef NDEBUG
TEST(RLockDeathTest, EndingWhileOneHoldsItIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RLock lock;
        Spawn({.name = "forgetful"}, [&] {
          lock.lock();
          lock.lock();
          lock.unlock();
        }).Join();
      },
      "greenlet 'forgetful' .* has ended and still holds 1 lock");
}
#endif

}  // namespace
}  // namespace grove
