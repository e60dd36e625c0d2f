// Mutexes, read-write locks and semaphores of pthreads. What lies in them stays libc's:
// it is tried without waiting, and who finds it taken waits as a greenlet until whoever
// has it gives it back, wherever that is.

#include "grove/patch/internal/mutex.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "grove/green/internal/sanitizer.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/lock_time.h"
#include "grove/patch/internal/parking_lot.h"

#if GROVE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;

int MutexLock(pthread_mutex_t* m);
int MutexTryLock(pthread_mutex_t* m);
int MutexTimedLock(pthread_mutex_t* m, const timespec* when);
int MutexClockLock(pthread_mutex_t* m, clockid_t clock, const timespec* when);
int MutexUnlock(pthread_mutex_t* m);
int ReadLock(pthread_rwlock_t* l);
int WriteLock(pthread_rwlock_t* l);
int TimedReadLock(pthread_rwlock_t* l, const timespec* when);
int TimedWriteLock(pthread_rwlock_t* l, const timespec* when);
int RwUnlock(pthread_rwlock_t* l);
int SemWait(sem_t* s);
int SemTimedWait(sem_t* s, const timespec* when);
int SemClockWait(sem_t* s, clockid_t clock, const timespec* when);
int SemPost(sem_t* s);
int SpinLock(pthread_spinlock_t* l);

constinit HookOf lock_hook("pthread_mutex_lock", Module::kThread, &MutexLock);
constinit HookOf trylock_hook("pthread_mutex_trylock", Module::kThread, &MutexTryLock);
constinit HookOf timedlock_hook("pthread_mutex_timedlock", Module::kThread,
                                &MutexTimedLock);
constinit HookOf clocklock_hook("pthread_mutex_clocklock", Module::kThread,
                                &MutexClockLock);
constinit HookOf unlock_hook("pthread_mutex_unlock", Module::kThread, &MutexUnlock);
constinit HookOf rdlock_hook("pthread_rwlock_rdlock", Module::kThread, &ReadLock);
constinit HookOf wrlock_hook("pthread_rwlock_wrlock", Module::kThread, &WriteLock);
constinit HookOf timedrdlock_hook("pthread_rwlock_timedrdlock", Module::kThread,
                                  &TimedReadLock);
constinit HookOf timedwrlock_hook("pthread_rwlock_timedwrlock", Module::kThread,
                                  &TimedWriteLock);
constinit HookOf rwunlock_hook("pthread_rwlock_unlock", Module::kThread, &RwUnlock);
constinit HookOf sem_wait_hook("sem_wait", Module::kThread, &SemWait);
constinit HookOf sem_timedwait_hook("sem_timedwait", Module::kThread, &SemTimedWait);
constinit HookOf sem_clockwait_hook("sem_clockwait", Module::kThread, &SemClockWait);
constinit HookOf sem_post_hook("sem_post", Module::kThread, &SemPost);
constinit HookOf spin_lock_hook("pthread_spin_lock", Module::kThread, &SpinLock);

Hook* const hooks[] = {&lock_hook,          &trylock_hook,     &timedlock_hook,
                       &clocklock_hook,     &unlock_hook,      &rdlock_hook,
                       &wrlock_hook,        &timedrdlock_hook, &timedwrlock_hook,
                       &rwunlock_hook,      &sem_wait_hook,    &sem_timedwait_hook,
                       &sem_clockwait_hook, &sem_post_hook,    &spin_lock_hook};

// --- mutexes ---

// ThreadSanitizer, to which each greenlet is a thread, does not see how a mutex goes from
// one to the next without libc.
#if GROVE_TSAN
void TellHandedOver(pthread_mutex_t* m) {
  __tsan_mutex_pre_unlock(m, 0);
  __tsan_mutex_post_unlock(m, 0);
}
void TellTakenOver(pthread_mutex_t* m) {
  __tsan_mutex_pre_lock(m, 0);
  __tsan_mutex_post_lock(m, 0, 0);
}
#else
void TellHandedOver(pthread_mutex_t*) {}
void TellTakenOver(pthread_mutex_t*) {}
#endif

