#ifndef GROVE_PATCH_INTERNAL_PARKING_LOT_H_
#define GROVE_PATCH_INTERNAL_PARKING_LOT_H_

#include <time.h>

#include <atomic>
#include <cstddef>

#include "absl/base/optimization.h"
#include "absl/functional/function_ref.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/patch/internal/signal_watch.h"

// Greenlets that wait at an address, as threads do by futex(2): for the mutex, the
// condition variable or the word that lies there. What lies there stays libc's, and what
// it says; here are only those of the waiting who are greenlets, of whichever hub, and
// threads that give back on the way what a greenlet may wait for.
//
// (The idea of keeping those who wait apart from what they wait for, by its address, is
// WebKit's "parking lot".)
namespace grove::patch::patch_internal {

enum class ParkedEnd {
  kWoken,
  kHandedOver,  // what was waited for is the caller's already
  kDeadline,
  kSignal,   // a handler has run that ends the call; only with a SignalWatch
  kInvalid,  // `still` or `in_line` said no: did not wait
};

// ParkAt()
//
// Parks the current greenlet at an address. `still()` is asked once it stands in line,
// under the lot's lock, so that no wake is missed: whether to wait at all. It neither
// blocks nor calls anything here.
//
// `in_line()`, if given, is called then, without that lock, and may say no, too.
//
// Kill and Timeout do not end it. A pthread_cancel() does, by an exception (see
// thread.h), if `cancellable`; and what `signal` says, if it is given.
ParkedEnd ParkAt(
    green_internal::Scheduler& s, const void* address, absl::FunctionRef<bool()> still,
    Deadline deadline, const char* call, bool cancellable = false,
    absl::FunctionRef<bool()> in_line = [] { return true; },
    SignalWatch* signal = nullptr);

// ParkThreadAt()
//
// The same for a thread that is not to cooperate: blocks it, until a moment of the clock
// if one is given. A point of cancellation.
ParkedEnd ParkThreadAt(const void* address, clockid_t clock, const timespec* until,
                       absl::FunctionRef<bool()> in_line);

// Wakes up to `count` of those who wait at the address, first come first served, and says
// how many that were. Costs a load while nobody waits anywhere. Threads: any, also in
// signal handlers.
size_t WakeAt(const void* address, size_t count);

// How many wait, wherever that is.
extern std::atomic<size_t> parked_everywhere;

// WakeAfterRelease()
//
// The same for who has changed what lies there by an atomic instruction that reads and
// writes, as libc gives back its locks (a process of one thread excepted, where nobody
// else looks). That is a fence on x86-64 (Intel SDM, volume 3, 8.2.2), and one more costs
// as much as the lock itself.
inline size_t WakeAfterRelease(const void* address, size_t count) {
#if !defined(__x86_64__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  if (ABSL_PREDICT_TRUE(parked_everywhere.load(std::memory_order_relaxed) == 0)) return 0;
  return WakeAt(address, count);
}

// Gives what lies at the address to the first who waits there, if that is a greenlet of
// this thread's hub, and says which. Null: there was none.
green_internal::Core* HandOverAt(const void* address);

// After a fork, in the child, where nobody waits.
void ForgetParkedInChild();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_PARKING_LOT_H_
