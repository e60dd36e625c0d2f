#ifndef GROVE_GREEN_SHUTDOWN_H_
#define GROVE_GREEN_SHUTDOWN_H_

#include <signal.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"

// The end of a program, in one call: SIGTERM or SIGINT, or whoever asks for it, starts
// what was registered for the occasion, in order and for a limited time; what then still
// runs is killed; and what had to be cut is told.
//
//   int main() {
//     ShutdownScope shutdown({.grace = absl::Seconds(20)});
//     net::StreamServer server(Listen(), Handle);
//     server.Start();
//     ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "http", [&](Deadline d) {
//       server.Stop(d.Remaining());
//     });
//     return shutdown.Run();
//   }
//
// Shutdown(grace) in hub_scope.h is the last step alone.
namespace grove {

class SignalListener;

namespace green_internal {
class SecondSignal;
class ShutdownSequence;
struct HookState;
}  // namespace green_internal

// What a hook is for. The phases come one after another.
enum class ShutdownPhase {
  kStopAccepting,  // let nothing new in
  kDrain,          // finish what has begun
  kClose,          // give back what that needed: pools, connections
  kFlush,          // write out what is left to say
};

// ShutdownHook
//
// The registration of a hook. Its end takes the hook back; if it runs just then, waits
// for its end, so that the hook may refer to what is declared before it. One that was
// given up (ShutdownReport::Outcome::kRefused) is not waited for.
//
// Threads: that of the hub on which it was registered.
class [[nodiscard]] ShutdownHook {
 public:
  ShutdownHook() = default;
  ShutdownHook(ShutdownHook&& other) noexcept = default;
  ShutdownHook& operator=(ShutdownHook&& other) noexcept {
    Reset();
    state_ = std::move(other.state_);
    return *this;
  }
  ~ShutdownHook() { Reset(); }

  // For OnShutdown().
  explicit ShutdownHook(std::shared_ptr<green_internal::HookState> state)
      : state_(std::move(state)) {}

 private:
  void Reset();

  std::shared_ptr<green_internal::HookState> state_;
};

namespace green_internal {
ShutdownHook AddHook(ShutdownPhase phase, std::string name,
                     absl::AnyInvocable<absl::Status(Deadline)> hook);
}

// OnShutdown()
//
// Has `hook(deadline)` called when the program ends, in a greenlet of this thread's hub.
// Hooks of one phase run side by side, on all hubs at once, and are started in the
// reverse order of their registration; the next phase begins when they have ended.
//
// A hook should end by its deadline. If it has not a while later
// (ShutdownOptions::overtime), it is killed. It may return an absl::Status; one that is
// not OK is told in the report, as is an exception. Neither keeps the others from
// running.
//
// One that comes when its phase has begun already is called at once, with the overtime
// for its deadline, so that what starts up while the program ends is ended too.
//
// Does not block. Threads: any that has, or may have, a hub.
template <typename F>
ShutdownHook OnShutdown(ShutdownPhase phase, std::string name, F hook) {
  if constexpr (std::is_same_v<std::invoke_result_t<F&, Deadline>, absl::Status>) {
    return green_internal::AddHook(phase, std::move(name), std::move(hook));
  } else {
    return green_internal::AddHook(phase, std::move(name),
                                   [hook = std::move(hook)](Deadline deadline) mutable {
                                     hook(deadline);
                                     return absl::OkStatus();
                                   });
  }
}

// RequestShutdown()
//
// As if a signal had come; the first one that asks decides on the exit code. May come
// before anybody waits for it. Does not block. Threads: any; not from signal handlers.
void RequestShutdown(int exit_code = 0);

// ShutdownRequested()
//
// Whether the program is about to end. Threads: any.
bool ShutdownRequested();

// ShutdownOptions
struct ShutdownOptions {
  std::vector<int> signals = {SIGTERM, SIGINT};
  // How long all hooks together may take.
  absl::Duration grace = absl::Seconds(10);
  // What a phase is given in any case, even if those before it have used up the grace
  // (but no more than that); and then, how long a hook may go on after its deadline
  // before it is killed, and how long what was killed may take to end.
  absl::Duration overtime = absl::Seconds(1);
};

// ShutdownReport
struct ShutdownReport {
  enum class Outcome {
    kFinished,
    kFailed,   // by an error
    kCut,      // it had to be killed
    kRefused,  // and did not even end by that
  };
  struct Hook {
    std::string name;
    ShutdownPhase phase;
    std::string hub;
    Outcome outcome;
    std::string error;
    absl::Duration took;
  };

  int exit_code = 0;
  int signal = 0;  // that asked for it; 0: RequestShutdown()
  absl::Duration took;
  std::vector<Hook> hooks;  // in the order in which they were started
  // Greenlets that were left after the hooks, and were killed; and those that did not end
  // by that. "greenlet 'x' (#7), spawned at a.cc:12: waits for a signal, on hub 'main'"
  std::vector<std::string> killed;
  std::vector<std::string> refused;

  // ShutdownReport::clean()
  //
  // Whether all that ran came to its own end.
  bool clean() const;

  // ShutdownReport::ToString()
  //
  // A line that sums it up, then one for each thing that did not go well; of greenlets,
  // for the first twenty.
  std::string ToString() const;
};

// ShutdownScope
//
// Waits for the end of the program and carries it out. From its beginning on the signals
// are kept, so that none is lost while the program starts: make it first. There can be
// one at a time.
//
// The second signal ends the process at once, from the signal handler and whatever the
// hubs are doing, also if nobody has come to Wait() yet: a line on stderr, then exit code
// 128 + signal.
//
// Threads: its hub's.
class ShutdownScope {
 public:
  explicit ShutdownScope(ShutdownOptions options = {});
  ShutdownScope(const ShutdownScope&) = delete;
  ShutdownScope& operator=(const ShutdownScope&) = delete;
  ~ShutdownScope();

  // ShutdownScope::Wait()
  //
  // Waits until the end is asked for; runs the hooks; kills the greenlets that are left
  // on this hub, but for the main one, and on those that have hooks registered, and
  // waits for their end. Once.
  //
  // Blocks: until then. What does not end is left behind after `overtime`.
  // Kill: throws; hooks that run go on.
  ShutdownReport Wait();

  // ShutdownScope::Run()
  //
  // For the end of main(): Wait(), then the report on stderr, if it is not clean(), and
  // the exit code.
  //
  // Blocks, Kill: as Wait().
  int Run();

 private:
  const ShutdownOptions options_;
  std::vector<std::unique_ptr<SignalListener>> listeners_;
  const std::shared_ptr<green_internal::ShutdownSequence> sequence_;
  std::unique_ptr<green_internal::SecondSignal> second_;
};

}  // namespace grove

#endif  // GROVE_GREEN_SHUTDOWN_H_
