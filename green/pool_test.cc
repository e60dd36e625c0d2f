#include "grove/green/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class PoolTest : public testing::Test {
 protected:
  PoolTest() {
    SetErrorHandler([](const UnhandledException&) {});
  }
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

// Counts how many run at the same time.
struct Running {
  int now = 0;
  int most = 0;
  void operator()(absl::Duration d) {
    most = std::max(most, ++now);
    Sleep(d);
    --now;
  }
};

// --- the limit (PL-5, PL-6, test__pool) ---

class PoolSizes : public PoolTest, public testing::WithParamInterface<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, PoolSizes, testing::Values(1, 2, 3, 10, Pool::kUnlimited),
                         [](const auto& info) {
                           return info.param == Pool::kUnlimited
                                      ? "Unlimited"
                                      : std::to_string(info.param);
                         });

TEST_P(PoolSizes, AtMostSoManyRunAtOnce) {
  Pool pool(GetParam());
  Running running;
  for (int i = 0; i < 50; ++i) pool.Spawn([&] { running(absl::Seconds(1)); });
  EXPECT_TRUE(pool.Join());
  EXPECT_EQ(running.most, std::min<int64_t>(GetParam(), 50));
  EXPECT_EQ(running.now, 0);
  EXPECT_EQ(pool.free_count(), GetParam());
}

TEST_P(PoolSizes, ApplyMapAndIMapWork) {
  Pool pool(GetParam());
  EXPECT_EQ(*pool.Apply([] { return 7; }), 7);
  EXPECT_EQ(*pool.ApplyAsync([] { return 8; }).Get(), 8);
  std::vector<int> in(25), squares(25);
  for (int i = 0; i < 25; ++i) squares[in[i] = i] = i * i;
  const auto square = [](int i) { return i * i; };
  EXPECT_EQ(pool.Map(square, in), squares);
  EXPECT_EQ(*pool.MapAsync(square, in).Get(), squares);
  std::vector<int> out;
  for (int i : pool.IMap(square, in)) out.push_back(i);
  EXPECT_EQ(out, squares);
  out.clear();
  for (int i : pool.IMapUnordered(square, in)) out.push_back(i);
  std::sort(out.begin(), out.end());
  EXPECT_EQ(out, squares);
  EXPECT_TRUE(pool.empty());
}

TEST_F(PoolTest, SpawnBlocksWhenItIsFullUntilOneEnds) {
  Pool pool(1);
  pool.Spawn([] { Sleep(absl::Seconds(5)); });
  EXPECT_TRUE(pool.full());
  EXPECT_LT(Elapsed(), absl::Seconds(1));
  const auto g = pool.Spawn([] {});
  EXPECT_GE(Elapsed(), absl::Seconds(5));
  EXPECT_FALSE(g.ready());
  pool.Join();
}

TEST_F(PoolTest, OneThatFailsOrIsKilledGivesItsPlaceBack) {
  Pool pool(1);
  pool.Spawn([] { throw std::runtime_error("x"); });
  const auto fresh = pool.Spawn(&SleepForEver);
  fresh.Kill();
  EXPECT_FALSE(pool.full());
  const auto started = pool.Spawn(&SleepForEver);
  Yield();
  started.Kill();
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, SpawnersAreServedInTheOrderOfTheirComing) {
  Pool pool(1);
  std::string order;
  pool.Spawn([] { Sleep(absl::Seconds(1)); });
  for (const char c : {'a', 'b', 'c'}) {
    Spawn([&, c] { pool.Spawn([&, c] { order += c; }); });
  }
  Yield();
  EXPECT_EQ(pool.waiting(), 3);
  EXPECT_FALSE(pool.TrySpawn([] {}).ok());
  pool.Join();
  // Nobody gets in between, though the pool is not quite full for a moment.
  pool.Spawn([&] { order += 'd'; });
  pool.Join();
  EXPECT_EQ(order, "abcd");
}

