#include "grove/sync/rw_lock.h"

#include <gtest/gtest.h>

#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
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
using test_util::Stopwatch;

GROVE_LOCK_CONTRACT(RWLock, RWLock)

// Greenlets that read or write for a second, and write down when they begin.
class RWLockOrder : public GreenletTest {
 protected:
  void Read(const std::string& name) {
    greenlets_.push_back(Spawn([this, name] {
      const std::shared_lock reading(lock_);
      order_ += name;
      Sleep(absl::Seconds(1));
    }));
  }
  void Write(const std::string& name) {
    greenlets_.push_back(Spawn([this, name] {
      const std::unique_lock writing(lock_);
      order_ += name;
      Sleep(absl::Seconds(1));
    }));
  }
  // Lets the last one get in line before the next.
  void Then() { Sleep(absl::Milliseconds(1)); }
  void Finish() {
    JoinAll(greenlets_);
    EXPECT_TRUE(lock_.try_lock());
    lock_.unlock();
    greenlets_.clear();
  }

  RWLock lock_;
  std::string order_;
  std::vector<Greenlet<>> greenlets_;
};

GREENLET_TEST_F(RWLockOrder, ReadersShareIt) {
  for (int i = 0; i < 100; ++i) Read("r");
  Finish();
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

GREENLET_TEST_F(RWLockOrder, WritersDoNot) {
  for (int i = 0; i < 100; ++i) Write("w");
  Finish();
  EXPECT_GE(Elapsed(), absl::Seconds(100));
}

GREENLET_TEST_F(RWLockOrder, AWriterWaitsForAllReadersAndTheyForIt) {
  Read("r");
  Then();
  Read("r");
  Then();
  Write("w");
  Then();
  Read("R");
  Then();
  Read("R");
  Finish();
  EXPECT_EQ(order_, "rrwRR");
  EXPECT_LT(Elapsed(), absl::Seconds(3.1));
}

GREENLET_TEST_F(RWLockOrder, NeitherReadersNorWritersStarve) {
  for (const char* name : {"a", "B", "c", "D", "E", "f"}) {
    if (*name >= 'a') {
      Read(name);
    } else {
      Write(name);
    }
    Then();
  }
  Finish();
  EXPECT_EQ(order_, "aBcDEf");
}

GREENLET_TEST_F(RWLockOrder, NobodyPassesAWriterThatWaits) {
  lock_.lock_shared();
  Write("w");
  Then();
  EXPECT_FALSE(lock_.try_lock_shared());
  EXPECT_FALSE(lock_.try_lock_shared_until(absl::Milliseconds(1)));
  EXPECT_FALSE(lock_.try_lock());
  lock_.unlock_shared();
  EXPECT_FALSE(lock_.try_lock_shared()) << "it is the writer's";
  EXPECT_EQ(order_, "");
  Finish();
  EXPECT_EQ(order_, "w");
}

GREENLET_TEST_F(RWLockOrder, ReadersBehindAWriterThatGivesUpGoOnAtOnce) {
  lock_.lock_shared();
  const Greenlet<> impatient =
      Spawn([&] { EXPECT_FALSE(lock_.try_lock_until(absl::Seconds(1))); });
  Then();
  Read("a");
  Sleep(absl::Seconds(2));
  EXPECT_EQ(order_, "a");
  const Greenlet<> killed = Spawn([&] { lock_.lock(); });
  Then();
  Read("b");
  Then();
  EXPECT_EQ(order_, "a");
  killed.Kill();
  Then();
  EXPECT_EQ(order_, "ab");
  impatient.Join();
  lock_.unlock_shared();
  Finish();
}

// --- one who reads ---

GREENLET_TEST(RWLock, AReaderGetsAFreeOneAtOnce) {
  RWLock lock;
  bool other_ran = false;
  const Greenlet<> other = Spawn([&] { other_ran = true; });
  lock.lock_shared();
  EXPECT_TRUE(lock.try_lock_shared());
  EXPECT_TRUE(lock.try_lock_shared_for(absl::Seconds(1)));
  EXPECT_TRUE(lock.try_lock_shared_until(absl::ZeroDuration()));
  for (int i = 0; i < 4; ++i) lock.unlock_shared();
  EXPECT_FALSE(other_ran);
  other.Join();
}

GREENLET_TEST(RWLock, AReadersDeadlinePassesAndLeavesNoTrace) {
  RWLock lock;
  lock.lock();
  Spawn([&] {
    const Stopwatch watch;
    EXPECT_FALSE(lock.try_lock_shared());
    EXPECT_FALSE(lock.try_lock_shared_for(absl::Seconds(1)));
    EXPECT_TRUE(watch.Shows(absl::Seconds(1)));
    EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { lock.lock_shared(); }).ok());
    EXPECT_TRUE(watch.Shows(absl::Seconds(2)));
  }).Join();
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

