#include "grove/sync/once.h"

#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::Core;
using sync_internal::NameOf;
using sync_internal::Scheduler;
using sync_internal::Self;

class Once::BeginOperation final : public sync_internal::Operation {
 public:
  explicit BeginOperation(Once* o) : Operation(&o->line_), once_(o) {}
  bool Try() override {
    if (once_->done_) return true;
    if (once_->runner_.valid()) return false;
    once_->runner_ = self_;
    mine = true;
    return true;
  }
  void Enlist() override {
    Core* runner = once_->runner_.core();
    if (runner && runner == core()) {  // whatever deadline may be in force
      sync_internal::WaitsForItself(this);
    } else if (runner && core() && runner->parked) {
      sync_internal::CheckDeadlock(runner, this);
    } else if (!core() && for_ever_ && once_->runner_ == self_) {
      sync_internal::WaitsForItself(this);
    }
    Operation::Enlist();
  }
  std::string Describe() const override {
    return NameOf("Once", once_) + ", which " + once_->runner_.Describe() + " does";
  }
  Core* BlockedBy() const override { return once_->runner_.core(); }
  const Core* HeldBy() const override { return once_->runner_.greenlet(); }

  bool mine = false;

 private:
  Once* const once_;
  const Self self_ = Self::Current(once_->home_);
  const bool for_ever_ = sync_internal::WaitsForEver(Deadline());
};

bool Once::Begin() {
  Scheduler::Get();
  BeginOperation op(this);
  const bool begun = home_.Perform(&op, Deadline());
  return begun && op.mine;
}

void Once::End(bool done) {
  home_.Do([this, done] {
    done_ = done;
    runner_ = Self();
    while (auto* w = static_cast<BeginOperation*>(line_.PopFront())) {
      w->Try();
      const bool last = line_.empty();
      w->Notify();
      if (!done || last) return;  // see WaiterList::NotifyAll()
    }
  });
}

}  // namespace grove
