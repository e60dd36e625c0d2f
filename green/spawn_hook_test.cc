#include "grove/green/spawn_hook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/dag_pool.h"
#include "grove/green/hub_scope.h"
#include "grove/green/imap.h"
#include "grove/green/pile.h"
#include "grove/green/pool.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SpawnHookTest : public testing::Test {
 protected:
  std::vector<std::string> events_;
  ManualClock clock_;
  std::optional<HubScope> scope_{std::in_place, HubOptions{.clock = &clock_}};
};

TEST_F(SpawnHookTest, IsCalledBeforeTheGreenletIsScheduled) {
  AddSpawnHook([&](const AnyGreenlet& g) {
    events_.push_back("hook " + g.name());
    EXPECT_FALSE(g.started());
    EXPECT_EQ(g.parent_id(), CurrentGreenlet().id());
    EXPECT_STREQ(g.spawn_site().file, "green/spawn_hook_test.cc");
  });
  Greenlet<> g = Spawn({.name = "x"}, [&] { events_.push_back("x runs"); });
  EXPECT_THAT(events_, ElementsAre("hook x"));
  g.Join();
  EXPECT_THAT(events_, ElementsAre("hook x", "x runs"));
}

TEST_F(SpawnHookTest, IsCalledForEachWayToSpawn) {
  AddSpawnHook([&](const AnyGreenlet& g) { events_.push_back(g.name()); });
  Spawn([] {});
  Spawn({.name = "named"}, [] {});
  SpawnLater(absl::Seconds(1), [] {});
  EXPECT_THAT(events_, ElementsAre("greenlet-1", "named", "greenlet-3"));
  Spawn([] {}).Link([](const AnyGreenlet&) {});
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(events_.size(), 5u) << "a link's greenlet counts as well";
}

TEST_F(SpawnHookTest, HooksAreCalledInTheirOrderUntilTheyAreRemoved) {
  const SpawnHookId a = AddSpawnHook([&](const AnyGreenlet&) { events_.push_back("a"); });
  const SpawnHookId b = AddSpawnHook([&](const AnyGreenlet&) { events_.push_back("b"); });
  Spawn([] {});
  EXPECT_THAT(events_, ElementsAre("a", "b"));
  EXPECT_TRUE(RemoveSpawnHook(a));
  EXPECT_FALSE(RemoveSpawnHook(a));
  Spawn([] {});
  EXPECT_THAT(events_, ElementsAre("a", "b", "b"));
  EXPECT_TRUE(RemoveSpawnHook(b));
  Spawn([] {});
  EXPECT_EQ(events_.size(), 3u);
  const SpawnHookId c = AddSpawnHook([](const AnyGreenlet&) {});
  EXPECT_NE(c, a);
  EXPECT_NE(c, b);
}

TEST_F(SpawnHookTest, AHookMayRemoveItselfAndAddOthers) {
  SpawnHookId id = 0;
  id = AddSpawnHook([&](const AnyGreenlet&) {
    events_.push_back("once");
    EXPECT_TRUE(RemoveSpawnHook(id));
    AddSpawnHook([&](const AnyGreenlet&) { events_.push_back("later"); });
  });
  Spawn([] {});
  EXPECT_THAT(events_, ElementsAre("once"));
  Spawn([] {});
  EXPECT_THAT(events_, ElementsAre("once", "later"));
}

TEST_F(SpawnHookTest, WhatAHookSpawnsIsNotToldOf) {
  int calls = 0;
  AddSpawnHook([&](const AnyGreenlet&) {
    ++calls;
    Spawn([] {});
  });
  Spawn([] {});
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(calls, 1);
}

TEST_F(SpawnHookTest, AHookMayNameLinkAndKillTheGreenlet) {
  AddSpawnHook([&](const AnyGreenlet& g) {
    if (g.name() == "victim") {
      g.KillSoon();
    } else {
      g.set_name("renamed");
      g.RawLink([&](const AnyGreenlet& ended) { events_.push_back(ended.name()); });
    }
  });
  bool ran = false;
  const Greenlet<> victim = Spawn({.name = "victim"}, [&] { ran = true; });
  EXPECT_TRUE(victim.killed());
  Spawn([] {});
  EXPECT_TRUE(JoinHub());
  EXPECT_FALSE(ran);
  EXPECT_THAT(events_, ElementsAre("renamed"));
}

