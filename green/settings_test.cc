// What the settings of hub/config.h do to greenlets. Each in a process of its own, in
// which nothing has been read.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <string>
#include <variant>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/internal/stack.h"
#include "grove/green/monitor.h"
#include "grove/green/sleep.h"
#include "grove/green/thread_pool.h"
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

TEST(SettingsDeathTest, ThreadPoolsHaveTheirLimitsFromTheSettings) {
  EXPECT_EXIT(
      {
        setenv("GROVE_THREAD_POOL_THREADS", "3", 1);
        setenv("GROVE_THREAD_POOL_PROCESS_LIMIT", "7", 1);
        HubScope scope;
        ThreadPool told({.max_threads = 2});
        ThreadPool not_told;
        const bool right = told.max_threads() == 2 && not_told.max_threads() == 3 &&
                           ThreadPool::process_limit() == 7;
        _Exit(right ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST(SettingsDeathTest, AnIdleThreadOfAPoolEndsWhenTheSettingSaysSo) {
  EXPECT_EXIT(
      {
        setenv("GROVE_THREAD_POOL_IDLE_TIMEOUT", "1ms", 1);
        HubScope scope;
        ThreadPool by_setting;
        ThreadPool patient({.idle_timeout = absl::Hours(1)});
        const auto nothing = [] {};
        by_setting.Apply(nothing).IgnoreError();
        patient.Apply(nothing).IgnoreError();
        while (by_setting.size() > 0) Sleep(absl::Milliseconds(1));
        _Exit(patient.size() == 1 ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST(SettingsDeathTest, MonitorsLookAtWhatTheSettingsSay) {
  EXPECT_EXIT(
      {
        setenv("GROVE_MAX_BLOCKING_TIME", "7ms", 1);
        setenv("GROVE_MAX_MEMORY_USAGE", "2gb", 1);
        setenv("GROVE_MEMORY_MONITOR_PERIOD", "3s", 1);
        setenv("GROVE_PRINT_BLOCKING_REPORTS", "no", 1);
        const MonitorOptions options;
        const bool right = options.max_blocking_time == absl::Milliseconds(7) &&
                           options.max_memory_usage == size_t{2} << 30 &&
                           options.memory_period == absl::Seconds(3) && !options.print;
        _Exit(right ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

// The one of the process, by the environment: it names what holds up the hub.
TEST(SettingsDeathTest, StartMonitorPrintsWhoHoldsUpAHub) {
  EXPECT_EXIT(
      {
        setenv("GROVE_MAX_BLOCKING_TIME", "1ms", 1);
        HubScope scope;
        Monitor& monitor = StartMonitor();
        std::atomic<bool> told = false;
        monitor.Subscribe([&](const MonitorEvent& e) {
          const auto* blocked = std::get_if<EventLoopBlocked>(&e);
          if (blocked && blocked->label.find("'hog'") != std::string::npos) told = true;
        });
        Spawn({.name = "hog"}, [&] {
          while (!told) {  // a stall is told once
            const MonotonicNanos begin = Clock::ReadMonotonic();
            while (!told && Clock::ReadMonotonic() - begin < 20'000'000) {
            }
            Yield();
          }
        }).Join();
        // It is printed after subscribers were told.
        monitor.~Monitor();
        _Exit(0);
      },
      ExitedWithCode(0), "is held up: greenlet 'hog' \\(#");
}

TEST(SettingsDeathTest, ThereIsOneMonitorOfTheProcess) {
  EXPECT_DEATH(
      {
        StartMonitor();
        StartMonitor();
      },
      "StartMonitor");
}

}  // namespace
}  // namespace grove
