#include "grove/green/hub_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/stack.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// Counts when it ends: for what lies on a stack.
struct CountsItsEnd {
  int* count;
  ~CountsItsEnd() { ++*count; }
};

// How many stacks of this process are in nobody's pool.
size_t StacksInUse() {
  const green_internal::StackStats stats = green_internal::GetStackStats();
  return stats.cut - stats.idle;
}

// --- HubScope ---

TEST(HubScope, GivesTheThreadAHubWithItsOptions) {
  EXPECT_EQ(Hub::Current(), nullptr);
  ManualClock clock;
  {
    HubScope scope({.name = "mine", .clock = &clock, .operations_per_turn = 9});
    EXPECT_EQ(Hub::Current(), &scope.hub());
    EXPECT_EQ(&ThisHub(), &scope.hub());
    EXPECT_EQ(ThisHub().name(), "mine");
    EXPECT_EQ(ThisHub().options().operations_per_turn, 9);
    EXPECT_EQ(ThisHub().Now(), clock.Now());
  }
  EXPECT_EQ(Hub::Current(), nullptr);
}

TEST(HubScope, MayFollowAnother) {
  for (int i = 0; i < 3; ++i) {
    HubScope scope({.name = "hub " + std::to_string(i)});
    EXPECT_EQ(ThisHub().name(), "hub " + std::to_string(i));
    const Greenlet<uint64_t> g = Spawn([] { return CurrentGreenlet().id(); });
    EXPECT_EQ(*g.Get(), 1u) << "each hub counts from one";
  }
}

TEST(HubScope, KillsAndUnwindsTheGreenletsThatAreLeft) {
  int unwound = 0;
  bool ran = false;
  {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    for (int i = 0; i < 100; ++i) {
      Spawn([&] {
        CountsItsEnd local{&unwound};
        SleepForEver();
      });
    }
    Yield();
    Spawn([&] { ran = true; });
    SpawnLater(absl::Seconds(1), [&] { ran = true; });
  }
  EXPECT_EQ(unwound, 100);
  EXPECT_FALSE(ran) << "those that had not started never do";
}

