#include "grove/green/sleep.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/scheduler.h"

namespace grove {
namespace {

using green_internal::Scheduler;

class SleepWaiter final : public green_internal::Waiter {
 public:
  explicit SleepWaiter(Deadline until) : until_(until) {}
  void Cancel() override {}
  std::string Describe() const override {
    if (until_.infinite()) return "the end of a sleep that has none";
    return absl::StrCat("the end of a sleep, in ",
                        absl::FormatDuration(until_.Remaining()));
  }

 private:
  const Deadline until_;
};

class DryWaiter final : public green_internal::ListedWaiter {
 public:
  using ListedWaiter::ListedWaiter;
  std::string Describe() const override { return "the end of all else (JoinHub)"; }
};

}  // namespace

void Sleep(absl::Duration duration, SleepOptions options) {
  Scheduler& s = Scheduler::Get();  // makes the hub, whose clock a deadline counts on
  if (duration <= absl::ZeroDuration()) {
    s.Yield();
    return;
  }
  SleepUntil(duration, options);
}

void SleepUntil(Deadline deadline, SleepOptions options) {
  Scheduler& s = Scheduler::Get();
  SleepWaiter waiter(deadline);
  // Nobody wakes a sleeper but its timer; without an end it is a wait for a kill.
  [[maybe_unused]] const bool woken = s.ParkUntil(&waiter, deadline, options.ref);
}

bool JoinHub(Deadline deadline) {
  Scheduler& s = Scheduler::Get();
  DryWaiter waiter(s.current(), &s.dry_waiters);
  return s.ParkUntil(&waiter, deadline, /*ref=*/false);
}

}  // namespace grove
