#ifndef GROVE_GREEN_INTERNAL_IDLE_STACK_H_
#define GROVE_GREEN_INTERNAL_IDLE_STACK_H_

#include "grove/green/internal/core.h"
#include "grove/hub/clock.h"

namespace grove::green_internal {

// IdleStack
//
// Of a greenlet that is busy at times and waits for long in between, as that of a
// connection which is kept alive: the pages that its calls have once gone down to are
// given back while it waits. Somebody who looks after many such greenlets asks now and
// then.
//
// Threads: its hub's.
class IdleStack {
 public:
  // Shorter waits than that are not worth the page faults that follow.
  static constexpr MonotonicNanos kLongWait = 1'000'000'000;

  explicit IdleStack(const Core* core) : core_(core) {}

  // Gives back what lies below the greenlet's frames, once in each long wait.
  void Look(MonotonicNanos now) {
    if (!core_->parked) return;
    const MonotonicNanos since = core_->waiting_on->since();
    if (since == released_ || now - since < kLongWait) return;
    released_ = since;
    if (core_->stack.valid()) ReleaseBelow(core_->stack, core_->context.sp);
  }

 private:
  const Core* const core_;
  MonotonicNanos released_ = 0;  // in the wait that began then
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_IDLE_STACK_H_
