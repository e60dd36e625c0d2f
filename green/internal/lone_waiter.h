#ifndef GROVE_GREEN_INTERNAL_LONE_WAITER_H_
#define GROVE_GREEN_INTERNAL_LONE_WAITER_H_

#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {

// LoneWaiter
//
// A wait until something is so, of at most one greenlet at a time. It is linked into
// nothing: whoever makes it so calls Wake().
//
//   ready_.Await([this] { return !done_.empty(); }, deadline);
//
// Threads: its hub's.
class LoneWaiter : public Waiter {
 public:
  // Blocks: until `condition()`. Deadline: returns false.
  // Kill: throws, unless Wake() came first.
  template <typename Condition>
  [[nodiscard]] bool Await(Condition condition, Deadline deadline = {}) {
    while (!condition()) {
      if (deadline == Deadline::Passed() || !Park(deadline)) return condition();
    }
    return true;
  }

  // Lets who waits look again. Does not block.
  void Wake() {
    if (core_ != nullptr) core_->scheduler->Wake(core_);
  }

  void Cancel() override {}

 protected:
  LoneWaiter() = default;
  LoneWaiter(const LoneWaiter&) = delete;
  LoneWaiter& operator=(const LoneWaiter&) = delete;
  ~LoneWaiter() = default;

 private:
  bool Park(Deadline deadline) {
    Scheduler& s = Scheduler::Get();
    GROVE_CHECK(core_ == nullptr, s.current()->Label(), " waits for ", Describe(),
                ", for which ", core_->Label(), " waits already");
    struct Reset {
      ~Reset() { waiter->core_ = nullptr; }
      LoneWaiter* waiter;
    } reset{this};
    core_ = s.current();
    return s.ParkUntil(this, deadline);
  }

  Core* core_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_LONE_WAITER_H_
