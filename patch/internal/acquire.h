#ifndef GROVE_PATCH_INTERNAL_ACQUIRE_H_
#define GROVE_PATCH_INTERNAL_ACQUIRE_H_

#include <errno.h>

#include <optional>

#include "absl/base/optimization.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/process_shared.h"
#include "grove/patch/internal/signal_watch.h"

namespace grove::patch::patch_internal {

// Acquire()
//
// For locks that are tried until they can be had, first by who comes first: `attempt`
// returns zero, EBUSY or an error. Whoever gives the lock back calls WakeAt(). A wait
// where a thread may be cancelled is one that a signal may end, with EINTR.
template <typename Lock, typename Attempt>
int Acquire(green_internal::Scheduler& s, Hook& hook, Lock* lock, Deadline deadline,
            bool cancellable, Attempt attempt) {
  hook.CountCall();
  int error = attempt();
  if (ABSL_PREDICT_TRUE(error != EBUSY)) return error;
  hook.CountWait();
  std::optional<SignalWatch> signal;
  if (cancellable) signal.emplace(s, Restart::kByHandler);
  for (;;) {
    const Deadline look = IsShared(*lock) ? LookAgain(deadline) : deadline;
    const ParkedEnd end = ParkAt(
        s, lock,
        [&] {
          error = attempt();
          return error == EBUSY;
        },
        look, hook.name, cancellable, [] { return true; }, signal ? &*signal : nullptr);
    if (end == ParkedEnd::kInvalid) return error;
    if (end == ParkedEnd::kSignal) return EINTR;
    if (end == ParkedEnd::kDeadline && !(look < deadline)) {
      error = attempt();
      return error == EBUSY ? ETIMEDOUT : error;
    }
  }
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_ACQUIRE_H_