TEST_F(PoolTest, TrySpawnDoesNotWait) {
  Pool pool(1);
  auto g = pool.TrySpawn([] { return 5; });
  ASSERT_TRUE(g.ok());
  auto kept = std::make_unique<int>(3);
  auto needs_it = [kept = std::move(kept)] { return *kept; };
  const auto refused = pool.TrySpawn(std::move(needs_it));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(refused.status().message(),
              HasSubstr("the pool is full: 1 of 1 places are taken"));
  EXPECT_EQ(needs_it(), 3) << "was not moved from";
  EXPECT_EQ(*g->Get(), 5);
}

TEST_F(PoolTest, TrySpawnWaitsForItsDeadline) {
  Pool pool(1);
  pool.Spawn([] { Sleep(absl::Seconds(5)); });
  EXPECT_FALSE(pool.TrySpawn([] {}, absl::Seconds(1)).ok());
  EXPECT_EQ(pool.waiting(), 0);
  EXPECT_TRUE(pool.TrySpawn([] {}, absl::Seconds(10)).ok());
  EXPECT_LT(Elapsed(), absl::Seconds(6));
  pool.Join();
}

TEST_F(PoolTest, SpawnIsKilledWhileItBlocksAndTheFunctionDoesNotRun) {
  Pool pool(1);
  bool ran = false;
  pool.Spawn(&SleepForEver);
  const auto spawner = Spawn([&] { pool.Spawn([&] { ran = true; }); });
  Yield();
  spawner.Kill();
  EXPECT_TRUE(spawner.killed());
  EXPECT_EQ(pool.waiting(), 0);
  EXPECT_FALSE(
      WithTimeout(absl::Seconds(1), [&] { pool.Spawn([&] { ran = true; }); }).ok());
  pool.Kill();
  EXPECT_EQ(pool.free_count(), 1);
  EXPECT_FALSE(ran);
}

TEST_F(PoolTest, APlaceThatCameBeforeTheKillIsNotLost) {
  Pool pool(1);
  const auto first = pool.Spawn(&SleepForEver);
  bool ran = false;
  const auto spawner = Spawn([&] {
    pool.Spawn([&] { ran = true; });
    Yield();
    ADD_FAILURE() << "the kill was lost";
  });
  Yield();
  first.KillSoon();
  first.RawLink([&](const AnyGreenlet&) { spawner.KillSoon(); });
  spawner.Join();
  EXPECT_TRUE(spawner.killed());
  pool.Join();
  EXPECT_TRUE(ran);
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, AddTakesAPlace) {
  Pool pool(1);
  const auto a = Spawn(&SleepForEver), b = Spawn(&SleepForEver);
  EXPECT_TRUE(pool.Add(a));
  EXPECT_TRUE(pool.Add(a, Deadline::Passed())) << "is in already";
  EXPECT_FALSE(pool.Add(b, Deadline::Passed()));
  EXPECT_FALSE(pool.Add(b, absl::Seconds(1)));
  Spawn([&] {
    Sleep(absl::Seconds(1));
    pool.Discard(a);
  });
  EXPECT_TRUE(pool.Add(b));
  EXPECT_THAT(pool.Greenlets(), ElementsAre(b));
  EXPECT_TRUE(pool.full());
  pool.Kill();
  a.Kill();
}

TEST_F(PoolTest, OneThatEndsWhileItIsAddedTakesNoPlace) {
  Pool pool(1);
  const auto holder = pool.Spawn([] { Sleep(absl::Seconds(5)); });
  const auto g = Spawn([] { Sleep(absl::Seconds(1)); });
  EXPECT_TRUE(pool.Add(g));
  EXPECT_TRUE(holder.ready());
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, OfSizeZeroBlocksUntilItIsResized) {
  Pool pool(0);
  EXPECT_TRUE(pool.full());
  EXPECT_FALSE(pool.TrySpawn([] {}, absl::Seconds(1)).ok());
  EXPECT_FALSE(pool.WaitAvailable(absl::Seconds(1)));
  const auto spawner = Spawn([&] { pool.Spawn([] {}).Join(); });
  Yield();
  EXPECT_FALSE(spawner.ready());
  EXPECT_THAT(green_internal::Scheduler::Get().Report(),
              HasSubstr("a place in a Pool, of whose 0 0 are taken"));
  pool.Resize(1);
  EXPECT_TRUE(spawner.Join(absl::Seconds(1)));
}