TEST(HubScope, WaitsForWhatTheGreenletsHaveToFinish) {
  ManualClock clock;
  const MonotonicNanos start = clock.Now();
  bool finished = false;
  {
    HubScope scope({.clock = &clock});
    Spawn([&] {
      Shield shield;
      Sleep(absl::Seconds(3));
      finished = true;
    });
    Yield();
  }
  EXPECT_TRUE(finished);
  EXPECT_GE(clock.Now() - start, 3'000'000'000);
  EXPECT_LE(clock.Now() - start, 3'000'100'000);
}

TEST(HubScope, NamesThoseThatRefuseToEnd) {
  ManualClock clock;
  const MonotonicNanos start = clock.Now();
  testing::internal::CaptureStderr();
  {
    HubScope scope({.name = "stubborn hub", .clock = &clock});
    Spawn({.name = "stubborn"}, [] {
      Shield shield;
      Sleep(absl::Hours(1));
    });
    Spawn(&SleepForEver);
    Yield();
  }
  EXPECT_THAT(
      testing::internal::GetCapturedStderr(),
      AllOf(HasSubstr("hub 'stubborn hub' ends with 1 greenlets"),
            HasSubstr("greenlet 'stubborn' (#1)"), HasSubstr("the end of a sleep")));
  EXPECT_GE(clock.Now() - start, 10'000'000'000);
  EXPECT_LE(clock.Now() - start, 10'000'100'000);
}

TEST(HubScope, GivesAllItsStacksBack) {
  // Also those of greenlets that never started, or that were killed before.
  const size_t before = StacksInUse();
  for (int round = 0; round < 3; ++round) {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    for (int i = 0; i < 10; ++i) Spawn(&SleepForEver);
    Yield();
    Spawn(&SleepForEver);
    Spawn(&SleepForEver).Kill();
    SpawnLater(absl::Seconds(1), &SleepForEver);
    SpawnLater(absl::Seconds(1), &SleepForEver).Kill();
  }
  EXPECT_EQ(StacksInUse(), before);
}

TEST(HubScope, GivesTheStacksBackOfThoseThatNeverStarted) {
  // Nothing is left to wait for, then: they are in the queue of a hub that ends.
  const size_t before = StacksInUse();
  for (int round = 0; round < 3; ++round) {
    HubScope scope;
    for (int i = 0; i < 10; ++i) Spawn(&SleepForEver);
  }
  EXPECT_EQ(StacksInUse(), before);
}

TEST(HubScope, LetsGoOfWhatItsLinksAndCallbacksCaptured) {
  auto token = std::make_shared<int>(0);
  {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    const Greenlet<> waits = Spawn(&SleepForEver);
    waits.Link([token](const AnyGreenlet&) {});
    waits.RawLink([token](const AnyGreenlet&) {});
    Yield();
    const Greenlet<> unstarted = Spawn([token] {});
    unstarted.Link([token](const AnyGreenlet&) {});
    SetErrorHandler([token](const UnhandledException&) {});
    ThisHub().RunCallback([token] {});
    ThisHub().handle().Post([token] {}).IgnoreError();
  }
  EXPECT_EQ(token.use_count(), 1);
}

// --- with a seed ---

// Who runs when, of greenlets that yield, sleep, spawn and join.
std::string OrderOfSeed(std::optional<uint64_t> seed) {
  ManualClock clock;
  HubScope scope({.clock = &clock, .seed = seed});
  std::string order;
  std::vector<Greenlet<>> all;
  for (const char c : {'a', 'b', 'c'}) {
    all.push_back(Spawn([&order, c] {
      order += c;
      Yield();
      order += c;
      Spawn([&order, c] { order += c; }).Join();
      Sleep(absl::Seconds('d' - c));
      order += c;
    }));
  }
  for (const Greenlet<>& g : all) g.Join();
  Yield();  // of one that is alone
  EXPECT_GE(clock.Now() - ManualClock().Now(), 3'000'000'000);
  EXPECT_LE(clock.Now() - ManualClock().Now(), 3'000'010'000);
  return order;
}

TEST(HubScope, WithASeedAllRunsInAnOrderThatTheSeedDecides) {
  EXPECT_EQ(OrderOfSeed(std::nullopt), "abcabcabccba");
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    std::string order = OrderOfSeed(seed);
    EXPECT_EQ(OrderOfSeed(seed), order);
    EXPECT_EQ(order.substr(9), "cba") << "sleepers wake in the order of their moments";
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, "aaaabbbbcccc");
  }
  EXPECT_GT(orders.size(), 50u);
}

TEST(HubScope, WithASeedItMayEndWhileMuchIsReady) {
  int unwound = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ManualClock clock;
    HubScope scope({.clock = &clock, .seed = seed});
    for (int i = 0; i < 10; ++i) {
      Spawn([&] {
        CountsItsEnd local{&unwound};
        for (;;) Yield();
      });
    }
    for (int i = 0; i < 100; ++i) Yield();
    for (int i = 0; i < 10; ++i) Spawn([] { Yield(); });
  }
  EXPECT_EQ(unwound, 200);
}

// --- Shutdown and LiveGreenlets ---

class ShutdownTest : public MainGreenletTest {};

TEST_F(ShutdownTest, LiveGreenletsCountsThoseThatHaveNotEnded) {
  EXPECT_EQ(LiveGreenlets(), 0u) << "the main one does not count";
  const Greenlet<> waits = Spawn(&SleepForEver);
  const Greenlet<> ends = Spawn([] {});
  const Greenlet<> later = SpawnLater(absl::Seconds(1), [] {});
  EXPECT_EQ(LiveGreenlets(), 3u);
  Yield();
  EXPECT_EQ(LiveGreenlets(), 2u);
  later.Kill();
  EXPECT_EQ(LiveGreenlets(), 1u);
  waits.Kill();
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST(LiveGreenlets, IsZeroOnAThreadWithoutAHub) {
  EXPECT_EQ(LiveGreenlets(), 0u);
  EXPECT_EQ(Hub::Current(), nullptr) << "and does not make one";
}

TEST_F(ShutdownTest, KillsAndJoinsAll) {
  int unwound = 0;
  for (int i = 0; i < 10; ++i) {
    Spawn([&] {
      CountsItsEnd local{&unwound};
      SleepForEver();
    });
  }
  Yield();
  EXPECT_EQ(Shutdown(absl::Seconds(1)), 0u);
  EXPECT_EQ(unwound, 10);
  EXPECT_EQ(LiveGreenlets(), 0u);
  EXPECT_EQ(clock_.Now(), start_);
  // The hub goes on.
  EXPECT_EQ(*Spawn([] { return 1; }).Get(), 1);
  EXPECT_EQ(Shutdown(absl::ZeroDuration()), 0u);
}

TEST_F(ShutdownTest, KillsThoseThatAreSpawnedMeanwhileAsWell) {
  int unwound = 0;
  Spawn([&] {
    CountsItsEnd local{&unwound};
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      // A greenlet that starts another one to say goodbye, and so on.
      Spawn([&] {
        CountsItsEnd inner{&unwound};
        try {
          SleepForEver();
        } catch (const GreenletExit&) {
          Spawn(&SleepForEver);
          throw;
        }
      });
      Shield shield;
      Sleep(absl::Milliseconds(1));  // lets it start
      throw;
    }
  });
  Yield();
  EXPECT_EQ(Shutdown(absl::Seconds(1)), 0u);
  EXPECT_EQ(unwound, 2);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(ShutdownTest, CountsThoseThatRefuse) {
  for (int i = 1; i <= 3; ++i) {
    Spawn([i] {
      Shield shield;
      Sleep(absl::Seconds(2 * i));
    });
  }
  Spawn(&SleepForEver);
  Yield();
  EXPECT_EQ(Shutdown(absl::Seconds(3)), 2u);
  EXPECT_GE(clock_.Now() - start_, 3'000'000'000);
  EXPECT_LE(clock_.Now() - start_, 3'000'100'000);
  EXPECT_EQ(LiveGreenlets(), 2u);
  EXPECT_EQ(Shutdown(absl::ZeroDuration()), 2u);
  EXPECT_EQ(Shutdown(absl::Seconds(10)), 0u);
  EXPECT_LE(clock_.Now() - start_, 6'000'100'000) << "it did not wait longer than needed";
}

TEST_F(ShutdownTest, MayBeCalledByAGreenletWhichItSpares) {
  int unwound = 0;
  Spawn([&] {
    CountsItsEnd local{&unwound};
    SleepForEver();
  });
  const Greenlet<size_t> g = Spawn([] {
    const size_t left = Shutdown(absl::Seconds(1));
    Yield();
    return left;
  });
  EXPECT_EQ(*g.Get(), 0u);
  EXPECT_EQ(unwound, 1);
}

TEST_F(ShutdownTest, IsInterruptedByATimeout) {
  Spawn([] {
    Shield shield;
    Sleep(absl::Seconds(5));
  });
  Yield();
  const absl::StatusOr<size_t> left =
      WithTimeout(absl::Seconds(1), [] { return Shutdown(absl::Seconds(100)); });
  EXPECT_EQ(left.status().code(), absl::StatusCode::kDeadlineExceeded);
}

// --- handles and threads ---

TEST_F(ShutdownTest, HandlesMayBeDroppedOnAnotherThread) {
  // Before the start, while it waits, and after its end.
  auto token = std::make_shared<int>(0);
  const size_t before = StacksInUse();
  std::vector<Greenlet<std::shared_ptr<int>>> handles;
  for (int i = 0; i < 30; ++i) {
    handles.push_back(Spawn([i, token] {
      Sleep(absl::Seconds(i % 3));
      return token;
    }));
  }
  Sleep(absl::Milliseconds(1500));
  for (int i = 0; i < 10; ++i) handles.push_back(Spawn([token] { return token; }));
  std::thread([handles = std::move(handles)]() mutable { handles.clear(); }).join();
  Sleep(absl::Seconds(5));
  EXPECT_EQ(token.use_count(), 1) << "the results are gone, with their greenlets";
  EXPECT_EQ(LiveGreenlets(), 0u);
  // What the hub keeps warm is not in the shared pool: let another hub's end tell.
  EXPECT_GE(StacksInUse(), before);
}

TEST(HubScope, HandlesAreDroppedOnOtherThreadsWhileGreenletsEnd) {
  // The last reference goes away here or there, in either order.
  const size_t before = StacksInUse();
  for (int round = 0; round < 20; ++round) {
    ManualClock clock;
    HubScope scope({.clock = &clock});
    std::vector<AnyGreenlet> handles;
    for (int i = 0; i < 100; ++i) {
      handles.push_back(Spawn([i] {
        for (int n = 0; n < i; ++n) Yield();
      }));
    }
    std::thread dropper([handles = std::move(handles)]() mutable {
      for (AnyGreenlet& g : handles) {
        const AnyGreenlet copy = g;
        g = AnyGreenlet();
      }
    });
    EXPECT_TRUE(JoinHub());
    dropper.join();
  }
  EXPECT_EQ(StacksInUse(), before);
}

TEST(HubScope, HandlesMayOutliveTheHub) {
  auto token = std::make_shared<int>(0);
  const size_t before = StacksInUse();
  {
    Greenlet<std::shared_ptr<int>> ended;
    AnyGreenlet killed;
    AnyGreenlet unstarted;
    {
      ManualClock clock;
      HubScope scope({.clock = &clock});
      ended = Spawn({.name = "ended"}, [token] { return token; });
      ended.Join();
      killed = Spawn({.name = "killed"}, &SleepForEver);
      Yield();
      unstarted = Spawn({.name = "unstarted"}, &SleepForEver);
    }
    for (const AnyGreenlet& g : {AnyGreenlet(ended), killed, unstarted}) {
      EXPECT_TRUE(g.ready()) << g.name();
      EXPECT_TRUE(g.successful()) << g.name();
    }
    EXPECT_TRUE(killed.killed());
    EXPECT_TRUE(unstarted.killed());
    EXPECT_EQ(ended.name(), "ended");
    EXPECT_EQ(token.use_count(), 2) << "the result";
    // The last ones are dropped on this thread, on another, and under another hub.
    std::thread([g = std::exchange(killed, AnyGreenlet())] {}).join();
    HubScope another;
    unstarted = AnyGreenlet();
  }
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(StacksInUse(), before);
}

TEST(HubScope, AHandleToTheMainGreenletMayOutliveTheHub) {
  AnyGreenlet main;
  {
    HubScope scope;
    main = CurrentGreenlet();
    main.set_name("a main greenlet with a long name");
  }
  EXPECT_EQ(main.name(), "a main greenlet with a long name");
}

TEST(HubScope, AThreadMayEndWithGreenletsThatLive) {
  // They are neither run nor unwound; handles to them stay what they are.
  bool unwound = false;
  bool ran = false;
  AnyGreenlet waits;
  AnyGreenlet unstarted;
  std::thread([&] {
    waits = Spawn({.name = "waits"}, [&] {
      struct AtEnd {
        bool* flag;
        ~AtEnd() { *flag = true; }
      } at_end{&unwound};
      SleepForEver();
    });
    Spawn([] { Sleep(absl::Hours(1)); });
    Spawn([] {
      Timeout timeout(absl::Hours(1));
      SleepForEver();
    });
    Yield();
    unstarted = Spawn([&] { ran = true; });
    SpawnLater(absl::Hours(1), [&] { ran = true; });
    EXPECT_EQ(LiveGreenlets(), 5u);
  }).join();
  EXPECT_FALSE(unwound);
  EXPECT_FALSE(ran);
  EXPECT_FALSE(waits.ready());
  EXPECT_TRUE(waits.started());
  EXPECT_FALSE(unstarted.started());
  EXPECT_EQ(waits.name(), "waits");
  waits = AnyGreenlet();
  unstarted = AnyGreenlet();
}

TEST(HubScope, AThreadThatEndsLeavesNothingElseBehind) {
  const size_t before = StacksInUse();
  for (int i = 0; i < 20; ++i) {
    std::thread([] {
      for (int n = 0; n < 5; ++n) Spawn([] { Yield(); }).Join();
    }).join();
  }
  EXPECT_EQ(StacksInUse(), before);
}

TEST(HubScope, ManyThreadsHaveHubsAtOnce) {
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      ManualClock clock;
      HubScope scope({.clock = &clock});
      for (int i = 0; i < 100; ++i) {
        Spawn([&, i] {
          Sleep(absl::Milliseconds(i % 10));
          ++sum;
        });
      }
      EXPECT_TRUE(JoinHub());
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(sum, 800);
}

// --- misuse ---

TEST(HubScopeDeathTest, ASecondOneOnAThreadIsFatalAndNamesTheFirst) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "first"});
        HubScope second({.name = "second"});
      },
      "a HubScope on a thread that has hub 'first' already");
  EXPECT_DEATH(
      {
        Yield();  // makes a hub
        HubScope scope;
      },
      "a HubScope on a thread that has hub 'hub-[0-9]+' already");
}

TEST(HubScopeDeathTest, EndingOneInAGreenletIsFatal) {
  EXPECT_DEATH(
      {
        auto scope = std::make_unique<HubScope>();
        Spawn([&] { scope.reset(); }).Join();
      },
      "a hub is ended from another thread or greenlet");
}

}  // namespace
}  // namespace grove
