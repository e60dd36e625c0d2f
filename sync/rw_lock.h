#ifndef GROVE_SYNC_RW_LOCK_H_
#define GROVE_SYNC_RW_LOCK_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// RWLock
//
// Lets many readers through at once, or one writer. Named as std::shared_mutex is, and a
// model of SharedTimedLockable but for the chrono types: std::shared_lock holds it.
//
//   { std::shared_lock reading(lock); Look(table); }
//   { std::unique_lock writing(lock); Change(table); }
//
// First come first served: a reader that comes while a writer waits stands behind it, so
// neither starves. Hence one who reads must not begin to read again: with a writer in
// between, it would wait for itself.
//
// Unlocking what is not locked and a circle of writers are fatal errors, as with Mutex.
// Readers are counted, not known by name.
//
// Threads: any; see docs/sync.md for what travels.
class ABSL_LOCKABLE RWLock {
  using Core = sync_internal::Core;
  using Self = sync_internal::Self;

 public:
  RWLock() = default;
  RWLock(const RWLock&) = delete;
  RWLock& operator=(const RWLock&) = delete;
  // While somebody holds or waits for it: a fatal error.
  ~RWLock();

  // Blocks: until no other writes or reads.
  // Deadline: returns false, and it is not held. Kill: throws, and it is not held.
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { (void)try_lock_until(Deadline()); }
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(Deadline::Passed());
  }
  bool try_lock_for(absl::Duration timeout) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return try_lock_until(timeout);
  }
  bool try_lock_until(Deadline deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  // Does not block.
  void unlock() ABSL_UNLOCK_FUNCTION();

  // Blocks: until nobody writes, and those who wanted to before have had their turn.
  // Deadline and kill: as lock().
  void lock_shared() ABSL_SHARED_LOCK_FUNCTION() {
    (void)try_lock_shared_until(Deadline());
  }
  bool try_lock_shared() ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return try_lock_shared_until(Deadline::Passed());
  }
  bool try_lock_shared_for(absl::Duration timeout) ABSL_SHARED_TRYLOCK_FUNCTION(true) {
    return try_lock_shared_until(timeout);
  }
  bool try_lock_shared_until(Deadline deadline) ABSL_SHARED_TRYLOCK_FUNCTION(true);
  // Does not block.
  void unlock_shared() ABSL_UNLOCK_FUNCTION();

 private:
  class LockOperation;

  bool Take(bool write, Self self);
  void Leave(bool write);
  void Serve();

  Self writer_;
  int64_t readers_ = 0;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_RW_LOCK_H_
