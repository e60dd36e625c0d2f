// Locks of all kinds, and each of their calls that takes a time: who waits is a greenlet,
// others run meanwhile, and who has waited long enough is told so.

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

using PatchedLockKinds = PatchedTest;

// What all locks have in common.
struct Lock {
  std::string name;
  std::function<int()> lock;
  std::function<int()> try_lock;
  std::function<int()> unlock;
};

// Held over a sleep by some greenlets, one at a time.
void HoldOverSleeps(const Lock& l) {
  SCOPED_TRACE(l.name);
  int inside = 0;
  int done = 0;
  std::vector<Greenlet<>> greenlets;
  for (int i = 0; i < 5; ++i) {
    greenlets.push_back(Spawn([&] {
      EXPECT_EQ(l.lock(), 0);
      EXPECT_EQ(++inside, 1);
      usleep(1000);
      --inside;
      ++done;
      EXPECT_EQ(l.unlock(), 0);
    }));
  }
  Yield();
  EXPECT_EQ(inside, 1);
  EXPECT_EQ(l.try_lock(), EBUSY);
  for (const Greenlet<>& g : greenlets) g.Join();
  EXPECT_EQ(done, 5);
  EXPECT_EQ(l.try_lock(), 0);
  EXPECT_EQ(l.unlock(), 0);
}

// Who spins keeps the hub from resting, and a clock that jumps from jumping.
class PatchedSpinLocks : public PatchedTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(PatchedSpinLocks, AreHeldOverAWait) {
  pthread_spinlock_t spin;
  ASSERT_EQ(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE), 0);
  HoldOverSleeps({"spin lock", [&] { return pthread_spin_lock(&spin); },
                  [&] { return pthread_spin_trylock(&spin); },
                  [&] { return pthread_spin_unlock(&spin); }});
  pthread_spin_destroy(&spin);
}

GREENLET_TEST_F(PatchedLockKinds, MutexesOfAllKindsAreHeldOverAWait) {
  struct Kind {
    const char* name;
    int type;
    int protocol;
    int robust;
  };
  const Kind kinds[] = {
      {"normal", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED},
      {"adaptive", PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED},
      {"error-checking", PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE,
       PTHREAD_MUTEX_STALLED},
      {"recursive", PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED},
      {"robust", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST},
      {"inheriting priorities", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT,
       PTHREAD_MUTEX_STALLED},
      {"recursive, inheriting priorities", PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_INHERIT,
       PTHREAD_MUTEX_STALLED},
      {"robust, inheriting priorities", PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT,
       PTHREAD_MUTEX_ROBUST}};
  for (const Kind& kind : kinds) {
    pthread_mutexattr_t attributes;
    ASSERT_EQ(pthread_mutexattr_init(&attributes), 0);
    ASSERT_EQ(pthread_mutexattr_settype(&attributes, kind.type), 0);
    ASSERT_EQ(pthread_mutexattr_setprotocol(&attributes, kind.protocol), 0);
    ASSERT_EQ(pthread_mutexattr_setrobust(&attributes, kind.robust), 0);
    pthread_mutex_t mutex;
    ASSERT_EQ(pthread_mutex_init(&mutex, &attributes), 0) << kind.name;
    pthread_mutexattr_destroy(&attributes);
    HoldOverSleeps({kind.name, [&] { return pthread_mutex_lock(&mutex); },
                    [&] { return pthread_mutex_trylock(&mutex); },
                    [&] { return pthread_mutex_unlock(&mutex); }});
    EXPECT_EQ(pthread_mutex_destroy(&mutex), 0) << kind.name;
  }
}

// Between a hub and a native thread, which waits for it in the kernel, by its owner.
GREENLET_TEST_F(PatchedLockKinds, AMutexThatInheritsPrioritiesGoesToANativeThread) {
  pthread_mutexattr_t attributes;
  ASSERT_EQ(pthread_mutexattr_init(&attributes), 0);
  ASSERT_EQ(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), 0);
  pthread_mutex_t mutex;
  ASSERT_EQ(pthread_mutex_init(&mutex, &attributes), 0);
  pthread_mutexattr_destroy(&attributes);
  int count = 0;
  constexpr int kRounds = 200;
  const auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
      ++count;
      sched_yield();
      EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }
  };
  std::thread native = Native(work);
  const Greenlet<> one = Spawn(work);
  const Greenlet<> two = Spawn(work);
  one.Join();
  two.Join();
  {
    const Unpatched unpatched;
    native.join();
  }
  EXPECT_EQ(count, 3 * kRounds);
  EXPECT_EQ(pthread_mutex_destroy(&mutex), 0);
}

// --- until a time ---

timespec In(clockid_t clock, int seconds) {
  timespec t;
  clock_gettime(clock, &t);
  t.tv_sec += seconds;
  return t;
}

