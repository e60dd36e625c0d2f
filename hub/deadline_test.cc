#include "grove/hub/deadline.h"

#include <gtest/gtest.h>

#include "grove/hub/hub.h"

namespace grove {
namespace {

TEST(Deadline, IsInfiniteByDefault) {
  Deadline d;
  EXPECT_TRUE(d.infinite());
  EXPECT_FALSE(d.HasPassed());
  EXPECT_EQ(d.Remaining(), absl::InfiniteDuration());
  EXPECT_TRUE(Deadline(absl::InfiniteDuration()).infinite());
}

TEST(Deadline, ZeroAndNegativeHavePassed) {
  EXPECT_TRUE(Deadline(absl::ZeroDuration()).HasPassed());
  EXPECT_TRUE(Deadline(-absl::Seconds(1)).HasPassed());
  EXPECT_TRUE(Deadline(-absl::InfiniteDuration()).HasPassed());
  EXPECT_TRUE(Deadline::Passed().HasPassed());
  EXPECT_EQ(Deadline::Passed().Remaining(), absl::ZeroDuration());
}

TEST(Deadline, CountsOnTheClockOfTheHub) {
  ManualClock clock;
  Hub hub({.clock = &clock});
  Deadline d = absl::Seconds(5);
  EXPECT_EQ(d.Remaining(), absl::Seconds(5));
  clock.Advance(absl::Seconds(5) - absl::Nanoseconds(1));
  EXPECT_FALSE(d.HasPassed());
  clock.Advance(absl::Nanoseconds(1));
  EXPECT_TRUE(d.HasPassed());
  EXPECT_EQ(d.Remaining(), absl::ZeroDuration());
}

TEST(Deadline, RoundsUpAndSaturates) {
  ManualClock clock;
  Hub hub({.clock = &clock});
  EXPECT_EQ(Deadline(absl::Nanoseconds(1) / 4).when(), clock.Now() + 1);
  EXPECT_TRUE(Deadline(absl::Hours(24 * 365 * 400ll)).infinite());
}

TEST(Deadline, EarlierComparesLess) {
  EXPECT_LT(Deadline::At(1), Deadline::At(2));
  EXPECT_LT(Deadline::At(2), Deadline());
  EXPECT_LT(Deadline::Passed(), Deadline::At(0));
}

TEST(ManualClockDeathTest, DoesNotStepBack) {
  ManualClock clock;
  EXPECT_DEATH(clock.Advance(-absl::Seconds(1)), "cannot step back");
}

}  // namespace
}  // namespace grove