GREENLET_TEST(RWLock, AReaderThatIsKilledWhileItWaitsDoesNotRead) {
  RWLock lock;
  lock.lock();
  const Greenlet<> killed = Spawn([&] { std::shared_lock reading(lock); });
  const Greenlet<> killed_soon = Spawn([&] { std::shared_lock reading(lock); });
  Sleep(absl::Seconds(1));
  killed.Kill();
  killed_soon.KillSoon();
  lock.unlock();
  killed_soon.Join();
  EXPECT_TRUE(killed.killed());
  EXPECT_TRUE(killed_soon.killed());
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

GREENLET_TEST(RWLock, AReaderThatIsKilledInTheTurnOfItsGrantReleasesIt) {
  RWLock lock;
  bool got = false;
  lock.lock();
  const Greenlet<> reader = Spawn([&] {
    std::shared_lock reading(lock);
    got = true;
    Sleep(absl::Seconds(1));
    ADD_FAILURE() << "went on";
  });
  Sleep(absl::Seconds(1));
  lock.unlock();
  reader.KillSoon();
  EXPECT_FALSE(lock.try_lock());
  reader.Join();
  EXPECT_TRUE(got);
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(RWLock, OneWriterOrManyReadersWhateverTheSeed) {
  constexpr int kGreenlets = 6;
  ForEachSeed(kSeeds, [] {
    RWLock lock;
    Dice dice;
    int readers = 0;
    int writers = 0;
    const auto count = [&](int& mine) {
      struct Leave {
        explicit Leave(int& c) : count(c) { ++count; }
        ~Leave() { --count; }
        int& count;
      } leave(mine);
      EXPECT_TRUE(writers == 0 || (writers == 1 && readers == 0));
      dice.Pause();
      EXPECT_TRUE(writers == 0 || (writers == 1 && readers == 0));
    };
    const auto write = [&] {
      std::lock_guard held(lock, std::adopt_lock);
      count(writers);
    };
    const auto read = [&] {
      std::shared_lock held(lock, std::adopt_lock);
      count(readers);
    };
    const auto one_round = [&] {
      const absl::Duration soon = absl::Microseconds(dice.Roll(20));
      switch (dice.Roll(6)) {
        case 0:
          lock.lock();
          return write();
        case 1:
          if (lock.try_lock_until(soon)) write();
          return;
        case 2:
          return WithTimeout(soon, [&] { lock.lock(), write(); }).IgnoreError();
        case 3:
          lock.lock_shared();
          return read();
        case 4:
          if (lock.try_lock_shared_until(soon)) read();
          return;
        default:
          return WithTimeout(soon, [&] { lock.lock_shared(), read(); }).IgnoreError();
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
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
  });
}

// --- from elsewhere ---

GREENLET_TEST(RWLock, IsReadFromThreadsAndOtherHubs) {
  RWLock lock;
  lock.lock_shared();
  OnPlainThread([&] {
    EXPECT_TRUE(lock.try_lock_shared());
    EXPECT_FALSE(lock.try_lock());
    lock.unlock_shared();
  });
  OnAnotherHub([&] {
    const std::shared_lock reading(lock);
    EXPECT_FALSE(lock.try_lock());
    EXPECT_FALSE(lock.try_lock_until(absl::Microseconds(10)));
  });
  lock.unlock_shared();
  EXPECT_TRUE(lock.try_lock());
  OnPlainThread([&] { EXPECT_FALSE(lock.try_lock_shared()); });
  OnAnotherHub([&] { EXPECT_FALSE(lock.try_lock_shared_until(absl::Microseconds(10))); });
  lock.unlock();
}

GREENLET_TEST(RWLock, ReadersOfSeveralHubsSeeWholeWrites) {
  RWLock lock;
  int a = 0;  // both guarded by the lock
  int b = 0;
  const auto write = [&] {
    for (int i = 0; i < 50; ++i) {
      const std::unique_lock writing(lock);
      ++a;
      if (i % 5 == 0) Yield();
      ++b;
    }
  };
  const auto read = [&] {
    for (int i = 0; i < 50; ++i) {
      const std::shared_lock reading(lock);
      EXPECT_EQ(a, b);
      if (i % 5 == 0) Yield();
      EXPECT_EQ(a, b);
    }
  };
  const Greenlet<> here = Spawn(read);
  OnHubs(3, [&](int) {
    const Greenlet<> reader = Spawn(read);
    write();
    reader.Join();
  });
  here.Join();
  lock.lock();
  EXPECT_EQ(a, 150);
  lock.unlock();
}

TEST(RWLock, WhatAThreadLocksBeforeItHasAHubItsMainGreenletUnlocks) {
  std::thread([] {
    RWLock lock;
    RWLock other;
    EXPECT_TRUE(lock.try_lock());
    const HubScope scope;
    const std::lock_guard held(other);
    lock.unlock();
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
  }).join();
}

// --- what is fatal ---

TEST(RWLockDeathTest, UnlockingWhatIsNotLockedIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.unlock();
      },
      "greenlet 'main' unlocks RWLock 0x[0-9a-f]+, which is held by 0 readers");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.unlock_shared();
      },
      "unlock_shared\\(\\) of RWLock 0x[0-9a-f]+, which nobody reads");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock_shared();
        lock.unlock();
      },
      "which is held by 1 readers");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock();
        lock.unlock_shared();
      },
      "which nobody reads");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock();
        Spawn({.name = "thief"}, [&] { lock.unlock(); }).Join();
      },
      "greenlet 'thief' .* unlocks RWLock .*, which is held by greenlet 'main'");
}

