#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/os/fork.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/sleep.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"
#include "grove/hub/hub.h"

// fork() while pools are busy. The child says by its status what it found: 0 is well,
// else it is the line of this file.
namespace grove {
namespace {

#define CHILD_EXPECT(condition) \
  if (!(condition)) _exit(__LINE__ % 250 + 1)

class ThreadPoolForkTest : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer lets a forked child have no threads";
#endif
  }

  template <typename F>
  static void InForkedChild(F body) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(60);
      ThisHub().loop().Reinit();
      body();
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0) << "the failed line, modulo 250, and one";
  }

  const HubScope scope_;
};

TEST_F(ThreadPoolForkTest, TheChildsPoolsAreAsNewAndWhatWasUnderWayIsAborted) {
  ThreadPool pool({.name = "busy", .max_threads = 2, .max_queued = 1});
  std::latch done(1);
  const auto wait = [&] {
    done.wait();
    return 1;
  };
  // Two that have begun or are about to, one that has room in the queue, and others.
  std::vector<Greenlet<absl::StatusOr<int>>> applied;
  for (int i = 0; i < 2; ++i) {
    applied.push_back(Spawn([&] { return pool.Apply(wait); }));
  }
  Idle();
  const PoolTask<int> queued = pool.Spawn(wait);
  const Greenlet<absl::StatusOr<int>> blocked =
      Spawn([&] { return pool.Spawn(wait).Get(); });
  const Greenlet<bool> joins = Spawn([&] { return pool.Join(); });
  Idle();

  InForkedChild([&] {
    for (const auto& g : applied) {
      CHILD_EXPECT(g.Get().status().code() == absl::StatusCode::kAborted);
    }
    CHILD_EXPECT(queued.Get().status().code() == absl::StatusCode::kAborted);
    CHILD_EXPECT(blocked.Get().status().code() == absl::StatusCode::kAborted);
    CHILD_EXPECT(*joins.Get());
    CHILD_EXPECT(pool.unfinished() == 0 && pool.size() == 0);
    CHILD_EXPECT(*pool.Apply([] { return 5; }) == 5);
    CHILD_EXPECT(*pool.Spawn([] { return 6; }).Get() == 6);
    CHILD_EXPECT(pool.size() == 1 && ThreadPool::process_threads() == 1);
    CHILD_EXPECT(pool.Join());
    CHILD_EXPECT(pool.Shutdown());
  });

  // In the parent nothing has happened.
  for (const auto& g : applied) EXPECT_FALSE(g.ready());
  done.count_down();
  for (const auto& g : applied) EXPECT_EQ(*g.Get(), 1);
  EXPECT_EQ(*queued.Get(), 1);
  EXPECT_EQ(*blocked.Get(), 1);
  EXPECT_TRUE(*joins.Get());
}

// By Fork(), after which no other greenlet lives on.
TEST_F(ThreadPoolForkTest, ForkProcessFindsPoolsAsNewToo) {
  ThreadPool pool({.name = "busy", .max_threads = 1});
  std::latch done(1);
  const auto wait = [&] {
    done.wait();
    return 1;
  };
  const PoolTask<int> begun = pool.Spawn(wait);
  const PoolTask<int> queued = pool.Spawn(wait);
  const Greenlet<absl::StatusOr<int>> applied = Spawn([&] { return pool.Apply(wait); });
  Idle();
  absl::StatusOr<Subprocess> child = ForkProcess([&] {
    alarm(60);
    CHILD_EXPECT(begun.Get().status().code() == absl::StatusCode::kAborted);
    CHILD_EXPECT(queued.Get().status().code() == absl::StatusCode::kAborted);
    CHILD_EXPECT(applied.killed());
    CHILD_EXPECT(pool.unfinished() == 0 && pool.size() == 0);
    CHILD_EXPECT(*pool.Apply([] { return 5; }) == 5);
    return 0;
  });
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->Wait()->ToString(), "exited with code 0")
      << "the failed line, modulo 250, and one";
  done.count_down();
  EXPECT_EQ(*begun.Get(), 1);
  EXPECT_EQ(*queued.Get(), 1);
  EXPECT_EQ(*applied.Get(), 1);
}

TEST_F(ThreadPoolForkTest, AResultThatWasOnItsWayArrivesInTheChild) {
  ThreadPool pool({.max_threads = 1});
  std::latch ran(1);
  const PoolTask<int> task = pool.Spawn([&] {
    ran.count_down();
    return 3;
  });
  ran.wait();
  // The same thread has sent the first result before it can be asked for a second one.
  std::thread([&] { pool.Apply([] {}).IgnoreError(); }).join();
  EXPECT_FALSE(task.ready());
  InForkedChild([&] { CHILD_EXPECT(*task.Get() == 3); });
  EXPECT_EQ(*task.Get(), 3);
}

TEST_F(ThreadPoolForkTest, AChildMayEndItsHubAtOnce) {
  ThreadPool pool({.max_threads = 1});
  std::latch done(1);
  std::optional<HubScope> scope;
  std::thread([&] {
    scope.emplace();
    {
      const PoolTask<> task = pool.Spawn([&] { done.wait(); });
      InForkedChild([&] { scope.reset(); });
      done.count_down();
      EXPECT_TRUE(task.Get().ok());
    }
    scope.reset();
  }).join();
}

TEST_F(ThreadPoolForkTest, TasksOfOtherHubsDoNotHoldUpTheChild) {
  ThreadPool pool({.max_threads = 1});
  std::latch done(1);
  std::latch begun(1);
  std::thread other([&] {
    pool.Apply([&] {
          begun.count_down();
          done.wait();
        })
        .IgnoreError();
  });
  begun.wait();
  const Greenlet<bool> joins = Spawn([&] { return pool.Join(); });
  Idle();
  InForkedChild([&] {
    CHILD_EXPECT(*joins.Get());
    CHILD_EXPECT(*pool.Apply([] { return 1; }) == 1);
  });
  done.count_down();
  EXPECT_TRUE(*joins.Get());
  other.join();
}

TEST_F(ThreadPoolForkTest, ATaskThatForksEndsInTheChildWithItsThread) {
  ThreadPool pool;
  const pid_t child = *pool.Apply([] { return fork(); });
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(*pool.Apply([&] { return waitpid(child, &status, 0); }), child);
  EXPECT_TRUE(WIFEXITED(status)) << status;
}

TEST_F(ThreadPoolForkTest, ForkWhileThreadsComeAndGoDoesNotDeadlock) {
  if (GROVE_ASAN) GTEST_SKIP() << "the lock of AddressSanitizer's allocator may be held";
  ThreadPool pool({.max_threads = 4, .idle_timeout = absl::ZeroDuration()});
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop) {
      std::vector<PoolTask<>> tasks;
      for (int i = 0; i < 8; ++i) tasks.push_back(pool.Spawn([] {}));
      for (const PoolTask<>& task : tasks) task.Join();
    }
  });
  for (int i = 0; i < 20; ++i) {
    InForkedChild([&] { CHILD_EXPECT(*pool.Apply([i] { return i; }) == i); });
  }
  stop = true;
  other.join();
}

}  // namespace
}  // namespace grove
