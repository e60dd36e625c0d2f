#ifndef GROVE_NET_INTERNAL_RUNNING_HANDLERS_H_
#define GROVE_NET_INTERNAL_RUNNING_HANDLERS_H_

#include <cstddef>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"
#include "grove/net/server_options.h"

namespace grove::net::net_internal {

// RunningHandlers
//
// The handlers of one server of whichever kind, and the server's end, which waits for
// them.
class RunningHandlers {
 public:
  // One that runs, on the stack of its greenlet.
  class Running {
   public:
    explicit Running(RunningHandlers* handlers);
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running();

    Running* next() const { return next_; }

   private:
    friend class RunningHandlers;

    RunningHandlers* const handlers_;
    const AnyGreenlet greenlet_;
    Running* previous_ = nullptr;
    Running* next_;
  };

  // `count`, of the server's statistics, is how many run or are still to begin.
  RunningHandlers(const std::string& name, const size_t& count)
      : name_(name), count_(count) {}
  RunningHandlers(const RunningHandlers&) = delete;
  RunningHandlers& operator=(const RunningHandlers&) = delete;

  Running* first() const { return first_; }
  // A stop has begun.
  bool stopping() const { return stopping_; }
  // A stop's grace is over: who is still to begin never does.
  bool killed() const { return killed_; }

  // The count has come to zero.
  void NoneIsLeft() { idle_waiters_.NotifyAll(); }
  // The server has failed for good: it "accepts no more".
  void Fail(absl::string_view what, absl::Status why);

  // RunningHandlers::WaitForEnd()
  //
  // What Serve() does once it has started: until a stop or a failure, which it returns. A
  // kill calls `stop` first.
  absl::Status WaitForEnd(absl::FunctionRef<void()> stop);

  // RunningHandlers::Stop()
  //
  // The first call calls `begin`, from which on nothing comes any more; handlers that it
  // starts have the grace too. `finish` is called when no handler runs any more, at least
  // once.
  StopReport Stop(absl::Duration grace, absl::FunctionRef<void()> begin,
                  absl::FunctionRef<void()> finish);

 private:
  void Begin(absl::FunctionRef<void()> begin);
  bool HasCurrent() const;
  bool WaitUntilNone(Deadline deadline);
  void KillAll();

  const std::string& name_;
  const size_t& count_;
  Running* first_ = nullptr;
  absl::Status failure_;
  StopReport report_;
  bool stopping_ = false;
  bool begun_ = false;  // and `begin` has returned
  bool killed_ = false;
  bool stopped_ = false;
  green_internal::WaiterList idle_waiters_;  // for the last handler's end
  green_internal::WaiterList stop_waiters_;  // for the stop, or the failure
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_RUNNING_HANDLERS_H_
