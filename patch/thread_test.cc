// Threads and their keys, as any program uses them: they are greenlets here.

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

using PatchedThreads = PatchedTest;

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

GREENLET_TEST_F(PatchedThreads, WithoutAStackThereIsNone) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_t thread;
  const auto create = [&] {
    return pthread_create(
        &thread, &attributes, [](void*) -> void* { return nullptr; }, nullptr);
  };
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, size_t{1} << 40), 0);
  EXPECT_EQ(create(), EAGAIN);
  // The least that a program may ask for is less than what a greenlet has.
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 16384), 0);
  ASSERT_EQ(create(), 0);
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

// Calls that need not wait are cancellation points, too.
GREENLET_TEST_F(PatchedThreads, OneThatIsCancelledBeforeItBeginsDoesNot) {
  int count = 0;
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, &Count, &count), 0);
  EXPECT_EQ(pthread_cancel(thread), 0);
  void* result = nullptr;
  EXPECT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  EXPECT_EQ(count, 0);
}

// pthread_join(3) is a point of cancellation: whom it waited for can be joined by
// another.
GREENLET_TEST_F(PatchedThreads, CancellingEndsAJoin) {
  pthread_t sleeper, joiner;
  const auto sleeps = [](void*) -> void* {
    sleep(3600);
    return reinterpret_cast<void*>(7);
  };
  ASSERT_EQ(pthread_create(&sleeper, nullptr, sleeps, nullptr), 0);
  const auto joins = [](void* whom) -> void* {
    pthread_join(*static_cast<pthread_t*>(whom), nullptr);
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&joiner, nullptr, joins, &sleeper), 0);
  sched_yield();
  EXPECT_EQ(pthread_join(sleeper, nullptr), EINVAL) << "another does";
  EXPECT_EQ(pthread_cancel(joiner), 0);
  void* result = nullptr;
  EXPECT_EQ(pthread_join(joiner, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  EXPECT_LT(Elapsed(), absl::Seconds(3600));
  EXPECT_EQ(pthread_join(sleeper, &result), 0);
  EXPECT_EQ(result, reinterpret_cast<void*>(7));
}

GREENLET_TEST_F(PatchedThreads, CancellingEndsALoopOfCallsThatDoNotWait) {
  static int ends[2], null;
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  static int unwound;
  unwound = 0;
  void* (*const loops[])(void*) = {[](void*) -> void* {
                                     const Unwound local{&unwound};
                                     for (;;) EXPECT_EQ(write(null, "x", 1), 1);
                                   },
                                   [](void*) -> void* {
                                     const Unwound local{&unwound};
                                     for (char c;;) {
                                       EXPECT_EQ(send(ends[0], "x", 1, 0), 1);
                                       EXPECT_EQ(recv(ends[1], &c, 1, 0), 1);
                                     }
                                   }};
  for (auto* loop : loops) {
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, nullptr, loop, nullptr), 0);
    Yield();
    EXPECT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    EXPECT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
  }
  EXPECT_EQ(unwound, 2);
  for (const int fd : {ends[0], ends[1], null}) close(fd);
}

// A handler may call pthread_kill(3), whatever it has interrupted: here, threads that are
// made and joined, all the time.
GREENLET_TEST_F(PatchedThreads, AHandlerMaySendSignalsToThreads) {
  if (GROVE_TSAN)
    // A program of one thread without grove does the same: a handler that runs while the
    // runtime delivers another one overwrites the mask that it restores afterwards.
    GTEST_SKIP() << "its delivery of nested signals blocks all signals for ever";
  static pthread_t target;
  static std::atomic<int> sent, got;
  static std::atomic<bool> over;
  sent = 0;
  got = 0;
  over = false;
  struct sigaction send = {}, take = {};
  // Where handlers take longer than the timer's period, nothing else ever runs: so it
  // ends with the last one.
  static constexpr int kSignals = 200;
  send.sa_handler = [](int) {
    if (pthread_kill(target, SIGUSR2) != 0 || ++sent < kSignals) return;
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
  };
  take.sa_handler = [](int) { ++got; };
  send.sa_flags = take.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGALRM, &send, nullptr), 0);
  ASSERT_EQ(sigaction(SIGUSR2, &take, nullptr), 0);
  ASSERT_EQ(pthread_create(
                &target, nullptr,
                [](void*) -> void* {
                  while (!over) sched_yield();
                  return nullptr;
                },
                nullptr),
            0);
  const itimerval often = {.it_interval = {.tv_sec = 0, .tv_usec = 50},
                           .it_value = {.tv_sec = 0, .tv_usec = 50}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  while (sent < kSignals) {
    int count = 0;
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, nullptr, &Count, &count), 0);
    EXPECT_EQ(pthread_join(thread, nullptr), 0);
  }
  over = true;
  EXPECT_EQ(pthread_join(target, nullptr), 0);
  EXPECT_GT(got, 0);
  signal(SIGALRM, SIG_DFL);
  signal(SIGUSR2, SIG_DFL);
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