TEST_F(PoolTest, OfSizeZeroForEverIsALoopExit) {
  // Nothing else could wake it.
  Pool pool(0);
  EXPECT_THROW(pool.Spawn([] {}), LoopExit);
}

TEST_F(PoolTest, WaitAvailableTakesNothing) {
  Pool pool(1);
  EXPECT_TRUE(pool.WaitAvailable());
  EXPECT_TRUE(pool.WaitAvailable(Deadline::Passed()));
  pool.Spawn([] { Sleep(absl::Seconds(2)); });
  EXPECT_FALSE(pool.WaitAvailable(Deadline::Passed()));
  EXPECT_FALSE(pool.WaitAvailable(absl::Seconds(1)));
  EXPECT_TRUE(pool.WaitAvailable());
  EXPECT_EQ(pool.free_count(), 1);
  const auto killed = Spawn([&] {
    pool.Spawn(&SleepForEver);
    pool.WaitAvailable();
  });
  Yield();
  killed.Kill();
  EXPECT_EQ(pool.waiting(), 0);
  pool.Kill();
}

TEST_F(PoolTest, CountsAndResizes) {
  Pool pool(2);
  std::vector<Greenlet<>> all = {pool.Spawn(&SleepForEver), pool.Spawn(&SleepForEver)};
  EXPECT_EQ(pool.running(), 2);
  EXPECT_EQ(pool.free_count(), 0);
  pool.Resize(1);
  EXPECT_EQ(pool.limit(), 1);
  EXPECT_EQ(pool.free_count(), -1);
  const auto spawner = Spawn([&] { all.push_back(pool.Spawn(&SleepForEver)); });
  Yield();
  EXPECT_EQ(pool.waiting(), 1);
  all[0].Kill();
  EXPECT_FALSE(spawner.Join(absl::Seconds(1))) << "still one too many for one more";
  all[1].Kill();
  EXPECT_TRUE(spawner.Join(absl::Seconds(1)));
  const auto more = Spawn([&] {
    for (int i = 0; i < 3; ++i) pool.Spawn(&SleepForEver);
  });
  Yield();
  pool.Resize(3);
  Sleep(absl::Seconds(1));
  EXPECT_EQ(pool.running(), 3);
  EXPECT_EQ(pool.waiting(), 1);
  pool.Resize(Pool::kUnlimited);
  EXPECT_TRUE(more.Join(absl::Seconds(1)));
  EXPECT_EQ(pool.free_count(), Pool::kUnlimited);
  pool.Kill();
}

TEST_F(PoolTest, KillAlsoStopsThoseWhoComeFromTheLine) {
  Pool pool(1);
  bool ran = false;
  pool.Spawn(&SleepForEver);
  const auto spawner = Spawn([&] { pool.Spawn([&] { ran = true; }); });
  Yield();
  EXPECT_TRUE(pool.Kill());
  spawner.Join();
  pool.Join();
  EXPECT_TRUE(ran) << "the pool was empty once, and Kill() over";
}

// --- members that use their own pool (PL-7, EP-1) ---

