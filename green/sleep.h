#ifndef GROVE_GREEN_SLEEP_H_
#define GROVE_GREEN_SLEEP_H_

#include "absl/time/time.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"

namespace grove {

// SleepOptions
struct SleepOptions {
  // Whether this sleep is a reason for the hub to go on. With false, a main greenlet
  // that waits for what can never come is told so (LoopExit) although this timer runs.
  bool ref = true;
};

// Sleep()
//
// Lets others run for at least `duration`; it is never shorter. Zero and less are
// Yield().
//
// Blocks: for that long.
// Deadline: none of its own; a Timeout ends it.
// Kill: throws.
// Threads: any; each has its own hub.
void Sleep(absl::Duration duration, SleepOptions options = {});

// SleepUntil()
//
// As Sleep(), until a moment. For loops that are to keep a pace:
//
//   for (Deadline tick = period;; tick = Deadline::At(tick.when() + nanoseconds)) {
//     SleepUntil(tick);
//     Sample();
//   }
void SleepUntil(Deadline deadline, SleepOptions options = {});

// Yield()
//
// Lets all that is ready run first. I/O and timers get their turn as well, though not
// necessarily within one call.
//
// Blocks: until then. Kill: throws.
[[gnu::always_inline]] inline void Yield() { green_internal::Scheduler::Get().Yield(); }

// JoinHub()
//
// Waits until nothing is left for this thread's hub to do: no greenlet is ready or waits
// for time or I/O. True then, false on the deadline. Greenlets that wait for what can
// never come are left as they are.
//
// Blocks: until then.
// Deadline: returns false.
// Kill: throws.
bool JoinHub(Deadline deadline = {});

}  // namespace grove

#endif  // GROVE_GREEN_SLEEP_H_
