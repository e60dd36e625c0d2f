#include "grove/green/deadline_scope.h"

#include <algorithm>

#include "grove/green/internal/scheduler.h"

namespace grove {

using green_internal::InheritedRef;
using green_internal::Scheduler;

namespace {

InheritedRef InForce(Deadline deadline) {
  const InheritedRef& now = Scheduler::Get().current()->inherited;
  return deadline == CurrentDeadline() ? now : InheritedRef::WithDeadline(now, deadline);
}

}  // namespace

Deadline CurrentDeadline() {
  const green_internal::Inherited* inherited = green_internal::CurrentInherited();
  return inherited ? inherited->deadline : Deadline();
}

absl::Duration RemainingTime() { return CurrentDeadline().Remaining(); }

// The timeout is armed although an outer scope may throw at the same moment, or before:
// under a context that was captured elsewhere there may be none.
DeadlineScope::DeadlineScope(Deadline deadline)
    : deadline_(std::min(deadline, CurrentDeadline())),
      context_(Context(InForce(deadline_))),
      timeout_(deadline_) {}

}  // namespace grove
