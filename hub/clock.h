#ifndef GROVE_HUB_CLOCK_H_
#define GROVE_HUB_CLOCK_H_

#include <time.h>

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

// Clocks. Everything in grove that waits reads its time from the clock of its hub:
// CLOCK_MONOTONIC, or a ManualClock in tests, on which an hour passes in no time.
namespace grove {

// A point on a clock that never steps back, in nanoseconds since an arbitrary origin.
using MonotonicNanos = int64_t;

// Clock
//
// The clock of one hub. The default one is CLOCK_MONOTONIC, read anew at each call: no
// stale loop time, hence no timeout that fires early because of one.
//
// Threads: Now() from any thread.
class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  // Clock::Now()
  //
  // The time now. About the price of one clock_gettime (20 ns or so).
  MonotonicNanos Now() const {
    return manual_ ? now_.load(std::memory_order_relaxed) : ReadMonotonic();
  }

  // Clock::manual()
  //
  // Whether time stands still until somebody moves it.
  bool manual() const { return manual_; }

  // Clock::Real()
  //
  // CLOCK_MONOTONIC.
  static Clock* Real();

  // Clock::ReadMonotonic()
  //
  // CLOCK_MONOTONIC, whatever clock the hub has.
  static MonotonicNanos ReadMonotonic() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  }

 protected:
  explicit Clock(MonotonicNanos start) : manual_(true), now_(start) {}

  const bool manual_ = false;
  std::atomic<MonotonicNanos> now_{0};
};

// ManualClock
//
// A clock that a test moves. A hub on a manual clock never sleeps: once nothing is
// ready, it advances the clock to its next timer by itself, so that Sleep(1h) returns
// at once with an hour gone. Turn that off with set_auto_advance(false), and move time
// by Advance() alone.
//
//   ManualClock clock;
//   Hub hub({.clock = &clock});
//
// Threads: Advance() from any thread; a hub that sleeps on descriptors notices at its
// next turn.
class ManualClock : public Clock {
 public:
  explicit ManualClock(MonotonicNanos start = 1'000'000'000) : Clock(start) {}

  // ManualClock::Advance()
  //
  // Moves time forward. Negative durations are a fatal error: no clock steps back.
  void Advance(absl::Duration by);

  // ManualClock::AdvanceTo()
  //
  // Moves time forward to `when`; no effect if it lies in the past.
  void AdvanceTo(MonotonicNanos when);

  bool auto_advance() const { return auto_advance_.load(std::memory_order_relaxed); }
  void set_auto_advance(bool on) { auto_advance_.store(on, std::memory_order_relaxed); }

 private:
  std::atomic<bool> auto_advance_{true};
};

}  // namespace grove

#endif  // GROVE_HUB_CLOCK_H_
