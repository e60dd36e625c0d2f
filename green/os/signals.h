#ifndef GROVE_GREEN_OS_SIGNALS_H_
#define GROVE_GREEN_OS_SIGNALS_H_

#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"
#include "grove/hub/loop.h"

namespace grove {

// SignalListener
//
// Receives signals as values, in a greenlet, where everything is allowed. While it lives,
// the signals it names do not do what they would do by default.
//
//   SignalListener signals({SIGINT, SIGTERM});
//   int signum = *signals.Wait();
//
// A signal can have one listener in a process at a time. Listening does not by itself
// keep a hub going, but waiting does.
//
// Threads: its hub's.
class SignalListener {
 public:
  explicit SignalListener(std::initializer_list<int> signals);
  SignalListener(const SignalListener&) = delete;
  SignalListener& operator=(const SignalListener&) = delete;
  ~SignalListener();

  // SignalListener::Wait()
  //
  // The next signal, in order of arrival; at once if one came before. Several of one kind
  // may have become one, as signals do.
  //
  // Blocks: until there is one.
  // Deadline: returns nothing.
  // Kill: throws; no signal is lost.
  std::optional<int> Wait(Deadline deadline = {});

 private:
  std::vector<std::unique_ptr<SignalWatcher>> watchers_;
  std::deque<int> arrived_;
  green_internal::WaiterList waiters_;
};

}  // namespace grove

#endif  // GROVE_GREEN_OS_SIGNALS_H_
