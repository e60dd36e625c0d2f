#include "grove/sync/semaphore.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::Core;
using sync_internal::NameOf;
using sync_internal::Operation;
using sync_internal::WaiterList;

Semaphore::Semaphore(int64_t permits, int64_t limit) : limit_(limit), permits_(permits) {
  GROVE_CHECK(permits >= 0, "a semaphore of ", permits, " permits");
}

bool Semaphore::AcquireSlow(int64_t needs, int64_t takes, Deadline deadline) {
  CheckAcquirable(needs);
  AcquireOperation op(this, needs, takes);
  return home_.Perform(&op, deadline);
}

void Semaphore::CheckAcquirable(int64_t n) const {
  GROVE_CHECK(n > 0 && n <= limit_, "acquiring ", n, " permits of ",
              NameOf("Semaphore", this), ", which has ", limit_, " at most");
}

void Semaphore::ReleaseSlow(int64_t n) {
  GROVE_CHECK(n >= 0, "releasing ", n, " permits of ", NameOf("Semaphore", this));
  home_.Do([this, n] {
    GROVE_CHECK(n <= limit_ - permits_, "releasing ", n, " permits of ",
                NameOf("Semaphore", this), ", which has ", permits_ + 0, " of ", limit_,
                ": they were not acquired");
    permits_ += n;
    Serve();
  });
}

std::string Semaphore::AcquireOperation::Describe() const {
  return needs_ == 1
             ? absl::StrCat("a permit of ", NameOf("Semaphore", semaphore_))
             : absl::StrCat(needs_, " permits of ", NameOf("Semaphore", semaphore_));
}

// One step up or down. Whoever makes one may let one of the other side make its own.
class CappedSemaphore::Step final : public Operation {
 public:
  Step(CappedSemaphore* s, bool up)
      : Operation(up ? &s->releasers_ : &s->acquirers_), semaphore_(s), up_(up) {}

  bool Try() override {
    if (up_ ? semaphore_->permits_ >= semaphore_->limit_ : semaphore_->permits_ <= 0) {
      return false;
    }
    // At the limit a release comes at once for each acquisition, and at none vice versa:
    // the number stays, and the one who waited has made its step.
    WaiterList& others = up_ ? semaphore_->acquirers_ : semaphore_->releasers_;
    if (others.empty()) {
      semaphore_->permits_ += up_ ? 1 : -1;
    } else {
      Count(!up_) -= 1;
      others.PopFront()->Notify();
    }
    return true;
  }
  void Enlist() override {
    Operation::Enlist();
    Count(up_) += 1;
  }
  void Cancel() override {
    Operation::Cancel();
    Count(up_) -= 1;
  }
  std::string Describe() const override {
    return absl::StrCat(up_ ? "room for a permit of " : "a permit of ",
                        NameOf("CappedSemaphore", semaphore_));
  }

 private:
  sync_internal::Shown<int64_t>& Count(bool up) {
    return up ? semaphore_->waiting_to_release_ : semaphore_->waiting_to_acquire_;
  }
  CappedSemaphore* const semaphore_;
  const bool up_;
};

CappedSemaphore::CappedSemaphore(int64_t permits, int64_t limit)
    : limit_(limit), permits_(permits) {
  GROVE_CHECK(limit > 0 && permits >= 0 && permits <= limit, "a CappedSemaphore of ",
              permits, " permits and at most ", limit);
}

CappedSemaphore::~CappedSemaphore() {
  sync_internal::CheckDestroy(home_, acquirers_, "CappedSemaphore", this);
  sync_internal::CheckDestroy(home_, releasers_, "CappedSemaphore", this);
}

bool CappedSemaphore::acquire(Deadline deadline) {
  Step step(this, /*up=*/false);
  return home_.Perform(&step, deadline);
}

bool CappedSemaphore::release(Deadline deadline) {
  Step step(this, /*up=*/true);
  return home_.Perform(&step, deadline);
}

}  // namespace grove
