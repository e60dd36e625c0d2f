#include "grove/green/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/green/blocking.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/statistics_gauge.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"

// Functions on pool threads wait for std::latch, which greenlets count down. What a
// deadline is tried on has a thread ready: time is manual, and passes while one starts.
namespace grove {
namespace {

// A pool with one thread, which sleeps.
class OneThread {
 public:
  explicit OneThread(size_t max_queued = 1000)
      : pool({.name = "one", .max_threads = 1, .max_queued = max_queued}) {
    pool.Apply([] {}).IgnoreError();
  }
  ThreadPool pool;
};

// Keeps a pool's only thread busy while it exists.
class Busy {
 public:
  explicit Busy(ThreadPool& pool) : task_(pool.Spawn([done = done_] { done->wait(); })) {}
  ~Busy() { End(); }
  void End() {
    if (!std::exchange(ended_, true)) done_->count_down();
  }

 private:
  const std::shared_ptr<std::latch> done_ = std::make_shared<std::latch>(1);
  PoolTask<> task_;
  bool ended_ = false;
};

// --- Apply ----------------------------------------------------------------------------

GREENLET_TEST(ThreadPool, ApplyRunsOnAnotherThreadAndReturnsTheResult) {
  ThreadPool pool;
  const pid_t here = gettid();
  const absl::StatusOr<pid_t> there = pool.Apply([] { return gettid(); });
  ASSERT_TRUE(there.ok());
  EXPECT_NE(*there, here);
  EXPECT_EQ(pool.unfinished(), 0u);
}

GREENLET_TEST(ThreadPool, OthersRunWhileAFunctionBlocks) {
  ThreadPool pool;
  std::latch done(1);
  const Greenlet<> other = Spawn([&] { done.count_down(); });
  EXPECT_TRUE(pool.Apply([&] { done.wait(); }).ok());
  EXPECT_TRUE(other.ready());
}

GREENLET_TEST(ThreadPool, ApplyThrowsWhatTheFunctionThrows) {
  ThreadPool pool;
  EXPECT_THROW(pool.Apply([] { throw std::runtime_error("no"); }).IgnoreError(),
               std::runtime_error);
}

GREENLET_TEST(ThreadPool, ApplyJoinsErrorsAndMovesResults) {
  ThreadPool pool;
  EXPECT_EQ(pool.Apply([] { return absl::NotFoundError("it"); }),
            absl::NotFoundError("it"));
  const absl::StatusOr<int> sum = pool.Apply([]() -> absl::StatusOr<int> { return 3; });
  EXPECT_EQ(*sum, 3);
  absl::StatusOr<std::unique_ptr<int>> owned =
      pool.Apply([p = std::make_unique<int>(5)]() mutable { return std::move(p); });
  EXPECT_EQ(**owned, 5);
}

GREENLET_TEST(ThreadPool, ApplyPastItsDeadlineDoesNotRunWhatHasNotBegun) {
  OneThread one;
  Busy busy(one.pool);
  bool ran = false;
  const absl::Status late = one.pool.Apply([&] { ran = true; }, absl::Seconds(3));
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  EXPECT_EQ(one.pool.Apply([&] { ran = true; }, absl::ZeroDuration()).code(),
            absl::StatusCode::kDeadlineExceeded);
  busy.End();
  EXPECT_TRUE(one.pool.Join());
  EXPECT_FALSE(ran);
}

GREENLET_TEST(ThreadPool, ApplyPastItsDeadlineReturnsTheResultOfWhatHasBegun) {
  OneThread one;
  std::latch done(1);
  const Greenlet<> later = SpawnLater(absl::Seconds(5), [&] { done.count_down(); });
  const absl::StatusOr<int> result = one.pool.Apply(
      [&] {
        done.wait();
        return 7;
      },
      absl::Seconds(1));
  EXPECT_EQ(*result, 7);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

GREENLET_TEST(ThreadPool, AKillBeforeTheFunctionBeginsThrowsAndItNeverRuns) {
  OneThread one;
  Busy busy(one.pool);
  bool ran = false;
  const Greenlet<> g = Spawn([&] { one.pool.Apply([&] { ran = true; }).IgnoreError(); });
  Idle();
  g.Kill();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(one.pool.unfinished(), 1u);
  busy.End();
  EXPECT_TRUE(one.pool.Join());
  EXPECT_FALSE(ran);
}

GREENLET_TEST(ThreadPool, AKillAfterTheFunctionHasBegunWaitsForItAndLosesNoResult) {
  OneThread one;
  std::latch done(1);
  int result = 0;
  bool went_on = false;
  const Greenlet<> g = Spawn([&] {
    int local = 0;  // which the thread writes to
    result = *one.pool.Apply([&] {
      done.wait();
      local = 1;
      return 7;
    });
    result += local;
    Yield();
    went_on = true;
  });
  Idle();
  g.KillSoon();
  Idle();
  EXPECT_FALSE(g.ready());
  done.count_down();
  g.Join();
  EXPECT_TRUE(g.killed());
  EXPECT_EQ(result, 8);
  EXPECT_FALSE(went_on) << "the next blocking call throws";
}

GREENLET_TEST(ThreadPool, ATimeoutScopeEndsWhatHasNotBegun) {
  OneThread one;
  Busy busy(one.pool);
  Timeout timeout(absl::Seconds(2));
  EXPECT_THROW(one.pool.Apply([] {}).IgnoreError(), TimeoutExpired);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

GREENLET_TEST(ThreadPool, AFunctionThatIsAlreadyLateOrKilledIsNotSubmitted) {
  ThreadPool pool;
  bool ran = false;
  const Greenlet<> g = Spawn([&] {
    CurrentGreenlet().KillSoon();
    pool.Apply([&] { ran = true; }).IgnoreError();
  });
  g.Join();
  EXPECT_FALSE(ran);
  EXPECT_EQ(pool.size(), 0) << "not even a thread was started";
}

// --- where from -----------------------------------------------------------------------

TEST(ThreadPoolThreads, AMainGreenletAndAThreadWithoutAHubWait) {
  ThreadPool pool;
  std::thread([&] { EXPECT_EQ(*pool.Apply([] { return 1; }), 1); }).join();
  HubScope scope;
  EXPECT_EQ(*pool.Apply([] { return 2; }), 2);
}

GREENLET_TEST(ThreadPool, SeveralHubsShareOne) {
  ThreadPool pool({.max_threads = 2});
  std::atomic<int> sum = 0;
  HubGroup group({.hubs = 3, .pin = false}, [&](int index) {
    std::vector<Greenlet<>> all;
    for (int i = 0; i < 50; ++i) {
      all.push_back(Spawn([&] { sum += *pool.Apply([index] { return index; }); }));
    }
    JoinAll(all);
  });
  group.Join();
  EXPECT_EQ(sum, 50 * (0 + 1 + 2));
  EXPECT_LE(pool.size(), 2);
}

GREENLET_TEST(ThreadPool, OnAPoolsThreadEverythingRunsRightThere) {
  ThreadPool pool({.max_threads = 1});
  ThreadPool other({.max_threads = 1});
  const bool same = *pool.Apply([&] {
    const pid_t here = gettid();
    const auto tid = [] { return gettid(); };
    return *pool.Apply(tid) == here && *other.Apply(tid) == here &&
           *pool.Spawn(tid).Get() == here && *Blocking(tid) == here;
  });
  EXPECT_TRUE(same);
  EXPECT_THROW(
      pool.Apply([&] { pool.Apply([] { throw std::logic_error("in"); }).IgnoreError(); })
          .IgnoreError(),
      std::logic_error);
}

GREENLET_TEST(ThreadPool, ATaskMayUseGroveAndItsHubEndsWithTheThread) {
  std::optional<ThreadPool> pool(std::in_place);
  HubHandle hub;
  const bool slept = *pool->Apply([&] {
    const Greenlet<int> g = Spawn([] {
      Sleep(absl::Microseconds(1));
      return 1;
    });
    hub = ThisHub().handle();
    return *g.Get() == 1;
  });
  EXPECT_TRUE(slept);
  EXPECT_TRUE(hub.Post([] {}).ok());
  pool.reset();
  EXPECT_FALSE(hub.Post([] {}).ok());
}

TEST(ThreadPoolThreads, AHubMayEndBeforeItsTask) {
  ThreadPool pool({.max_threads = 1});
  std::latch done(1);
  auto kept = std::make_shared<int>(0);
  const std::weak_ptr<int> gone = kept;
  std::thread([&] {
    HubScope scope;
    pool.Spawn([&done, kept = std::move(kept)] {
      done.wait();
      return kept;
    });
  }).join();
  EXPECT_FALSE(gone.expired());
  done.count_down();
  std::thread([&] {  // behind it on the only thread: by now it has let go
    EXPECT_TRUE(pool.Apply([&] { return gone.expired(); }).ok());
  })
      .join();
  EXPECT_TRUE(gone.expired());
}

// --- threads --------------------------------------------------------------------------

GREENLET_TEST(ThreadPool, OneThreadIsEnoughForOneCallAfterTheOther) {
  ThreadPool pool;
  for (int i = 0; i < 200; ++i) pool.Apply([] {}).IgnoreError();
  EXPECT_EQ(pool.size(), 1);
}

GREENLET_TEST(ThreadPool, ThreadsAreStartedAsNeededUpToTheLimit) {
  ThreadPool pool({.max_threads = 3});
  EXPECT_EQ(pool.size(), 0);
  std::latch all(3);
  std::latch done(1);
  std::vector<PoolTask<>> tasks;
  for (int i = 0; i < 5; ++i) {
    tasks.push_back(pool.Spawn([&, i] {
      if (i < 3) all.arrive_and_wait();  // at the same time
      done.wait();
    }));
  }
  EXPECT_EQ(pool.size(), 3);
  EXPECT_EQ(pool.unfinished(), 5u);
  done.count_down();
  EXPECT_TRUE(pool.Join());
  for (const PoolTask<>& task : tasks) EXPECT_TRUE(task.successful());
  EXPECT_EQ(pool.unfinished(), 0u);
}

GREENLET_TEST(ThreadPool, IdleThreadsEnd) {
  ThreadPool pool({.max_threads = 2, .idle_timeout = absl::ZeroDuration()});
  for (int i = 0; i < 20; ++i) pool.Apply([] {}).IgnoreError();
  while (pool.size() > 0) sched_yield();
  EXPECT_EQ(*pool.Apply([] { return 1; }), 1) << "and are started again";
}

GREENLET_TEST(ThreadPool, IdleThreadsMayStayForEver) {
  ThreadPool pool({.idle_timeout = absl::InfiniteDuration()});
  pool.Apply([] {}).IgnoreError();
  EXPECT_EQ(pool.size(), 1);
}

GREENLET_TEST(ThreadPool, AHigherLimitStartsThreadsForWhatWaits) {
  ThreadPool pool({.max_threads = 1});
  std::latch together(2);
  const PoolTask<> a = pool.Spawn([&] { together.arrive_and_wait(); });
  const PoolTask<> b = pool.Spawn([&] { together.arrive_and_wait(); });
  EXPECT_EQ(pool.size(), 1);
  pool.set_max_threads(2);
  EXPECT_TRUE(pool.Join());
  EXPECT_EQ(pool.max_threads(), 2);
}

GREENLET_TEST(ThreadPool, ALowerLimitEndsThreads) {
  ThreadPool pool({.max_threads = 3, .idle_timeout = absl::InfiniteDuration()});
  std::latch all(3);
  for (int i = 0; i < 3; ++i) pool.Spawn([&] { all.arrive_and_wait(); });
  EXPECT_TRUE(pool.Join());
  EXPECT_EQ(pool.size(), 3);
  pool.set_max_threads(1);
  while (pool.size() > 1) sched_yield();
  EXPECT_EQ(*pool.Apply([] { return 1; }), 1);
}

GREENLET_TEST(ThreadPool, ThreadsHaveNamesAndLeaveSignalsToOthers) {
  ThreadPool pool({.name = "a-name-that-is-long"});
  const auto [name, set] = *pool.Apply([] {
    char buffer[16] = {};
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    return std::make_pair(std::string(buffer), blocked);
  });
  EXPECT_EQ(name, "a-name-that-i-1");
  for (int signal : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1, SIGPIPE, SIGHUP}) {
    EXPECT_TRUE(sigismember(&set, signal)) << signal;
  }
  EXPECT_FALSE(sigismember(&set, SIGSEGV));
}

GREENLET_TEST(ThreadPool, ThreadsOfAPinnedHubAreNotPinned) {
  ThreadPool pool;
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(getpid(), sizeof all, &all), 0);
  HubGroup group({.hubs = 1}, [&](int) {
    const cpu_set_t there = *pool.Apply([] {
      cpu_set_t set;
      sched_getaffinity(0, sizeof set, &set);
      return set;
    });
    EXPECT_TRUE(CPU_EQUAL(&there, &all));
  });
  group.Join();
}

// --- the end --------------------------------------------------------------------------

GREENLET_TEST(ThreadPool, JoinWaitsUntilNothingIsUnfinished) {
  ThreadPool pool({.max_threads = 1});
  EXPECT_TRUE(pool.Join()) << "nothing is";
  Busy busy(pool);
  EXPECT_FALSE(pool.Join(absl::ZeroDuration()));
  EXPECT_FALSE(pool.Join(absl::Seconds(1)));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  const Greenlet<> killed = Spawn([&] { pool.Join(); });
  Idle();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<bool> joins = Spawn([&] { return pool.Join(); });
  Idle();
  EXPECT_FALSE(joins.ready());
  busy.End();
  EXPECT_TRUE(*joins.Get());
}

GREENLET_TEST(ThreadPool, DestroyingItWaitsForAllTasks) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool({.max_threads = 1});
    for (int i = 0; i < 10; ++i) pool.Spawn([&] { ++ran; });
  }
  EXPECT_EQ(ran, 10);
}

