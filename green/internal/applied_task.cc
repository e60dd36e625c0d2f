#include "grove/green/internal/applied_task.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {

AppliedTask::AppliedTask() : NativeTask(&Scheduler::Get()), core_(home()->current()) {}

std::string AppliedTask::Describe() const {
  return absl::StrCat("a task of thread pool '", pool_->name(), "'");
}

void AppliedTask::OnEnd() { home()->Wake(core_); }

absl::Status AppliedTask::Perform(PoolCore* pool, Deadline deadline) {
  pool_ = pool;
  Scheduler* s = home();
  GROVE_CHECK(!s->on_loop_stack(), "a blocking call (", Describe(),
              ") inside a loop callback of hub '", s->hub_name(),
              "', where nothing may block; spawn a greenlet for it");
  s->DeliverPending();
  // Made while there is a pool for certain.
  const auto too_late = [pool] {
    return absl::DeadlineExceededError(absl::StrCat("no thread of pool '", pool->name(),
                                                    "' was free for the task in time"));
  };
  if (deadline != Deadline::Passed()) {
    bool admitted;  // nobody waits for that: it waits anyway
    if (absl::Status status = SubmitTo(pool, &admitted); !status.ok()) return status;
    if (s->ParkQuietly(this, deadline) == Scheduler::ParkEnd::kWoken) return status();
    const absl::Status late = too_late();
    // Told to give up: only if it has not begun. One that has ended meanwhile counts.
    if (ended() || !Withdraw(absl::OkStatus())) {
      ++core_->shields;
      while (!ended()) s->Park(this);
      --core_->shields;
      return status();
    }
    s->DeliverPending();
    return late;
  }
  return too_late();
}

}  // namespace grove::green_internal
