// Threads, their locks and keys, as any program uses them: they are greenlets here.

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <new>
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

class PatchedThreads : public PatchedTest {
 protected:
  // A thread that no patch has made.
  template <typename Fn>
  static std::thread Native(Fn fn) {
    const Unpatched unpatched;
    return std::thread(fn);
  }
};

void* Count(void* counter) {
  ++*static_cast<int*>(counter);
  return counter;
}

GREENLET_TEST_F(PatchedThreads, AThreadIsAGreenletOfThisHub) {
  int count = 0;
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, &Count, &count), 0);
  EXPECT_EQ(count, 0) << "it begins when this one waits";
  void* result = nullptr;
  EXPECT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(result, &count);
}

GREENLET_TEST_F(PatchedThreads, HundredsSleepAtOnce) {
  const pid_t tid = gettid();
  std::vector<std::thread> threads;
  int here = 0;
  for (int i = 0; i < 300; ++i) {
    threads.emplace_back([&] {
      sleep(60);
      here += gettid() == tid;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(here, 300);
  EXPECT_LT(Elapsed(), absl::Seconds(61));
}

GREENLET_TEST_F(PatchedThreads, EachHasItsOwnIdentity) {
  const pthread_t self = pthread_self();
  pthread_t others[2];
  for (pthread_t& other : others) {
    ASSERT_EQ(pthread_create(
                  &other, nullptr,
                  [](void*) { return reinterpret_cast<void*>(pthread_self()); }, nullptr),
              0);
  }
  EXPECT_FALSE(pthread_equal(self, others[0]));
  EXPECT_FALSE(pthread_equal(others[0], others[1]));
  for (const pthread_t other : others) {
    EXPECT_EQ(pthread_setname_np(other, "worker"), 0);
    char name[16];
    EXPECT_EQ(pthread_getname_np(other, name, sizeof name), 0);
    EXPECT_STREQ(name, "worker");
    EXPECT_EQ(pthread_kill(other, 0), 0);
    void* itself = nullptr;
    EXPECT_EQ(pthread_join(other, &itself), 0);
    EXPECT_EQ(itself, reinterpret_cast<void*>(other));
  }
}

GREENLET_TEST_F(PatchedThreads, JoiningHasItsErrors) {
  const auto join_self = [](void*) -> void* {
    EXPECT_EQ(pthread_join(pthread_self(), nullptr), EDEADLK);
    sleep(10);
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, join_self, nullptr), 0);
  EXPECT_EQ(pthread_tryjoin_np(thread, nullptr), EBUSY);
  timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec += 1;
  EXPECT_EQ(pthread_timedjoin_np(thread, nullptr, &soon), ETIMEDOUT);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  ASSERT_EQ(pthread_create(
                &thread, &detached, [](void*) -> void* { return nullptr; }, nullptr),
            0);
  EXPECT_EQ(pthread_join(thread, nullptr), EINVAL);
  pthread_attr_destroy(&detached);
  Yield();
}

GREENLET_TEST_F(PatchedThreads, ItsStackIsAsLargeAsWasAsked) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 3 << 20);
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void*) -> void* {
                  char used[(3 << 20) - 100'000];
                  memset(used, 1, sizeof used);
                  asm volatile("" : : "r"(used) : "memory");
                  pthread_attr_t mine;
                  EXPECT_EQ(pthread_getattr_np(pthread_self(), &mine), 0);
                  void* low = nullptr;
                  size_t size = 0;
                  EXPECT_EQ(pthread_attr_getstack(&mine, &low, &size), 0);
                  EXPECT_GE(size, size_t{3} << 20);
                  EXPECT_GT(static_cast<void*>(used), low);
                  pthread_attr_destroy(&mine);
                  return nullptr;
                },
                nullptr),
            0);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

struct Unwound {
  int* count;
  ~Unwound() { ++*count; }
};

GREENLET_TEST_F(PatchedThreads, ExitEndsTheThreadAndUnwindsIt) {
  int unwound = 0;
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* count) -> void* {
                  const Unwound local{static_cast<int*>(count)};
                  pthread_exit(count);
                },
                &unwound),
            0);
  void* result = nullptr;
  EXPECT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, &unwound);
  EXPECT_EQ(unwound, 1);
}

