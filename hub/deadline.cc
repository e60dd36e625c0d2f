#include "grove/hub/deadline.h"

#include "grove/hub/internal/per_thread.h"

namespace grove {
namespace hub_internal {
namespace {
constinit thread_local PerThread<const Clock*> t_clock;
}  // namespace

const Clock& ThreadClock() {
  const Clock* clock = t_clock;
  return clock ? *clock : *Clock::Real();
}
void SetThreadClock(const Clock* clock) { t_clock = clock; }

}  // namespace hub_internal

Deadline::Deadline(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  if (timeout <= absl::ZeroDuration()) {
    *this = Passed();
    return;
  }
  const MonotonicNanos now = hub_internal::ThreadClock().Now();
  // Rounded up: a deadline is never early. ToInt64Nanoseconds() rounds down and
  // saturates.
  int64_t nanos = absl::ToInt64Nanoseconds(timeout);
  if (absl::Nanoseconds(nanos) < timeout && nanos < std::numeric_limits<int64_t>::max()) {
    ++nanos;
  }
  const int64_t most = std::numeric_limits<MonotonicNanos>::max() - now;
  when_ = nanos >= most ? std::numeric_limits<MonotonicNanos>::max() : now + nanos;
}

bool Deadline::HasPassed() const {
  return !infinite() && hub_internal::ThreadClock().Now() >= when_;
}

absl::Duration Deadline::Remaining() const {
  if (infinite()) return absl::InfiniteDuration();
  const MonotonicNanos now = hub_internal::ThreadClock().Now();
  return absl::Nanoseconds(when_ <= now ? 0 : when_ - now);
}

}  // namespace grove
