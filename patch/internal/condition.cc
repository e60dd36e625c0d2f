// Condition variables, barriers and pthread_once(3).

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "absl/functional/function_ref.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/process_shared.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/spin_mutex.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int CondWait(pthread_cond_t* c, pthread_mutex_t* m);
int CondTimedWait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* when);
int CondClockWait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock,
                  const timespec* when);
int CondSignal(pthread_cond_t* c);
int CondBroadcast(pthread_cond_t* c);
int BarrierInit(pthread_barrier_t* b, const pthread_barrierattr_t* attributes,
                unsigned count);
int BarrierDestroy(pthread_barrier_t* b);
int BarrierWait(pthread_barrier_t* b);
int Once(pthread_once_t* once, void (*routine)());

constinit HookOf cond_wait_hook("pthread_cond_wait", Module::kThread, &CondWait);
constinit HookOf cond_timedwait_hook("pthread_cond_timedwait", Module::kThread,
                                     &CondTimedWait);
constinit HookOf cond_clockwait_hook("pthread_cond_clockwait", Module::kThread,
                                     &CondClockWait);
constinit HookOf cond_signal_hook("pthread_cond_signal", Module::kThread, &CondSignal);
constinit HookOf cond_broadcast_hook("pthread_cond_broadcast", Module::kThread,
                                     &CondBroadcast);
constinit HookOf barrier_init_hook("pthread_barrier_init", Module::kThread, &BarrierInit);
constinit HookOf barrier_destroy_hook("pthread_barrier_destroy", Module::kThread,
                                      &BarrierDestroy);
constinit HookOf barrier_wait_hook("pthread_barrier_wait", Module::kThread, &BarrierWait);
constinit HookOf once_hook("pthread_once", Module::kThread, &Once);

Hook* const hooks[] = {&cond_wait_hook,       &cond_timedwait_hook, &cond_clockwait_hook,
                       &cond_signal_hook,     &cond_broadcast_hook, &barrier_init_hook,
                       &barrier_destroy_hook, &barrier_wait_hook,   &once_hook};

// --- condition variables ---

// Which clock pthread_condattr_setclock(3) has chosen: libc keeps it in this bit
// (nptl/pthread_cond_common.c of glibc 2.25 and later, __condvar_get_private and below).
clockid_t ClockOf(const pthread_cond_t* c) {
  return (c->__data.__wrefs & 2) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

// A thread that does not cooperate stands in the same line: libc's own wait would give
// the mutex back without a word to the greenlets that wait for it. But what other
// processes have, too, is libc's.
int WaitUntil(Hook& hook, pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock,
              const timespec* when, absl::FunctionRef<int()> original) {
  Scheduler* const s = Cooperating(hook);
  if ((s == nullptr && IsShared(*c)) || (when != nullptr && !IsValid(clock, when))) {
    return original();
  }
  int unlocked = 0;
  const auto unlock = [&] {
    unlocked = UnlockMutex(m);
    return unlocked == 0;
  };
  const auto park = [&] {
    if (s == nullptr) return ParkThreadAt(c, clock, when, unlock);
    hook.CountCall();
    hook.CountWait();
    const Deadline deadline = when ? DeadlineAt(clock, *when) : Deadline();
    const Deadline look = IsShared(*c) ? LookAgain(deadline) : deadline;
    const ParkedEnd end = ParkAt(
        *s, c, [] { return true; }, look, hook.name, /*cancellable=*/true, unlock);
    // May end for no reason (pthread_cond_wait(3p)).
    return end == ParkedEnd::kDeadline && look < deadline ? ParkedEnd::kWoken : end;
  };
  ParkedEnd end;
  try {
    end = park();
  } catch (...) {
    // Who is cancelled has the mutex again when its destructors run (pthread_cancel(3)).
    if (unlocked == 0) LockMutex(m);
    throw;
  }
  if (unlocked != 0) return unlocked;
  const int locked = LockMutex(m);
  if (locked != 0) return locked;
  return end == ParkedEnd::kDeadline ? ETIMEDOUT : 0;
}

int CondWait(pthread_cond_t* c, pthread_mutex_t* m) {
  return WaitForCondition(c, m, nullptr, cond_wait_hook);
}

int CondTimedWait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* when) {
  if (when == nullptr) return cond_timedwait_hook.Original(c, m, when);
  return WaitForCondition(c, m, when, cond_timedwait_hook);
}

int CondClockWait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock,
                  const timespec* when) {
  return WaitUntil(cond_clockwait_hook, c, m, clock, when,
                   [&] { return cond_clockwait_hook.Original(c, m, clock, when); });
}

int CondSignal(pthread_cond_t* c) {
  if (WakeAt(c, 1) > 0) return 0;
  return cond_signal_hook.Original(c);
}

int CondBroadcast(pthread_cond_t* c) {
  WakeAt(c, SIZE_MAX);
  return cond_broadcast_hook.Original(c);
}

// --- barriers: kept here, since libc's own can only be waited for by its threads ---

struct Barrier {
  unsigned count;
  unsigned arrived = 0;
  uint64_t generation = 0;
};
struct Barriers {
  SpinMutex mutex;
  std::unordered_map<const pthread_barrier_t*, Barrier> all;
  // Of all: one that is made anew where there was another is none of those before.
  uint64_t last_generation = 0;
  static Barriers& Get() {
    static auto* const barriers = new Barriers;
    return *barriers;
  }
};

