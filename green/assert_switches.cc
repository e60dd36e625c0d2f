#include "grove/green/assert_switches.h"

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Scheduler;

AssertSwitches::AssertSwitches(AssertSwitchesOptions options, SpawnSite site)
    : options_(options),
      site_(site),
      uncaught_exceptions_(std::uncaught_exceptions()),
      core_(Scheduler::Get().current()),
      hub_(Scheduler::Get().hub()) {
  hub_.AddRunObserver(this);
  since_ = hub_.Now();
  runs_ = hub_.meter().runs;
  polls_ = polls_at_first_ = hub_.meter().polls;
}

AssertSwitches::~AssertSwitches() {
  const bool check = !checked_ && std::uncaught_exceptions() == uncaught_exceptions_;
  const absl::Status status = check ? Check() : absl::OkStatus();
  hub_.RemoveRunObserver(this);
  GROVE_CHECK(status.ok(), status.message());
}

absl::Status AssertSwitches::Check() {
  checked_ = true;
  HasRun(hub_.Now());
  running_ = true;
  const std::string who = absl::StrCat("AssertSwitches at ", site_.file, ":", site_.line,
                                       ": ", core_->Label());
  // With an observer, runs are counted at their beginning.
  const bool switched = options_.hub_only ? hub_.meter().polls != polls_at_first_
                                          : hub_.meter().runs != runs_;
  if (!switched) {
    return absl::FailedPreconditionError(
        absl::StrCat(who, options_.hub_only ? " has not let the hub look for events"
                                            : " has not let others run"));
  }
  if (absl::Nanoseconds(longest_) > options_.max_blocking_time) {
    return absl::FailedPreconditionError(
        absl::StrCat(who,
                     options_.hub_only ? " has kept the hub from its events for "
                                       : " has run at a stretch for ",
                     absl::FormatDuration(absl::Nanoseconds(longest_)), ", longer than ",
                     absl::FormatDuration(options_.max_blocking_time)));
  }
  return absl::OkStatus();
}

void AssertSwitches::Runs(Runnable* r, MonotonicNanos now) {
  if (options_.hub_only) {
    const uint64_t polls = hub_.meter().polls;
    if (polls != polls_) since_ = now;
    polls_ = polls;
    running_ = true;
  } else if (r == core_) {
    since_ = now;
    running_ = true;
  }
}

void AssertSwitches::HasRun(MonotonicNanos now) {
  if (running_) longest_ = std::max(longest_, now - since_);
  running_ = false;
}

}  // namespace grove
