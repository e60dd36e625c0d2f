#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/greenlet_test_util.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"

namespace grove {
namespace {

using test_util::Error;
using test_util::SleepForEver;
using test_util::Witness;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

// --- misuse ---

TEST(GreenletDeathTest, JoiningOneselfIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn({.name = "narcissus"}, [] { CurrentGreenlet().Join(); }).Join();
      },
      "greenlet 'narcissus' \\(#1\\) joins itself");
}

TEST(GreenletDeathTest, JoiningTheMainGreenletIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        const AnyGreenlet main = CurrentGreenlet();
        Spawn([main] { main.Join(); }).Join();
      },
      "the main greenlet of hub .* cannot be joined");
}

TEST(GreenletDeathTest, ThrowingNothingIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn([] {}).Throw(nullptr);
      },
      "Throw\\(\\) of nothing");
}

TEST(GreenletDeathTest, AStackThatIsTooSmallIsFatalAndNamesTheBounds) {
  EXPECT_DEATH(
      {
        HubScope scope;
        Spawn({.stack_size = 1}, [] {});
      },
      "a stack of 1 bytes: the least is 32768");
}

TEST(GreenletDeathTest, CurrentGreenletInALoopCallbackIsFatal) {
  EXPECT_DEATH(
      {
        HubScope scope;
        ThisHub().RunCallback([] { CurrentGreenlet(); });
        Yield();
      },
      "CurrentGreenlet\\(\\) in a loop callback");
}

// Calls exit(), and ends by `code` once what a thread has to end has been ended.
void ExitWith(int code) {
  static int the_code;
  the_code = code;
  // Sooner than LeakSanitizer, which does not know the stack that main() runs on.
  atexit([] { _exit(the_code); });
  exit(1);
}

TEST(GreenletDeathTest, ExitMayBeCalledByAGreenletOfAnyThread) {
  // On hubs that nobody asked for: exit() runs the end of the thread that calls it.
  EXPECT_EXIT(Spawn([] { ExitWith(3); }).Join(), ExitedWithCode(3), "");
  EXPECT_EXIT(std::thread([] { Spawn([] { ExitWith(4); }).Join(); }).join(),
              ExitedWithCode(4), "");
}

TEST(GreenletDeathTest, ReturningFromMainNeitherRunsNorUnwindsTheOthers) {
  static bool ended = false;
  EXPECT_EXIT(
      {
        Spawn([] {
          Witness local(&ended);
          SleepForEver();
        });
        Yield();
        Spawn([] { fprintf(stderr, "it ran after all\n"); });
        SpawnLater(absl::Seconds(1), [] {});
        atexit([] { _exit(ended ? 1 : 4); });
        exit(0);
      },
      ExitedWithCode(4), testing::Not(HasSubstr("after all")));
}

}  // namespace
}  // namespace grove
