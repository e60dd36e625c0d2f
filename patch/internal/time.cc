// sleep(3), nanosleep(2) and their like.

#include "absl/time/time.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/thread.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;
using green_internal::Waiter;

unsigned SleepSeconds(unsigned seconds);
int USleep(useconds_t microseconds);
int NanoSleep(const timespec* duration, timespec* left);
int ClockNanoSleep(clockid_t clock, int flags, const timespec* when, timespec* left);
int ThrdSleep(const timespec* duration, timespec* left);
int SchedYield();
void ThrdYield();

constinit HookOf sleep_hook("sleep", Module::kTime, &SleepSeconds);
constinit HookOf usleep_hook("usleep", Module::kTime, &USleep);
constinit HookOf nanosleep_hook("nanosleep", Module::kTime, &NanoSleep);
constinit HookOf clock_nanosleep_hook("clock_nanosleep", Module::kTime, &ClockNanoSleep);
constinit HookOf thrd_sleep_hook("thrd_sleep", Module::kTime, &ThrdSleep);
constinit HookOf sched_yield_hook("sched_yield", Module::kTime, &SchedYield);
constinit HookOf thrd_yield_hook("thrd_yield", Module::kTime, &ThrdYield);

Hook* const hooks[] = {&sleep_hook,           &usleep_hook,     &nanosleep_hook,
                       &clock_nanosleep_hook, &thrd_sleep_hook, &sched_yield_hook,
                       &thrd_yield_hook};

class SleepWait final : public Waiter {
 public:
  explicit SleepWait(const char* call) : call_(call) {}
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("the end of a patched ", call_, "()");
  }

 private:
  const char* const call_;
};

// Zero, or the error with which it ended early.
int SleepFor(Scheduler& s, Hook& hook, absl::Duration duration, absl::Duration* left) {
  hook.CountCall();
  *left = absl::ZeroDuration();
  if (duration <= absl::ZeroDuration()) {
    s.YieldUninterrupted();
    return 0;
  }
  hook.CountWait();
  SleepWait wait(hook.name);
  SignalWatch signal(s, Restart::kNever);
  const Deadline deadline(duration);
  const Scheduler::ParkEnd end = signal.Park(&wait, deadline);
  if (end == Scheduler::ParkEnd::kTimedOut) return 0;
  ThrowIfCancelled();
  *left = std::max(deadline.Remaining(), absl::Nanoseconds(1));
  // After EINTR callers sleep on, which a kill does not want them to.
  return end == Scheduler::ParkEnd::kInterrupted ? ECANCELED : EINTR;
}

int SleepFor(Scheduler& s, Hook& hook, absl::Duration duration, timespec* left) {
  absl::Duration rest;
  const int error = SleepFor(s, hook, duration, &rest);
  if (error != 0 && left != nullptr) *left = absl::ToTimespec(rest);
  return error;
}

unsigned SleepSeconds(unsigned seconds) {
  Scheduler* s = Cooperating(sleep_hook);
  if (s == nullptr) return sleep_hook.Original(seconds);
  absl::Duration left;
  SleepFor(*s, sleep_hook, absl::Seconds(seconds), &left);
  return static_cast<unsigned>(absl::ToInt64Seconds(absl::Ceil(left, absl::Seconds(1))));
}

int USleep(useconds_t microseconds) {
  Scheduler* s = Cooperating(usleep_hook);
  if (s == nullptr) return usleep_hook.Original(microseconds);
  absl::Duration left;
  const int error = SleepFor(*s, usleep_hook, absl::Microseconds(microseconds), &left);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int NanoSleep(const timespec* duration, timespec* left) {
  Scheduler* s = Cooperating(nanosleep_hook);
  if (s == nullptr || !IsValid(duration)) {
    return nanosleep_hook.Original(duration, left);
  }
  const int error =
      SleepFor(*s, nanosleep_hook, absl::DurationFromTimespec(*duration), left);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int ClockNanoSleep(clockid_t clock, int flags, const timespec* when, timespec* left) {
  Scheduler* s = Cooperating(clock_nanosleep_hook);
  timespec now = {};
  // Clocks that do not run while a thread sleeps are the kernel's to sleep by.
  const bool known = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC ||
                     clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
  if (s == nullptr || !known || !IsValid(when) || clock_gettime(clock, &now) != 0) {
    return clock_nanosleep_hook.Original(clock, flags, when, left);
  }
  absl::Duration duration = absl::DurationFromTimespec(*when);
  if (!(flags & TIMER_ABSTIME)) return SleepFor(*s, clock_nanosleep_hook, duration, left);
  duration -= absl::DurationFromTimespec(now);
  return SleepFor(*s, clock_nanosleep_hook, duration, static_cast<timespec*>(nullptr));
}

int ThrdSleep(const timespec* duration, timespec* left) {
  Scheduler* s = Cooperating(thrd_sleep_hook);
  if (s == nullptr || !IsValid(duration)) {
    return thrd_sleep_hook.Original(duration, left);
  }
  // -1 is a signal, other negative values are errors (C11, 7.26.5.7).
  const int error =
      SleepFor(*s, thrd_sleep_hook, absl::DurationFromTimespec(*duration), left);
  return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

int SchedYield() {
  Scheduler* s = Cooperating(sched_yield_hook);
  if (s == nullptr) return sched_yield_hook.Original();
  sched_yield_hook.CountCall();
  s->YieldUninterrupted();
  return 0;
}

void ThrdYield() {
  Scheduler* s = Cooperating(thrd_yield_hook);
  if (s == nullptr) return thrd_yield_hook.Original();
  thrd_yield_hook.CountCall();
  s->YieldUninterrupted();
}

}  // namespace

absl::Span<Hook* const> TimeHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
