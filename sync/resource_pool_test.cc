#include "grove/sync/resource_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/hub.h"
#include "grove/sync/blocking_call_tests.h"
#include "grove/sync/sync_test_util.h"

namespace grove {
namespace {

using test_util::Lots;
using test_util::Moved;
using test_util::OnHub;
using test_util::OnThread;
using test_util::Settle;

using IntPool = ResourcePool<int>;

struct ResourcePoolGet {
  static constexpr bool kConsumes = true;
  bool Call(Deadline d = {}) {
    absl::StatusOr<IntPool::Lease> got = pool.Get(d);
    if (got.ok()) lease.emplace(*std::move(got));
    return got.ok();
  }
  void Grant() {
    const std::optional<IntPool::Lease> last = std::exchange(lease, std::nullopt);
  }
  IntPool pool{{.create = [] { return 1; }, .max_size = 1}};
  std::optional<IntPool::Lease> lease = *pool.Get();
};
BLOCKING_CALL_TESTS(ResourcePoolGet);

// A pool of the numbers 0, 1, ... in the order in which they were made.
struct Numbers {
  explicit Numbers(size_t max_size, bool last_in_first_out = false)
      : pool({.create = [this] { return made++; },
              .max_size = max_size,
              .last_in_first_out = last_in_first_out}) {}
  int made = 0;
  IntPool pool;
};

GREENLET_TEST(ResourcePool, MakesWhatIsAskedForAndNoMoreThanItMay) {
  Numbers numbers(2);
  EXPECT_EQ(numbers.made, 0);
  auto a = *numbers.pool.Get();
  EXPECT_EQ(*a, 0);
  a.GiveBack();
  auto b = *numbers.pool.Get();
  EXPECT_EQ(*b, 0);  // it is there
  auto c = *numbers.pool.Get();
  EXPECT_EQ(*c, 1);
  EXPECT_EQ(numbers.pool.Get(absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(numbers.made, 2);
  const IntPool::Usage usage = numbers.pool.usage();
  EXPECT_EQ(usage.count, 2u);
  EXPECT_EQ(usage.idle, 0u);
  EXPECT_EQ(usage.free, 0u);
}

GREENLET_TEST(ResourcePool, LendsTheOneThatHasRestedLongestOrTheLatest) {
  for (const bool last : {false, true}) {
    Numbers numbers(3, last);
    {
      auto a = *numbers.pool.Get();
      auto b = *numbers.pool.Get();
      a.GiveBack();
      b.GiveBack();
    }
    EXPECT_EQ(**numbers.pool.Get(), last ? 1 : 0);
    EXPECT_EQ(numbers.pool.usage().idle, 2u);
    EXPECT_EQ(numbers.pool.usage().free, 3u);
  }
}

GREENLET_TEST(ResourcePool, ALeaseMovesAndGivesBackOnce) {
  Numbers numbers(2);
  auto a = *numbers.pool.Get();
  auto b = std::move(a);
  EXPECT_EQ(*b, 0);
  a.GiveBack();
  a.Discard();
  EXPECT_EQ(numbers.pool.usage().idle, 0u);
  b = *numbers.pool.Get();  // what it held goes back
  EXPECT_EQ(*b, 1);
  EXPECT_EQ(numbers.pool.usage().idle, 1u);
  b.GiveBack();
  b.GiveBack();
  EXPECT_EQ(numbers.pool.usage().idle, 2u);
}

GREENLET_TEST(ResourcePool, WhatIsDiscardedIsMadeAnewForTheNext) {
  Numbers numbers(1);
  auto lease = *numbers.pool.Get();
  const auto next = Spawn([&] { return **numbers.pool.Get(); });
  Settle();
  EXPECT_EQ(numbers.pool.usage().waiting, 1u);
  lease.Discard();
  EXPECT_EQ(*next.Get(), 1);
  EXPECT_EQ(numbers.pool.usage().count, 1u);
}

GREENLET_TEST(ResourcePool, ResourcesNeedNoDefaultAndNoCopy) {
  ResourcePool<Moved> pool({.create = [] { return absl::StatusOr<Moved>(Moved(4)); }});
  auto lease = pool.Get();
  EXPECT_EQ((*lease)->value, 4);
  ResourcePool<std::unique_ptr<int>> pointers(
      {.create = [] { return std::make_unique<int>(5); }});
  EXPECT_EQ(***pointers.Get(), 5);
}

// --- what cannot be made ---

GREENLET_TEST(ResourcePool, WhenItCannotBeMadeTheNextMayTry) {
  int tries = 0;
  IntPool pool({.create = [&]() -> absl::StatusOr<int> {
                  switch (++tries) {
                    case 1:
                      Sleep(absl::Seconds(1));
                      return absl::UnavailableError("down");
                    case 2:
                      Sleep(absl::Seconds(1));
                      throw std::runtime_error("no");
                    case 3:
                      Sleep(absl::InfiniteDuration());
                      return 3;
                    default:
                      return tries;
                  }
                },
                .max_size = 1});
  const Greenlet<> fails =
      Spawn([&] { EXPECT_EQ(pool.Get().status(), absl::UnavailableError("down")); });
  Settle();
  const Greenlet<> throws =
      Spawn([&] { EXPECT_THROW((void)pool.Get(), std::runtime_error); });
  Settle();
  const Greenlet<> killed = Spawn([&] { (void)pool.Get(); });
  Settle();
  const auto last = Spawn([&] { return **pool.Get(); });
  Sleep(absl::Seconds(3));
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(pool.usage().count, 1u);
  EXPECT_EQ(pool.usage().waiting, 1u);
  killed.Kill();
  EXPECT_EQ(*last.Get(), 4);
  EXPECT_EQ(pool.usage().count, 1u);
  EXPECT_EQ(pool.usage().idle, 1u);
}

GREENLET_TEST(ResourcePool, TheDeadlineIsForTheWaitAndNotForMaking) {
  IntPool pool({.create =
                    [] {
                      Sleep(absl::Seconds(5));
                      return 1;
                    },
                .max_size = 1});
  auto lease = pool.Get(absl::Seconds(1));
  EXPECT_TRUE(lease.ok());
}

// --- size ---

GREENLET_TEST(ResourcePool, WithALargerSizeThoseThatWaitMakeTheirs) {
  Numbers numbers(1);
  auto lease = *numbers.pool.Get();
  std::vector<Greenlet<int>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(Spawn([&] {
      auto mine = *numbers.pool.Get();
      Sleep(absl::Hours(1));
      return *mine;
    }));
    Settle();
  }
  numbers.pool.Resize(3);
  Settle();
  EXPECT_EQ(numbers.pool.usage().waiting, 1u);
  EXPECT_EQ(*waiting[0].Get(), 1);
  EXPECT_EQ(*waiting[1].Get(), 2);
  EXPECT_EQ(*waiting[2].Get(), 1);
}

GREENLET_TEST(ResourcePool, WithASmallerSizeWhatIsTooMuchIsDropped) {
  Numbers numbers(4);
  {
    std::vector<IntPool::Lease> all;
    for (int i = 0; i < 4; ++i) all.push_back(*numbers.pool.Get());
    all[0].GiveBack();
    all[1].GiveBack();
    numbers.pool.Resize(3);
    EXPECT_EQ(numbers.pool.usage().count, 3u);
    EXPECT_EQ(numbers.pool.usage().idle, 1u);
    numbers.pool.Resize(1);
    EXPECT_EQ(numbers.pool.usage().count, 2u);
    EXPECT_EQ(numbers.pool.usage().free, 0u);
    all[2].GiveBack();  // dropped
    EXPECT_EQ(numbers.pool.usage().count, 1u);
    EXPECT_EQ(numbers.pool.usage().idle, 0u);
  }
  EXPECT_EQ(numbers.pool.usage().idle, 1u);
  EXPECT_EQ(**numbers.pool.Get(), 3);
}

// --- homes ---

GREENLET_TEST(ResourcePool, WhatDoesNotWaitMakesNoHub) {
  Numbers numbers(1);
  OnThread([&] {
    auto lease = numbers.pool.Get(Deadline::Passed());
    EXPECT_TRUE(lease.ok());
    EXPECT_FALSE(numbers.pool.Get(Deadline::Passed()).ok());
    lease->GiveBack();
    EXPECT_EQ(numbers.pool.usage().idle, 1u);
    numbers.pool.Resize(2);
    EXPECT_EQ(numbers.pool.usage().free, 2u);
    numbers.pool.Get(Deadline::Passed())->Discard();
    EXPECT_EQ(Hub::Current(), nullptr);
  });
  EXPECT_EQ(numbers.pool.usage().count, 0u);
}

GREENLET_TEST(ResourcePool, ManyHubsAndThreadsShareAFew) {
  std::atomic<int> in_use{0};
  std::atomic<int> made{0};
  ResourcePool<std::unique_ptr<int>> pool(
      {.create = [&]() -> absl::StatusOr<std::unique_ptr<int>> {
         if (++made % 5 == 0) {
           return absl::UnavailableError("down");
         }
         return std::make_unique<int>(0);
       },
       .max_size = 2});
  const KeepAlive alive(&hub());
  std::atomic<int> left{4};
  Event ended;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        auto lease = pool.Get(i % 2 ? Deadline() : absl::Seconds(30));
        if (!lease.ok()) continue;
        EXPECT_LE(++in_use, 2);
        ++***lease;
        if (t % 2) Yield();
        --in_use;
        if (i % 7 == 0) lease->Discard();
      }
      if (--left == 0) ended.Set();
    });
  }
  ended.Wait();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(pool.usage().count, pool.usage().idle);
  EXPECT_LE(pool.usage().count, 2u);
}

