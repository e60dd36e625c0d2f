#include "grove/green/pile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using ::testing::ElementsAre;

class PileTest : public testing::Test {
 protected:
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }
  static auto After(int seconds) {
    return [seconds] {
      Sleep(absl::Seconds(seconds));
      return seconds;
    };
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

TEST_F(PileTest, GivesResultsInTheOrderOfTheSpawns) {
  GreenPile<int> pile;
  for (const int s : {3, 1, 2}) pile.Spawn(After(s));
  EXPECT_EQ(pile.size(), 3u);
  std::vector<int> all;
  for (int i : pile) all.push_back(i);
  EXPECT_THAT(all, ElementsAre(3, 1, 2));
  EXPECT_LT(Elapsed(), absl::Seconds(4));
  EXPECT_EQ(pile.size(), 0u);
}

TEST_F(PileTest, OfNothingIsAtItsEndAtOnce) {
  GreenPile<int> pile;
  EXPECT_EQ(pile.Next(), std::nullopt);
}

TEST_F(PileTest, CanBeUsedAgain) {
  GreenPile<std::string> pile;
  pile.Spawn([] { return "a"; });
  EXPECT_EQ(pile.Next(), "a");
  EXPECT_EQ(pile.Next(), std::nullopt);
  pile.Spawn([] { return std::string("b"); });
  EXPECT_EQ(pile.Next(), "b");
}

TEST_F(PileTest, FunctionsMayReturnNothing) {
  GreenPile<> pile;
  int n = 0;
  for (int i = 0; i < 5; ++i) pile.Spawn([&] { ++n; });
  while (pile.Next()) {
  }
  EXPECT_EQ(n, 5);
}

TEST_F(PileTest, SpawnBlocksWhileItsPoolIsFull) {
  GreenPile<int> pile(2);
  for (int i = 0; i < 6; ++i) pile.Spawn(After(1));
  EXPECT_GE(Elapsed(), absl::Seconds(2));
  int n = 0;
  while (pile.Next()) ++n;
  EXPECT_EQ(n, 6);
}

TEST_F(PileTest, SeveralShareAPoolAndKeepTheirResultsApart) {
  Pool pool(2);
  GreenPile<int> a(&pool), b(&pool);
  for (int i = 1; i < 4; ++i) {
    a.Spawn(After(i));
    b.Spawn(After(10 * i));
  }
  EXPECT_EQ(b.Next(), 10);
  for (const int i : {1, 2, 3}) EXPECT_EQ(a.Next(), i);
  EXPECT_EQ(a.Next(), std::nullopt);
  EXPECT_EQ(b.Next(), 20);
  EXPECT_EQ(b.Next(), 30);
}

TEST_F(PileTest, AGroupWillDoAsWell) {
  Group group;
  GreenPile<int> pile(&group);
  for (int i = 0; i < 100; ++i) pile.Spawn(After(1));
  EXPECT_EQ(group.size(), 100u);
  while (pile.Next()) {
  }
  EXPECT_LT(Elapsed(), absl::Seconds(2));
}

TEST_F(PileTest, AnErrorIsThrownAtItsPlaceAndTheRestFollows) {
  GreenPile<int> pile;
  pile.Spawn(After(1));
  pile.Spawn([]() -> int { throw std::runtime_error("x"); });
  pile.Spawn(After(2));
  EXPECT_EQ(pile.Next(), 1);
  EXPECT_THROW(pile.Next(), std::runtime_error);
  EXPECT_EQ(pile.Next(), 2);
}

TEST_F(PileTest, KilledOnesAreErrors) {
  Pool pool(5);
  GreenPile<int> pile(&pool);
  pile.Spawn(After(1));
  pool.Kill();
  EXPECT_THROW(pile.Next(), ItemKilled);
}

TEST_F(PileTest, AMemberOfAFullPoolMayUseAPile) {
  Pool pool(1);
  const auto g = pool.Spawn([&] {
    GreenPile<int> pile(&pool);
    for (const int s : {3, 1, 2}) pile.Spawn(After(s));
    std::vector<int> all;
    for (int i : pile) all.push_back(i);
    return all;
  });
  EXPECT_THAT(*g.Get(), ElementsAre(3, 1, 2));
  EXPECT_GE(Elapsed(), absl::Seconds(6));
  EXPECT_EQ(pool.free_count(), 1);
}

TEST_F(PileTest, ItsEndEndsWhatRuns) {
  bool ended = false;
  {
    GreenPile<int> pile;
    pile.Spawn([&] {
      struct AtEnd {
        ~AtEnd() { *ended = true; }
        bool* ended;
      } at_end{&ended};
      Sleep(absl::InfiniteDuration());
      return 1;
    });
    Yield();
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(LiveGreenlets(), 0u);
}

TEST_F(PileTest, NextIsKilledWhileItBlocksAndNothingIsLost) {
  GreenPile<int> pile;
  pile.Spawn(After(5));
  const auto killed = Spawn([&] { pile.Next(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  EXPECT_FALSE(WithTimeout(absl::Seconds(1), [&] { pile.Next(); }).ok());
  EXPECT_EQ(pile.Next(), 5);
}

using PileDeathTest = PileTest;

TEST_F(PileDeathTest, TwoThatTakeResultsAreFatal) {
  GreenPile<int> pile;
  pile.Spawn(After(5));
  const auto other = Spawn([&] { pile.Next(); });
  Yield();
  EXPECT_DEATH(pile.Next(), "waits for the next result of a group, for which greenlet");
}

}  // namespace
}  // namespace grove
