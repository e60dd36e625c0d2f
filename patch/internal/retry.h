#ifndef GROVE_PATCH_INTERNAL_RETRY_H_
#define GROVE_PATCH_INTERNAL_RETRY_H_

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <optional>

#include "absl/base/optimization.h"
#include "grove/green/internal/scheduler.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/thread.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {

// At the beginning of a call that is a cancellation point (pthreads(7)), whether it waits
// or not; others have run just before.
inline void ActOnCancel(green_internal::Scheduler& s) {
  if (ABSL_PREDICT_FALSE(s.current()->pending() != 0)) ThrowIfCancelled();
}

// Waits, after an attempt has said EAGAIN, until it may succeed. False if the call is
// over: errno says why. `deadline` is set by the first call.
class Patience {
 public:
  Patience(green_internal::Scheduler& s, Hook& hook, int fd, short events)
      : scheduler_(s), hook_(hook), fd_(fd), events_(events) {}

  bool Wait() {
    using green_internal::Registration;
    // Again and again where what poll(2) and the call say differs.
    Registration registration = Registration::kForOneWait;
    if (!waited_) {
      registration = Registration::kKept;
      if (IsNonBlocking(fd_)) {
        errno = EAGAIN;
        return false;
      }
      deadline_ = SocketDeadline(fd_, events_ == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO);
      waited_ = true;
      hook_.CountWait();
      // signal(7): not restarted if the socket has a timeout.
      signal_.emplace(scheduler_,
                      deadline_.infinite() ? Restart::kByHandler : Restart::kNever);
    }
    const WaitEnd end = patch_internal::Wait(scheduler_, fd_, events_, deadline_,
                                             hook_.name, &*signal_, registration);
    if (end != WaitEnd::kReady) Fail(end);
    return end == WaitEnd::kReady;
  }

 private:
  green_internal::Scheduler& scheduler_;
  Hook& hook_;
  const int fd_;
  const short events_;
  Deadline deadline_;
  std::optional<SignalWatch> signal_;
  bool waited_ = false;
};

// Out of the way of calls that need not wait.
template <typename Attempt>
[[gnu::noinline]] ssize_t RetryAfterWait(green_internal::Scheduler& s, Hook& hook, int fd,
                                         short events, const Attempt& attempt) {
  Patience patience(s, hook, fd, events);
  ssize_t n;
  do {
    if (!patience.Wait()) return -1;
    n = attempt();
  } while (n < 0 && errno == EAGAIN);
  return n;
}

// Retry()
//
// What a call comes to that would have blocked: `attempt` is made until it does not say
// EAGAIN, and is waited for in between as a greenlet.
template <typename Attempt>
ssize_t Retry(green_internal::Scheduler& s, Hook& hook, int fd, short events,
              Attempt attempt) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  const ssize_t n = attempt();
  if (ABSL_PREDICT_TRUE(n >= 0 || errno != EAGAIN)) return n;
  return RetryAfterWait(s, hook, fd, events, attempt);
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_RETRY_H_
