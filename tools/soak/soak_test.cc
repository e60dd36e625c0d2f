#include "tools/soak/soak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grove::soak {
namespace {

// The same work as the long one does, bounded by count and not by time.
TEST(Soak, NothingIsLostHangsOrIsLeft) {
  for (const uint64_t seed : {1, 2}) {
    const Summary summary =
        soak::Run({.seed = seed, .greenlets = 2000, .scenarios = 2000});
    EXPECT_THAT(summary.broken, ::testing::IsEmpty());
    EXPECT_THAT(summary.leaks, ::testing::IsEmpty());
    EXPECT_EQ(summary.scenarios, 2000u);
    EXPECT_GT(summary.kills, 0u);
    EXPECT_GT(summary.greenlets, 10'000u);
  }
}

}  // namespace
}  // namespace grove::soak
