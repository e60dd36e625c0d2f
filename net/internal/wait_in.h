#ifndef GROVE_NET_INTERNAL_WAIT_IN_H_
#define GROVE_NET_INTERNAL_WAIT_IN_H_

#include <string>

#include "grove/green/internal/core.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"

// Waiting in lines of one hub, for what has no result: whoever is woken looks again.
namespace grove::net::net_internal {

// The wait of the current greenlet, as "waits for <what>".
class LineWaiter final : public green_internal::ListedWaiter {
 public:
  LineWaiter(green_internal::WaiterList* list, const char* what)
      : ListedWaiter(green_internal::Scheduler::Get().current(), list), what_(what) {}
  std::string Describe() const override { return what_; }

 private:
  const char* const what_;
};

// Until woken; false if the deadline has passed first. `ref` as in SleepOptions.
inline bool WaitIn(green_internal::WaiterList& list, const char* what,
                   Deadline deadline = {}, bool ref = true) {
  LineWaiter waiter(&list, what);
  return green_internal::Scheduler::Get().ParkUntil(&waiter, deadline, ref);
}

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_WAIT_IN_H_