GREENLET_TEST_F(PatchedThreads, CancellingDoesNotEndTheWaitsOfWhoDisablesIt) {
  pthread_t thread;
  int slept = -1;
  struct Run {
    static void* Body(void* slept) {
      pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
      const timespec second = {.tv_sec = 1, .tv_nsec = 0};
      *static_cast<int*>(slept) = nanosleep(&second, nullptr);
      pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
      pthread_testcancel();
      return nullptr;
    }
  };
  ASSERT_EQ(pthread_create(&thread, nullptr, &Run::Body, &slept), 0);
  Yield();
  ASSERT_EQ(pthread_cancel(thread), 0);
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(slept, 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
}

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

int destructors_result = 0;

GREENLET_TEST_F(PatchedThreads, ADestructorOfACancelledThreadMayWait) {
  pthread_key_t key;
  ASSERT_EQ(pthread_key_create(&key, [](void*) { destructors_result = usleep(1000); }),
            0);
  // It ends by the cancel, or without having noticed it.
  for (const bool notices : {true, false}) {
    destructors_result = -1;
    const std::pair<pthread_key_t, bool> argument = {key, notices};
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* a) -> void* {
                    const auto& [its_key, waits] =
                        *static_cast<std::pair<pthread_key_t, bool>*>(a);
                    pthread_setspecific(its_key, a);
                    int before;
                    if (!waits) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
                    sched_yield();
                    if (!waits) pthread_setcancelstate(before, nullptr);
                    if (waits) usleep(1000);
                    return nullptr;
                  },
                  const_cast<std::pair<pthread_key_t, bool>*>(&argument)),
              0);
    Yield();
    EXPECT_EQ(pthread_cancel(thread), 0);
    EXPECT_EQ(pthread_join(thread, nullptr), 0);
    EXPECT_EQ(destructors_result, 0);
  }
  pthread_key_delete(key);
}

GREENLET_TEST_F(PatchedThreads, KeysFromBeforeThePatchHaveTheirDestructors) {
  ASSERT_EQ(early_key_error, 0);
  std::thread([] { pthread_setspecific(early_key, &early_key); }).join();
  EXPECT_EQ(early_destroyed, 1);
  EXPECT_EQ(pthread_getspecific(early_key), nullptr);
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

// What the kernel knows of threads only: it is the hub's thread's.
GREENLET_TEST_F(PatchedThreads, AskForWhatTheHubsThreadHas) {
  pthread_t thread;
  int count = 0;
  ASSERT_EQ(pthread_create(&thread, nullptr, &Count, &count), 0);
  cpu_set_t own, others;
  EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof own, &own), 0);
  EXPECT_EQ(pthread_getaffinity_np(thread, sizeof others, &others), 0);
  EXPECT_TRUE(CPU_EQUAL(&own, &others));
  EXPECT_EQ(pthread_setaffinity_np(thread, sizeof own, &own), 0);
  int policy = -1;
  sched_param parameters = {};
  EXPECT_EQ(pthread_getschedparam(thread, &policy, &parameters), 0);
  EXPECT_EQ(policy, sched_getscheduler(0));
  EXPECT_EQ(pthread_setschedparam(thread, policy, &parameters), 0);
  clockid_t clock;
  timespec used;
  EXPECT_EQ(pthread_getcpuclockid(thread, &clock), 0);
  EXPECT_EQ(clock_gettime(clock, &used), 0);
  timespec late;
  clock_gettime(CLOCK_MONOTONIC, &late);
  late.tv_sec += 3600;
  EXPECT_EQ(pthread_clockjoin_np(thread, nullptr, CLOCK_MONOTONIC, &late), 0);
  EXPECT_EQ(count, 1);
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
  // ThreadSanitizer holds signals back until a call that it knows.
  if (GROVE_TSAN) usleep(1000);
  EXPECT_EQ(value, 7);
  EXPECT_EQ(pthread_setschedprio(thread, 0), 0);
  EXPECT_EQ(pthread_join(thread, nullptr), 0);
  signal(SIGUSR2, SIG_DFL);
}

}  // namespace
}  // namespace grove::patch
