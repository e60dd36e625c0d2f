#include "grove/green/statistics.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"
#include "grove/green/monitor_test_util.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/wait.h"

namespace grove {
namespace {

using test_util::HubThread;
using test_util::ThreadPipe;
using ::testing::HasSubstr;

HubStatistics Mine() { return *StatisticsOf(ThisHub().handle()); }

GREENLET_TEST(Statistics, CountGreenletsTimersAndStacks) {
  const HubStatistics before = Mine();
  std::vector<Greenlet<>> sleepers;
  for (int i = 0; i < 10; ++i) {
    sleepers.push_back(Spawn([] { Sleep(absl::Hours(1)); }));
  }
  Yield();
  const HubStatistics during = Mine();
  EXPECT_EQ(during.spawned, before.spawned + 10);
  EXPECT_EQ(during.live, before.live + 10);
  EXPECT_EQ(during.timers, before.timers + 10);
  EXPECT_EQ(during.stacks_in_use, before.stacks_in_use + 10);
  for (const auto& s : sleepers) s.Join();
  sleepers.clear();
  const HubStatistics after = Mine();
  EXPECT_EQ(after.spawned, before.spawned + 10);
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(after.timers, before.timers);
  EXPECT_EQ(after.stacks_in_use, before.stacks_in_use);
  EXPECT_GE(after.stacks_cached, 10u);
}

GREENLET_TEST(Statistics, ASpawnWhoseFunctionCannotBeCopiedKeepsNoStack) {
  struct Captured {
    Captured() = default;
    Captured(const Captured&) { throw std::runtime_error("no copy"); }
    void operator()() const {}
  };
  const HubStatistics before = Mine();
  const Captured fn;
  for (int i = 0; i < 10; ++i) EXPECT_THROW(Spawn(fn), std::runtime_error);
  EXPECT_EQ(Mine().stacks_in_use, before.stacks_in_use);
  EXPECT_EQ(Mine().live, before.live);
}

GREENLET_TEST(Statistics, CountDescriptorsThatAreWatched) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  Descriptor in(ends[0]), out(ends[1]);
  const int before = Mine().watchers;
  EXPECT_GE(before, 1) << "the mailbox";
  const Greenlet<> reader =
      Spawn([&] { EXPECT_EQ(in.WaitReadable(), WaitResult::kReady); });
  Idle();
  EXPECT_EQ(Mine().watchers, before + 1);
  ASSERT_EQ(write(out.fd(), "x", 1), 1);
  reader.Join();
  in.Close();
  EXPECT_EQ(Mine().watchers, before);
}

GREENLET_TEST(Statistics, CountTurnsSwitchesPollsAndPosts) {
  const HubStatistics before = Mine();
  const auto other = Spawn([] {
    for (int i = 0; i < 100; ++i) Yield();
  });
  other.Join();
  ASSERT_TRUE(ThisHub().handle().Post([] {}).ok());
  Sleep(absl::Seconds(1));
  const HubStatistics after = Mine();
  EXPECT_GE(after.switches, before.switches + 100);
  EXPECT_GT(after.turns, before.turns);
  EXPECT_GT(after.polls, before.polls);
  EXPECT_EQ(after.posts, before.posts + 1);
  EXPECT_GT(after.turn_times.count(), before.turn_times.count());
  EXPECT_GT(after.ready_delays.count(), before.ready_delays.count());
  EXPECT_THAT(after.ToString(), HasSubstr("ready delays: "));
}

// What is ready runs longer than a slice: the wait for one's turn is longer than a turn.
GREENLET_TEST(Statistics, AReadyDelayIsThatOfAllThatWasReadyAndATurnIsASlice) {
  for (int i = 0; i < 20; ++i) {
    Spawn([] {
      for (int turn = 0; turn < 2000; ++turn) Yield();
    });
  }
  while (LiveGreenlets() > 1) Yield();
  const HubStatistics s = Mine();
  EXPECT_GE(s.ready_delays.longest, s.turn_times.longest);
  EXPECT_GE(s.turn_times.count(), s.ready_delays.count());
}

TEST(Statistics, AreReadFromAnotherThreadWhileTheHubRuns) {
  std::atomic<bool> stop{false};
  HubHandle handle;
  ThreadPipe begun;
  {
    HubThread other([&] {
      handle = ThisHub().handle();
      begun.Tell();
      while (!stop) {
        Spawn([] { Sleep(absl::Microseconds(1)); }).Join();
        ThisHub().RunCallback([] {});
        Yield();
      }
    });
    begun.Await();
    uint64_t spawned = 0;
    uint64_t switches = 0;
    for (int looks = 0; looks < 1000 || spawned < 100; ++looks) {
      const HubStatistics s = *StatisticsOf(handle);
      EXPECT_EQ(s.hub, "other");
      EXPECT_GE(s.spawned, spawned);
      EXPECT_GE(s.switches, switches);
      EXPECT_LE(s.live, 1u);
      spawned = s.spawned;
      switches = s.switches;
    }
    EXPECT_FALSE(AllHubStatistics().empty());
    stop = true;
  }
  EXPECT_FALSE(StatisticsOf(handle).has_value());
}

TEST(Statistics, OfAHubThatEndsMeanwhileAreThereOrNot) {
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      for (const HubStatistics& s : AllHubStatistics()) EXPECT_EQ(s.hub, "other");
    }
  });
  for (int i = 0; i < 50; ++i) {
    HubThread other([] { Spawn([] { Yield(); }).Join(); });
  }
  stop = true;
  reader.join();
}

TEST(StatisticsGauge, IsReadWhileItLives) {
  int64_t queued = 7;
  const auto readings = [] {
    std::string all;
    for (const auto& r : StatisticsGauge::ReadAll()) {
      all += r.name + "=" + std::to_string(r.value) + " ";
    }
    return all;
  };
  {
    const StatisticsGauge a("pool, queued", [&] { return queued; });
    const StatisticsGauge b("pool, threads", [] { return 2; });
    EXPECT_EQ(readings(), "pool, queued=7 pool, threads=2 ");
    queued = 8;
    EXPECT_THAT(FormatStatistics(), HasSubstr("pool, queued: 8\n"));
  }
  EXPECT_EQ(readings(), "");
}

}  // namespace
}  // namespace grove
