#ifndef GROVE_SYNC_MUTEX_H_
#define GROVE_SYNC_MUTEX_H_

#include <chrono>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Mutex
//
// Lets one greenlet at a time through, for as long as it likes, blocking calls included.
// A model of the standard's TimedLockable, so that std::unique_lock, std::scoped_lock and
// their like hold it, and annotated for clang's thread safety analysis
// (ABSL_GUARDED_BY).
//
//   Mutex mutex;
//   ...
//   std::lock_guard lock(mutex);
//   WriteBoth(a, b);
//
// Greenlets of one hub that do not block between two statements need no lock for those.
//
// unlock() hands the mutex to the one who has waited longest. Whoever locks it has to
// unlock it. Locking what one holds, unlocking what one does not, and waiting in a circle
// of this hub (where neither a deadline nor a Timeout would end that) are fatal errors
// that name the greenlets; a circle over several hubs hangs, and dumps mark it. In builds
// without NDEBUG, so is ending while one holds it.
//
// Threads: any; see docs/sync.md for what travels. A lock on a hub of its own, contended
// from others, costs a message there and one back: give each hub its own data instead.
class ABSL_LOCKABLE Mutex {
  using Core = sync_internal::Core;
  using Self = sync_internal::Self;

 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  // While somebody holds or waits for it: a fatal error that names them.
  ~Mutex() {
    if (ABSL_PREDICT_FALSE(!home_.Here() || holder_.valid())) CheckNotHeld();
  }

  // Mutex::lock()
  //
  // Blocks: until it is this greenlet's turn.
  // Kill: throws, and the mutex is not held.
  [[gnu::always_inline]] void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    sync_internal::Scheduler* s = sync_internal::Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(!home_.Is(s))) {
      LockSlow();
      return;
    }
    Core* self = s->current();
    if (ABSL_PREDICT_TRUE(!holder_.valid())) {
      holder_ = Self::Of(self);
    } else {
      LockOperation op(this, Self::Of(self), /*for_ever=*/true);
      sync_internal::Home::WaitInLine(s, &op);
      self = sync_internal::Scheduler::GetIfExists()->current();
    }
    self->CountLocks(1);
  }

  // Mutex::try_lock()
  //
  // Does not wait, but from elsewhere for its home's answer. A greenlet that tries to
  // lock what it holds is told that it cannot.
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(Deadline::Passed());
  }

  // Mutex::try_lock_until()
  //
  // As lock(). Deadline: returns false, and the mutex is not held.
  bool try_lock_until(Deadline deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  bool try_lock_for(absl::Duration timeout) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(timeout);
  }
  // For std::unique_lock(mutex, duration) and (mutex, time_point).
  template <typename Rep, typename Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> timeout)
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(absl::FromChrono(timeout));
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> when)
      ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(absl::FromChrono(when - Clock::now()));
  }

  // Mutex::unlock()
  //
  // Does not block.
  void unlock() ABSL_UNLOCK_FUNCTION() {
    sync_internal::Scheduler* s = sync_internal::Scheduler::GetIfExists();
    if (ABSL_PREDICT_FALSE(!home_.Is(s) || holder_ != Self::Of(s->current()))) {
      UnlockSlow();
      return;
    }
    s->current()->CountLocks(-1);
    HandOver();
  }

  // Whether anybody holds it, and whether this greenlet does. From elsewhere, as
  // try_lock().
  bool locked();
  bool held();

  // One locking, as an operation.
  class LockOperation final : public sync_internal::Operation {
   public:
    // In the name of the current greenlet, which counts it once it is done.
    LockOperation(Mutex* m, Self self, bool for_ever)
        : Operation(&m->line_), mutex_(m), self_(self), for_ever_(for_ever) {}
    bool Try() override;
    void Enlist() override {
      Core* holder = BlockedBy();
      if (ABSL_PREDICT_FALSE(holder && core() && (holder->parked || holder == core()))) {
        sync_internal::CheckDeadlock(holder, this);
      } else if (ABSL_PREDICT_FALSE(!core() && for_ever_ && mutex_->holder_ == self_)) {
        sync_internal::WaitsForItself(this);
      }
      Operation::Enlist();
    }
    void Return() override { mutex_->HandOver(); }
    std::string Describe() const override;
    Core* BlockedBy() const override {
      return for_ever_ ? mutex_->holder_.core() : nullptr;
    }
    const Core* HeldBy() const override { return mutex_->holder_.greenlet(); }

   private:
    friend class Mutex;
    Mutex* const mutex_;
    const Self self_;
    const bool for_ever_;
  };

  // For the layers above.
  sync_internal::Home& home() { return home_; }

 private:
  // To the first in line, if there is one.
  void HandOver() {
    green_internal::WaitNode* next = line_.PopNode();
    if (ABSL_PREDICT_TRUE(next == nullptr)) {
      holder_ = Self();
    } else {
      holder_ = static_cast<LockOperation*>(next->waiter())->self_;
      next->Notify();
    }
  }
  void LockSlow();
  void UnlockSlow();
  void CheckNotHeld();

  Self holder_;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_MUTEX_H_
