// <threads.h> of C11, as any program uses it: its threads are greenlets here.

#include <gtest/gtest.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "grove/green/greenlet.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class PatchedC11 : public PatchedTest {
 protected:
  static timespec In(time_t seconds) {
    timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    return t;
  }
};

GREENLET_TEST_F(PatchedC11, ThreadsAreGreenletsOfThisHub) {
  const pid_t tid = gettid();
  struct Arg {
    pid_t tid;
    int result;
  };
  std::vector<thrd_t> threads(100);
  std::vector<Arg> args;
  for (int i = 0; i < 100; ++i) args.push_back({tid, i});
  for (size_t i = 0; i < threads.size(); ++i) {
    ASSERT_EQ(thrd_create(
                  &threads[i],
                  [](void* a) {
                    auto* arg = static_cast<Arg*>(a);
                    const timespec minute = {.tv_sec = 60, .tv_nsec = 0};
                    EXPECT_EQ(thrd_sleep(&minute, nullptr), 0);
                    EXPECT_EQ(gettid(), arg->tid);
                    return -arg->result;
                  },
                  &args[i]),
              thrd_success);
  }
  for (size_t i = 0; i < threads.size(); ++i) {
    int result = 1;
    EXPECT_EQ(thrd_join(threads[i], &result), thrd_success);
    EXPECT_EQ(result, -static_cast<int>(i));
  }
  EXPECT_LT(Elapsed(), absl::Seconds(61));
}

GREENLET_TEST_F(PatchedC11, AThreadEndsWhereItSaysSo) {
  thrd_t thread;
  thrd_t itself = thrd_current();
  const thrd_t starter = itself;
  ASSERT_EQ(thrd_create(
                &thread,
                [](void* out) -> int {
                  *static_cast<thrd_t*>(out) = thrd_current();
                  thrd_exit(-7);
                },
                &itself),
            thrd_success);
  int result = 0;
  EXPECT_EQ(thrd_join(thread, &result), thrd_success);
  EXPECT_EQ(result, -7);
  EXPECT_TRUE(thrd_equal(itself, thread));
  EXPECT_FALSE(thrd_equal(itself, starter));
  bool ran = false;
  ASSERT_EQ(thrd_create(
                &thread,
                [](void* r) {
                  *static_cast<bool*>(r) = true;
                  return 0;
                },
                &ran),
            thrd_success);
  EXPECT_EQ(thrd_detach(thread), thrd_success);
  while (!ran) thrd_yield();
}

GREENLET_TEST_F(PatchedC11, AMutexIsWaitedForAsAGreenlet) {
  for (const int kind : {static_cast<int>(mtx_plain), static_cast<int>(mtx_timed),
                         mtx_timed | mtx_recursive}) {
    mtx_t mutex;
    ASSERT_EQ(mtx_init(&mutex, kind), thrd_success);
    ASSERT_EQ(mtx_lock(&mutex), thrd_success);
    if (kind & mtx_recursive) {
      EXPECT_EQ(mtx_lock(&mutex), thrd_success);
      EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
    }
    const uint64_t waits = Waits("mtx_lock");
    int order = 0;
    const Greenlet<> other = Spawn([&] {
      EXPECT_EQ(mtx_trylock(&mutex), thrd_busy);
      const timespec soon = In(1);
      EXPECT_EQ(mtx_timedlock(&mutex, &soon), thrd_timedout);
      EXPECT_EQ(mtx_lock(&mutex), thrd_success);
      EXPECT_EQ(order, 1);
      EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
    });
    sleep(10);
    order = 1;
    EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
    other.Join();
    EXPECT_EQ(Waits("mtx_lock"), waits + 1);
    EXPECT_EQ(mtx_trylock(&mutex), thrd_success);
    EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
    mtx_destroy(&mutex);
  }
}

GREENLET_TEST_F(PatchedC11, AConditionIsWaitedForAsAGreenlet) {
  mtx_t mutex;
  cnd_t changed;
  ASSERT_EQ(mtx_init(&mutex, mtx_plain), thrd_success);
  ASSERT_EQ(cnd_init(&changed), thrd_success);
  int value = 0;
  const auto wait_for = [&](int wanted) {
    EXPECT_EQ(mtx_lock(&mutex), thrd_success);
    while (value < wanted) EXPECT_EQ(cnd_wait(&changed, &mutex), thrd_success);
    EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
  };
  const Greenlet<> one = Spawn([&] { wait_for(1); });
  sleep(1);
  EXPECT_EQ(mtx_lock(&mutex), thrd_success);
  const timespec soon = In(1);
  EXPECT_EQ(cnd_timedwait(&changed, &mutex, &soon), thrd_timedout);
  value = 1;
  EXPECT_EQ(cnd_signal(&changed), thrd_success);
  EXPECT_EQ(mtx_unlock(&mutex), thrd_success);
  one.Join();
  const Greenlet<> two = Spawn([&] { wait_for(2); });
  const Greenlet<> three = Spawn([&] { wait_for(2); });
  sleep(1);
  value = 2;
  EXPECT_EQ(cnd_broadcast(&changed), thrd_success);
  two.Join();
  three.Join();
  cnd_destroy(&changed);
  mtx_destroy(&mutex);
}

once_flag once = ONCE_FLAG_INIT;
int onces = 0;

GREENLET_TEST_F(PatchedC11, OnceIsDoneOnceAlthoughItWaits) {
  const auto call = [] {
    call_once(&once, [] {
      sleep(10);
      ++onces;
    });
    EXPECT_EQ(onces, 1);
  };
  const Greenlet<> a = Spawn(call);
  const Greenlet<> b = Spawn(call);
  a.Join();
  b.Join();
}

GREENLET_TEST_F(PatchedC11, AValueIsEachThreadsOwn) {
  static int destroyed;
  destroyed = 0;
  static tss_t key;
  ASSERT_EQ(tss_create(&key, [](void*) { ++destroyed; }), thrd_success);
  int mine = 0;
  EXPECT_EQ(tss_set(key, &mine), thrd_success);
  thrd_t thread;
  ASSERT_EQ(thrd_create(
                &thread,
                [](void*) {
                  EXPECT_EQ(tss_get(key), nullptr);
                  static int its = 0;
                  EXPECT_EQ(tss_set(key, &its), thrd_success);
                  thrd_yield();
                  return tss_get(key) == &its ? 3 : 0;
                },
                nullptr),
            thrd_success);
  int result = 0;
  EXPECT_EQ(thrd_join(thread, &result), thrd_success);
  EXPECT_EQ(result, 3);
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(tss_get(key), &mine);
  tss_delete(key);
}

}  // namespace
}  // namespace grove::patch
