// What threads wait for: mutexes, conditions, barriers and their like, among greenlets,
// with native threads, and between processes.

#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

using PatchedLocks = PatchedTest;

// A lock that is held by one greenlet, in a call that waits, and wanted by others of the
// same thread: what hangs programs whose coroutines know nothing of locks.
GREENLET_TEST_F(PatchedLocks, AMutexIsHeldOverAWait) {
  std::mutex mutex;
  int inside = 0;
  int done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 100; ++i) {
    threads.emplace_back([&] {
      const std::lock_guard guard(mutex);
      EXPECT_EQ(++inside, 1);
      usleep(1000);
      --inside;
      ++done;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(done, 100);
}

// As libraries have them locked that were called before anything was patched.
pthread_mutex_t early_mutex = PTHREAD_MUTEX_INITIALIZER;
const int early_lock_error = pthread_mutex_lock(&early_mutex);
pthread_mutex_t early_recursive_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
const int early_recursive_lock_error = pthread_mutex_lock(&early_recursive_mutex);

GREENLET_TEST_F(PatchedLocks, AMutexFromBeforeThePatchIsHeldAsItWas) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer takes greenlets for threads";
  ASSERT_EQ(early_lock_error, 0);
  const Greenlet<> waits = Spawn([] {
    EXPECT_EQ(pthread_mutex_lock(&early_mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&early_mutex), 0);
  });
  for (int i = 0; i < 10; ++i) Yield();  // would be for ever, if it stopped the thread
  EXPECT_FALSE(waits.ready());
  EXPECT_EQ(pthread_mutex_trylock(&early_mutex), EBUSY);
  EXPECT_EQ(pthread_mutex_unlock(&early_mutex), 0);
  waits.Join();
  EXPECT_EQ(pthread_mutex_lock(&early_mutex), 0);  // for who repeats this test
}

// Of which libc knows the thread and nobody the greenlet (docs/patching.md): it lets in
// whoever is of that thread, and counts.
GREENLET_TEST_F(PatchedLocks, ARecursiveMutexFromBeforeThePatchIsTheThreads) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer takes greenlets for threads";
  ASSERT_EQ(early_recursive_lock_error, 0);
  Spawn([] {
    EXPECT_EQ(pthread_mutex_lock(&early_recursive_mutex), 0);
    EXPECT_EQ(pthread_mutex_unlock(&early_recursive_mutex), 0);
  }).Join();
  EXPECT_EQ(pthread_mutex_unlock(&early_recursive_mutex), 0);
  bool got = false;
  std::thread native = Native([&] {
    got = pthread_mutex_trylock(&early_recursive_mutex) == 0;
    if (got) pthread_mutex_unlock(&early_recursive_mutex);
  });
  {
    const Unpatched unpatched;
    native.join();
  }
  EXPECT_TRUE(got) << "it was given back altogether";
  EXPECT_EQ(pthread_mutex_lock(&early_recursive_mutex), 0);
}

GREENLET_TEST_F(PatchedLocks, AMutexGoesToWhoHasWaitedLongest) {
  std::mutex mutex;
  std::string order;
  mutex.lock();
  std::vector<std::thread> threads;
  for (const char* name : {"a", "b", "c"}) {
    threads.emplace_back([&, name] {
      const std::lock_guard guard(mutex);
      order += name;
    });
  }
  Yield();
  mutex.unlock();
  mutex.lock();  // behind them
  order += "main";
  mutex.unlock();
  for (std::thread& t : threads) t.join();
  if (!seed()) {
    EXPECT_EQ(order, "abcmain");
  }
}

GREENLET_TEST_F(PatchedLocks, ARecursiveMutexKnowsItsGreenlet) {
  std::recursive_mutex mutex;
  bool other_has_it = false;
  mutex.lock();
  mutex.lock();
  std::thread other([&] {
    EXPECT_FALSE(mutex.try_lock()) << "it is not this one's, though it is this thread's";
    const std::lock_guard guard(mutex);
    other_has_it = true;
  });
  Yield();
  mutex.unlock();
  Yield();
  EXPECT_FALSE(other_has_it);
  mutex.unlock();
  other.join();
  EXPECT_TRUE(other_has_it);
}

