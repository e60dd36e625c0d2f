#include <gtest/gtest.h>

#include <cerrno>
#include <latch>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/pool_core.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"

// Pools by name, the process's limit, and threads that cannot be started.
namespace grove {
namespace {

using green_internal::PoolCore;

class ProcessLimitTest : public GreenletTest {
 protected:
  ~ProcessLimitTest() override { ThreadPool::SetProcessLimit(limit_before_); }
  const int limit_before_ = ThreadPool::process_limit();
};

GREENLET_TEST_F(ProcessLimitTest, PoolsMakeDoWithTheThreadsThatThereAre) {
  EXPECT_EQ(limit_before_, 256);
  const int before = ThreadPool::process_threads();
  ThreadPool::SetProcessLimit(before + 2);
  ThreadPool a({.max_threads = 5});
  std::latch done(1);
  std::vector<PoolTask<>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(a.Spawn([&] { done.wait(); }));
  EXPECT_EQ(a.size(), 2);
  EXPECT_EQ(ThreadPool::process_threads(), before + 2);
  // Whoever has none gets its first one, else it might wait for the others for ever.
  ThreadPool b;
  EXPECT_EQ(*b.Apply([] { return 1; }), 1);
  EXPECT_EQ(b.size(), 1);
  EXPECT_EQ(ThreadPool::process_threads(), before + 3);
  done.count_down();
  EXPECT_TRUE(a.Join());
}

GREENLET_TEST_F(ProcessLimitTest, ThreadsThatEndMakeRoom) {
  const int before = ThreadPool::process_threads();
  ThreadPool::SetProcessLimit(before + 1);
  {
    ThreadPool a;
    EXPECT_TRUE(a.Apply([] {}).ok());
  }
  EXPECT_EQ(ThreadPool::process_threads(), before);
}

// What fails is pthread_create(): RLIMIT_NPROC does not count for root.
class NoThreadTest : public GreenletTest {
 protected:
  ~NoThreadTest() override { PoolCore::FailThreadStarts(0); }
};

GREENLET_TEST_F(NoThreadTest, WithoutAnyTheTaskFailsWithErrno) {
  ThreadPool pool({.name = "x"});
  bool ran = false;
  PoolCore::FailThreadStarts(2);
  const absl::Status status = pool.Apply([&] { ran = true; });
  EXPECT_EQ(ErrnoOf(status), EAGAIN) << status;
  EXPECT_NE(status.message().find("start the first thread of pool 'x'"),
            status.message().npos)
      << status;
  auto kept = std::make_shared<int>();
  const PoolTask<> task = pool.Spawn([&ran, kept] { ran = true; });
  EXPECT_TRUE(task.ready());
  EXPECT_EQ(kept.use_count(), 1);
  EXPECT_EQ(ErrnoOf(task.Get()), EAGAIN);
  EXPECT_EQ(pool.unfinished(), 0u);
  EXPECT_FALSE(ran);
  EXPECT_EQ(*pool.Apply([] { return 1; }), 1) << "the next one tries again";
}

GREENLET_TEST_F(NoThreadTest, WithSomeTheTaskIsLeftToThem) {
  ThreadPool pool({.max_threads = 3});
  std::latch done(1);
  const PoolTask<> first = pool.Spawn([&] { done.wait(); });
  PoolCore::FailThreadStarts(1);
  const PoolTask<int> second = pool.Spawn([] { return 2; });
  EXPECT_EQ(pool.size(), 1);
  done.count_down();
  EXPECT_EQ(*second.Get(), 2);
}

GREENLET_TEST_F(NoThreadTest, OneThatFailsWithAFullQueueBlocksNobody) {
  ThreadPool pool({.max_queued = 0});
  PoolCore::FailThreadStarts(1);
  EXPECT_EQ(ErrnoOf(pool.Spawn([] {}).Get()), EAGAIN);
  EXPECT_EQ(*pool.Spawn([] { return 1; }).Get(), 1)
      << "with no room at all, Spawn() waits until it begins";
}

// Last: these threads stay for a while, and count.
GREENLET_TEST(NamedPools, AreSeparateAndStay) {
  ThreadPool& files = ThreadPool::Named("files");
  ThreadPool& resolver = ThreadPool::Named("resolver");
  EXPECT_EQ(&files, &ThreadPool::Named("files"));
  EXPECT_NE(&files, &resolver);
  EXPECT_EQ(&ThreadPool::Default(), &ThreadPool::Named("default"));
  EXPECT_EQ(files.name(), "files");
  EXPECT_EQ(files.max_threads(), 10);
  // One that is stuck does not hold up the other.
  files.set_max_threads(1);
  std::latch done(1);
  const PoolTask<> stuck = files.Spawn([&] { done.wait(); });
  EXPECT_EQ(*resolver.Apply([] { return 1; }), 1);
  EXPECT_FALSE(stuck.ready());
  done.count_down();
  EXPECT_TRUE(files.Join());
  files.set_max_threads(10);
}

}  // namespace
}  // namespace grove
