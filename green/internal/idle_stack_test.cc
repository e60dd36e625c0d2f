#include "grove/green/internal/idle_stack.h"

#include <gtest/gtest.h>
#include <string.h>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove::green_internal {
namespace {

constexpr size_t kDeep = 32 * 1024;

// Writes to the stack far below the caller's frame; where to.
[[gnu::noinline]] const volatile char* GoDown() {
  char bytes[kDeep];
  memset(bytes, 0x5a, sizeof bytes);
  // The compiler is not to know that this is gone then.
  const volatile char* low = nullptr;
  asm volatile("" : "=r"(low) : "0"(bytes) : "memory");
  return low;
}

class IdleStackTest : public GreenletTest {};

GREENLET_TEST_F(IdleStackTest, GivesBackWhatLiesBelowAGreenletThatWaitsForLong) {
  const volatile char* low = nullptr;
  const Core* core = nullptr;
  bool kept = false;
  Greenlet<> greenlet = Spawn([&] {
    core = Scheduler::Get().current();
    char own[512];
    memset(own, 0x33, sizeof own);
    low = GoDown();
    Sleep(absl::Seconds(60));
    asm volatile("" : : "r"(own) : "memory");
    kept = own[0] == 0x33 && own[sizeof own - 1] == 0x33;
    low = GoDown();
    Sleep(absl::Seconds(60));
  });
  Sleep(absl::Nanoseconds(1));  // until it sleeps
  IdleStack stack(core);
  Sleep(absl::Nanoseconds(IdleStack::kLongWait / 2));
  stack.Look(ThisHub().Now());
  EXPECT_EQ(low[0], 0x5a) << "it has not waited for long";
  Sleep(absl::Nanoseconds(IdleStack::kLongWait));
  stack.Look(ThisHub().Now());
  EXPECT_EQ(low[0], 0) << "fresh memory reads as zero";

  Sleep(absl::Seconds(60));
  EXPECT_TRUE(kept) << "a frame that is in use";
  EXPECT_EQ(low[0], 0x5a) << "it goes down there again";
  Sleep(absl::Nanoseconds(2 * IdleStack::kLongWait));
  stack.Look(ThisHub().Now());
  EXPECT_EQ(low[0], 0) << "a wait that is another";
  greenlet.Join();
}

GREENLET_TEST_F(IdleStackTest, LeavesAGreenletThatRunsAlone) {
  IdleStack stack(Scheduler::Get().current());
  const volatile char* low = GoDown();
  stack.Look(ThisHub().Now() + 2 * IdleStack::kLongWait);
  EXPECT_EQ(low[0], 0x5a);
}

}  // namespace
}  // namespace grove::green_internal