int BarrierInit(pthread_barrier_t* b, const pthread_barrierattr_t* attributes,
                unsigned count) {
  const int error = barrier_init_hook.Original(b, attributes, count);
  if (error != 0) return error;
  int shared = PTHREAD_PROCESS_PRIVATE;
  if (attributes != nullptr) pthread_barrierattr_getpshared(attributes, &shared);
  Barriers& barriers = Barriers::Get();
  const std::lock_guard guard(barriers.mutex);
  if (shared != PTHREAD_PROCESS_PRIVATE) {  // libc's, whatever was there before
    barriers.all.erase(b);
    return 0;
  }
  barriers.all[b] = {.count = count, .generation = ++barriers.last_generation};
  return 0;
}

int BarrierDestroy(pthread_barrier_t* b) {
  {
    Barriers& barriers = Barriers::Get();
    const std::lock_guard guard(barriers.mutex);
    barriers.all.erase(b);
  }
  return barrier_destroy_hook.Original(b);
}

int BarrierWait(pthread_barrier_t* b) {
  Scheduler* s = Cooperating(barrier_wait_hook);
  if (s == nullptr) return barrier_wait_hook.Original(b);
  Barriers& barriers = Barriers::Get();
  barrier_wait_hook.CountCall();
  std::optional<uint64_t> generation;
  {
    const std::lock_guard guard(barriers.mutex);
    const auto found = barriers.all.find(b);
    if (found != barriers.all.end()) {
      Barrier& barrier = found->second;
      generation = barrier.generation;
      if (++barrier.arrived == barrier.count) {
        barrier.arrived = 0;
        barrier.generation = ++barriers.last_generation;
      }
    }
  }
  // Of several processes, or from before it was patched.
  if (!generation) {
    return OnAnotherThread(
        barrier_wait_hook, [&] { return barrier_wait_hook.Original(b); },
        PoolForLongWaits());
  }
  const auto passed = [&] {
    const std::lock_guard guard(barriers.mutex);
    const auto found = barriers.all.find(b);
    return found == barriers.all.end() || found->second.generation != generation;
  };
  if (passed()) {
    WakeAt(b, SIZE_MAX);
    return PTHREAD_BARRIER_SERIAL_THREAD;
  }
  barrier_wait_hook.CountWait();
  while (ParkAt(
             *s, b, [&] { return !passed(); }, {}, barrier_wait_hook.name) !=
             ParkedEnd::kInvalid &&
         !passed()) {
  }
  return 0;
}

// --- once ---

// Those whose routine a greenlet is running, which may wait in it: libc would let the
// whole thread wait for that.
struct OnceRunning {
  SpinMutex mutex;
  std::unordered_map<const pthread_once_t*, const green_internal::Core*> all;
  static OnceRunning& Get() {
    static auto* const running = new OnceRunning;
    return *running;
  }
};

// Whether somebody runs the routine; if it is no greenlet, then a native thread. A bit of
// glibc's (__PTHREAD_ONCE_INPROGRESS in nptl/pthreadP.h), where ThreadSanitizer's
// pthread_once() has others.
bool IsInProgress(pthread_once_t* once) {
  return !GROVE_TSAN && (__atomic_load_n(once, __ATOMIC_ACQUIRE) & 1) != 0;
}

// Waits for a native thread that runs the routine, without becoming the one that does:
// glibc takes a routine that throws for one that has not run.
int AwaitOnce(pthread_once_t* once) {
  struct NotHere {};
  try {
    return once_hook.Original(once, [] { throw NotHere(); });
  } catch (const NotHere&) {  // that thread was cancelled, or has thrown
    return 0;
  }
}

int Once(pthread_once_t* once, void (*routine)()) {
  return CallOnce(once, routine, once_hook);
}

}  // namespace

int WaitForCondition(pthread_cond_t* c, pthread_mutex_t* m, const timespec* when,
                     Hook& hook) {
  return WaitUntil(hook, c, m, when ? ClockOf(c) : CLOCK_MONOTONIC, when, [&] {
    return when ? cond_timedwait_hook.Original(c, m, when)
                : cond_wait_hook.Original(c, m);
  });
}
int SignalCondition(pthread_cond_t* c) { return CondSignal(c); }
int BroadcastCondition(pthread_cond_t* c) { return CondBroadcast(c); }

int CallOnce(pthread_once_t* once, void (*routine)(), Hook& hook) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return once_hook.Original(once, routine);
  hook.CountCall();
  OnceRunning& running = OnceRunning::Get();
  const auto runs = [&] {
    const std::lock_guard guard(running.mutex);
    return running.all.contains(once);
  };
  // What was waited for may have ended without the routine's end, and another greenlet
  // may be the one that runs it now.
  for (;;) {
    while (runs()) {
      hook.CountWait();
      ParkAt(*s, once, runs, {}, hook.name);
    }
    if (!IsInProgress(once)) break;
    OnAnotherThread(
        hook, [&] { return AwaitOnce(once); }, PoolForLongWaits());
  }
  struct Entry {
    Entry(OnceRunning& r, const pthread_once_t* o) : running(r), once(o) {
      const std::lock_guard guard(running.mutex);
      running.all[once] = Scheduler::Get().current();
    }
    ~Entry() {
      {
        const std::lock_guard guard(running.mutex);
        running.all.erase(once);
      }
      WakeAt(once, SIZE_MAX);
    }
    OnceRunning& running;
    const pthread_once_t* const once;
  };
  const Entry entry(running, once);
  return once_hook.Original(once, routine);
}

void ForgetOnceInChild() {
  OnceRunning& running = OnceRunning::Get();
  const green_internal::Core* const mine = Scheduler::Get().current();
  std::erase_if(running.all, [&](const auto& entry) { return entry.second != mine; });
}

absl::Span<Hook* const> ConditionHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
