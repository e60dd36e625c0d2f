#ifndef GROVE_PATCH_INTERNAL_LOCK_TIME_H_
#define GROVE_PATCH_INTERNAL_LOCK_TIME_H_

#include <time.h>

#include "absl/time/time.h"
#include "grove/hub/deadline.h"

// The moments until which pthread calls wait, on a clock of the program's choice.
namespace grove::patch::patch_internal {

inline bool IsValid(const timespec* t) {
  return t != nullptr && t->tv_nsec >= 0 && t->tv_nsec < 1'000'000'000;
}

inline Deadline DeadlineAt(clockid_t clock, const timespec& when) {
  timespec now = {};
  clock_gettime(clock, &now);
  return absl::DurationFromTimespec(when) - absl::DurationFromTimespec(now);
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_LOCK_TIME_H_
