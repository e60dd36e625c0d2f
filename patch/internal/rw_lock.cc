// Read-write locks and spin locks of pthreads.

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <cstdint>

#include "grove/patch/internal/acquire.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int ReadLock(pthread_rwlock_t* l);
int WriteLock(pthread_rwlock_t* l);
int TimedReadLock(pthread_rwlock_t* l, const timespec* when);
int TimedWriteLock(pthread_rwlock_t* l, const timespec* when);
int ClockReadLock(pthread_rwlock_t* l, clockid_t clock, const timespec* when);
int ClockWriteLock(pthread_rwlock_t* l, clockid_t clock, const timespec* when);
int RwUnlock(pthread_rwlock_t* l);
int SpinLock(pthread_spinlock_t* l);

constinit HookOf rdlock_hook("pthread_rwlock_rdlock", Module::kThread, &ReadLock);
constinit HookOf wrlock_hook("pthread_rwlock_wrlock", Module::kThread, &WriteLock);
constinit HookOf timedrdlock_hook("pthread_rwlock_timedrdlock", Module::kThread,
                                  &TimedReadLock);
constinit HookOf timedwrlock_hook("pthread_rwlock_timedwrlock", Module::kThread,
                                  &TimedWriteLock);
constinit HookOf clockrdlock_hook("pthread_rwlock_clockrdlock", Module::kThread,
                                  &ClockReadLock);
constinit HookOf clockwrlock_hook("pthread_rwlock_clockwrlock", Module::kThread,
                                  &ClockWriteLock);
constinit HookOf rwunlock_hook("pthread_rwlock_unlock", Module::kThread, &RwUnlock);
constinit HookOf spin_lock_hook("pthread_spin_lock", Module::kThread, &SpinLock);

Hook* const hooks[] = {&rdlock_hook,      &wrlock_hook,      &timedrdlock_hook,
                       &timedwrlock_hook, &clockrdlock_hook, &clockwrlock_hook,
                       &rwunlock_hook,    &spin_lock_hook};

int ReadUntil(Scheduler& s, Hook& hook, pthread_rwlock_t* l, Deadline deadline) {
  return Acquire(s, hook, l, deadline, /*cancellable=*/false,
                 [l] { return pthread_rwlock_tryrdlock(l); });
}

int WriteUntil(Scheduler& s, Hook& hook, pthread_rwlock_t* l, Deadline deadline) {
  return Acquire(s, hook, l, deadline, /*cancellable=*/false,
                 [l] { return pthread_rwlock_trywrlock(l); });
}

int ReadLock(pthread_rwlock_t* l) {
  Scheduler* s = Cooperating(rdlock_hook);
  if (s == nullptr) return rdlock_hook.Original(l);
  return ReadUntil(*s, rdlock_hook, l, {});
}

int WriteLock(pthread_rwlock_t* l) {
  Scheduler* s = Cooperating(wrlock_hook);
  if (s == nullptr) return wrlock_hook.Original(l);
  return WriteUntil(*s, wrlock_hook, l, {});
}

int TimedReadLock(pthread_rwlock_t* l, const timespec* when) {
  Scheduler* s = Cooperating(timedrdlock_hook);
  if (s == nullptr || !IsValid(when)) return timedrdlock_hook.Original(l, when);
  return ReadUntil(*s, timedrdlock_hook, l, DeadlineAt(CLOCK_REALTIME, *when));
}

int TimedWriteLock(pthread_rwlock_t* l, const timespec* when) {
  Scheduler* s = Cooperating(timedwrlock_hook);
  if (s == nullptr || !IsValid(when)) return timedwrlock_hook.Original(l, when);
  return WriteUntil(*s, timedwrlock_hook, l, DeadlineAt(CLOCK_REALTIME, *when));
}

int ClockReadLock(pthread_rwlock_t* l, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating(clockrdlock_hook);
  if (s == nullptr || !IsValid(clock, when))
    return clockrdlock_hook.Original(l, clock, when);
  return ReadUntil(*s, clockrdlock_hook, l, DeadlineAt(clock, *when));
}

int ClockWriteLock(pthread_rwlock_t* l, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating(clockwrlock_hook);
  if (s == nullptr || !IsValid(clock, when))
    return clockwrlock_hook.Original(l, clock, when);
  return WriteUntil(*s, clockwrlock_hook, l, DeadlineAt(clock, *when));
}

int RwUnlock(pthread_rwlock_t* l) {
  if (Cooperating(rwunlock_hook) != nullptr) rwunlock_hook.CountCall();
  const int error = rwunlock_hook.Original(l);
  // Readers and writers alike: they see who can go on.
  if (error == 0) WakeAfterRelease(l, SIZE_MAX);
  return error;
}

int SpinLock(pthread_spinlock_t* l) {
  Scheduler* s = Cooperating(spin_lock_hook);
  if (s == nullptr) return spin_lock_hook.Original(l);
  spin_lock_hook.CountCall();
  int error;
  while ((error = pthread_spin_trylock(l)) == EBUSY) s->YieldUninterrupted();
  return error;
}

}  // namespace

absl::Span<Hook* const> RwLockHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
