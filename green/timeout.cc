#include "grove/green/timeout.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Core;
using green_internal::Scheduler;

std::string TimeoutExpired::ToString() const {
  return absl::StrCat("timed out after ", absl::FormatDuration(after_));
}

Timeout::Timeout(absl::Duration after, TimeoutOptions options)
    : after_(after), options_(std::move(options)), core_(Scheduler::Get().current()) {
  Restart();
}

Timeout::Timeout(Deadline at, TimeoutOptions options)
    : after_(at.Remaining()),
      at_(at),
      options_(std::move(options)),
      core_(Scheduler::Get().current()) {
  Restart();
}

void Timeout::Restart() {
  Cancel();
  GROVE_CHECK(core_->scheduler->current() == core_, "a Timeout of ", core_->Label(),
              " is started by another greenlet");
  if (after_ == absl::InfiniteDuration() || Deadline(after_).infinite()) return;
  Hub& hub = core_->scheduler->hub();
  const Deadline at = at_.infinite() ? Deadline(after_) : at_;
  const MonotonicNanos when = after_ <= absl::ZeroDuration() ? hub.Now() : at.when();
  hub.timers().Arm(&timer_, when, options_.ref);
  outer_ = core_->timeouts;
  core_->timeouts = this;
  listed_ = true;
}

void Timeout::Cancel() {
  if (!listed_) return;
  listed_ = false;
  core_->scheduler->hub().timers().Cancel(&timer_);
  Timeout** link = &core_->timeouts;
  while (*link != this) link = &(*link)->outer_;
  *link = outer_;
  if (!expired_) return;
  expired_ = false;
  for (Timeout* t = core_->timeouts; t; t = t->outer_) {
    if (t->expired_) return;
  }
  core_->special &= ~green_internal::kPendingTimeout;
}

void Timeout::OnFire(Timer* timer) {
  Timeout* scope = static_cast<ScopeTimer*>(timer)->scope;
  scope->expired_ = true;
  scope->core_->special |= green_internal::kPendingTimeout;
  scope->core_->scheduler->Interrupt(scope->core_);
}

void Timeout::ThrowExpired() {
  Core* core = Scheduler::Get().current();
  Timeout* first = nullptr;
  for (Timeout* t = core->timeouts; t; t = t->outer_) {
    // Of two with the same moment, the outer one: it ends more.
    if (t->expired_ && (!first || t->timer_.when() <= first->timer_.when())) first = t;
  }
  GROVE_CHECK(first, "a timeout is pending for ", core->Label(),
              ", but no scope expired");
  first->expired_ = false;
  bool more = false;
  for (Timeout* t = core->timeouts; t; t = t->outer_) more |= t->expired_;
  if (!more) core->special &= ~green_internal::kPendingTimeout;
  if (first->options_.error) std::rethrow_exception(first->options_.error);
  throw TimeoutExpired(first, first->after_);
}

void CheckInterrupt() {
  Scheduler& s = Scheduler::Get();
  Hub& hub = s.hub();
  // What would interrupt it comes only if the hub looks.
  if (!s.on_loop_stack() &&
      absl::Nanoseconds(hub.Now() - hub.slice_began()) >= hub.options().slice) {
    s.Yield();
  }
  s.DeliverPending();
}

}  // namespace grove
