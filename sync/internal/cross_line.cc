#include "grove/sync/internal/cross_line.h"

#include <mutex>
#include <new>
#include <string>

#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/hub.h"

namespace grove::sync_internal {

using green_internal::Core;
using green_internal::Scheduler;

// Lies on the stack of who waits. Once it was taken out of the line its letter is on its
// way, and has to arrive before the place may go.
class CrossLine::Place final : public green_internal::Waiter, public Letter {
 public:
  Place(CrossLine* line, Scheduler* s, const char* what)
      : Letter(&Arrive), line_(line), scheduler_(s), core_(s->current()), what_(what) {}

  void Cancel() override {}
  // If it has been woken, somebody else has to be.
  void Abandon() override {
    if (!Leave()) line_->Wake(1);
  }
  std::string Describe() const override { return what_; }

  void Enter() {
    const auto lock = line_->Lock();
    prev_ = line_->last_;
    (prev_ ? prev_->next_ : line_->first_) = this;
    line_->last_ = this;
    line_->waiting_.fetch_add(1, std::memory_order_seq_cst);
    in_line_ = true;
  }

  // False if it has been woken.
  bool Leave() {
    const auto lock = line_->Lock();
    if (process_ != Scheduler::process_mark()) return true;  // it is in no line any more
    if (!in_line_) return false;
    Unlink();
    return true;
  }

  void AwaitLetter() {
    ++core_->shields;
    while (!arrived_) scheduler_->Park(this);
    --core_->shields;
  }

  // With the lock held. False if its hub is no more, as in a forked child.
  bool Wake() {
    Unlink();
    // Once its hub has the letter it may end: the handle is a copy.
    const HubHandle hub = scheduler_->handle();
    return hub.PostLetter(this);
  }

 private:
  static void Arrive(Letter* letter, bool) {
    Place* self = static_cast<Place*>(letter);
    self->arrived_ = true;
    self->scheduler_->Wake(self->core_);
  }
  void Unlink() {
    (prev_ ? prev_->next_ : line_->first_) = next_;
    (next_ ? next_->prev_ : line_->last_) = prev_;
    line_->waiting_.fetch_sub(1, std::memory_order_relaxed);
    in_line_ = false;
  }

  CrossLine* const line_;
  Scheduler* const scheduler_;
  Core* const core_;
  const char* const what_;
  const uint8_t process_ = Scheduler::process_mark();
  Place* prev_ = nullptr;
  Place* next_ = nullptr;
  bool in_line_ = false;  // guarded by the line's mutex
  bool arrived_ = false;  // its own hub's
};

bool CrossLine::Wait(absl::FunctionRef<bool()> ready, Deadline deadline,
                     const char* what) {
  Scheduler& s = Scheduler::Get();
  Place place(this, &s, what);
  place.Enter();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (ready()) {
    if (!place.Leave()) place.AwaitLetter();
    return true;
  }
  using End = Scheduler::ParkEnd;
  End end;
  {
    const KeepAlive alive(&s.hub());  // another thread may wake it
    end = s.ParkQuietly(&place, deadline);
  }
  if (end == End::kWoken) return true;
  const bool woken = !place.Leave();
  if (woken) place.AwaitLetter();
  if (end == End::kTimedOut) return woken;
  if (woken) Wake(1);
  s.DeliverPending();
  return true;
}

CrossLine::CrossLine() : process_(Scheduler::process_mark()) {}

// In a forked child none of those who stood in line lives, and whoever held the lock may
// have been left behind: it begins anew.
std::unique_lock<std::mutex> CrossLine::Lock() {
  if (process_.load(std::memory_order_acquire) != Scheduler::process_mark()) {
    static auto* const anew = new green_internal::ProcessMutex;
    const std::lock_guard lock(*anew);
    if (process_.load(std::memory_order_relaxed) != Scheduler::process_mark()) {
      ::new (&mutex_) std::mutex;
      first_ = last_ = nullptr;
      waiting_.store(0, std::memory_order_relaxed);
      process_.store(Scheduler::process_mark(), std::memory_order_release);
    }
  }
  return std::unique_lock(mutex_);
}

void CrossLine::Wake(int n) {
  const auto lock = Lock();
  while (first_ && n != 0) {
    if (first_->Wake()) --n;
  }
}

}  // namespace grove::sync_internal
