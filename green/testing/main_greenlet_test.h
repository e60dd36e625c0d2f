#ifndef GROVE_GREEN_TESTING_MAIN_GREENLET_TEST_H_
#define GROVE_GREEN_TESTING_MAIN_GREENLET_TEST_H_

#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "grove/green/hub_scope.h"
#include "grove/hub/clock.h"

namespace grove {

// MainGreenletTest
//
// A fixture for TEST_F() whose body is the main greenlet of a hub on a manual clock: for
// tests of what is special about that greenlet, such as LoopExit. What is left in the end
// is killed, and is no failure; see GreenletTest for tests of everything else.
//
//   class Deadlock : public MainGreenletTest {};
//   TEST_F(Deadlock, IsToldToTheMainGreenlet) {
//     const Greenlet<> stuck = Spawn([] { Sleep(absl::InfiniteDuration()); });
//     EXPECT_THROW(stuck.Join(), LoopExit);
//   }
//
// A derived fixture's members end before the hub does.
class MainGreenletTest : public ::testing::Test {
 protected:
  absl::Duration Elapsed() const { return absl::Nanoseconds(clock_.Now() - start_); }

  // To 10 us: each timer is rounded up to its slot of a microsecond.
  bool HasTaken(absl::Duration expected) const {
    return Elapsed() >= expected && Elapsed() <= expected + absl::Microseconds(10);
  }

  ManualClock clock_;
  const MonotonicNanos start_ = clock_.Now();
  HubScope scope_{HubOptions{.clock = &clock_}};
};

}  // namespace grove

#endif  // GROVE_GREEN_TESTING_MAIN_GREENLET_TEST_H_
