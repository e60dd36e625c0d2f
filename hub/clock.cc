#include "grove/hub/clock.h"

#include <limits>

#include "grove/hub/internal/check.h"

namespace grove {

Clock* Clock::Real() {
  static Clock real;
  return &real;
}

void ManualClock::Advance(absl::Duration by) {
  GROVE_CHECK(by >= absl::ZeroDuration(), "a clock cannot step back");
  const MonotonicNanos step = absl::ToInt64Nanoseconds(by);
  MonotonicNanos now = now_.load(std::memory_order_relaxed);
  MonotonicNanos then;
  do {  // not beyond the end of time
    then = now > std::numeric_limits<MonotonicNanos>::max() - step
               ? std::numeric_limits<MonotonicNanos>::max()
               : now + step;
  } while (!now_.compare_exchange_weak(now, then, std::memory_order_relaxed));
}

void ManualClock::AdvanceTo(MonotonicNanos when) {
  MonotonicNanos now = now_.load(std::memory_order_relaxed);
  while (now < when &&
         !now_.compare_exchange_weak(now, when, std::memory_order_relaxed)) {
  }
}

}  // namespace grove