TEST_F(PoolTest, AMemberOfAFullPoolThatSpawnsLendsItsPlace) {
  Pool pool(1);
  std::string order;
  Running running;
  const auto outer = pool.Spawn([&] {
    order += "a";
    const auto inner = pool.Spawn([&] {
      order += "b";
      const auto innermost = pool.Spawn([&] {
        running(absl::Seconds(1));
        order += "c";
      });
      EXPECT_TRUE(innermost.ready());
    });
    EXPECT_TRUE(inner.ready()) << "this one does not run beside it";
    EXPECT_EQ(pool.running(), 1);
    order += "d";
  });
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(pool.size(), 3u);
  EXPECT_EQ(pool.running(), 1);
  EXPECT_EQ(pool.free_count(), 0);
  EXPECT_FALSE(pool.TrySpawn([] {}).ok());
  EXPECT_TRUE(outer.Join());
  EXPECT_EQ(order, "abcd");
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, AMemberSpawnsBesideItselfWhileThereIsRoom) {
  Pool pool(2);
  pool.Spawn([&] {
        const auto g = pool.Spawn([] {});
        EXPECT_FALSE(g.ready());
      })
      .Join();
  pool.Join();
}

TEST_F(PoolTest, ALenderThatIsKilledLeavesTheNumbersRight) {
  Pool pool(1);
  Running running;
  const auto outer = pool.Spawn([&] { pool.Spawn([&] { running(absl::Seconds(5)); }); });
  Sleep(absl::Seconds(1));
  outer.Kill();
  EXPECT_TRUE(outer.killed());
  EXPECT_EQ(pool.running(), 1);
  EXPECT_EQ(pool.free_count(), 0);
  pool.Spawn([&] { running(absl::Seconds(1)); });
  pool.Join();
  EXPECT_EQ(running.most, 1);
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, ALenderThatIsDiscardedLeavesItsPlaceToWhoHasIt) {
  Pool pool(1);
  Running running;
  const auto outer = pool.Spawn([&] { pool.Spawn([&] { running(absl::Seconds(5)); }); });
  Sleep(absl::Seconds(1));
  EXPECT_TRUE(pool.Discard(outer));
  EXPECT_EQ(pool.running(), 1);
  EXPECT_EQ(pool.free_count(), 0);
  EXPECT_FALSE(pool.TrySpawn([] {}).ok());
  pool.Spawn([&] { running(absl::Seconds(1)); });
  pool.Join();
  outer.Join();
  EXPECT_EQ(running.most, 1);
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PoolTest, OneWhoseHubEndedWithLiveMembersBeginsAnew) {
  Pool pool(1);
  std::thread([&] {
    pool.Spawn([&] {  // a lender, who waits for ever
      pool.Spawn([] { Sleep(absl::Hours(1)); });
    });
    pool.ApplyAsync([] {});
    Spawn([&] { pool.Spawn([] {}); });
    Spawn([&] { pool.Kill(); });
    Yield();
  }).join();
  EXPECT_FALSE(pool.empty());
  EXPECT_TRUE(pool.Join());
  EXPECT_EQ(pool.free_count(), 1);
  bool ran = false;
  pool.Spawn([&] { ran = true; });
  EXPECT_FALSE(pool.TrySpawn([] {}).ok());
  EXPECT_TRUE(pool.Join());
  EXPECT_TRUE(ran);
}

TEST_F(PoolTest, ApplyByAMemberRunsRightThere) {
  Pool pool(1);
  const auto g = pool.Spawn([&] {
    const AnyGreenlet self = CurrentGreenlet();
    return *pool.Apply([&] { return CurrentGreenlet() == self; });
  });
  EXPECT_TRUE(*g.Get());
}

// --- Apply (PL-7, PL-8) ---

TEST_F(PoolTest, ApplyGivesResultsAndThrowsErrors) {
  Pool pool(2);
  EXPECT_EQ(*pool.Apply([] { return std::string("x"); }), "x");
  EXPECT_EQ(**pool.Apply([] { return std::make_unique<int>(4); }), 4);
  EXPECT_EQ(pool.Apply([] { return absl::NotFoundError("n"); }).code(),
            absl::StatusCode::kNotFound);
  EXPECT_THROW(pool.Apply([] { throw std::runtime_error("x"); }).IgnoreError(),
               std::runtime_error);
  Spawn([&] {
    Sleep(absl::Seconds(1));
    pool.Kill();
  });
  EXPECT_EQ(pool.Apply(&SleepForEver).code(), absl::StatusCode::kCancelled);
}