GREENLET_TEST_F(PatchedThreads, CancellingEndsAWait) {
  struct Shared {
    int unwound = 0;
    int pipe[2];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  } shared;
  ASSERT_EQ(pipe(shared.pipe), 0);
  void* (*const waits[])(void*) = {
      [](void* p) -> void* {
        const Unwound local{&static_cast<Shared*>(p)->unwound};
        sleep(3600);
        return nullptr;
      },
      [](void* p) -> void* {
        const Unwound local{&static_cast<Shared*>(p)->unwound};
        char c;
        (void)!read(static_cast<Shared*>(p)->pipe[0], &c, 1);
        return nullptr;
      },
      [](void* p) -> void* {
        auto* s = static_cast<Shared*>(p);
        const Unwound local{&s->unwound};
        pthread_mutex_lock(&s->mutex);
        struct Unlock {
          pthread_mutex_t* m;
          ~Unlock() { EXPECT_EQ(pthread_mutex_unlock(m), 0); }
        } unlock{&s->mutex};
        for (;;) pthread_cond_wait(&s->cond, &s->mutex);
      }};
  for (auto* wait : waits) {
    shared.unwound = 0;
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, nullptr, wait, &shared), 0);
    Yield();
    EXPECT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    EXPECT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    EXPECT_EQ(shared.unwound, 1);
  }
  EXPECT_EQ(pthread_mutex_trylock(&shared.mutex), 0) << "given back";
  pthread_mutex_unlock(&shared.mutex);
  close(shared.pipe[0]);
  close(shared.pipe[1]);
}

GREENLET_TEST_F(PatchedThreads, WhoDisablesCancellingIsNotCancelled) {
  bool slept = false;
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* done) -> void* {
                  int before;
                  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
                  EXPECT_EQ(before, PTHREAD_CANCEL_ENABLE);
                  sched_yield();
                  pthread_testcancel();
                  *static_cast<bool*>(done) = true;
                  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
                  pthread_testcancel();
                  ADD_FAILURE() << "cancelled by now";
                  return nullptr;
                },
                &slept),
            0);
  Yield();
  pthread_cancel(thread);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  EXPECT_TRUE(slept);
}

// --- keys ---

pthread_key_t key;
int destroyed = 0;

