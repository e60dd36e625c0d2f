#include "grove/sync/condition_variable.h"

#include <limits>

#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::ListedWaiter;
using sync_internal::Operation;
using sync_internal::Scheduler;

class ConditionVariable::WaitOperation final : public Operation {
 public:
  explicit WaitOperation(ConditionVariable* cv) : Operation(&cv->line_), cv_(cv) {}
  void WaitsAsideFor(sync_internal::Core* core) { UseOwnNode(core); }
  bool Try() override { return false; }
  void Return() override { cv_->notify_one(); }
  std::string Describe() const override {
    return sync_internal::NameOf("ConditionVariable", cv_);
  }

 private:
  ConditionVariable* const cv_;
};

void ConditionVariable::notify(int n) {
  GROVE_CHECK(n >= 0, "notify(", n, ")");
  home_.Do([this, n] {
    for (int left = n; left > 0; --left) {
      ListedWaiter* w = line_.PopFront();
      if (w == nullptr) return;
      const bool last = line_.empty();
      w->Notify();
      if (last) return;  // see WaiterList::NotifyAll()
    }
  });
}

void ConditionVariable::notify_all() { notify(std::numeric_limits<int>::max()); }

bool ConditionVariable::Wait(Deadline deadline, absl::FunctionRef<void()> unlock) {
  Scheduler& s = Scheduler::Get();
  if (!home_.BelongsTo(s)) return WaitElsewhere(deadline, unlock);
  // To unlock what belongs elsewhere may take a while, and what is not held may throw.
  class Unlocking final : public green_internal::Observer {
   public:
    explicit Unlocking(green_internal::Core* core) : core_(core) {}
    void Fulfilled(ListedWaiter*) override { notified_ = true; }
    std::string Who() const override { return core_->Label(); }
    bool notified() const { return notified_; }

   private:
    green_internal::Core* const core_;
    bool notified_ = false;
  };

  WaitOperation op(this);
  Unlocking unlocking(s.current());
  op.WaitsFor(&unlocking);
  op.Enlist();
  try {
    unlock();
  } catch (...) {
    if (unlocking.notified()) {
      notify_one();  // who goes takes no notification along
    } else {
      op.Cancel();
    }
    throw;
  }
  if (unlocking.notified()) return true;
  op.WaitsAsideFor(s.current());  // in the same place
  return s.ParkUntil(&op, deadline);
}

// Those who notify may have the lock only after `unlock`, when the request is on its way.
bool ConditionVariable::WaitElsewhere(Deadline deadline,
                                      absl::FunctionRef<void()> unlock) {
  WaitOperation op(this);
  return home_.PerformElsewhere(&op, deadline, unlock, [this] { notify_one(); });
}

}  // namespace grove