GREENLET_TEST(ThreadPool, ShutdownCancelsWhatHasNotBegunAndWaitsForTheRest) {
  OneThread one;
  Busy busy(one.pool);
  const PoolTask<> waits = one.pool.Spawn([] {});
  absl::Status applied;
  const Greenlet<> applies = Spawn([&] { applied = one.pool.Apply([] {}); });
  Idle();
  EXPECT_FALSE(one.pool.Shutdown(absl::Seconds(1)));
  EXPECT_EQ(waits.Get().code(), absl::StatusCode::kCancelled);
  applies.Join();
  EXPECT_EQ(applied.code(), absl::StatusCode::kCancelled);
  busy.End();
  EXPECT_TRUE(one.pool.Shutdown());
  EXPECT_EQ(one.pool.Apply([] {}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(one.pool.Spawn([] {}).Get().code(), absl::StatusCode::kFailedPrecondition);
}

class ThreadPoolDeathTest : public ::testing::Test {};

TEST_F(ThreadPoolDeathTest, WithoutThreadsIsFatal) {
  EXPECT_DEATH(ThreadPool({.name = "none", .max_threads = 0}),
               "thread pool 'none' of 0 threads");
}

TEST_F(ThreadPoolDeathTest, ATaskThatJoinsItsPoolIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThreadPool pool({.name = "x"});
        pool.Apply([&] { pool.Join(); }).IgnoreError();
      },
      "a task of thread pool 'x' waits for all of its tasks, and so for itself");
}