TEST(RWLockDeathTest, AWriterThatLocksAgainIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock();
        lock.lock();
      },
      "deadlock:\n  greenlet 'main' waits for RWLock .*, to write, held by greenlet "
      "'main'");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock();
        lock.lock_shared();
      },
      "deadlock:\n  greenlet 'main' waits for RWLock .*, to read, held by greenlet "
      "'main'");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        OnAnotherHub([&] {
          lock.lock();
          lock.lock_shared();
        });
      },
      "deadlock:\n  a greenlet of hub .hub-0. waits for RWLock .*: it holds that itself");
}

TEST(RWLockDeathTest, ACircleOfWritersIsFatalAndNamesThem) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock a;
        RWLock b;
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
      "  greenlet 'two' .* waits for RWLock .*, to write, held by greenlet 'one' .*\n"
      "  greenlet 'one' .* waits for RWLock .*, to write, held by greenlet 'two'");
}

TEST(RWLockDeathTest, DestroyingOneThatIsHeldOrWaitedForIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock();
      },
      "RWLock 0x[0-9a-f]+ is destroyed while it is held by greenlet 'main'");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock_shared();
      },
      "RWLock 0x[0-9a-f]+ is destroyed while it is held by 1 readers");
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        lock.lock_shared();
        const Greenlet<> writer = Spawn({.name = "writer"}, [&] { lock.lock(); });
        Yield();
        lock.~RWLock();
      },
      "RWLock 0x[0-9a-f]+ is destroyed while 1 wait for it:\n  greenlet 'writer' "
      "\\(#1\\)");
}

#ifndef NDEBUG
TEST(RWLockDeathTest, EndingWhileOneWritesIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        RWLock lock;
        Spawn({.name = "forgetful"}, [&] { lock.lock(); }).Join();
      },
      "greenlet 'forgetful' .* has ended and still holds 1 lock");
}
#endif

}  // namespace
}  // namespace grove