TEST(ResourcePoolHome, MadeBeforeThereIsAHubAndUsedOnSeveralOneAfterTheOther) {
  Numbers numbers(1);
  EXPECT_EQ(**numbers.pool.Get(Deadline::Passed()), 0);
  EXPECT_EQ(Hub::Current(), nullptr);
  for (int i = 0; i < 3; ++i) {
    HubScope scope;
    auto lease = *numbers.pool.Get();
    EXPECT_EQ(*lease, 0);
    const auto g = Spawn([&] { return **numbers.pool.Get(); });
    Yield();
    lease.GiveBack();
    EXPECT_EQ(*g.Get(), 0);
  }
}

// --- misuse ---

TEST(ResourcePoolDeathTest, MisuseIsFatal) {
  EXPECT_DEATH(IntPool({}), "a ResourcePool without create");
  EXPECT_DEATH(Numbers(0), "a ResourcePool of at most 0");
  EXPECT_DEATH(Numbers(1).pool.Resize(0), "a ResourcePool of at most 0");
  EXPECT_DEATH(
      {
        std::optional<Numbers> numbers(1);
        auto lease = *numbers->pool.Get();
        numbers.reset();
      },
      "ResourcePool 0x[0-9a-f]+ is destroyed while 1 of it are lent");
  EXPECT_DEATH(
      {
        HubScope scope;
        std::optional<Numbers> numbers(1);
        auto lease = *numbers->pool.Get();
        Spawn({.name = "the waiter"}, [&] { (void)numbers->pool.Get(); });
        Yield();
        numbers.reset();
      },
      "is destroyed while 1 wait for it:.*greenlet 'the waiter'");
}