// Between an unlock and the turn of who was next.
GREENLET_TEST_F(PatchedLocks, ARecursiveMutexIsItsNextOwnersAtOnce) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_t m;
  pthread_mutex_init(&m, &attributes);
  int inside = 0;
  const auto work = [&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(pthread_mutex_lock(&m), 0);
      EXPECT_EQ(++inside, 1);
      usleep(1000);
      --inside;
      EXPECT_EQ(pthread_mutex_unlock(&m), 0);
    }
  };
  const Greenlet<> a = Spawn(work), b = Spawn(work);
  a.Join();
  b.Join();
  pthread_mutex_destroy(&m);
}

GREENLET_TEST_F(PatchedLocks, ABarrierMayBeMadeAnewByWhoCameLast) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, 2);
  const Greenlet<> other = Spawn([&] { pthread_barrier_wait(&barrier); });
  Yield();
  EXPECT_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
  pthread_barrier_destroy(&barrier);
  pthread_barrier_init(&barrier, nullptr, 2);
  EXPECT_TRUE(other.Join(absl::Seconds(10)));
  pthread_barrier_destroy(&barrier);
}

GREENLET_TEST_F(PatchedLocks, FutexesThatAreRequeuedWakeGreenlets) {
  uint32_t word = 1, target = 0;
  const Greenlet<> waiter = Spawn([&] {
    while (word == 1) syscall(SYS_futex, &word, FUTEX_WAIT, 1, nullptr, nullptr, 0);
  });
  Yield();
  word = 0;
  EXPECT_EQ(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, INT_MAX, &target, 0), 0);
  EXPECT_TRUE(waiter.Join(absl::Seconds(10)));
}

GREENLET_TEST_F(PatchedLocks, AnErrorCheckingMutexChecks) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
  EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
  EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
  std::thread other([&] { EXPECT_EQ(pthread_mutex_unlock(&mutex), EPERM); });
  other.join();
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  pthread_mutex_destroy(&mutex);
  pthread_mutexattr_destroy(&attributes);
}

GREENLET_TEST_F(PatchedLocks, ATimedLockGivesUp) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  ASSERT_EQ(pthread_mutex_lock(&mutex), 0);
  std::thread other([&] {
    timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 2;
    EXPECT_EQ(pthread_mutex_timedlock(&mutex, &soon), ETIMEDOUT);
  });
  other.join();
  EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
}

// Between a hub and a native thread, in both directions.
GREENLET_TEST_F(PatchedLocks, AMutexIsSharedWithANativeThread) {
  std::mutex mutex;
  long long sum = 0;
  constexpr int kRounds = 20'000;
  const auto add = [&] {
    for (int i = 0; i < kRounds; ++i) {
      const std::lock_guard guard(mutex);
      ++sum;
    }
  };
  std::thread native = Native(add);
  std::thread a(add), b(add);
  a.join();
  b.join();
  {
    const Unpatched unpatched;
    native.join();
  }
  EXPECT_EQ(sum, 3 * kRounds);
}

GREENLET_TEST_F(PatchedLocks, AHubGoesOnWhileANativeThreadHasTheLock) {
  std::mutex mutex;
  std::promise<void> locked, go_on;
  std::thread native = Native([&] {
    const std::lock_guard guard(mutex);
    locked.set_value();
    go_on.get_future().wait();
  });
  locked.get_future().wait();
  bool got = false;
  std::thread wants([&] {
    const std::lock_guard guard(mutex);
    got = true;
  });
  Yield();  // would be for ever, if it stopped the thread
  EXPECT_FALSE(got);
  go_on.set_value();
  wants.join();
  EXPECT_TRUE(got);
  const Unpatched unpatched;
  native.join();
}

