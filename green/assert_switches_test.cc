#include "grove/green/assert_switches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/testing/main_greenlet_test.h"

namespace grove {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Message(AssertSwitches& a) { return std::string(a.Check().message()); }

GREENLET_TEST(AssertSwitches, IsContentWithAYieldAndWithASleep) {
  {
    AssertSwitches a;
    Yield();
  }
  {
    AssertSwitches a;
    Sleep(absl::Hours(1));
  }
  AssertSwitches a({.max_blocking_time = absl::ZeroDuration()});
  Sleep(absl::Hours(1));
  Yield();
  EXPECT_EQ(Message(a), "");
}

GREENLET_TEST(AssertSwitches, ReportsWhoHasNotLetOthersRun) {
  Spawn({.name = "hog"}, [] {
    AssertSwitches a;
    EXPECT_THAT(Message(a),
                AllOf(HasSubstr("assert_switches_test.cc:"), HasSubstr("greenlet 'hog'"),
                      HasSubstr("has not let others run")));
  }).Join();
}

GREENLET_TEST(AssertSwitches, MeasuresEachStretchThatTheGreenletRuns) {
  const auto stretches = [this](absl::Duration first, absl::Duration second,
                                absl::Duration third) {
    AssertSwitches a({.max_blocking_time = absl::Milliseconds(10)});
    clock().Advance(first);
    Yield();
    clock().Advance(second);
    Sleep(absl::Seconds(1));
    clock().Advance(third);
    return Message(a);
  };
  const absl::Duration ok = absl::Milliseconds(10);
  const absl::Duration long_one = absl::Milliseconds(11);
  EXPECT_EQ(stretches(ok, ok, ok), "");
  EXPECT_THAT(stretches(long_one, ok, ok), HasSubstr("at a stretch for 11ms"));
  EXPECT_THAT(stretches(ok, long_one, ok), HasSubstr("longer than 10ms"));
  EXPECT_THAT(stretches(ok, ok, long_one), HasSubstr("at a stretch for 11ms"));
}

GREENLET_TEST(AssertSwitches, WhatOthersDoMeanwhileDoesNotCount) {
  const auto other = Spawn([this] {
    clock().Advance(absl::Hours(1));
    Yield();
    clock().Advance(absl::Hours(1));
  });
  AssertSwitches a({.max_blocking_time = absl::Milliseconds(10)});
  AssertSwitches nested({.max_blocking_time = absl::Milliseconds(10)});
  Yield();
  Yield();
  other.Join();
  EXPECT_EQ(Message(nested), "");
  EXPECT_EQ(Message(a), "");
}

GREENLET_TEST(AssertSwitches, NestedInAnotherItStillSeesThatNothingWasSwitched) {
  AssertSwitches outer;
  Yield();
  {
    AssertSwitches inner;
    EXPECT_THAT(Message(inner), HasSubstr("has not let others run"));
  }
}

GREENLET_TEST(AssertSwitches, OfTheHubOnlyWantsItToLookForEvents) {
  AssertSwitches yields({.hub_only = true});
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(Message(yields), "");
  const auto other = Spawn([this] { clock().Advance(absl::Seconds(1)); });
  AssertSwitches waits({.max_blocking_time = absl::Milliseconds(10), .hub_only = true});
  other.Join();
  Sleep(absl::Milliseconds(1));
  // Another one has held it up.
  EXPECT_THAT(Message(waits), HasSubstr("has kept the hub from its events for 1s"));
}

GREENLET_TEST(AssertSwitches, WhatAnExceptionEndsIsNotChecked) {
  EXPECT_THROW(
      {
        AssertSwitches a;
        throw std::runtime_error("x");
      },
      std::runtime_error);
}

class AssertSwitchesOfMain : public MainGreenletTest {};

TEST_F(AssertSwitchesOfMain, CountsFromBeforeTheFirstTurn) {
  AssertSwitches a({.max_blocking_time = absl::Milliseconds(10)});
  clock_.Advance(absl::Milliseconds(11));
  Sleep(absl::Hours(1));
  EXPECT_THAT(Message(a), HasSubstr("at a stretch for 11ms"));
}

TEST(AssertSwitchesDeathTest, NotToSwitchIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        AssertSwitches a;
      },
      "greenlet 'main' has not let others run");
}

}  // namespace
}  // namespace grove
