#include "grove/sync/rw_lock.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::NameOf;
using sync_internal::Operation;
using sync_internal::Scheduler;
using sync_internal::Selves;

class RWLock::LockOperation final : public Operation {
 public:
  LockOperation(RWLock* lock, bool write, bool for_ever)
      : Operation(&lock->line_), lock_(lock), write_(write), for_ever_(for_ever) {}

  bool Try() override { return lock_->line_.empty() && lock_->Take(write_, self_); }
  void Enlist() override {
    Core* writer = for_ever_ ? lock_->writer_.core() : nullptr;
    if (writer && core() && (writer->parked || writer == core())) {
      sync_internal::CheckDeadlock(writer, this);
    } else if (!core() && for_ever_ && lock_->writer_ == self_) {
      sync_internal::WaitsForItself(this);
    }
    Operation::Enlist();
  }
  void Cancel() override {
    Operation::Cancel();
    lock_->Serve();  // readers may have stood behind a writer that gave up
  }
  void Return() override { lock_->Leave(write_); }
  void Abandon() override { Operation::Cancel(); }
  std::string Describe() const override {
    return absl::StrCat(NameOf("RWLock", lock_), write_ ? ", to write" : ", to read",
                        lock_->writer_.valid()
                            ? absl::StrCat(", held by ", lock_->writer_.Describe())
                            : absl::StrCat(", held by ", lock_->readers_, " readers"));
  }
  Core* BlockedBy() const override { return for_ever_ ? lock_->writer_.core() : nullptr; }
  const Core* HeldBy() const override { return lock_->writer_.greenlet(); }

 private:
  friend class RWLock;
  RWLock* const lock_;
  const bool write_;
  const bool for_ever_;
  const Self self_ = Self::Current(lock_->home_);
};

RWLock::~RWLock() {
  if (home_.Here() && !writer_.valid() && readers_ == 0) return;
  if (Scheduler::process_exits()) return;
  home_.Settle();
  sync_internal::CheckDestroy(home_, line_, "RWLock", this);
  GROVE_CHECK(!writer_.valid() && readers_ == 0, NameOf("RWLock", this),
              " is destroyed while it is held by ",
              writer_.valid() ? writer_.Describe() : absl::StrCat(readers_, " readers"));
}

bool RWLock::Take(bool write, Self self) {
  if (writer_.valid() || (write && readers_ > 0)) return false;
  if (write) {
    writer_ = self;
  } else {
    ++readers_;
  }
  return true;
}

void RWLock::Serve() {
  while (auto* first = static_cast<LockOperation*>(line_.front())) {
    if (!Take(first->write_, first->self_)) return;
    line_.PopFront();
    const bool last = line_.empty();
    first->Notify();
    if (last) return;  // see WaiterList::NotifyAll()
  }
}

bool RWLock::try_lock_until(Deadline deadline) {
  if (deadline != Deadline::Passed()) Scheduler::Get();
  LockOperation op(this, /*write=*/true, sync_internal::WaitsForEver(deadline));
  if (!home_.Perform(&op, deadline)) return false;
  Self::HasLocked();
  return true;
}

bool RWLock::try_lock_shared_until(Deadline deadline) {
  if (home_.Here() && line_.empty() && Take(/*write=*/false, Self())) return true;
  if (deadline != Deadline::Passed()) Scheduler::Get();
  LockOperation op(this, /*write=*/false, sync_internal::WaitsForEver(deadline));
  return home_.Perform(&op, deadline);
}

void RWLock::unlock() {
  Self::HasUnlocked();
  home_.Do([this, selves = Selves::Current(home_)] {
    GROVE_CHECK(
        selves.Include(writer_), selves.Describe(), " unlocks ", NameOf("RWLock", this),
        ", which is held by ",
        writer_.valid() ? writer_.Describe() : absl::StrCat(readers_, " readers"));
    Leave(/*write=*/true);
  });
}

void RWLock::unlock_shared() {
  home_.Do([this] {
    GROVE_CHECK(readers_ > 0, "unlock_shared() of ", NameOf("RWLock", this),
                ", which nobody reads");
    Leave(/*write=*/false);
  });
}

void RWLock::Leave(bool write) {
  if (write) {
    writer_ = Self();
    Serve();
  } else if (--readers_ == 0) {
    Serve();
  }
}

}  // namespace grove