// libc knows the owners of recursive and error-checking mutexes by their threads, of
// which all greenlets of a hub have the same. So for these kinds who owns them is kept
// here.
bool IsOwned(const pthread_mutex_t* m) { return (m->__data.__kind & 3) % 3 != 0; }
bool IsRecursive(const pthread_mutex_t* m) {
  return (m->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE_NP;
}

// Of this thread's hub. Native threads that own one are libc's to know.
struct Ownership {
  Core* core = nullptr;
  unsigned depth = 0;
};
std::unordered_map<const pthread_mutex_t*, Ownership>& Owned() {
  // Not destroyed: locks are used until the thread is gone.
  static thread_local auto* const owned =
      new std::unordered_map<const pthread_mutex_t*, Ownership>;
  return *owned;
}

Core* OwnerOf(const pthread_mutex_t* m) {
  const auto owned = Owned().find(m);
  return owned == Owned().end() ? nullptr : owned->second.core;
}

// Zero, EBUSY, or what else libc says; of an owned kind, no greenlet of this hub has it
// if it is asked.
int TryNative(pthread_mutex_t* m) {
  if (IsOwned(m) && OwnerOf(m) != nullptr) return EBUSY;
  return trylock_hook.Original(m);
}
void NoteOwner(Scheduler& s, const pthread_mutex_t* m, int error) {
  if (IsOwned(m) && (error == 0 || error == EOWNERDEAD)) Owned()[m] = {s.current(), 1};
}

int LockUntil(Scheduler& s, Hook& hook, pthread_mutex_t* m, Deadline deadline) {
  hook.CountCall();
  if (IsOwned(m) && OwnerOf(m) == s.current()) {
    if (!IsRecursive(m)) return EDEADLK;
    ++Owned()[m].depth;
    return 0;
  }
  int error = TryNative(m);
  if (ABSL_PREDICT_FALSE(error == EBUSY)) {
    hook.CountWait();
    ParkedEnd end;
    do {
      end = ParkAt(
          s, m,
          [&] {
            error = TryNative(m);
            return error == EBUSY;
          },
          deadline, hook.name);
    } while (end == ParkedEnd::kWoken);
    if (end == ParkedEnd::kHandedOver) {
      TellTakenOver(m);
      error = 0;
    }
    if (end == ParkedEnd::kDeadline) {
      error = TryNative(m);
      if (error == EBUSY) return ETIMEDOUT;
    }
  }
  NoteOwner(s, m, error);
  return error;
}

int MutexLock(pthread_mutex_t* m) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return lock_hook.Original(m);
  return LockUntil(*s, lock_hook, m, {});
}

int MutexTryLock(pthread_mutex_t* m) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return trylock_hook.Original(m);
  trylock_hook.CountCall();
  if (IsOwned(m) && OwnerOf(m) == s->current()) {
    if (!IsRecursive(m)) return EBUSY;
    ++Owned()[m].depth;
    return 0;
  }
  const int error = TryNative(m);
  NoteOwner(*s, m, error);
  // Who tries again and again lets its owner run.
  if (error == EBUSY) s->CountOperationUninterrupted();
  return error;
}

int MutexClockLock(pthread_mutex_t* m, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) {
    return clocklock_hook.Original(m, clock, when);
  }
  return LockUntil(*s, clocklock_hook, m, DeadlineAt(clock, *when));
}

int MutexTimedLock(pthread_mutex_t* m, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) return timedlock_hook.Original(m, when);
  return LockUntil(*s, timedlock_hook, m, DeadlineAt(CLOCK_REALTIME, *when));
}

int MutexUnlock(pthread_mutex_t* m) {
  Scheduler* s = Cooperating();
  if (s != nullptr) {
    unlock_hook.CountCall();
    if (IsOwned(m)) {
      const auto owned = Owned().find(m);
      if (owned != Owned().end()) {
        if (owned->second.core != s->current()) return EPERM;
        if (--owned->second.depth > 0) return 0;
        Owned().erase(owned);
      }
    }
    // It stays locked, by the thread that they share, and goes to the next in line: one
    // that locks it again at once would else starve all the others of this hub.
    if (HandOverAt(m)) {
      TellHandedOver(m);
      return 0;
    }
  }
  const int error = unlock_hook.Original(m);
  if (error == 0) WakeAt(m, 1);
  return error;
}