TEST_F(ThreadPoolDeathTest, ApplyInALoopCallbackIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThreadPool pool({.name = "x"});
        scope.hub().RunCallback([&] { pool.Apply([] {}).IgnoreError(); });
        Yield();
      },
      "a blocking call \\(a task of thread pool 'x'\\) inside a loop callback");
}

GREENLET_TEST(Blocking, RunsOnTheDefaultPool) {
  EXPECT_EQ(*Blocking([] { return 42; }), 42);
  EXPECT_EQ(ThreadPool::Default().name(), "default");
  EXPECT_GE(ThreadPool::Default().size(), 1);
}

// --- looking inside ---

GREENLET_TEST(ThreadPoolGauges, SayHowMuchIsUnfinishedAndWaits) {
  const auto read = [](absl::string_view what) -> int64_t {
    for (const StatisticsGauge::Reading& r : StatisticsGauge::ReadAll()) {
      if (r.name == absl::StrCat("thread pool 'one', ", what)) return r.value;
    }
    return -1;
  };
  EXPECT_EQ(read("tasks in line"), -1);
  OneThread one;
  Busy busy(one.pool);
  const PoolTask<> a = one.pool.Spawn([] {});
  const PoolTask<> b = one.pool.Spawn([] {});
  EXPECT_EQ(read("unfinished tasks"), 3);
  EXPECT_EQ(read("tasks in line"), 2);
  busy.End();
  EXPECT_TRUE(one.pool.Join());
  EXPECT_EQ(read("unfinished tasks"), 0);
  EXPECT_EQ(read("tasks in line"), 0);
}

}  // namespace
}  // namespace grove