GREENLET_TEST_F(PatchedThreads, KeysHaveAValueForEach) {
  ASSERT_EQ(pthread_key_create(&key,
                               [](void* value) {
                                 EXPECT_NE(value, nullptr);
                                 ++destroyed;
                               }),
            0);
  std::vector<std::thread> threads;
  for (int i = 1; i <= 10; ++i) {
    threads.emplace_back([i] {
      EXPECT_EQ(pthread_getspecific(key), nullptr);
      EXPECT_EQ(pthread_setspecific(key, reinterpret_cast<void*>(i)), 0);
      sched_yield();
      EXPECT_EQ(pthread_getspecific(key), reinterpret_cast<void*>(i));
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(destroyed, 10);
  EXPECT_EQ(pthread_key_delete(key), 0);
}

pthread_key_t plain_key, ending_key;
void* seen_at_the_end = nullptr;

GREENLET_TEST_F(PatchedThreads, ADestructorSeesTheValuesOfOtherKeys) {
  ASSERT_EQ(pthread_key_create(&plain_key, nullptr), 0);
  ASSERT_EQ(pthread_key_create(&ending_key,
                               [](void*) {
                                 seen_at_the_end = pthread_getspecific(plain_key);
                                 pthread_setspecific(plain_key, nullptr);
                               }),
            0);
  std::thread([] {
    pthread_setspecific(plain_key, &plain_key);
    pthread_setspecific(ending_key, &ending_key);
  }).join();
  EXPECT_EQ(seen_at_the_end, &plain_key);
  EXPECT_EQ(pthread_key_delete(plain_key), 0);
  EXPECT_EQ(pthread_key_delete(ending_key), 0);
}

// As libraries have that are loaded before anything can be patched.
pthread_key_t early_key;
int early_destroyed = 0;
const int early_key_error =
    pthread_key_create(&early_key, [](void*) { ++early_destroyed; });

GREENLET_TEST_F(PatchedThreads, KeysFromBeforeThePatchHaveTheirDestructors) {
  ASSERT_EQ(early_key_error, 0);
  std::thread([] { pthread_setspecific(early_key, &early_key); }).join();
  EXPECT_EQ(early_destroyed, 1);
  EXPECT_EQ(pthread_getspecific(early_key), nullptr);
}

// --- locks ---

// A lock that is held by one greenlet, in a call that waits, and wanted by others of the
// same thread: what hangs programs whose coroutines know nothing of locks.
GREENLET_TEST_F(PatchedThreads, AMutexIsHeldOverAWait) {
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

GREENLET_TEST_F(PatchedThreads, AMutexGoesToWhoHasWaitedLongest) {
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

GREENLET_TEST_F(PatchedThreads, ARecursiveMutexKnowsItsGreenlet) {
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

GREENLET_TEST_F(PatchedThreads, AnErrorCheckingMutexChecks) {
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

GREENLET_TEST_F(PatchedThreads, ATimedLockGivesUp) {
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
GREENLET_TEST_F(PatchedThreads, AMutexIsSharedWithANativeThread) {
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

GREENLET_TEST_F(PatchedThreads, AHubGoesOnWhileANativeThreadHasTheLock) {
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

GREENLET_TEST_F(PatchedThreads, AHubGoesOnWhileANativeThreadIsJoined) {
  for (const bool timed : {false, true}) {
    std::promise<void> go_on;
    std::thread native = Native([&] { go_on.get_future().wait(); });
    bool joined = false;
    std::thread joins([&] {
      const timespec late = {.tv_sec = time(nullptr) + 3600, .tv_nsec = 0};
      EXPECT_EQ(timed ? pthread_timedjoin_np(native.native_handle(), nullptr, &late)
                      : pthread_join(native.native_handle(), nullptr),
                0);
      joined = true;
    });
    Yield();  // would be for ever, if it stopped the thread
    EXPECT_FALSE(joined);
    go_on.set_value();
    joins.join();
    EXPECT_TRUE(joined);
    // It is joined already, and would be detached here: leave the handle alone.
    new (&native) std::thread;
  }
}

GREENLET_TEST_F(PatchedThreads, AreSentSignalsWithValuesAndAskedForTheirPriority) {
  static int value;
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    value = info->si_value.sival_int;
  };
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR2, &action, nullptr), 0);
  pthread_t thread;
  int count = 0;
  ASSERT_EQ(pthread_create(&thread, nullptr, &Count, &count), 0);
  sigval sent;
  sent.sival_int = 7;
  EXPECT_EQ(pthread_sigqueue(thread, SIGUSR2, sent), 0);
  EXPECT_EQ(value, 7);
  EXPECT_EQ(pthread_setschedprio(thread, 0), 0);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  signal(SIGUSR2, SIG_DFL);
}

GREENLET_TEST_F(PatchedThreads, ABarrierOfTwoProcesses) {
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

GREENLET_TEST_F(PatchedThreads, ReadersAndWriters) {
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

GREENLET_TEST_F(PatchedThreads, ConditionVariables) {
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

GREENLET_TEST_F(PatchedThreads, ANativeThreadNotifiesAGreenletAndTheOtherWayRound) {
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
GREENLET_TEST_F(PatchedThreads, ANativeThreadsWaitGivesTheMutexToAGreenlet) {
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
GREENLET_TEST_F(PatchedThreads, ACancelledNativeThreadTakesNoSignalAlong) {
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
GREENLET_TEST_F(PatchedThreads, LocksBetweenProcesses) {
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

GREENLET_TEST_F(PatchedThreads, SemaphoresBarriersAndOnce) {
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

// What C++20 waits by, which is a futex.
GREENLET_TEST_F(PatchedThreads, FuturesLatchesAndAtomics) {
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

GREENLET_TEST_F(PatchedThreads, AStaticVariableMayWaitWhileItIsMade) {
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
