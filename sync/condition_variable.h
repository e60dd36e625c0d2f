#ifndef GROVE_SYNC_CONDITION_VARIABLE_H_
#define GROVE_SYNC_CONDITION_VARIABLE_H_

#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "grove/green/timeout.h"
#include "grove/hub/deadline.h"
#include "grove/sync/event.h"
#include "grove/sync/internal/sync_object.h"
#include "grove/sync/rlock.h"

namespace grove {

// ConditionVariable
//
// Waits for something that a lock guards to change. Named as
// std::condition_variable_any is, and takes what that takes: any lock, and
// std::unique_lock of any.
//
//   Mutex mutex;
//   ConditionVariable changed;
//   ...
//   std::unique_lock lock(mutex);
//   changed.wait(lock, [&] { return !jobs.empty(); });
//
// Those who wait are notified in the order in which they came; nobody wakes without a
// reason, but who comes from elsewhere and sees the home's hub end, or gets a notification
// from one who was killed and could not use it. Between greenlets of
// one hub an Event, a Queue or a Channel is often clearer.
//
// Threads: any; see docs/sync.md. From elsewhere notifying does not wait.
class ConditionVariable {
 public:
  ConditionVariable() = default;
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~ConditionVariable() {
    sync_internal::CheckDestroy(home_, line_, "ConditionVariable", this);
  }

  // ConditionVariable::wait()
  //
  // Unlocks, waits to be notified, and locks again. No notification in between is missed.
  // An RLock is unlocked altogether, and then as often locked as before.
  //
  // Blocks: until notified, and then until it has the lock.
  // Kill: throws, once it has the lock. A notification that it got goes before.
  template <typename Lock>
  void wait(Lock& lock) {
    (void)wait_until(lock, Deadline());
  }
  template <typename Lock, typename Predicate>
  void wait(Lock& lock, Predicate predicate) {
    while (!predicate()) wait(lock);
  }

  // ConditionVariable::wait_until()
  //
  // As wait(). Deadline: returns false, once it has the lock; with a predicate, what that
  // says then.
  template <typename Lock>
  [[nodiscard]] bool wait_until(Lock& lock, Deadline deadline) {
    // Locks again in whatever way this is left.
    const Unlocked<Lock> unlocked(lock);
    return Wait(deadline, unlocked.unlock());
  }
  template <typename Lock, typename Predicate>
  [[nodiscard]] bool wait_until(Lock& lock, Deadline deadline, Predicate predicate) {
    while (!predicate()) {
      if (!wait_until(lock, deadline)) return predicate();
    }
    return true;
  }
  template <typename Lock>
  [[nodiscard]] bool wait_for(Lock& lock, absl::Duration timeout) {
    return wait_until(lock, Deadline(timeout));
  }
  template <typename Lock, typename Predicate>
  [[nodiscard]] bool wait_for(Lock& lock, absl::Duration timeout, Predicate predicate) {
    return wait_until(lock, Deadline(timeout), std::move(predicate));
  }

  // Let the first that waits, the first `n`, or all go on. The lock need not be held. Do
  // not block.
  void notify_one() { notify(1); }
  void notify(int n);
  void notify_all();

 private:
  class WaitOperation;

  template <typename Lock>
  class Unlocked {
   public:
    explicit Unlocked(Lock& lock) : lock_(lock) {}
    ~Unlocked() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (!is_unlocked_) return;
      Shield shield;
      if constexpr (std::is_same_v<Lock, RLock>) {
        lock_.LockAgain(count_);
      } else if constexpr (std::is_same_v<Lock, std::unique_lock<RLock>>) {
        lock_.mutex()->LockAgain(count_);
      } else {
        lock_.lock();
      }
    }
    absl::FunctionRef<void()> unlock() const { return unlock_; }

   private:
    void Unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if constexpr (std::is_same_v<Lock, RLock>) {
        count_ = lock_.UnlockAll();
      } else if constexpr (std::is_same_v<Lock, std::unique_lock<RLock>>) {
        count_ = lock_.mutex()->UnlockAll();
      } else {
        lock_.unlock();
      }
      is_unlocked_ = true;
    }
    Lock& lock_;
    int count_ = 0;
    bool is_unlocked_ = false;
    struct {
      Unlocked* self;
      void operator()() const { self->Unlock(); }
    } unlock_{this};
  };

  // Stands in line, then calls `unlock`, then waits.
  bool Wait(Deadline deadline, absl::FunctionRef<void()> unlock);
  bool WaitElsewhere(Deadline deadline, absl::FunctionRef<void()> unlock);

  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_CONDITION_VARIABLE_H_
