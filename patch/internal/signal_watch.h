#ifndef GROVE_PATCH_INTERNAL_SIGNAL_WATCH_H_
#define GROVE_PATCH_INTERNAL_SIGNAL_WATCH_H_

#include <cstdint>

#include "absl/base/optimization.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/per_thread.h"

// How the handler of a signal ends a call of a greenlet (EINTR of signal(7)). All
// greenlets of a hub are one thread to the kernel, and mostly the handler runs while the
// hub waits for all of them at once. To the program they are threads, of which one has
// taken the signal: the one that it was sent to, by pthread_kill(3) or raise(3); else the
// main greenlet, as the kernel prefers the main thread; and if that waits in none of
// these calls, whoever has waited longest.
//
// As of a thread, the signal ends the call in which that greenlet is when the handler
// runs, and none that it makes afterwards.
namespace grove::patch::patch_internal {

// What becomes of a call when a handler has run that was installed with SA_RESTART.
enum class Restart : uint8_t {
  kByHandler,  // it goes on
  kNever,      // it ends all the same
};

// SignalWatch
//
// While one exists, its greenlet is in a call that handlers may end.
class SignalWatch {
 public:
  SignalWatch(green_internal::Scheduler& s, Restart restart);
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch();

  // Whether one has: the call is to end, unless it has come to something meanwhile.
  bool has_come() const { return has_come_; }

  // Scheduler::ParkQuietly(), which such a handler ends: kWoken, with has_come().
  green_internal::Scheduler::ParkEnd Park(green_internal::Waiter* waiter,
                                          Deadline deadline);

 private:
  friend class SignalDesk;

  green_internal::Scheduler& scheduler_;
  green_internal::Core* const core_;
  const Restart restart_;
  bool has_come_ = false;
  bool parked_ = false;
  uint64_t number_ = 0;  // in order of their beginnings
  SignalWatch* prev_ = nullptr;
  SignalWatch* next_ = nullptr;
};

// NoteHandler()
//
// A handler is about to run on this thread; it `restarts` what its signal interrupts.
// Called in it: async-signal-safe. `to_thread`: the signal was sent to this thread, and
// not to the process.
void NoteHandler(int signum, bool restarts, bool to_thread);

// RunningHandler
//
// While one exists, a handler of the program's runs on this thread.
class RunningHandler {
 public:
  // `blocked`: the signal that is blocked meanwhile, or 0.
  explicit RunningHandler(int blocked)
      : at_{static_cast<const char*>(__builtin_frame_address(0)), Greenlet(), blocked},
        before_(current) {
    current = at_;
  }
  RunningHandler(const RunningHandler&) = delete;
  RunningHandler& operator=(const RunningHandler&) = delete;
  ~RunningHandler() {
    // Else another greenlet's has begun, while this one waited.
    if (current.get().frame == at_.frame) current = before_;
  }

  // Whether the caller is called by one.
  static bool Exists() {
    return ABSL_PREDICT_FALSE(current.get().frame != nullptr) && IsCaller();
  }

 private:
  // Where it is on which stack: one that leaves by siglongjmp(3) does not say so.
  struct At {
    const char* frame = nullptr;
    const green_internal::Core* greenlet = nullptr;
    int blocked = 0;
  };
  static const green_internal::Core* Greenlet();
  static bool IsCaller();

  [[gnu::tls_model(
      "initial-exec")]] static constinit thread_local hub_internal::PerThread<At>
      current;
  const At at_;
  const At before_;
};

// LetOthersRun()
//
// Scheduler::CountOperationUninterrupted(), unless a handler calls: what it has
// interrupted may be in the middle of anything.
inline void LetOthersRun(green_internal::Scheduler& s) {
  if (!RunningHandler::Exists()) s.CountOperationUninterrupted();
}

// Address()
//
// The next such signal that is sent to a greenlet's thread is for that greenlet.
void Address(int signum, const green_internal::Core* core);

// After a fork, in the child, where nobody waits.
void ForgetSignalWatchesInChild();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_SIGNAL_WATCH_H_
