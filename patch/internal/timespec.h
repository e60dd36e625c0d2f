#ifndef GROVE_PATCH_INTERNAL_TIMESPEC_H_
#define GROVE_PATCH_INTERNAL_TIMESPEC_H_

#include <time.h>

#include "absl/time/time.h"
#include "grove/hub/deadline.h"

// How long and until when calls wait, as a timespec says it.
namespace grove::patch::patch_internal {

// Whether it is a time, and not what calls answer EINVAL to (those that wait until a
// moment before 1970 need not wait, and are libc's to answer).
inline bool IsValid(const timespec* t) {
  return t != nullptr && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1'000'000'000;
}

// Of calls that name the clock: which those of libc know.
inline bool IsClock(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
}
inline bool IsValid(clockid_t clock, const timespec* t) {
  return IsClock(clock) && IsValid(t);
}

// For calls to which none means for ever.
inline bool IsValidTimeout(const timespec* t) { return t == nullptr || IsValid(t); }
inline Deadline DeadlineOf(const timespec* timeout) {
  return timeout ? Deadline(absl::DurationFromTimespec(*timeout)) : Deadline();
}

// A moment of a clock of the program's choice.
inline Deadline DeadlineAt(clockid_t clock, const timespec& when) {
  timespec now = {};
  clock_gettime(clock, &now);
  return absl::DurationFromTimespec(when) - absl::DurationFromTimespec(now);
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_TIMESPEC_H_
