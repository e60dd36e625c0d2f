#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/greenlet_test_util.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using test_util::Error;
using test_util::Oops;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LinkTest : public test_util::GreenletTestBase {};

// --- links (GL-15 to GL-18) ---

TEST_F(LinkTest, AThousandLinksFireInOrder) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    if (i % 3 == 0) {
      g.LinkValue([&, i](const AnyGreenlet&) { order.push_back(i); });
    } else {
      g.Link([&, i](const AnyGreenlet&) { order.push_back(i); });
    }
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(LinkTest, AThousandRawLinksFireInOrder) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    g.RawLink([&, i](const AnyGreenlet&) { order.push_back(i); });
  }
  EXPECT_TRUE(JoinHub());
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(LinkTest, ALinkIsGivenTheGreenletAndRunsInAnotherThatMayBlock) {
  AnyGreenlet given;
  AnyGreenlet ran_in;
  const Greenlet<> g = Spawn([] {});
  g.Link([&](const AnyGreenlet& ended) {
    EXPECT_TRUE(ended.ready());
    given = ended;
    Sleep(absl::Seconds(1));
    ran_in = CurrentGreenlet();
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(given, g);
  ASSERT_TRUE(ran_in);
  EXPECT_NE(ran_in.id(), g.id());
  EXPECT_NE(ran_in.id(), 0u);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
}

TEST_F(LinkTest, ALinkThatIsAddedAfterTheEndFiresAsWell) {
  const Greenlet<> g = Spawn([] {});
  g.Join();
  std::vector<std::string> order;
  g.Link([&](const AnyGreenlet&) { order.push_back("link"); });
  g.RawLink([&](const AnyGreenlet&) { order.push_back("raw"); });
  EXPECT_TRUE(order.empty()) << "not out of the call that adds it";
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(order, testing::UnorderedElementsAre("link", "raw"));
  g.RawLink([&](const AnyGreenlet& again) {
    order.push_back("later");
    again.RawLink([&](const AnyGreenlet&) { order.push_back("from a link"); });
  });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(order.size(), 4u);
  EXPECT_EQ(order.back(), "from a link");
}

TEST_F(LinkTest, LinksFireOnceAndAreGone) {
  const Greenlet<> g = Spawn([] {});
  int fired = 0;
  const LinkId id = g.RawLink([&](const AnyGreenlet&) { ++fired; });
  EXPECT_TRUE(JoinHub());
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(g.Unlink(id));
}

// How a greenlet ends, and which links have to fire then.
struct Ending {
  const char* name;
  void (*end)(const Greenlet<>&);
  bool fails;
};

TEST_F(LinkTest, LinksFireAccordingToHowItEnded) {
  static bool throws = false;
  const Ending endings[] = {
      {"returns", [](const Greenlet<>&) {}, false},
      {"throws", [](const Greenlet<>&) { throws = true; }, true},
      {"killed before it starts", [](const Greenlet<>& g) { g.Kill(); }, false},
      {"killed before it starts, by an error",
       [](const Greenlet<>& g) { g.Kill({.error = Error("no")}); }, true},
      {"killed while it waits",
       [](const Greenlet<>& g) {
         Yield();
         g.Kill();
       },
       false},
      {"killed while it waits, by an error",
       [](const Greenlet<>& g) {
         Yield();
         g.Kill({.error = Error("no")});
       },
       true},
      {"something was thrown into it",
       [](const Greenlet<>& g) {
         Yield();
         g.Throw(Error("no"));
       },
       true},
  };
  for (const Ending& ending : endings) {
    for (const bool link_first : {true, false}) {
      throws = false;
      const Greenlet<> g = Spawn([] {
        if (throws) throw Oops{1};
        Sleep(absl::Seconds(1));
      });
      std::multiset<std::string> fired;
      const auto add_links = [&] {
        g.Link([&](const AnyGreenlet&) { fired.insert("always"); });
        g.LinkValue([&](const AnyGreenlet&) { fired.insert("value"); });
        g.LinkException([&](const AnyGreenlet&) { fired.insert("exception"); });
        g.RawLink([&](const AnyGreenlet&) { fired.insert("raw"); });
      };
      if (link_first) add_links();
      ending.end(g);
      g.Join();
      if (!link_first) add_links();
      EXPECT_TRUE(JoinHub());
      EXPECT_THAT(fired, testing::UnorderedElementsAre(
                             "always", "raw", ending.fails ? "exception" : "value"))
          << ending.name << (link_first ? ", linked before" : ", linked after");
      EXPECT_EQ(g.successful(), !ending.fails) << ending.name;
    }
  }
}

TEST_F(LinkTest, UnlinkTakesALinkBack) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> fired;
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(1); });
  const LinkId second = g.RawLink([&](const AnyGreenlet&) { fired.push_back(2); });
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(3); });
  EXPECT_TRUE(g.Unlink(second));
  EXPECT_FALSE(g.Unlink(second));
  EXPECT_FALSE(g.Unlink(12345));
  EXPECT_FALSE(Spawn([] {}).Unlink(1)) << "one without any links";
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(fired, ElementsAre(1, 3));
}

TEST_F(LinkTest, ALinkMayTakeBackALaterOne) {
  const Greenlet<> g = Spawn([] {});
  std::vector<int> fired;
  LinkId third = 0;
  g.RawLink([&](const AnyGreenlet& ended) {
    fired.push_back(1);
    EXPECT_TRUE(ended.Unlink(third));
  });
  g.RawLink([&](const AnyGreenlet&) { fired.push_back(2); });
  third = g.RawLink([&](const AnyGreenlet&) { fired.push_back(3); });
  EXPECT_TRUE(JoinHub());
  EXPECT_THAT(fired, ElementsAre(1, 2));
}

TEST_F(LinkTest, WhatALinkThrowsIsReportedAndTheOthersFire) {
  const Greenlet<> g = Spawn({.name = "g"}, [] {});
  int fired = 0;
  g.RawLink([](const AnyGreenlet&) { throw std::runtime_error("raw"); });
  g.Link([](const AnyGreenlet&) { throw std::runtime_error("green"); });
  g.RawLink([&](const AnyGreenlet&) { ++fired; });
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(fired, 1);
  ASSERT_EQ(reports_.size(), 2u);
  EXPECT_EQ(reports_[0], "g: raw");
  EXPECT_THAT(reports_[1], HasSubstr("green"));
}

TEST_F(LinkTest, ALinkKeepsTheGreenletThatItIsGiven) {
  std::string name;
  {
    const Greenlet<> g = Spawn({.name = "forgotten"}, [] { Sleep(absl::Seconds(1)); });
    g.Link([&](const AnyGreenlet& ended) {
      Sleep(absl::Seconds(1));
      name = ended.name();
    });
  }
  EXPECT_TRUE(JoinHub());
  EXPECT_EQ(name, "forgotten");
}

}  // namespace
}  // namespace grove