// --- what is tried until it can be had ---

// `attempt` returns zero, EBUSY or an error.
template <typename Attempt>
int Acquire(Scheduler& s, Hook& hook, const void* address, Deadline deadline,
            bool cancellable, Attempt attempt) {
  hook.CountCall();
  int error = attempt();
  if (ABSL_PREDICT_TRUE(error != EBUSY)) return error;
  hook.CountWait();
  for (;;) {
    const ParkedEnd end = ParkAt(
        s, address,
        [&] {
          error = attempt();
          return error == EBUSY;
        },
        deadline, hook.name, cancellable);
    if (end == ParkedEnd::kInvalid) return error;
    if (end == ParkedEnd::kDeadline) {
      error = attempt();
      return error == EBUSY ? ETIMEDOUT : error;
    }
  }
}

int ReadLock(pthread_rwlock_t* l) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return rdlock_hook.Original(l);
  return Acquire(*s, rdlock_hook, l, {}, false,
                 [l] { return pthread_rwlock_tryrdlock(l); });
}

int WriteLock(pthread_rwlock_t* l) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return wrlock_hook.Original(l);
  return Acquire(*s, wrlock_hook, l, {}, false,
                 [l] { return pthread_rwlock_trywrlock(l); });
}

int TimedReadLock(pthread_rwlock_t* l, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) return timedrdlock_hook.Original(l, when);
  return Acquire(*s, timedrdlock_hook, l, DeadlineAt(CLOCK_REALTIME, *when), false,
                 [l] { return pthread_rwlock_tryrdlock(l); });
}

int TimedWriteLock(pthread_rwlock_t* l, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) return timedwrlock_hook.Original(l, when);
  return Acquire(*s, timedwrlock_hook, l, DeadlineAt(CLOCK_REALTIME, *when), false,
                 [l] { return pthread_rwlock_trywrlock(l); });
}

int RwUnlock(pthread_rwlock_t* l) {
  if (Cooperating() != nullptr) rwunlock_hook.CountCall();
  const int error = rwunlock_hook.Original(l);
  // Readers and writers alike: they see who can go on.
  if (error == 0) WakeAt(l, SIZE_MAX);
  return error;
}

int AcquireSemaphore(Scheduler& s, Hook& hook, sem_t* semaphore, Deadline deadline) {
  const int error = Acquire(s, hook, semaphore, deadline, true, [semaphore] {
    if (sem_trywait(semaphore) == 0) return 0;
    return errno == EAGAIN ? EBUSY : errno;
  });
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int SemWait(sem_t* semaphore) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return sem_wait_hook.Original(semaphore);
  return AcquireSemaphore(*s, sem_wait_hook, semaphore, {});
}

int SemTimedWait(sem_t* semaphore, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) {
    return sem_timedwait_hook.Original(semaphore, when);
  }
  return AcquireSemaphore(*s, sem_timedwait_hook, semaphore,
                          DeadlineAt(CLOCK_REALTIME, *when));
}

int SemClockWait(sem_t* semaphore, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating();
  if (s == nullptr || !IsValid(when)) {
    return sem_clockwait_hook.Original(semaphore, clock, when);
  }
  return AcquireSemaphore(*s, sem_clockwait_hook, semaphore, DeadlineAt(clock, *when));
}

int SemPost(sem_t* semaphore) {
  const int result = sem_post_hook.Original(semaphore);
  if (result == 0) WakeAt(semaphore, 1);
  return result;
}

int SpinLock(pthread_spinlock_t* l) {
  Scheduler* s = Cooperating();
  if (s == nullptr) return spin_lock_hook.Original(l);
  spin_lock_hook.CountCall();
  int error;
  while ((error = pthread_spin_trylock(l)) == EBUSY) s->YieldUninterrupted();
  return error;
}

}  // namespace

int LockMutex(pthread_mutex_t* m) { return MutexLock(m); }
int UnlockMutex(pthread_mutex_t* m) { return MutexUnlock(m); }

absl::Span<Hook* const> MutexHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