GREENLET_TEST_F(PatchedLocks, ABarrierOfTwoProcesses) {
  void* const memory = mmap(nullptr, sizeof(pthread_barrier_t), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const barrier = static_cast<pthread_barrier_t*>(memory);
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ASSERT_EQ(pthread_barrier_init(barrier, &attributes, 2), 0);
  int to_child[2];
  ASSERT_EQ(pipe(to_child), 0);
  const pid_t child = fork();
  if (child == 0) {
    // What a program without grove would do.
    const Unpatched unpatched;
    char c;
    if (read(to_child[0], &c, 1) != 1) _exit(9);
    const int result = pthread_barrier_wait(barrier);
    _exit(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  bool passed = false;
  std::thread waits([&] {
    const int result = pthread_barrier_wait(barrier);
    EXPECT_TRUE(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD) << result;
    passed = true;
  });
  Yield();  // would be for ever, if it stopped the thread
  EXPECT_FALSE(passed);
  EXPECT_EQ(write(to_child[1], "!", 1), 1);
  waits.join();
  EXPECT_TRUE(passed);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(to_child[0]);
  close(to_child[1]);
  pthread_barrier_destroy(barrier);
  munmap(memory, sizeof *barrier);
}

GREENLET_TEST_F(PatchedLocks, ReadersAndWriters) {
  std::shared_mutex mutex;
  int readers = 0, most = 0, writes = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&, i] {
      if (i % 4 == 0) {
        const std::unique_lock lock(mutex);
        EXPECT_EQ(readers, 0);
        usleep(1000);
        EXPECT_EQ(readers, 0);
        ++writes;
      } else {
        const std::shared_lock lock(mutex);
        most = std::max(most, ++readers);
        usleep(1000);
        --readers;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(writes, 5);
  EXPECT_GT(most, 1) << "readers share it";
}

GREENLET_TEST_F(PatchedLocks, ConditionVariables) {
  std::mutex mutex;
  std::condition_variable changed;
  int items = 0, taken = 0;
  std::vector<std::thread> consumers;
  for (int i = 0; i < 10; ++i) {
    consumers.emplace_back([&] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return items > 0; });
      --items;
      ++taken;
    });
  }
  Yield();
  for (int i = 0; i < 5; ++i) {
    const std::lock_guard guard(mutex);
    ++items;
    changed.notify_one();
  }
  while (taken < 5) Yield();
  {
    const std::lock_guard guard(mutex);
    items += 5;
  }
  changed.notify_all();
  for (std::thread& t : consumers) t.join();
  EXPECT_EQ(taken, 10);
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t c = PTHREAD_COND_INITIALIZER;
  pthread_mutex_lock(&m);
  timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec += 5;
  EXPECT_EQ(pthread_cond_timedwait(&c, &m, &soon), ETIMEDOUT);
  EXPECT_EQ(pthread_mutex_unlock(&m), 0);
}

GREENLET_TEST_F(PatchedLocks, ANativeThreadNotifiesAGreenletAndTheOtherWayRound) {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  constexpr int kTurns = 200;
  const auto play = [&](int mine) {
    for (int i = 0; i < kTurns; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == mine; });
      ++turn;
      changed.notify_all();
    }
  };
  std::thread native = Native([&] { play(1); });
  std::thread green([&] { play(0); });
  green.join();
  const Unpatched unpatched;
  native.join();
  EXPECT_EQ(turn, 2 * kTurns);
}

// libc gives the mutex back inside of its own wait, of which no greenlet would hear.
GREENLET_TEST_F(PatchedLocks, ANativeThreadsWaitGivesTheMutexToAGreenlet) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::promise<void> locked;
  const uint64_t before = Waits("pthread_mutex_lock");
  std::thread native = Native([&] {
    std::unique_lock lock(mutex);
    locked.set_value();
    while (Waits("pthread_mutex_lock") == before) std::this_thread::yield();
    changed.wait(lock, [&] { return done; });
  });
  locked.get_future().wait();
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_one();
  const Unpatched unpatched;
  native.join();
}

