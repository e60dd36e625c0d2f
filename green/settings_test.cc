// What the settings of hub/config.h do to greenlets. Each in a process of its own, in
// which nothing has been read.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/stack.h"
#include "grove/green/sleep.h"
#include "grove/hub/config.h"

namespace grove {
namespace {

using green_internal::GetStackStats;
using green_internal::kStackFactor;
using ::testing::ExitedWithCode;

size_t StackSizeOf(const AnyGreenlet& g) { return g.core()->stack.size() / kStackFactor; }

TEST(SettingsDeathTest, StackSizeIsThatOfGreenletsThatAskForNone) {
  EXPECT_EXIT(
      {
        setenv("GROVE_STACK_SIZE", "600kb", 1);
        HubScope scope;
        const auto nothing = [] {};
        const Greenlet<> first = Spawn(nothing);
        const Greenlet<> other = Spawn({.stack_size = 32 * 1024}, nothing);
        const bool sizes = StackSizeOf(first) == 1024 * 1024 &&  // rounded up
                           StackSizeOf(other) == 32 * 1024;
        first.Join();
        other.Join();
        _Exit(sizes ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST(SettingsDeathTest, AStackThatIsTooSmallIsRefused) {
  EXPECT_DEATH(
      {
        setenv("GROVE_STACK_SIZE", "16kb", 1);
        HubScope scope;
      },
      "GROVE_STACK_SIZE in the environment is '16kb', and has to be a size in bytes, or "
      "with kb, mb or gb, at least 32kb");
}

TEST(SettingsDeathTest, WarmStacksIsHowManyIdleOnesAHubKeeps) {
  EXPECT_EXIT(
      {
        Config::Set("warm_stacks", "3").IgnoreError();
        HubScope scope;
        {
          std::vector<Greenlet<>> all;
          for (int i = 0; i < 10; ++i) all.push_back(Spawn([] {}));
          for (const Greenlet<>& g : all) g.Join();
        }
        Yield();
        // Eleven with the loop's; that and three are kept.
        const green_internal::StackStats stats = GetStackStats();
        _Exit(stats.cut == 11 && stats.idle == 7 ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST(SettingsDeathTest, TheFirstHubFixesWhatHubsUse) {
  EXPECT_EXIT(
      {
        if (!Config::Set("stack_size", "128kb").ok()) _Exit(1);
        HubScope scope;
        const absl::Status late = Config::Set("stack_size", "64kb");
        _Exit(late.code() == absl::StatusCode::kFailedPrecondition ? 0 : 2);
      },
      ExitedWithCode(0), "");
}

}  // namespace
}  // namespace grove