// A call that takes the time of a clock, and would have to wait. The tests' clock jumps
// to when it is to give up; another greenlet runs meanwhile.
void GivesUp(const std::string& name, const std::function<int(const timespec*)>& call,
             clockid_t clock = CLOCK_REALTIME) {
  SCOPED_TRACE(name);
  bool ran = false;
  const Greenlet<> other = Spawn([&] { ran = true; });
  const timespec soon = In(clock, 2);
  EXPECT_EQ(call(&soon), ETIMEDOUT);
  EXPECT_TRUE(ran);
  other.Join();
  const timespec passed = In(clock, -1);
  EXPECT_EQ(call(&passed), ETIMEDOUT);
  const timespec wrong = {.tv_sec = soon.tv_sec, .tv_nsec = 1'000'000'000};
  EXPECT_EQ(call(&wrong), EINVAL);
}

GREENLET_TEST_F(PatchedLockKinds, AMutexIsWaitedForUntilATime) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  ASSERT_EQ(pthread_mutex_lock(&mutex), 0);
  Spawn([&] {
    GivesUp("pthread_mutex_timedlock",
            [&](const timespec* t) { return pthread_mutex_timedlock(&mutex, t); });
    for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
      GivesUp(
          "pthread_mutex_clocklock",
          [&](const timespec* t) { return pthread_mutex_clocklock(&mutex, clock, t); },
          clock);
    }
    const timespec t = In(CLOCK_PROCESS_CPUTIME_ID, 1);
    EXPECT_EQ(pthread_mutex_clocklock(&mutex, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL);
  }).Join();
  // Free, it is had at once, whatever the time.
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  const timespec passed = In(CLOCK_MONOTONIC, -1);
  EXPECT_EQ(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &passed), 0);
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  // As is one that would know its owner.
  pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  const timespec wrong = {.tv_sec = 1, .tv_nsec = -1};
  EXPECT_EQ(pthread_mutex_timedlock(&recursive, &wrong), 0);
  Spawn([&] { EXPECT_EQ(pthread_mutex_timedlock(&recursive, &wrong), EINVAL); }).Join();
  EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
}

GREENLET_TEST_F(PatchedLockKinds, AReadWriteLockIsWaitedForUntilATime) {
  pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
  const auto both = [&](const std::string& who) {
    GivesUp(who + ": pthread_rwlock_timedwrlock",
            [&](const timespec* t) { return pthread_rwlock_timedwrlock(&lock, t); });
    for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
      GivesUp(
          who + ": pthread_rwlock_clockwrlock",
          [&](const timespec* t) { return pthread_rwlock_clockwrlock(&lock, clock, t); },
          clock);
    }
  };
  ASSERT_EQ(pthread_rwlock_wrlock(&lock), 0);
  Spawn([&] {
    both("while one writes");
    GivesUp("pthread_rwlock_timedrdlock",
            [&](const timespec* t) { return pthread_rwlock_timedrdlock(&lock, t); });
    for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
      GivesUp(
          "pthread_rwlock_clockrdlock",
          [&](const timespec* t) { return pthread_rwlock_clockrdlock(&lock, clock, t); },
          clock);
    }
  }).Join();
  EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
  ASSERT_EQ(pthread_rwlock_rdlock(&lock), 0);
  Spawn([&] {
    both("while one reads");
    const timespec soon = In(CLOCK_MONOTONIC, 2);
    EXPECT_EQ(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &soon), 0);
    EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
  }).Join();
  EXPECT_EQ(pthread_rwlock_unlock(&lock), 0);
  EXPECT_EQ(pthread_rwlock_destroy(&lock), 0);
}

GREENLET_TEST_F(PatchedLockKinds, ASemaphoreIsWaitedForUntilATime) {
  sem_t semaphore;
  ASSERT_EQ(sem_init(&semaphore, 0, 0), 0);
  const auto error_of = [](int result) { return result == 0 ? 0 : errno; };
  GivesUp("sem_timedwait",
          [&](const timespec* t) { return error_of(sem_timedwait(&semaphore, t)); });
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
    GivesUp(
        "sem_clockwait",
        [&](const timespec* t) { return error_of(sem_clockwait(&semaphore, clock, t)); },
        clock);
  }
  const Greenlet<int> waits = Spawn([&] {
    const timespec late = In(CLOCK_MONOTONIC, 3600);
    return sem_clockwait(&semaphore, CLOCK_MONOTONIC, &late);
  });
  Yield();
  EXPECT_FALSE(waits.ready());
  EXPECT_EQ(sem_post(&semaphore), 0);
  EXPECT_EQ(*waits.Get(), 0);
  sem_destroy(&semaphore);
}

GREENLET_TEST_F(PatchedLockKinds, AConditionIsWaitedForUntilATime) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  ASSERT_EQ(pthread_mutex_lock(&mutex), 0);
  GivesUp("pthread_cond_timedwait", [&](const timespec* t) {
    return pthread_cond_timedwait(&condition, &mutex, t);
  });
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
    GivesUp(
        "pthread_cond_clockwait",
        [&](const timespec* t) {
          return pthread_cond_clockwait(&condition, &mutex, clock, t);
        },
        clock);
  }
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  // All of those who wait go on, each with the mutex.
  int woken = 0;
  std::vector<Greenlet<>> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.push_back(Spawn([&] {
      EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
      const timespec late = In(CLOCK_MONOTONIC, 3600);
      EXPECT_EQ(pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &late), 0);
      ++woken;
      EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
    }));
  }
  Yield();
  EXPECT_EQ(pthread_cond_broadcast(&condition), 0);
  for (const Greenlet<>& w : waiters) w.Join();
  EXPECT_EQ(woken, 3);
  EXPECT_EQ(pthread_cond_destroy(&condition), 0);
}

}  // namespace
}  // namespace grove::patch
