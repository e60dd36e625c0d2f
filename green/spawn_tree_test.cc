#include "grove/green/spawn_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/local.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

void SleepForEver() { Sleep(absl::InfiniteDuration()); }

class SpawnTreeTest : public testing::Test {
 protected:
  ManualClock clock_;
  HubScope scope_{HubOptions{.name = "here", .clock = &clock_}};
};

TEST_F(SpawnTreeTest, OfTheMainGreenletAlone) {
  EXPECT_EQ(FormatSpawnTree(),
            "hub 'here', 0 greenlets beside the main one\ngreenlet 'main': runs\n");
}

TEST_F(SpawnTreeTest, EachStandsBelowItsSpawnerInTheOrderOfTheSpawns) {
  Spawn({.name = "a"}, [] {
    Spawn({.name = "a1"}, &SleepForEver);
    Spawn({.name = "a2"}, [] { Spawn({.name = "a2x"}, &SleepForEver).Join(); });
    SleepForEver();
  });
  Spawn({.name = "b"}, &SleepForEver);
  Sleep(absl::Seconds(1));
  Spawn({.name = "c"}, [] {});
  const std::string site = ", spawned at green/spawn_tree_test.cc:[0-9]+: ";
  const std::string forever = "waits for the end of a sleep that has none\n";
  EXPECT_THAT(FormatSpawnTree(),
              MatchesRegex("hub 'here', 6 greenlets beside the main one\n"
                           "greenlet 'main': runs\n"
                           "  greenlet 'a' .#1." +
                           site + forever + "    greenlet 'a1' .#3." + site + forever +
                           "    greenlet 'a2' .#4." + site +
                           "waits for the end of greenlet 'a2x' .#5.\n"
                           "      greenlet 'a2x' .#5." +
                           site + forever + "  greenlet 'b' .#2." + site + forever +
                           "  greenlet 'c' .#6." + site + "has not started\n"));
}

TEST_F(SpawnTreeTest, ThoseWhoseSpawnerHasEndedAreNamedWithItsId) {
  Spawn([] {
    Spawn({.name = "orphan"}, [] { Spawn({.name = "below"}, &SleepForEver).Join(); });
  }).Join();
  Yield();
  EXPECT_THAT(FormatSpawnTree(),
              MatchesRegex("hub 'here', 2 greenlets beside the main one\n"
                           "greenlet 'main': runs\n"
                           "spawned by #1, which has ended:\n"
                           "  greenlet 'orphan' [^\n]*\n"
                           "    greenlet 'below' [^\n]*\n"));
}

TEST_F(SpawnTreeTest, CanBeSeenFromACallback) {
  std::string text;
  Spawn({.name = "a"}, &SleepForEver);
  ThisHub().RunCallback([&] { text = FormatSpawnTree(); });
  Sleep(absl::Seconds(1));
  EXPECT_THAT(text, HasSubstr("greenlet 'main': waits for the end of a sleep, in 1s\n"));
  EXPECT_THAT(text, HasSubstr("  greenlet 'a' (#1)"));
}

TEST_F(SpawnTreeTest, ShowsTheLocals) {
  static GreenletLocal<std::string> local;
  local.get();
  EXPECT_THAT(FormatSpawnTree({.locals = true}),
              MatchesRegex("hub [^\n]*\ngreenlet 'main': runs\n"
                           "  has a std::[^\n]*string[^\n]* of the GreenletLocal at "
                           "green/spawn_tree_test.cc:[0-9]+\n"));
}

TEST_F(SpawnTreeTest, ALongChainIsShownInATextOfReasonableSize) {
  std::function<void(int)> chain = [&](int left) {
    if (left > 0) Spawn([&, left] { chain(left - 1); });
    SleepForEver();
  };
  Spawn([&] { chain(2000); });
  for (int i = 0; i < 2002; ++i) Yield();
  const std::string text = FormatSpawnTree();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2003);
  EXPECT_LT(text.size(), 2003u * 250u);
}

TEST(SpawnTreeWithoutHubTest, IsEmpty) {
  std::thread([] {
    EXPECT_EQ(FormatSpawnTree(), "");
    EXPECT_EQ(Hub::Current(), nullptr);
  }).join();
}

// --- parent() (GL-21) ---

TEST_F(SpawnTreeTest, AParentIsTheSpawnerWhileItLives) {
  AnyGreenlet child;
  const Greenlet<> g = Spawn([&] {
    child = Spawn(&SleepForEver);
    EXPECT_EQ(child.parent(), CurrentGreenlet());
    Sleep(absl::Seconds(1));
  });
  Yield();
  EXPECT_EQ(child.parent(), g);
  EXPECT_EQ(g.parent(), CurrentGreenlet()) << "the main greenlet";
  EXPECT_FALSE(CurrentGreenlet().parent());
  g.Join();
  EXPECT_FALSE(child.parent()) << "though there is a handle to it";
  EXPECT_EQ(child.parent_id(), g.id());
}

}  // namespace
}  // namespace grove
