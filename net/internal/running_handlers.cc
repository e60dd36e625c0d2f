#include "grove/net/internal/running_handlers.h"

#include <stdio.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net::net_internal {

RunningHandlers::Running::Running(RunningHandlers* handlers)
    : handlers_(handlers), greenlet_(CurrentGreenlet()), next_(handlers->first_) {
  if (next_) next_->previous_ = this;
  handlers->first_ = this;
}

RunningHandlers::Running::~Running() {
  (previous_ ? previous_->next_ : handlers_->first_) = next_;
  if (next_) next_->previous_ = previous_;
}

void RunningHandlers::Fail(absl::string_view what, absl::Status why) {
  if (!stopping_) {
    // Not everybody is in Serve(), to be told.
    fprintf(stderr, "grove: %s %s: %s\n", name_.c_str(), std::string(what).c_str(),
            std::string(why.message()).c_str());
    failure_ = std::move(why);
  }
  stop_waiters_.NotifyAll();
}

absl::Status RunningHandlers::WaitForEnd(absl::FunctionRef<void()> stop) {
  try {
    while (!stopped_ && failure_.ok()) WaitIn(stop_waiters_, "the server's stop");
  } catch (...) {
    Shield shield;
    stop();
    throw;
  }
  return failure_;
}

StopReport RunningHandlers::Stop(absl::Duration grace, absl::FunctionRef<void()> begin,
                                 absl::FunctionRef<void()> finish) {
  if (stopped_) return report_;
  GROVE_CHECK(!HasCurrent(), name_,
              " is stopped by one of its handlers, which would wait for itself: "
              "Spawn() what stops it");
  const Deadline deadline = grace;
  Begin(begin);
  if (!WaitUntilNone(deadline)) {
    // Or another one that stops it has done so, and counted them.
    if (!killed_) KillAll();
    WaitUntilNone({});
  }
  finish();
  stopped_ = true;
  stop_waiters_.NotifyAll();
  return report_;
}

void RunningHandlers::Begin(absl::FunctionRef<void()> begin) {
  if (std::exchange(stopping_, true)) {
    while (!begun_) WaitIn(stop_waiters_, "another stop of the server to begin");
    return;
  }
  // Also if it is killed: the stop goes on when somebody calls it again.
  const absl::Cleanup end = [this] {
    report_.finished = count_;
    begun_ = true;
    stop_waiters_.NotifyAll();
  };
  begin();
}

bool RunningHandlers::HasCurrent() const {
  for (const Running* r = first_; r; r = r->next_) {
    if (r->greenlet_.core() == green_internal::Scheduler::Get().current()) return true;
  }
  return false;
}

bool RunningHandlers::WaitUntilNone(Deadline deadline) {
  while (count_ > 0) {
    if (!WaitIn(idle_waiters_, "the end of all handlers", deadline)) return false;
  }
  return true;
}

void RunningHandlers::KillAll() {
  killed_ = true;
  std::vector<AnyGreenlet> all;
  for (Running* r = first_; r; r = r->next_) all.push_back(r->greenlet_);
  for (const AnyGreenlet& g : all) g.KillSoon();
  report_.cut = count_;
  report_.finished -= std::min(report_.finished, count_);
}

}  // namespace grove::net::net_internal
