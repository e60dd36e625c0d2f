#include "grove/hub/duration_histogram.h"

#include <gtest/gtest.h>

namespace grove {
namespace {

using hub_internal::DurationHistogram;

TEST(DurationHistogram, OneThatIsEmptyHasNoDurations) {
  const DurationDistribution d = DurationHistogram().Copy();
  EXPECT_EQ(d.count(), 0u);
  EXPECT_EQ(d.AtMost(0.99), absl::ZeroDuration());
  EXPECT_EQ(d.mean(), absl::ZeroDuration());
}

TEST(DurationHistogram, CountsByPowersOfTwo) {
  DurationHistogram h;
  for (const MonotonicNanos n : {-5, 0, 1, 2, 3, 4, 1023, 1024}) h.Add(n);
  const DurationDistribution d = h.Copy();
  EXPECT_EQ(d.counts[0], 3u);
  EXPECT_EQ(d.counts[1], 2u);
  EXPECT_EQ(d.counts[2], 1u);
  EXPECT_EQ(d.counts[9], 1u);
  EXPECT_EQ(d.counts[10], 1u);
  EXPECT_EQ(d.count(), 8u);
  EXPECT_EQ(d.total, absl::Nanoseconds(1 + 2 + 3 + 4 + 1023 + 1024));
  EXPECT_EQ(d.longest, absl::Nanoseconds(1024));
}

TEST(DurationHistogram, WhatTookLongestIsInTheLastBucketHoweverLong) {
  DurationHistogram h;
  h.Add(absl::ToInt64Nanoseconds(absl::Hours(24 * 365)));
  const DurationDistribution d = h.Copy();
  EXPECT_EQ(d.counts.back(), 1u);
  EXPECT_EQ(d.AtMost(0.5), absl::Hours(24 * 365));
}

TEST(DurationHistogram, AShareTookAtMostThePowerOfTwoAboveIt) {
  DurationHistogram h;
  for (int i = 0; i < 99; ++i) h.Add(100);
  h.Add(5000);
  const DurationDistribution d = h.Copy();
  EXPECT_EQ(d.AtMost(0.5), absl::Nanoseconds(128));
  EXPECT_EQ(d.AtMost(0.99), absl::Nanoseconds(128));
  EXPECT_EQ(d.AtMost(1), absl::Nanoseconds(5000));
  EXPECT_EQ(d.mean(), absl::Nanoseconds(149));
}

}  // namespace
}  // namespace grove