TEST_F(SpawnHookTest, AHookMayKillWhatWasToStartLater) {
  AddSpawnHook([](const AnyGreenlet& g) { g.KillSoon(); });
  bool ran = false;
  const Greenlet<> g = SpawnLater(absl::Seconds(1), [&] { ran = true; });
  EXPECT_TRUE(g.killed());
  EXPECT_TRUE(JoinHub());
  EXPECT_FALSE(ran);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(SpawnHookTest, WhatAHookThrowsIsReportedAndGoesNoFurther) {
  SetErrorHandler([&](const UnhandledException& e) {
    events_.push_back("reported of " + e.greenlet.name());
  });
  AddSpawnHook([](const AnyGreenlet&) { throw std::runtime_error("x"); });
  EXPECT_EQ(Spawn({.name = "g"}, [] {}).Get(), absl::OkStatus());
  EXPECT_THAT(events_, ElementsAre("reported of g"));
}

TEST_F(SpawnHookTest, AnEndHookIsCalledHoweverTheGreenletEnds) {
  SetErrorHandler([](const UnhandledException&) {});
  AddEndHook([&](const AnyGreenlet& g) {
    EXPECT_TRUE(g.ready());
    events_.push_back(g.name() + (g.killed()                 ? " killed"
                                  : g.exception() != nullptr ? " failed"
                                                             : " returned"));
  });
  Spawn({.name = "a"}, [] {}).Join();
  Spawn({.name = "b"}, [] { throw std::runtime_error("x"); }).Join();
  const Greenlet<> c = Spawn({.name = "c"}, [] { Sleep(absl::InfiniteDuration()); });
  Yield();
  c.Kill();
  Spawn({.name = "d"}, [] {}).Kill();
  EXPECT_THAT(events_, ElementsAre("a returned", "b failed", "c killed", "d killed"));
}

TEST_F(SpawnHookTest, AnEndHookIsCalledBeforeJoinersAreWoken) {
  AddEndHook([&](const AnyGreenlet& g) { events_.push_back("end of " + g.name()); });
  Greenlet<> g = Spawn({.name = "g"}, [] {});
  Spawn({.name = "joiner"}, [&] {
    g.Join();
    events_.push_back("joined");
  }).Join();
  EXPECT_THAT(events_, ElementsAre("end of g", "joined", "end of joiner"));
}

TEST_F(SpawnHookTest, SpawnsAndEndsAreInBalance) {
  int live = 0;
  AddSpawnHook([&](const AnyGreenlet& g) {
    ++live;
    if (g.id() % 10 == 0) g.KillSoon();
  });
  AddEndHook([&](const AnyGreenlet&) { --live; });
  for (int i = 0; i < 100; ++i) {
    Spawn([i] {
      Sleep(absl::Seconds(i % 7));
      Spawn([] { Sleep(absl::Seconds(1)); });
    });
  }
  Sleep(absl::Seconds(3));
  EXPECT_GT(live, 0);
  scope_.reset();
  EXPECT_EQ(live, 0);
}

TEST_F(SpawnHookTest, HooksBelongToTheirHub) {
  AddSpawnHook([&](const AnyGreenlet&) { events_.push_back("told"); });
  std::thread([] {
    EXPECT_FALSE(RemoveSpawnHook(1));
    EXPECT_EQ(Hub::Current(), nullptr);
    HubScope scope;
    Spawn([] {}).Join();
    EXPECT_FALSE(RemoveSpawnHook(1));
  }).join();
  EXPECT_THAT(events_, IsEmpty());
}

// What a hook kills has ended by the time that it would be watched.
TEST_F(SpawnHookTest, MayKillWhatGroupsAndPilesSpawn) {
  const std::vector<int> items = {1, 2, 3};
  Pool pool(2);
  const SpawnHookId id = AddSpawnHook([](const AnyGreenlet& g) { g.KillSoon(); });
  EXPECT_THROW((void)pool.Map([](int i) { return i; }, items), ItemKilled);
  GreenPile<int> pile;
  pile.Spawn([] { return 1; });
  EXPECT_THROW((void)pile.Next(), ItemKilled);
  DagPool<std::string, int> dag;
  EXPECT_TRUE(dag.Spawn("a", {}, [](const std::string&, auto&) { return 1; }).ok());
  EXPECT_ANY_THROW((void)dag.Get("a"));
  EXPECT_TRUE(RemoveSpawnHook(id));
  EXPECT_EQ(pool.size(), 0u);
}

}  // namespace
}  // namespace grove
