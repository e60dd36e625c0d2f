#include "grove/green/thread_map.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"

namespace grove {
namespace {

GREENLET_TEST(ThreadMap, MapReturnsTheResultsInTheOrderOfTheItems) {
  ThreadPool pool({.max_threads = 3});
  std::vector<int> items(40);
  for (int i = 0; i < 40; ++i) items[i] = i;
  const std::vector<std::string> results =
      pool.Map([](int i) { return std::to_string(i * i); }, items);
  ASSERT_EQ(results.size(), 40u);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(results[i], std::to_string(i * i));
  std::atomic<int> sum = 0;
  pool.Map([&](int i) { sum += i; }, items);
  EXPECT_EQ(sum, 780);
}

GREENLET_TEST(ThreadMap, AsManyAtATimeAsThePoolHasThreads) {
  ThreadPool pool({.max_threads = 3});
  std::latch together(3);
  const std::vector<int> items = {1, 2, 3};
  const std::vector<pid_t> threads = pool.Map(
      [&](int) {
        together.arrive_and_wait();
        return gettid();
      },
      items);
  EXPECT_EQ(std::set<pid_t>(threads.begin(), threads.end()).size(), 3u);
  EXPECT_FALSE(std::set<pid_t>(threads.begin(), threads.end()).contains(gettid()));
}

GREENLET_TEST(ThreadMap, TheFirstErrorIsThrownOnceNothingRunsAnyMore) {
  ThreadPool pool({.max_threads = 2});
  const std::vector<int> items = {1, 2, 3, 4};
  EXPECT_THROW(pool.Map(
                   [](int i) {
                     if (i == 2) throw std::runtime_error("two");
                     return i;
                   },
                   items),
               std::runtime_error);
  EXPECT_EQ(pool.unfinished(), 0u);
}

GREENLET_TEST(ThreadMap, IMapGoesOnBehindAnError) {
  ThreadPool pool({.max_threads = 2});
  const std::vector<int> items = {1, 2, 3};
  auto results = pool.IMap(
      [](int i) {
        if (i == 2) throw std::runtime_error("two");
        return i;
      },
      items);
  EXPECT_EQ(results.Next(), 1);
  EXPECT_THROW(results.Next(), std::runtime_error);
  EXPECT_EQ(results.Next(), 3);
  EXPECT_EQ(results.Next(), std::nullopt);
}

GREENLET_TEST(ThreadMap, IMapUnorderedGivesWhatIsReady) {
  ThreadPool pool({.max_threads = 2});
  std::latch first_may_end(1);
  const std::vector<int> items = {1, 2};
  std::vector<int> order;
  for (int i : pool.IMapUnordered(
           [&](int i) {
             if (i == 1) first_may_end.wait();
             return i;
           },
           items)) {
    order.push_back(i);
    if (i == 2) first_may_end.count_down();
  }
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

GREENLET_TEST(ThreadMap, WorkGoesNoFurtherAheadThanAllowed) {
  ThreadPool pool({.max_threads = 4});
  std::atomic<int> begun = 0;
  const std::vector<int> items = {1, 2, 3, 4, 5, 6};
  auto results = pool.IMap(
      [&](int i) {
        ++begun;
        return i;
      },
      items, {.max_buffered = 2});
  EXPECT_EQ(results.Next(), 1);
  EXPECT_TRUE(pool.Join());
  EXPECT_LE(begun, 3);
  EXPECT_EQ(results.Next(), 2);
}

GREENLET_TEST(ThreadMap, MoveOnlyItemsAndStatuses) {
  ThreadPool pool;
  std::vector<std::unique_ptr<int>> items;
  items.push_back(std::make_unique<int>(1));
  items.push_back(std::make_unique<int>(2));
  EXPECT_EQ(pool.Map([](const std::unique_ptr<int>& p) { return *p; }, items),
            (std::vector<int>{1, 2}));
  const std::vector<absl::StatusOr<int>> results = pool.Map(
      [](const std::unique_ptr<int>& p) -> absl::StatusOr<int> {
        if (*p == 2) return absl::NotFoundError("2");
        return *p;
      },
      items);
  EXPECT_EQ(*results[0], 1);
  EXPECT_EQ(results[1].status(), absl::NotFoundError("2"));
}

GREENLET_TEST(ThreadMap, AKillWaitsForWhatHasBegunAndCancelsTheRest) {
  ThreadPool pool({.max_threads = 1});
  std::latch done(1);
  std::latch begun(1);
  std::atomic<int> ran = 0;
  const std::vector<int> items = {1, 2, 3};
  const Greenlet<> maps = Spawn([&] {
    pool.Map(
        [&](int) {
          ++ran;
          begun.count_down();
          done.wait();
        },
        items);
  });
  ThreadPool other;
  EXPECT_TRUE(other.Apply([&] { begun.wait(); }).ok());
  maps.KillSoon();
  Idle();
  EXPECT_FALSE(maps.ready());
  done.count_down();
  maps.Join();
  EXPECT_TRUE(maps.killed());
  EXPECT_EQ(ran, 1);
}

GREENLET_TEST(ThreadMap, OfAPoolThatWasShutDownThrows) {
  ThreadPool pool;
  pool.Shutdown();
  const std::vector<int> items = {1};
  EXPECT_THROW(pool.Map([](int i) { return i; }, items), ItemKilled);
  EXPECT_THROW(pool.Map([](int) {}, items), ItemKilled);
}

}  // namespace
}  // namespace grove