// --- any order ---

TEST(ResourcePoolSeeds, NoMoreAreLentThanThereMayBeAndAllComeBack) {
  ForEachSeed(1000, [] {
    Lots lots;
    int alive = 0;
    struct Resource {
      explicit Resource(int* a) : alive(a) { ++*alive; }
      ~Resource() { --*alive; }
      int* const alive;
    };
    ResourcePool<std::unique_ptr<Resource>> pool(
        {.create = [&]() -> absl::StatusOr<std::unique_ptr<Resource>> {
           if (lots.OneIn(2)) Sleep(absl::Microseconds(lots.Below(3)));
           if (lots.OneIn(6)) return absl::UnavailableError("down");
           return std::make_unique<Resource>(&alive);
         },
         .max_size = static_cast<size_t>(1 + lots.Below(3)),
         .last_in_first_out = lots.OneIn(2)});
    size_t most = 3;
    std::vector<Greenlet<>> all;
    for (int g = 0; g < 5; ++g) {
      all.push_back(Spawn([&] {
        for (int n = 0; n < 4; ++n) {
          auto lease = pool.Get(lots.SomeDeadline());
          EXPECT_LE(pool.usage().count, most);
          if (!lease.ok()) continue;
          if (lots.OneIn(2)) Sleep(absl::Microseconds(lots.Below(3)));
          if (lots.OneIn(3)) lease->Discard();
        }
      }));
    }
    for (int n = 0; n < 4; ++n) {
      Sleep(absl::Microseconds(lots.Below(4)));
      if (lots.OneIn(2)) all[lots.Below(5)].KillSoon();
      if (lots.OneIn(4)) pool.Resize(1 + lots.Below(3));
    }
    for (const Greenlet<>& g : all) EXPECT_TRUE(g.Join(absl::Seconds(1)));
    const auto usage = pool.usage();
    EXPECT_EQ(usage.count, usage.idle);
    EXPECT_EQ(static_cast<int>(usage.idle), alive);
    EXPECT_EQ(usage.waiting, 0u);
  });
}

// The end of one lets others run.
struct SaysGoodbye {
  explicit SaysGoodbye(int* e) : ended(e) {}
  SaysGoodbye(SaysGoodbye&& other) noexcept
      : ended(std::exchange(other.ended, nullptr)) {}
  SaysGoodbye& operator=(SaysGoodbye&& other) noexcept {
    std::swap(ended, other.ended);
    return *this;
  }
  ~SaysGoodbye() {
    if (ended == nullptr) return;
    Yield();
    ++*ended;
  }
  int* ended;
};

GREENLET_TEST(ResourcePool, WhatIsDroppedMayBlockAndIsNotLentMeanwhile) {
  int ended = 0;
  int made = 0;
  {
    ResourcePool<SaysGoodbye> pool({.create = [&]() -> absl::StatusOr<SaysGoodbye> {
                                      ++made;
                                      return SaysGoodbye(&ended);
                                    },
                                    .max_size = 3});
    {
      const auto a = pool.Get();
      const auto b = pool.Get();
      const auto c = pool.Get();
    }
    const Greenlet<> borrower = Spawn([&] { EXPECT_TRUE(pool.Get().ok()); });
    pool.Resize(1);
    borrower.Join();
    EXPECT_EQ(pool.usage().count, 1u);
    EXPECT_EQ(ended, 2);
    // From another hub, where it must not block.
    OnHub([&] { pool.Resize(1); });
  }
  EXPECT_EQ(ended, made);
}

}  // namespace
}  // namespace grove
