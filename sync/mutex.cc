#include "grove/sync/mutex.h"

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::NameOf;
using sync_internal::Scheduler;
using sync_internal::Selves;

bool Mutex::LockOperation::Try() {
  if (mutex_->holder_.valid()) return false;
  mutex_->holder_ = self_;
  return true;
}

std::string Mutex::LockOperation::Describe() const {
  return absl::StrCat(NameOf("Mutex", mutex_), ", held by ", mutex_->holder_.Describe());
}

// Clang does not see that the lock is held in either case.
ABSL_NO_THREAD_SAFETY_ANALYSIS void Mutex::LockSlow() {
  const bool locked = try_lock_until(Deadline());
  GROVE_CHECK(locked, "a lock without a deadline timed out");
}

bool Mutex::try_lock_until(Deadline deadline) {
  // Made here, if one is needed: the lock is held in the name of this thread's greenlet.
  if (deadline != Deadline::Passed()) Scheduler::Get();
  LockOperation op(this, Self::Current(home_), sync_internal::WaitsForEver(deadline));
  if (!home_.Perform(&op, deadline)) return false;
  Self::HasLocked();
  return true;
}

void Mutex::UnlockSlow() {
  Self::HasUnlocked();
  home_.Do([this, selves = Selves::Current(home_)] {
    GROVE_CHECK(selves.Include(holder_), selves.Describe(), " unlocks ",
                NameOf("Mutex", this), ", which is held by ", holder_.Describe());
    HandOver();
  });
}

bool Mutex::locked() {
  bool locked;
  home_.Ask([&] { locked = holder_.valid(); });
  return locked;
}

bool Mutex::held() {
  const Selves selves = Selves::Current(home_);
  bool held;
  home_.Ask([&] { held = selves.Include(holder_); });
  return held;
}

void Mutex::CheckNotHeld() {
  if (Scheduler::process_exits()) return;
  home_.Settle();  // it may have been unlocked from elsewhere
  if (!holder_.valid()) return;
  sync_internal::CheckDestroy(home_, line_, "Mutex", this);
  GROVE_FATAL(NameOf("Mutex", this), " is destroyed while it is held by ",
              holder_.Describe());
}

}  // namespace grove