// (ThreadSanitizer loses sight of a thread that is unwound out of its sem_wait(), and
// AddressSanitizer of its stack.)
#if !GROVE_TSAN && !GROVE_ASAN
GREENLET_TEST_F(PatchedLocks, ACancelledNativeThreadTakesNoSignalAlong) {
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t c = PTHREAD_COND_INITIALIZER;
  pthread_t handle = 0;
  bool waits = false;
  std::atomic<bool> unwound = false;
  struct SetAtEnd {
    ~SetAtEnd() { value = true; }
    std::atomic<bool>& value;
  };
  std::thread native = Native([&] {
    const SetAtEnd at_end{unwound};
    pthread_mutex_lock(&m);
    struct Unlock {
      ~Unlock() { pthread_mutex_unlock(mutex); }
      pthread_mutex_t* mutex;
    } const unlock{&m};
    handle = pthread_self();
    waits = true;
    for (;;) pthread_cond_wait(&c, &m);
  });
  pthread_mutex_lock(&m);
  while (!waits) {
    pthread_mutex_unlock(&m);
    Yield();
    pthread_mutex_lock(&m);
  }
  EXPECT_EQ(pthread_cancel(handle), 0);
  bool woken = false;
  std::thread green([&] {
    pthread_mutex_lock(&m);
    pthread_cond_wait(&c, &m);
    woken = true;
    pthread_mutex_unlock(&m);
  });
  Yield();
  pthread_mutex_unlock(&m);
  while (!unwound) Yield();
  {
    const Unpatched unpatched;
    native.join();
  }
  EXPECT_FALSE(woken);
  EXPECT_EQ(pthread_cond_signal(&c), 0);
  green.join();
  EXPECT_TRUE(woken);
}

#endif

// In memory that a child shares, which tells nobody here.
GREENLET_TEST_F(PatchedLocks, LocksBetweenProcesses) {
  struct Shared {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_rwlock_t rw;
    sem_t go, posted;
    bool changed_now;
  };
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const shared = new (memory) Shared{};
  pthread_mutexattr_t ma;
  pthread_mutexattr_init(&ma);
  pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->mutex, &ma);
  pthread_condattr_t ca;
  pthread_condattr_init(&ca);
  pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&shared->changed, &ca);
  pthread_rwlockattr_t ra;
  pthread_rwlockattr_init(&ra);
  pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
  pthread_rwlock_init(&shared->rw, &ra);
  sem_init(&shared->go, 1, 0);
  sem_init(&shared->posted, 1, 0);

  const pid_t child = fork();
  if (child == 0) {
    // What a program without grove would do.
    const Unpatched unpatched;
    pthread_mutex_lock(&shared->mutex);
    pthread_rwlock_wrlock(&shared->rw);
    sem_post(&shared->posted);
    sem_wait(&shared->go);
    pthread_mutex_unlock(&shared->mutex);
    sem_wait(&shared->go);
    pthread_mutex_lock(&shared->mutex);
    shared->changed_now = true;
    pthread_cond_signal(&shared->changed);
    pthread_mutex_unlock(&shared->mutex);
    sem_wait(&shared->go);
    pthread_rwlock_unlock(&shared->rw);
    _exit(0);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(sem_wait(&shared->posted), 0);
  EXPECT_EQ(pthread_rwlock_tryrdlock(&shared->rw), EBUSY);
  // Lets the child go on whenever this process waits for it.
  std::thread goes([&] {
    for (const char* call :
         {"pthread_mutex_lock", "pthread_cond_wait", "pthread_rwlock_rdlock"}) {
      const uint64_t before = Waits(call);
      while (Waits(call) == before) usleep(1000);
      sem_post(&shared->go);
    }
  });
  Yield();
  EXPECT_EQ(pthread_mutex_lock(&shared->mutex), 0);
  while (!shared->changed_now) pthread_cond_wait(&shared->changed, &shared->mutex);
  pthread_mutex_unlock(&shared->mutex);
  EXPECT_EQ(pthread_rwlock_rdlock(&shared->rw), 0);
  pthread_rwlock_unlock(&shared->rw);
  goes.join();
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  munmap(memory, sizeof(Shared));
}

GREENLET_TEST_F(PatchedLocks, SemaphoresBarriersAndOnce) {
  sem_t semaphore;
  ASSERT_EQ(sem_init(&semaphore, 0, 2), 0);
  int inside = 0, most = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      EXPECT_EQ(sem_wait(&semaphore), 0);
      most = std::max(most, ++inside);
      usleep(100);
      --inside;
      EXPECT_EQ(sem_post(&semaphore), 0);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(most, 2);
  sem_destroy(&semaphore);

  pthread_barrier_t barrier;
  ASSERT_EQ(pthread_barrier_init(&barrier, nullptr, 5), 0);
  int serial = 0;
  threads.clear();
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      const int result = pthread_barrier_wait(&barrier);
      serial += result == PTHREAD_BARRIER_SERIAL_THREAD;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(serial, 2);
  pthread_barrier_destroy(&barrier);

  std::once_flag once;
  int ran = 0;
  threads.clear();
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      std::call_once(once, [&] {
        usleep(1000);  // while the others come
        ++ran;
      });
      EXPECT_EQ(ran, 1);
    });
  }
  for (std::thread& t : threads) t.join();
}

