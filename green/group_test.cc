#include "grove/green/group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>
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
using ::testing::IsEmpty;
using ::testing::SizeIs;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class GroupTest : public testing::Test {
 protected:
  GroupTest() {
    SetErrorHandler([](const UnhandledException&) {});
  }
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

// --- who is in (PL-1) ---

TEST_F(GroupTest, SpawnMakesAMemberThatLeavesWhenItEnds) {
  Group group;
  const Greenlet<int> g = group.Spawn([] {
    Sleep(absl::Seconds(1));
    return 42;
  });
  EXPECT_TRUE(group.Contains(g));
  EXPECT_EQ(group.size(), 1u);
  EXPECT_EQ(*g.Get(), 42);
  EXPECT_FALSE(group.Contains(g));
  EXPECT_TRUE(group.empty());
}

TEST_F(GroupTest, WhoeverJoinsAMemberFindsItGone) {
  Group group;
  std::optional<bool> in;
  const auto g = group.Spawn([] {});
  g.RawLink([&](const AnyGreenlet& ended) { in = group.Contains(ended); });
  Yield();
  Yield();
  EXPECT_EQ(in, false);
}

TEST_F(GroupTest, TakesGreenletsThatRunAlready) {
  Group group;
  const auto g = Spawn([] { Sleep(absl::Seconds(1)); });
  EXPECT_TRUE(group.Add(g));
  EXPECT_TRUE(group.Add(g)) << "no effect";
  EXPECT_EQ(group.size(), 1u);
  EXPECT_TRUE(group.Join());
  EXPECT_TRUE(group.Add(g)) << "has ended: no effect";
  EXPECT_TRUE(group.empty());
}

TEST_F(GroupTest, DiscardTakesAMemberOutAndLetsItRun) {
  Group group;
  const auto a = group.Spawn(&SleepForEver), b = group.Spawn(&SleepForEver);
  EXPECT_TRUE(group.Discard(a));
  EXPECT_FALSE(group.Discard(a));
  EXPECT_THAT(group.Greenlets(), ElementsAre(b));
  EXPECT_FALSE(a.ready());
  group.Kill();
  EXPECT_FALSE(a.ready());
}

TEST_F(GroupTest, ListsItsMembersInTheOrderOfTheirComing) {
  Group group;
  const auto a = group.Spawn(&SleepForEver), b = group.Spawn(&SleepForEver),
             c = group.Spawn(&SleepForEver);
  EXPECT_THAT(group.Greenlets(), ElementsAre(a, b, c));
  b.Kill();
  EXPECT_THAT(group.Greenlets(), ElementsAre(a, c));
  a.Kill();
  c.Kill();
  EXPECT_THAT(group.Greenlets(), IsEmpty());
}

TEST_F(GroupTest, AGreenletMayBeInSeveral) {
  Group one, two;
  const auto g = one.Spawn([] {});
  two.Add(g);
  EXPECT_TRUE(one.Contains(g) && two.Contains(g));
  EXPECT_TRUE(one.Join());
  EXPECT_TRUE(two.empty());
}

TEST_F(GroupTest, TakesOptionsForTheGreenlet) {
  Group group;
  EXPECT_EQ(group.Spawn({.name = "worker"}, [] {}).name(), "worker");
  EXPECT_THAT(group.Spawn([] {}).spawn_site().file, HasSubstr("group_test"));
  group.Join();
}

TEST_F(GroupTest, IsNeverFull) {
  Group group;
  for (int i = 0; i < 100; ++i) group.Spawn(&SleepForEver);
  EXPECT_FALSE(group.full());
  EXPECT_TRUE(group.WaitAvailable(Deadline::Passed()));
  group.Kill();
}

TEST_F(GroupTest, ItsDestructionLetsTheMembersRunOn) {
  Greenlet<> g;
  {
    Group group;
    g = group.Spawn([] { Sleep(absl::Seconds(1)); });
  }
  EXPECT_TRUE(g.Join());
  EXPECT_TRUE(g.successful());
}

TEST_F(GroupTest, MayOutliveItsHubAndServeTheNext) {
  Group group;
  std::thread([&] {
    ManualClock clock;
    for (int i = 0; i < 2; ++i) {
      HubScope scope({.clock = &clock});
      group.Spawn(&SleepForEver);
    }
  }).join();
  EXPECT_TRUE(group.empty());
}

// --- Join (PL-2) ---

TEST_F(GroupTest, JoinWaitsForAll) {
  Group group;
  EXPECT_TRUE(group.Join()) << "empty at once";
  for (int i = 1; i <= 3; ++i) group.Spawn([i] { Sleep(absl::Seconds(i)); });
  EXPECT_TRUE(group.Join());
  EXPECT_GE(Elapsed(), absl::Seconds(3));
}

TEST_F(GroupTest, JoinReturnsFalseOnTheDeadline) {
  Group group;
  group.Spawn(&SleepForEver);
  EXPECT_FALSE(group.Join(absl::Seconds(1)));
  EXPECT_FALSE(group.Join(Deadline::Passed()));
  EXPECT_LT(Elapsed(), absl::Seconds(2));
  group.Kill();
}

TEST_F(GroupTest, ToBeEmptyForAMomentIsEnough) {
  Group group;
  const auto a = group.Spawn([] { Sleep(absl::Seconds(1)); });
  a.RawLink([&](const AnyGreenlet&) { group.Spawn(&SleepForEver); });
  EXPECT_TRUE(group.Join());
  EXPECT_LE(Elapsed(), absl::Seconds(2));
  Yield();
  EXPECT_EQ(group.size(), 1u);
  group.Kill();
}

TEST_F(GroupTest, SeveralMayJoin) {
  Group group;
  group.Spawn([] { Sleep(absl::Seconds(1)); });
  std::vector<Greenlet<bool>> joiners;
  for (int i = 0; i < 3; ++i) joiners.push_back(Spawn([&] { return group.Join(); }));
  for (const auto& g : joiners) EXPECT_TRUE(*g.Get());
}

TEST_F(GroupTest, JoinIsKilledWhileItBlocks) {
  Group group;
  group.Spawn(&SleepForEver);
  const auto joiner = Spawn([&] { group.Join(); });
  Yield();
  joiner.Kill();
  EXPECT_TRUE(joiner.killed());
  EXPECT_EQ(group.size(), 1u);
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { group.Join(); }).ok());
  group.Kill();
}

