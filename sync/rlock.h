#ifndef GROVE_SYNC_RLOCK_H_
#define GROVE_SYNC_RLOCK_H_

#include <chrono>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "grove/sync/mutex.h"

namespace grove {

// RLock
//
// A Mutex that its holder may lock again; it is free once it was unlocked as often. For
// code that calls itself in ways that are hard to see: where that can be told, a Mutex is
// clearer.
//
//   RLock lock;
//   void Cache::Drop() { std::lock_guard l(lock); ... }
//   void Cache::Refill() { std::lock_guard l(lock); Drop(); ... }
//
// Contract and threads: as Mutex.
class ABSL_LOCKABLE RLock {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (!mutex_.held()) mutex_.lock();
    ++count_;
  }
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(Deadline::Passed());
  }
  bool try_lock_for(absl::Duration timeout) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(timeout);
  }
  bool try_lock_until(Deadline deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    if (!mutex_.held() && !mutex_.try_lock_until(deadline)) return false;
    ++count_;
    return true;
  }
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
  // Unlocking what one does not hold is a fatal error.
  void unlock() ABSL_UNLOCK_FUNCTION() {
    if (!mutex_.held() || --count_ == 0) mutex_.unlock();
  }

  bool locked() { return mutex_.locked(); }
  bool held() { return mutex_.held(); }

  // RLock::UnlockAll()
  //
  // Lets go of it altogether, and says how often it was locked, for LockAgain(): what a
  // ConditionVariable does while it waits.
  int UnlockAll() ABSL_UNLOCK_FUNCTION() {
    const int count = mutex_.held() ? std::exchange(count_, 0) : 0;
    mutex_.unlock();
    return count;
  }
  void LockAgain(int count) ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    mutex_.lock();
    count_ = count;
  }

 private:
  Mutex mutex_;
  int count_ = 0;  // guarded by mutex_
};

}  // namespace grove

#endif  // GROVE_SYNC_RLOCK_H_
