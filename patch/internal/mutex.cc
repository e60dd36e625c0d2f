// Mutexes of pthreads. What lies in them stays libc's: it is tried without waiting, and
// who finds it taken waits as a greenlet until whoever has it gives it back, wherever
// that is.

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <unordered_map>

#include "grove/green/internal/sanitizer.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/process_shared.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/thread_storage.h"
#include "grove/patch/internal/timespec.h"

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
int UnlockWithHub(pthread_mutex_t* m);

constinit HookOf lock_hook("pthread_mutex_lock", Module::kThread, &MutexLock);
constinit HookOf trylock_hook("pthread_mutex_trylock", Module::kThread, &MutexTryLock);
constinit HookOf timedlock_hook("pthread_mutex_timedlock", Module::kThread,
                                &MutexTimedLock);
constinit HookOf clocklock_hook("pthread_mutex_clocklock", Module::kThread,
                                &MutexClockLock);
constinit HookOf unlock_hook("pthread_mutex_unlock", Module::kThread, &MutexUnlock);

Hook* const hooks[] = {&lock_hook, &trylock_hook, &timedlock_hook, &clocklock_hook,
                       &unlock_hook};

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

bool IsRobust(const pthread_mutex_t* m) { return (m->__data.__kind & 16) != 0; }

// Of this thread's hub. Native threads that own one are libc's to know.
struct Ownership {
  Core* core = nullptr;
  unsigned depth = 0;
};
std::unordered_map<const pthread_mutex_t*, Ownership>& Owned() {
  // Not destroyed: locks are used until the thread is gone.
  using Map = std::unordered_map<const pthread_mutex_t*, Ownership>;
  static constinit thread_local hub_internal::PerThread<Map*> owned;
  if (owned == nullptr) owned = new Map;
  return *owned.get();
}

Core* OwnerOf(const pthread_mutex_t* m) {
  const auto owned = Owned().find(m);
  return owned == Owned().end() ? nullptr : owned->second.core;
}

// What becomes of a robust mutex when its owner dies is the kernel's to see to, and so in
// a list of the thread that it knows.
int TryLibc(pthread_mutex_t* m) {
  if (!IsRobust(m)) return trylock_hook.Original(m);
  const HubStorage of_hub;
  return trylock_hook.Original(m);
}
int UnlockLibc(pthread_mutex_t* m) {
  if (!IsRobust(m)) return unlock_hook.Original(m);
  const HubStorage of_hub;
  return unlock_hook.Original(m);
}

// Zero, EBUSY, or what else libc says; of an owned kind, no greenlet of this hub has it
// if it is asked.
int TryNative(pthread_mutex_t* m) {
  if (IsOwned(m) && OwnerOf(m) != nullptr) return EBUSY;
  return TryLibc(m);
}
void NoteOwner(Scheduler& s, const pthread_mutex_t* m, int error) {
  if (IsOwned(m) && (error == 0 || error == EOWNERDEAD)) Owned()[m] = {s.current(), 1};
}

// By another process, or by a thread in an object that is not patched.
bool MayComeBackUnsaid(pthread_mutex_t* m) {
  return IsShared(*m) ||
         __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) != gettid();
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
    Deadline look;
    do {
      look = MayComeBackUnsaid(m) ? LookAgain(deadline) : deadline;
      end = ParkAt(
          s, m,
          [&] {
            error = TryNative(m);
            return error == EBUSY;
          },
          look, hook.name);
    } while (end == ParkedEnd::kWoken ||
             (end == ParkedEnd::kDeadline && look < deadline));
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

int TryLock(Hook& hook, pthread_mutex_t* m) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return trylock_hook.Original(m);
  hook.CountCall();
  if (IsOwned(m) && OwnerOf(m) == s->current()) {
    if (!IsRecursive(m)) return EBUSY;
    ++Owned()[m].depth;
    return 0;
  }
  const int error = TryNative(m);
  NoteOwner(*s, m, error);
  // Who tries again and again lets its owner run.
  if (error == EBUSY) LetOthersRun(*s);
  return error;
}

// A time that is none is an error only if there is something to wait for.
int TryOrInvalid(Hook& hook, pthread_mutex_t* m) {
  const int error = TryLock(hook, m);
  return error == EBUSY ? EINVAL : error;
}

int MutexClockLock(pthread_mutex_t* m, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating(clocklock_hook);
  if (s == nullptr || !IsClock(clock)) return clocklock_hook.Original(m, clock, when);
  if (!IsValid(when)) return TryOrInvalid(clocklock_hook, m);
  return LockUntil(*s, clocklock_hook, m, DeadlineAt(clock, *when));
}

int MutexLock(pthread_mutex_t* m) {
  if (IsOutside(lock_hook)) return lock_hook.Original(m);
  return LockMutex(m, lock_hook);
}
int MutexTryLock(pthread_mutex_t* m) { return TryLock(trylock_hook, m); }
int MutexTimedLock(pthread_mutex_t* m, const timespec* when) {
  return LockMutexUntil(m, when, timedlock_hook);
}

int MutexUnlock(pthread_mutex_t* m) {
  if (!IsOutside(unlock_hook)) return UnlockWithHub(m);
  const int error = unlock_hook.Original(m);
  if (error == 0) WakeAfterRelease(m, 1);
  return error;
}

// What glibc writes where a robust mutex has its owner: PTHREAD_MUTEX_INCONSISTENT.
constexpr int kOwnerDied = INT_MAX;

// On a thread that has one.
[[gnu::noinline]] int UnlockWithHub(pthread_mutex_t* m) {
  Scheduler* s = Cooperating(unlock_hook);
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
    // Not one whose owner has died, and that nobody has made consistent (PTHREAD_MUTEX_ROBUST):
    // libc says so to those who come.
    const bool whole = m->__data.__owner != kOwnerDied;
    if (Core* const next = whole ? HandOverAt(m) : nullptr) {
      // From now on, not from when it runs: who comes before would find it unowned.
      if (IsOwned(m)) Owned()[m] = {next, 1};
      TellHandedOver(m);
      return 0;
    }
  }
  const int error = UnlockLibc(m);
  if (error == 0) WakeAfterRelease(m, 1);
  return error;
}

}  // namespace

int LockMutex(pthread_mutex_t* m) { return LockMutex(m, lock_hook); }
int LockMutex(pthread_mutex_t* m, Hook& hook) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return lock_hook.Original(m);
  return LockUntil(*s, hook, m, {});
}
int LockMutexUntil(pthread_mutex_t* m, const timespec* when, Hook& hook) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return timedlock_hook.Original(m, when);
  if (!IsValid(when)) return TryOrInvalid(hook, m);
  return LockUntil(*s, hook, m, DeadlineAt(CLOCK_REALTIME, *when));
}
int TryLockMutex(pthread_mutex_t* m, Hook& hook) { return TryLock(hook, m); }
int UnlockMutex(pthread_mutex_t* m) { return MutexUnlock(m); }

absl::Span<Hook* const> MutexHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