// The hub goes on while a native thread runs the routine: it is this hub that lets it
// end.
GREENLET_TEST_F(PatchedLocks, OnceByANativeThread) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer has a pthread_once() of its own";
  static int begun[2], end[2];
  static int runs;
  static pthread_once_t once;
  once = PTHREAD_ONCE_INIT;
  runs = 0;
  ASSERT_EQ(pipe(begun), 0);
  ASSERT_EQ(pipe(end), 0);
  constexpr auto routine = [] {
    char c = 'x';
    if (++runs == 1) {
      EXPECT_EQ(write(begun[1], &c, 1), 1);
      EXPECT_EQ(read(end[0], &c, 1), 1);
    }
  };
  std::thread native = Native([&] { pthread_once(&once, routine); });
  char c;
  ASSERT_EQ(read(begun[0], &c, 1), 1);
  const Greenlet<> waits = Spawn([&] {
    EXPECT_EQ(pthread_once(&once, routine), 0);
    EXPECT_EQ(runs, 1);
  });
  Yield();
  EXPECT_FALSE(waits.ready());
  ASSERT_EQ(write(end[1], &c, 1), 1);
  waits.Join();
  {
    const Unpatched unpatched;
    native.join();
  }
  for (const int fd : {begun[0], begun[1], end[0], end[1]}) close(fd);
}

// It ends without the routine's end, and of those who wait one runs it, while the other
// lets the hub go on.
GREENLET_TEST_F(PatchedLocks, OnceByANativeThreadThatGivesUp) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer has a pthread_once() of its own";
  static std::promise<void>*begun, *end;
  static std::atomic<int> runs;
  static pthread_once_t once;
  once = PTHREAD_ONCE_INIT;
  runs = 0;
  std::promise<void> has_begun, may_end;
  begun = &has_begun;
  end = &may_end;
  constexpr auto routine = [] {
    if (++runs > 1) {
      usleep(1000);
      return;
    }
    begun->set_value();
    end->get_future().wait();
    pthread_exit(nullptr);
  };
  std::thread native = Native([&] { pthread_once(&once, routine); });
  has_begun.get_future().wait();
  std::vector<Greenlet<int>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(Spawn([&] { return pthread_once(&once, routine); }));
  }
  Yield();
  may_end.set_value();
  for (const auto& w : waiting) EXPECT_EQ(*w.Get(), 0);
  EXPECT_EQ(runs, 2);
  const Unpatched unpatched;
  native.join();
}

// What C++20 waits by, which is a futex.
GREENLET_TEST_F(PatchedLocks, FuturesLatchesAndAtomics) {
  std::promise<int> promise;
  std::future<int> future = promise.get_future();
  std::thread setter([&] {
    usleep(1000);
    promise.set_value(5);
  });
  EXPECT_EQ(future.get(), 5);
  setter.join();

  std::latch latch(3);
  std::atomic<int> word = 0;
  std::counting_semaphore<10> semaphore(0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      latch.count_down();
      word.wait(0);
      semaphore.acquire();
    });
  }
  latch.wait();
  word = 1;
  word.notify_all();
  semaphore.release(3);
  for (std::thread& t : threads) t.join();
}

int SlowlyMade() {
  usleep(1000);
  return 7;
}

GREENLET_TEST_F(PatchedLocks, AStaticVariableMayWaitWhileItIsMade) {
  if (GROVE_TSAN)
    GTEST_SKIP() << "ThreadSanitizer has guards of its own, and waits itself";
  std::vector<std::thread> threads;
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      static const int value = SlowlyMade();
      sum += value;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(sum, 21);
}

}  // namespace
}  // namespace grove::patch