TEST_F(PoolTest, ApplyEndsWhatItStartedBeforeItThrows) {
  Pool pool(1);
  bool ended = false;
  const absl::Status status = WithTimeout(absl::Seconds(1), [&] {
    pool.Apply([&] {
          struct AtEnd {
            ~AtEnd() { *ended = true; }
            bool* ended;
          } at_end{&ended};
          SleepForEver();
        })
        .IgnoreError();
  });
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(ended);
  EXPECT_TRUE(pool.empty());
}

TEST_F(PoolTest, ApplyAsyncNeverBlocks) {
  Pool pool(1);
  Running running;
  std::vector<Greenlet<int>> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(pool.ApplyAsync([&, i] {
      running(absl::Seconds(1));
      return i;
    }));
  }
  EXPECT_EQ(Elapsed(), absl::ZeroDuration());
  EXPECT_EQ(pool.size(), 1u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*all[i].Get(), i);
  EXPECT_EQ(running.most, 1);
  EXPECT_GE(Elapsed(), absl::Seconds(3));
}

TEST_F(PoolTest, ApplyAsyncCallsBackOnSuccessOnly) {
  Pool pool(1);
  int got = 0, calls = 0;
  pool.ApplyAsync([] { return 5; },
                  [&](int n) {
                    Sleep(absl::Seconds(1));  // in a greenlet of its own
                    got = n;
                  });
  pool.ApplyAsync([]() -> int { throw std::runtime_error("x"); }, [&](int) { ++calls; });
  const auto killed = pool.ApplyAsync(&SleepForEver, [&] { ++calls; });
  pool.ApplyAsync([] {}, [&] { ++calls; });
  Sleep(absl::Seconds(5));
  killed.Kill();
  JoinHub();
  EXPECT_EQ(got, 5);
  EXPECT_EQ(calls, 1);
}

TEST_F(PoolTest, OneThatWaitsForAPlaceByItselfCanBeKilled) {
  Pool pool(1);
  pool.Spawn(&SleepForEver);
  bool ran = false;
  const auto waits = pool.ApplyAsync([&] { ran = true; });
  Yield();
  EXPECT_EQ(pool.waiting(), 1);
  waits.Kill();
  EXPECT_EQ(pool.waiting(), 0);
  pool.Kill();
  EXPECT_FALSE(ran);
}

// --- what is forbidden ---

using PoolDeathTest = PoolTest;

TEST_F(PoolDeathTest, ANegativeSizeIsFatal) {
  EXPECT_DEATH(Pool(-1), "a Pool of size -1");
  Pool pool(1);
  EXPECT_DEATH(pool.Resize(-2), "resized to -2");
}

TEST_F(PoolDeathTest, DestructionWhileSomebodyWaitsForAPlaceIsFatal) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<Pool>(0);
        Spawn([&] { pool->Spawn([] {}); });
        Yield();
        pool.reset();
      },
      "a Pool is destroyed while greenlet");
}

TEST(Pool, ACallbackAndWhoGetsBothHaveTheResult) {
  ManualClock clock;
  const HubScope scope({.clock = &clock});
  Pool pool(1);
  std::string told;
  const std::string value(100, 'x');
  const std::string got =
      *pool.ApplyAsync([&] { return value; }, [&](const std::string& s) { told = s; })
           .Get();
  EXPECT_EQ(got, value);
  JoinHub();
  EXPECT_EQ(told, value);
}

TEST_F(PoolDeathTest, DestroyingItBeforeWhatWasAppliedHasAPlaceIsFatal) {
  EXPECT_DEATH(
      {
        Pool pool(1);
        pool.Spawn([] { Sleep(absl::InfiniteDuration()); });
        pool.ApplyAsync([] {});
        pool.~Pool();
      },
      "1 of those that were applied wait for a place");
}

}  // namespace
}  // namespace grove
