#include "grove/green/pool_task.h"

#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"

namespace grove {
namespace {

class PoolTaskTest : public GreenletTest {
 protected:
  void SetUp() override {
    SetErrorHandler(
        [this](const UnhandledException& e) { reported_.push_back(e.greenlet.name()); });
    pool_.Apply([] {}).IgnoreError();  // its thread is there, and sleeps
  }

  void TearDown() override { EXPECT_TRUE(pool_.Join()); }

  // Occupies the only thread until done_.
  PoolTask<> KeepBusy() {
    return pool_.Spawn([this] { done_.wait(); });
  }

  std::latch done_{1};
  std::vector<std::string> reported_;
  ThreadPool pool_{{.name = "p", .max_threads = 1, .max_queued = 2}};
};

GREENLET_TEST_F(PoolTaskTest, GetReturnsWhatTheFunctionReturned) {
  PoolTask<std::unique_ptr<int>> task =
      pool_.Spawn([] { return std::make_unique<int>(4); });
  const absl::StatusOr<std::unique_ptr<int>> result = std::move(task).Get();
  EXPECT_EQ(**result, 4);
  const PoolTask<std::string> text = pool_.Spawn([] { return std::string("twice"); });
  EXPECT_EQ(*text.Get(), "twice");
  EXPECT_EQ(*text.Get(absl::ZeroDuration()), "twice");
  EXPECT_TRUE(text.successful());
}

GREENLET_TEST_F(PoolTaskTest, GetPastItsDeadlineLeavesTheTaskAsItIs) {
  const PoolTask<> busy = KeepBusy();
  EXPECT_FALSE(busy.Join(absl::ZeroDuration()));
  EXPECT_EQ(busy.Get(absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_FALSE(busy.ready());
  done_.count_down();
  EXPECT_TRUE(busy.Get().ok());
}

GREENLET_TEST_F(PoolTaskTest, AKillOfWhoWaitsLeavesTheTaskAsItIs) {
  const PoolTask<> busy = KeepBusy();
  const Greenlet<> waits = Spawn([&] { busy.Join(); });
  Idle();
  waits.Kill();
  EXPECT_TRUE(waits.killed());
  done_.count_down();
  EXPECT_TRUE(busy.Get().ok());
}

GREENLET_TEST_F(PoolTaskTest, CancelBeforeItBeginsAndNotAfter) {
  const PoolTask<> busy = KeepBusy();
  bool ran = false;
  auto kept = std::make_shared<int>();
  const PoolTask<> task = pool_.Spawn([&ran, kept] { ran = true; });
  const Greenlet<absl::Status> gets = Spawn([&] { return task.Get(); });
  Idle();
  EXPECT_TRUE(task.Cancel());
  EXPECT_TRUE(task.ready());
  EXPECT_EQ(kept.use_count(), 1) << "captures are destroyed";
  EXPECT_FALSE(task.successful());
  EXPECT_FALSE(task.Cancel()) << "only once";
  EXPECT_EQ(gets.Get().code(), absl::StatusCode::kCancelled);
  done_.count_down();
  EXPECT_TRUE(busy.Join());
  EXPECT_FALSE(busy.Cancel());
  EXPECT_TRUE(busy.Get().ok());
  EXPECT_FALSE(ran);
}

GREENLET_TEST_F(PoolTaskTest, IsWaitedForTogetherWithGreenlets) {
  const PoolTask<> busy = KeepBusy();
  const Greenlet<> sleeps = Spawn([&] {
    Sleep(absl::Seconds(1));
    done_.count_down();
  });
  EXPECT_EQ(Wait({busy.AsWaitable(), sleeps}), (std::vector<size_t>{1, 0}));
  EXPECT_EQ(Wait({busy.AsWaitable()}), (std::vector<size_t>{0})) << "ready already";
}

GREENLET_TEST_F(PoolTaskTest, CapturesAreDestroyedOnTheThreadBeforeItEnds) {
  auto kept = std::make_shared<int>();
  const PoolTask<> task = pool_.Spawn([kept] {});
  EXPECT_TRUE(task.Join());
  EXPECT_EQ(kept.use_count(), 1);
}

GREENLET_TEST_F(PoolTaskTest, AnErrorIsThrownByGetAndThenNotReported) {
  {
    const PoolTask<int> task = pool_.Spawn([]() -> int { throw std::logic_error("x"); });
    EXPECT_THROW(task.Get().IgnoreError(), std::logic_error);
    EXPECT_THROW(task.Get().IgnoreError(), std::logic_error) << "again";
    const PoolTask<> asked = pool_.Spawn([] { throw std::logic_error("y"); });
    EXPECT_TRUE(asked.Join());
    EXPECT_NE(asked.exception(), nullptr);
    EXPECT_FALSE(asked.successful());
  }
  Idle();
  EXPECT_TRUE(reported_.empty());
}

GREENLET_TEST_F(PoolTaskTest, AnErrorThatNobodyAskedForIsReported) {
  pool_.Spawn([] { throw std::logic_error("dropped at once"); });
  EXPECT_TRUE(pool_.Join());
  Idle();
  EXPECT_EQ(reported_, std::vector<std::string>{"task of thread pool p"});
  {
    const PoolTask<> joined = pool_.Spawn([] { throw std::logic_error("only joined"); });
    EXPECT_TRUE(joined.Join());
    Idle();
    EXPECT_EQ(reported_.size(), 1u);
  }
  Idle();
  EXPECT_EQ(reported_.size(), 2u);
}

GREENLET_TEST_F(PoolTaskTest, SpawnBlocksWhileTheQueueIsFull) {
  const PoolTask<> busy = KeepBusy();
  std::vector<int> order;
  std::vector<Greenlet<>> spawners;
  int spawned = 0;
  for (int i = 0; i < 5; ++i) {
    spawners.push_back(Spawn([&, i] {
      pool_.Spawn([&order, i] { order.push_back(i); });
      ++spawned;
    }));
  }
  Idle();
  EXPECT_EQ(spawned, 2);
  EXPECT_EQ(pool_.unfinished(), 6u);
  done_.count_down();
  JoinAll(spawners);
  EXPECT_EQ(spawned, 5);
  EXPECT_TRUE(pool_.Join());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4})) << "first come first served";
}

GREENLET_TEST_F(PoolTaskTest, AKillOfWhoWaitsForRoomThrowsAndTheTaskNeverRuns) {
  const PoolTask<> busy = KeepBusy();
  const PoolTask<> first = pool_.Spawn([] {});
  const PoolTask<> second = pool_.Spawn([] {});
  bool ran = false;
  std::vector<Greenlet<>> spawners;
  for (int i = 0; i < 3; ++i) {
    spawners.push_back(Spawn([&] { pool_.Spawn([&ran] { ran = true; }); }));
  }
  Idle();
  KillAll(spawners);
  for (const Greenlet<>& g : spawners) EXPECT_TRUE(g.killed());
  EXPECT_EQ(pool_.unfinished(), 3u);
  done_.count_down();
  EXPECT_TRUE(pool_.Join());
  EXPECT_FALSE(ran);
}

GREENLET_TEST_F(PoolTaskTest, AKillThatRacesWithRoomLetsTheTaskRun) {
  const PoolTask<> busy = KeepBusy();
  const PoolTask<> first = pool_.Spawn([] {});
  const PoolTask<> second = pool_.Spawn([] {});
  bool ran = false;
  bool went_on = false;
  const Greenlet<> spawner = Spawn([&] {
    const PoolTask<> task = pool_.Spawn([&ran] { ran = true; });
    went_on = true;
    task.Join();
  });
  Idle();
  EXPECT_TRUE(second.Cancel());  // makes room, of which word is on its way
  spawner.Kill();
  EXPECT_TRUE(went_on);
  EXPECT_TRUE(spawner.killed()) << "by the next blocking call";
  done_.count_down();
  EXPECT_TRUE(pool_.Join());
  EXPECT_TRUE(ran);
}

GREENLET_TEST_F(PoolTaskTest, ShutdownLetsWhoWaitsForRoomGo) {
  const PoolTask<> busy = KeepBusy();
  std::vector<Greenlet<absl::Status>> spawners;
  for (int i = 0; i < 6; ++i) {
    spawners.push_back(Spawn([&] { return pool_.Spawn([] {}).Get(); }));
  }
  Idle();
  EXPECT_FALSE(pool_.Shutdown(absl::ZeroDuration()));
  for (const auto& g : spawners) {
    EXPECT_EQ(g.Get().code(), absl::StatusCode::kCancelled);
  }
  done_.count_down();
}

GREENLET_TEST_F(PoolTaskTest, HandlesAreCopiedAndOutliveThePool) {
  PoolTask<int> copy;
  EXPECT_FALSE(copy);
  {
    ThreadPool pool;
    const PoolTask<int> task = pool.Spawn([] { return 3; });
    copy = task;
    EXPECT_EQ(copy, task);
  }
  EXPECT_EQ(*copy.Get(), 3);
  EXPECT_FALSE(copy.Cancel());
}

class PoolTaskDeathTest : public ::testing::Test {};

TEST_F(PoolTaskDeathTest, UseOnAnotherThreadIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        ThreadPool pool({.name = "x"});
        const PoolTask<> task = pool.Spawn([] {});
        pool.Apply([&] { return task.ready(); }).IgnoreError();
      },
      "a task of thread pool 'x', which belongs to hub 'home', from another thread");
}

}  // namespace
}  // namespace grove
