#ifndef GROVE_HUB_DEADLINE_H_
#define GROVE_HUB_DEADLINE_H_

#include <compare>
#include <limits>

#include "absl/time/time.h"
#include "grove/hub/clock.h"

namespace grove {

// Deadline
//
// The latest moment at which a blocking call may still wait; by default there is none.
// A small value, passed by copy. Written as a duration it counts from now, on the clock
// of this thread's hub:
//
//   stream.Read(buffer, absl::Seconds(5));      // five seconds for this call
//   Deadline d = absl::Seconds(5);              // five seconds for both
//   stream.ReadExactly(header, d);
//   stream.ReadExactly(body, d);
//
// A duration of zero or less is a deadline that has passed: the call does what it can
// without waiting. absl::InfiniteDuration() is no deadline. A deadline is never taken
// for passed before it is: waiting ends at it or later.
class Deadline {
 public:
  // No deadline.
  constexpr Deadline() = default;

  // `timeout` from now. Implicit, so that calls can be given a plain duration.
  Deadline(absl::Duration timeout);  // NOLINT(google-explicit-constructor)

  // Deadline::At()
  //
  // At a moment of the hub's clock.
  static constexpr Deadline At(MonotonicNanos when) {
    Deadline d;
    d.when_ = when;
    return d;
  }

  // Deadline::Passed()
  //
  // A deadline that has passed: do not wait at all.
  static constexpr Deadline Passed() {
    return At(std::numeric_limits<MonotonicNanos>::min());
  }

  constexpr bool infinite() const {
    return when_ == std::numeric_limits<MonotonicNanos>::max();
  }

  // Deadline::when()
  //
  // The moment, on the hub's clock; the largest value if there is none.
  constexpr MonotonicNanos when() const { return when_; }

  // Deadline::HasPassed()
  //
  // Reads the clock, unless there is no deadline.
  bool HasPassed() const;

  // Deadline::Remaining()
  //
  // What is left, never negative; absl::InfiniteDuration() if there is no deadline.
  absl::Duration Remaining() const;

  friend constexpr auto operator<=>(Deadline, Deadline) = default;

 private:
  MonotonicNanos when_ = std::numeric_limits<MonotonicNanos>::max();
};

namespace hub_internal {

// The clock of this thread's hub; CLOCK_MONOTONIC if there is no hub.
const Clock& ThreadClock();
void SetThreadClock(const Clock* clock);

}  // namespace hub_internal
}  // namespace grove

#endif  // GROVE_HUB_DEADLINE_H_