TEST_F(GroupTest, JoinOrThrowThrowsWhatAMemberThrew) {
  Group group;
  group.Spawn([] { Sleep(absl::Seconds(2)); });
  group.Spawn([] { throw std::runtime_error("first"); });
  EXPECT_THROW(group.JoinOrThrow(), std::runtime_error);
  EXPECT_GE(Elapsed(), absl::Seconds(2)) << "once all have ended";
  EXPECT_TRUE(group.JoinOrThrow()) << "who has left before does not count";
}

TEST_F(GroupTest, JoinOrThrowOnTheDeadlineThrowsToo) {
  Group group;
  group.Spawn([] { throw std::runtime_error("x"); });
  group.Spawn(&SleepForEver);
  EXPECT_THROW(group.JoinOrThrow(absl::Seconds(1)), std::runtime_error);
  EXPECT_FALSE(group.JoinOrThrow(absl::Seconds(1)));
  group.Kill();
  EXPECT_TRUE(group.JoinOrThrow());
}

// --- Kill (PL-3, test__greenletset) ---

TEST_F(GroupTest, KillEndsAll) {
  Group group;
  const auto started = group.Spawn(&SleepForEver);
  Yield();
  bool ran = false;
  const auto fresh = group.Spawn([&] { ran = true; });
  EXPECT_TRUE(group.Kill());
  EXPECT_TRUE(started.killed() && fresh.killed());
  EXPECT_FALSE(ran);
  EXPECT_TRUE(group.empty());
  EXPECT_TRUE(group.Kill()) << "of none";
}

TEST_F(GroupTest, KillWithoutWaitingReturnsAtOnce) {
  Group group;
  group.Spawn(&SleepForEver);
  Yield();
  EXPECT_FALSE(group.Kill({.wait = false}));
  EXPECT_EQ(group.size(), 1u);
  EXPECT_TRUE(group.Join(absl::Seconds(1)));
}

TEST_F(GroupTest, EachMemberIsKilledOnce) {
  Group group;
  int kills = 0;
  group.Spawn([&] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      ++kills;
      Shield shield;
      Sleep(absl::Seconds(1));
    }
  });
  Yield();
  group.Kill({.wait = false});
  Yield();
  group.Kill();
  EXPECT_EQ(kills, 1);
}

TEST_F(GroupTest, KillAlsoKillsThoseThatAreAddedMeanwhile) {
  Group group;
  Greenlet<> late, adopted;
  bool ran = false;
  group.Spawn([&] {
    try {
      SleepForEver();
    } catch (const GreenletExit&) {
      late = group.Spawn([&] { ran = true; });
      Shield shield;
      Sleep(absl::Seconds(1));
      group.Add(adopted);
      throw;
    }
  });
  adopted = Spawn(&SleepForEver);
  Yield();
  EXPECT_TRUE(group.Kill());
  EXPECT_TRUE(late.killed());
  EXPECT_FALSE(ran);
  EXPECT_TRUE(adopted.killed());
  // And then no more.
  const auto g = group.Spawn([] {});
  g.Join();
  EXPECT_FALSE(g.killed());
}

