#ifndef GROVE_GREEN_OS_SIGNALS_H_
#define GROVE_GREEN_OS_SIGNALS_H_

#include <sys/types.h>

#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"

// Signals of the process, received in greenlets, where everything is allowed: as values
// (SignalListener), or by a function in a greenlet of its own (OnSignal). Several parts
// of a program may listen to the same signal, on the same hub or on different ones; each
// of them gets it.
//
// While somebody listens to a signal it does not do what it would do by default. When the
// last listener goes, whatever handled it before does so again. Other code must not
// change a signal's handler while it is listened to.
//
// Signals are not counted, by the kernel nor here: one that has not been taken yet stands
// for all of its kind that come meanwhile. After SIGCHLD look for all children that have
// ended.
//
// SIGKILL and SIGSTOP cannot be listened to, nor what stands for an error of the program
// itself (SIGSEGV, SIGBUS, SIGFPE, SIGILL): a fatal error. SIGPIPE needs nobody who
// listens: writing to a closed pipe or socket returns EPIPE here.
namespace grove {

namespace green_internal {
class SignalSubscription;
}

// SignalInfo
//
// What a signal came with. Of several that became one, what the first came with.
struct SignalInfo {
  int signum = 0;
  int code = 0;   // si_code: SI_USER, CLD_EXITED, ...
  pid_t pid = 0;  // who sent it; of SIGCHLD, the child
  uid_t uid = 0;
  int status = 0;  // of SIGCHLD: the exit code, or the signal
};

// SignalListener
//
// Receives signals as values.
//
//   SignalListener signals({SIGINT, SIGTERM});
//   int signum = *signals.Wait();
//
// Listening does not by itself keep a hub going, but waiting does. In a child of Fork()
// it hears nothing any more.
//
// Threads: its hub's.
class SignalListener {
 public:
  explicit SignalListener(std::initializer_list<int> signals);
  SignalListener(const SignalListener&) = delete;
  SignalListener& operator=(const SignalListener&) = delete;
  // Nobody may wait in it.
  ~SignalListener();

  // SignalListener::Wait()
  //
  // The next signal, in order of arrival; at once if one came before. Of several
  // greenlets that wait in one listener, one gets it.
  //
  // Blocks: until there is one.
  // Deadline: returns nothing.
  // Kill: throws; no signal is lost.
  std::optional<int> Wait(Deadline deadline = {});

  // SignalListener::WaitInfo()
  //
  // As Wait(), with what the signal came with.
  std::optional<SignalInfo> WaitInfo(Deadline deadline = {});

 private:
  void Arrive(const SignalInfo& info);

  std::vector<std::unique_ptr<green_internal::SignalSubscription>> subscriptions_;
  std::deque<SignalInfo> arrived_;  // at most one of each kind
  green_internal::WaiterList waiters_;
};

// SignalHandler
//
// Keeps a function as a signal's handler, for as long as it lives; see OnSignal().
//
// Threads: its hub's.
class [[nodiscard]] SignalHandler {
 public:
  // Of nothing.
  SignalHandler();
  SignalHandler(SignalHandler&&) noexcept;
  SignalHandler& operator=(SignalHandler&&) noexcept;
  // No greenlet is started any more; those that run go on.
  ~SignalHandler();

 private:
  friend SignalHandler OnSignal(int signum,
                                std::function<void(const SignalInfo&)> handler);
  std::unique_ptr<green_internal::SignalSubscription> subscription_;
};

// OnSignal()
//
// Calls `handler` in a new greenlet of this hub whenever the signal comes. It may block;
// the next signal starts another greenlet meanwhile. Does not keep the hub going.
//
//   SignalHandler reload = OnSignal(SIGHUP, [&](const SignalInfo&) { config.Reload(); });
SignalHandler OnSignal(int signum, std::function<void(const SignalInfo&)> handler);

}  // namespace grove

#endif  // GROVE_GREEN_OS_SIGNALS_H_
