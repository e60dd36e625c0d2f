#include "tools/soak/soak.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grove/green/internal/sanitizer.h"

namespace grove::soak {
namespace {

// A switch costs ThreadSanitizer microseconds.
constexpr uint64_t kScenarios = GROVE_TSAN ? 400 : 2000;

// The same work as the long one does, bounded by count and not by time.
TEST(Soak, NothingIsLostHangsOrIsLeft) {
  for (const uint64_t seed : {1, 2}) {
    const Summary summary =
        soak::Run({.seed = seed, .greenlets = 2000, .scenarios = kScenarios});
    EXPECT_THAT(summary.broken, ::testing::IsEmpty());
    EXPECT_THAT(summary.leaks, ::testing::IsEmpty());
    EXPECT_EQ(summary.scenarios, kScenarios);
    EXPECT_GT(summary.kills, 0u);
    EXPECT_GT(summary.greenlets, 5 * kScenarios);
  }
}

}  // namespace
}  // namespace grove::soak
