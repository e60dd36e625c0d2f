#include "grove/hub/hub.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

namespace grove {
namespace {

TEST(Hub, RunsCallbacksInOrderAndEndsWhenNothingIsLeft) {
  Hub hub;
  std::vector<int> order;
  hub.RunCallback([&] {
    order.push_back(1);
    hub.RunCallback([&] { order.push_back(3); });
  });
  hub.RunCallback([&] { order.push_back(2); });
  hub.Run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(Hub, IsThisThreadsHub) {
  EXPECT_EQ(Hub::Current(), nullptr);
  Hub hub;
  EXPECT_EQ(Hub::Current(), &hub);
  std::thread([] { EXPECT_EQ(Hub::Current(), nullptr); }).join();
}

struct FnTimer : Timer {
  explicit FnTimer(std::function<void()> f) : Timer(&OnFire), fn(std::move(f)) {}
  static void OnFire(Timer* t) { static_cast<FnTimer*>(t)->fn(); }
  std::function<void()> fn;
};

TEST(Hub, AnHourPassesInNoTimeOnAManualClock) {
  ManualClock clock;
  Hub hub({.clock = &clock});
  const MonotonicNanos start = hub.Now();
  MonotonicNanos fired_at = 0;
  FnTimer timer([&] { fired_at = hub.Now(); });
  hub.timers().Arm(&timer, start + 3'600'000'000'000);
  hub.Run();
  EXPECT_GE(fired_at - start, 3'600'000'000'000);
  EXPECT_LE(fired_at - start, 3'600'000'001'024);
}

TEST(Hub, AManualClockWithoutAutoAdvanceIsMovedByOthers) {
  ManualClock clock;
  clock.set_auto_advance(false);
  Hub hub({.clock = &clock});
  bool fired = false;
  FnTimer timer([&] { fired = true; });
  hub.timers().Arm(&timer, hub.Now() + 1'000'000'000);
  hub.Turn(false);
  EXPECT_FALSE(fired);
  std::thread mover([&] { clock.Advance(absl::Seconds(2)); });
  hub.Run();
  EXPECT_TRUE(fired);
  mover.join();
}

TEST(Hub, ATimerIsNotEarlyThoughALongCallbackRanAfterTheLastPoll) {
  // gevent#97: libev's own clock stands still during a callback.
  Hub hub;
  MonotonicNanos armed_for = 0;
  MonotonicNanos fired_at = 0;
  FnTimer timer([&] { fired_at = hub.Now(); });
  hub.RunCallback([&] {
    const MonotonicNanos until = Clock::ReadMonotonic() + 50'000'000;
    while (Clock::ReadMonotonic() < until) {
    }
    armed_for = hub.Now() + 10'000'000;
    hub.timers().Arm(&timer, armed_for);
  });
  hub.Run();
  EXPECT_GE(fired_at, armed_for);
}

// Readiness for ever: each run makes itself ready again.
struct Busy : Runnable {
  explicit Busy(Hub* h) : Runnable(&RunBusy), hub(h) {}
  static void RunBusy(Runnable* r) {
    Busy* self = static_cast<Busy*>(r);
    ++self->runs;
    if (!self->enough) self->hub->MakeReady(self);
  }
  Hub* hub;
  int64_t runs = 0;
  bool enough = false;
};

TEST(Hub, MailDoesNotWaitForTheEndOfASlice) {
  Hub hub({.slice = absl::Hours(1)});
  Busy busy(&hub);
  hub.MakeReady(&busy);
  int64_t delivered_after = 0;
  hub.RunCallback([&] {
    EXPECT_TRUE(hub.handle()
                    .Post([&] {
                      delivered_after = busy.runs;
                      busy.enough = true;
                    })
                    .ok());
  });
  hub.Turn();
  EXPECT_GT(delivered_after, 0);
  EXPECT_LE(delivered_after, 64);
  hub.Run();
}

TEST(Hub, ReadyWorkStarvesNeitherTimersNorIoNorMail) {
  Hub hub;
  Busy busy(&hub);
  hub.MakeReady(&busy);
  bool timer_fired = false;
  bool io_seen = false;
  bool mail_seen = false;
  FnTimer timer([&] { timer_fired = true; });
  hub.timers().Arm(&timer, hub.Now() + 1'000'000);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  IoWatcher io;
  io.Set(
      &hub.loop(), fds[0], kReadable,
      [](void* seen, int) { *static_cast<bool*>(seen) = true; }, &io_seen);
  ASSERT_TRUE(io.Start());
  ASSERT_TRUE(hub.handle().Post([&] { mail_seen = true; }).ok());
  while (!timer_fired || !io_seen || !mail_seen) ASSERT_TRUE(hub.Turn());
  io.Stop();
  busy.enough = true;
  hub.Run();
  close(fds[0]);
  close(fds[1]);
}

TEST(Hub, SlowReadyWorkGetsSmallerSlices) {
  // Each run takes 2 ms, more than a slice: soon the loop is polled after every one.
  Hub hub({.slice = absl::Milliseconds(1)});
  struct Slow : Busy {
    explicit Slow(Hub* h) : Busy(h) { run = &RunSlow; }
    static void RunSlow(Runnable* r) {
      const MonotonicNanos until = Clock::ReadMonotonic() + 2'000'000;
      while (Clock::ReadMonotonic() < until) {
      }
      RunBusy(r);
    }
  } slow(&hub);
  hub.MakeReady(&slow);
  for (int i = 0; i < 8; ++i) hub.Turn();
  const int64_t before = slow.runs;
  hub.Turn();
  EXPECT_LE(slow.runs - before, 1);
  slow.enough = true;
  hub.Run();
}

TEST(Hub, WorkThatBecomesSlowEndsItsFirstSliceSoon) {
  Hub hub({.slice = absl::Milliseconds(1)});
  // So quick that a slice gets thousands of them; then 1 ms each.
  struct Becomes : Busy {
    explicit Becomes(Hub* h) : Busy(h) { run = &RunIt; }
    static void RunIt(Runnable* r) {
      if (static_cast<Becomes*>(r)->slow) {
        const MonotonicNanos until = Clock::ReadMonotonic() + 1'000'000;
        while (Clock::ReadMonotonic() < until) {
        }
      }
      RunBusy(r);
    }
    bool slow = false;
  } work(&hub);
  hub.MakeReady(&work);
  for (int i = 0; i < 20; ++i) hub.Turn();
  work.slow = true;
  const int64_t before = work.runs;
  hub.Turn();
  EXPECT_LE(work.runs - before, 2 * 64);
  work.enough = true;
  hub.Run();
}

TEST(Hub, TurnSaysWhenNothingCouldWakeIt) {
  Hub hub;
  EXPECT_FALSE(hub.Turn());
  {
    KeepAlive alive(&hub);
    EXPECT_TRUE(hub.Turn(/*wait=*/false));
    EXPECT_TRUE(hub.HasWakers());
  }
  Timer daemon([](Timer*) {});
  hub.timers().Arm(&daemon, hub.Now() + 3'600'000'000'000, /*ref=*/false);
  EXPECT_FALSE(hub.Turn()) << "a timer without ref does not keep the hub";
  hub.timers().Cancel(&daemon);
}

TEST(Hub, WaitForMailSleepsUntilAPost) {
  Hub hub;
  bool got = false;
  std::thread sender(
      [&, handle = hub.handle()] { ASSERT_TRUE(handle.Post([&] { got = true; }).ok()); });
  while (!got) hub.WaitForMail();
  sender.join();
}

// --- a seed decides the order ---

// What six callbacks, each of which makes another ready, run as.
std::vector<int> OrderOf(std::optional<uint64_t> seed) {
  ManualClock clock;
  Hub hub({.clock = &clock, .seed = seed});
  std::vector<int> order;
  for (int i = 0; i < 6; ++i) {
    hub.RunCallback([&, i] {
      order.push_back(i);
      hub.RunCallback([&, i] { order.push_back(i + 6); });
    });
  }
  hub.Run();
  return order;
}

TEST(SeededHub, TheSameSeedGivesTheSameOrder) {
  for (uint64_t seed = 0; seed < 100; ++seed) EXPECT_EQ(OrderOf(seed), OrderOf(seed));
}

TEST(SeededHub, DifferentSeedsGiveDifferentOrders) {
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < 100; ++seed) orders.insert(OrderOf(seed));
  EXPECT_GT(orders.size(), 95u) << "there are over a hundred million";
}

TEST(SeededHub, AnyOfWhatIsReadyMayBeNext) {
  std::set<int> first;
  for (uint64_t seed = 0; seed < 100; ++seed) first.insert(OrderOf(seed).front());
  EXPECT_EQ(first, (std::set<int>{0, 1, 2, 3, 4, 5}));
}

TEST(SeededHub, AllThatIsReadyRunsOnce) {
  const std::vector<int> in_order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_EQ(OrderOf(std::nullopt), in_order) << "without a seed";
  for (uint64_t seed = 0; seed < 100; ++seed) {
    std::vector<int> order = OrderOf(seed);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, in_order);
  }
}

TEST(SeededHub, NothingIsStarved) {
  ManualClock clock;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Hub hub({.clock = &clock, .seed = seed});
    Busy all[] = {Busy(&hub), Busy(&hub), Busy(&hub), Busy(&hub)};
    for (Busy& busy : all) hub.MakeReady(&busy);
    bool timer_fired = false;
    bool mail_seen = false;
    FnTimer timer([&] { timer_fired = true; });
    hub.timers().Arm(&timer, hub.Now() + 1'000'000);
    clock.Advance(absl::Milliseconds(2));
    ASSERT_TRUE(hub.handle().Post([&] { mail_seen = true; }).ok());
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(hub.Turn());
    EXPECT_TRUE(timer_fired);
    EXPECT_TRUE(mail_seen);
    for (Busy& busy : all) {
      EXPECT_GT(busy.runs, 100);
      busy.enough = true;
    }
    hub.Run();
    EXPECT_FALSE(hub.HasReady());
  }
}

TEST(SeededHub, TimersAreLookedAtThoughSomethingIsReady) {
  // And not always after as many runs.
  std::set<int64_t> runs;
  ManualClock clock;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Hub hub({.clock = &clock, .seed = seed});
    Busy busy(&hub);
    hub.MakeReady(&busy);
    FnTimer timer([&] { busy.enough = true; });
    hub.timers().Arm(&timer, hub.Now() + 1'000);
    clock.Advance(absl::Milliseconds(1));
    hub.Run();
    runs.insert(busy.runs);
  }
  EXPECT_GT(runs.size(), 5u);
}

TEST(SeededHub, WhatIsStillReadyEndsWithTheHub) {
  auto token = std::make_shared<int>(0);
  {
    Hub hub({.seed = 1});
    for (int i = 0; i < 100; ++i) {
      hub.RunCallback([&hub, token] { hub.RunCallback([token] {}); });
    }
    hub.Turn();
    EXPECT_TRUE(hub.HasReady());
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(HubDeathTest, TwoHubsOnOneThreadAreFatal) {
  Hub hub({.name = "first"});
  EXPECT_DEATH(Hub(), "that has hub 'first'");
}

}  // namespace
}  // namespace grove
