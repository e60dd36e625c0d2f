#ifndef GROVE_PATCH_INTERNAL_ASK_AGAIN_H_
#define GROVE_PATCH_INTERNAL_ASK_AGAIN_H_

#include <errno.h>
#include <sys/types.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {

class AskWait final : public green_internal::Waiter {
 public:
  explicit AskWait(const char* call) : call_(call) {}
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("a time to ask again, in a patched ", call_, "()");
  }

 private:
  const char* const call_;
};

// AskAgain()
//
// For what nothing tells of when it can be had, and that may be given back by other
// processes: locks of files, System V semaphores and message queues. `attempt` does not
// wait, and says -1 with EAGAIN if it would: then it is made again after a millisecond,
// two, ... and every ten. A thread of the pool for each would be told at once; but there
// are not that many, and those that give it back may need one. At the deadline the call
// fails with EAGAIN.
template <typename Attempt>
ssize_t AskAgain(green_internal::Scheduler& s, Hook& hook, Deadline deadline,
                 Restart restart, Attempt attempt) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  ssize_t n = attempt();
  if (n >= 0 || errno != EAGAIN) return n;
  hook.CountWait();
  SignalWatch signal(s, restart);
  absl::Duration pause = absl::Milliseconds(1);
  do {
    if (deadline.HasPassed()) return Fail(WaitEnd::kDeadline);
    AskWait wait(hook.name);
    const auto end = signal.Park(&wait, std::min(deadline, Deadline(pause)));
    if (end == green_internal::Scheduler::ParkEnd::kInterrupted) {
      return Fail(WaitEnd::kInterrupted);
    }
    pause = std::min(2 * pause, absl::Milliseconds(10));
    n = attempt();
    if (n < 0 && errno == EAGAIN && signal.has_come()) return Fail(WaitEnd::kSignal);
  } while (n < 0 && errno == EAGAIN);
  return n;
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_ASK_AGAIN_H_