TEST_F(GroupTest, KillReturnsFalseOnTheDeadline) {
  Group group;
  group.Spawn([] {
    Shield shield;
    Sleep(absl::Seconds(10));
  });
  Yield();
  EXPECT_FALSE(group.Kill({.deadline = absl::Seconds(1)}));
  EXPECT_LT(Elapsed(), absl::Seconds(2));
  EXPECT_TRUE(group.Kill());
}

TEST_F(GroupTest, KillThrowsTheErrorItIsGiven) {
  Group group;
  const auto g = group.Spawn(&SleepForEver);
  Yield();
  group.Kill({.error = std::make_exception_ptr(std::runtime_error("out"))});
  EXPECT_THROW(g.Get().IgnoreError(), std::runtime_error);
}

TEST_F(GroupTest, KillIsKilledWhileItBlocks) {
  Group group;
  group.Spawn([] {
    Shield shield;
    Sleep(absl::Seconds(10));
  });
  Yield();
  const auto killer = Spawn([&] { group.Kill(); });
  Yield();
  killer.Kill();
  EXPECT_TRUE(killer.killed());
  const auto late = group.Spawn([] {});
  late.Join();
  EXPECT_FALSE(late.killed()) << "that Kill() is over";
  group.Join();
}

TEST_F(GroupTest, AMemberThatKillsItsGroupIsKilledToo) {
  Group group;
  bool went_on = false;
  const auto self = group.Spawn([&] {
    group.Kill();
    went_on = true;
  });
  const auto other = group.Spawn(&SleepForEver);
  group.Join();
  EXPECT_TRUE(self.killed() && other.killed());
  EXPECT_FALSE(went_on);
}

TEST_F(GroupTest, KillOneKillsMembersOnly) {
  Group group;
  const auto a = group.Spawn(&SleepForEver), b = group.Spawn(&SleepForEver);
  const auto stranger = Spawn(&SleepForEver);
  Yield();
  EXPECT_TRUE(group.KillOne(a));
  EXPECT_THAT(group.Greenlets(), ElementsAre(b));
  EXPECT_FALSE(group.KillOne(b, {.wait = false}));
  EXPECT_TRUE(group.Join());
  EXPECT_FALSE(group.KillOne(stranger));
  EXPECT_FALSE(stranger.ready());
  EXPECT_TRUE(group.KillOne(a)) << "has ended";
}

// --- Apply and Map without a limit (PL-7 to PL-9) ---

TEST_F(GroupTest, AppliesAndMaps) {
  Group group;
  EXPECT_EQ(*group.Apply([] { return 1; }), 1);
  EXPECT_TRUE(group.Apply([] {}).ok());
  EXPECT_THROW(group.Apply([]() -> int { throw std::runtime_error("x"); }).IgnoreError(),
               std::runtime_error);
  const std::vector<int> in = {3, 1, 2};
  EXPECT_THAT(group.Map(
                  [](int n) {
                    Sleep(absl::Seconds(n));
                    return n * n;
                  },
                  in),
              ElementsAre(9, 1, 4));
  EXPECT_LT(Elapsed(), absl::Seconds(4)) << "all at once";
}

TEST_F(GroupTest, ThousandsMayComeAndGo) {
  Group group;
  group.Spawn([] {}).Join();
  for (int i = 0; i < 1000; ++i) group.Spawn([] {}).Join();
  EXPECT_TRUE(group.empty());
}

// --- what is forbidden ---

// First of all: ThreadSanitizer takes a hub for a thread, and forks none with several.
TEST(GroupForeignDeathTest, UseOnAnotherHubIsFatal) {
  EXPECT_DEATH(
      {
        Group group;
        HubScope scope({.name = "home"});
        group.Spawn(&SleepForEver);
        std::thread([&] { group.Spawn([] {}); }).join();
      },
      "Spawn in a Group that belongs to hub 'home', from a thread without a hub");
}

using GroupDeathTest = GroupTest;

TEST_F(GroupDeathTest, ToJoinFromWithinIsFatal) {
  Group group;
  EXPECT_DEATH(group.Spawn([&] { group.Join(); }).Join(), "joins a group of which");
}

TEST_F(GroupDeathTest, DestructionWhileSomebodyJoinsIsFatal) {
  EXPECT_DEATH(
      {
        auto group = std::make_unique<Group>();
        group->Spawn(&SleepForEver);
        Spawn([&] { group->Join(); });
        Yield();
        group.reset();
      },
      "a group is destroyed while greenlet");
}

}  // namespace
}  // namespace grove
