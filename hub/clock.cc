#include "grove/hub/clock.h"

#include "grove/hub/internal/check.h"

namespace grove {

Clock* Clock::Real() {
  static Clock real;
  return &real;
}

void ManualClock::Advance(absl::Duration by) {
  GROVE_CHECK(by >= absl::ZeroDuration(), "a clock cannot step back");
  now_.fetch_add(absl::ToInt64Nanoseconds(by), std::memory_order_relaxed);
}

void ManualClock::AdvanceTo(MonotonicNanos when) {
  MonotonicNanos now = now_.load(std::memory_order_relaxed);
  while (now < when &&
         !now_.compare_exchange_weak(now, when, std::memory_order_relaxed)) {
  }
}

}  // namespace grove
