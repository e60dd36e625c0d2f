// POSIX semaphores (sem_overview(7)).

#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "grove/patch/internal/acquire.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int SemWait(sem_t* s);
int SemTimedWait(sem_t* s, const timespec* when);
int SemClockWait(sem_t* s, clockid_t clock, const timespec* when);
int SemPost(sem_t* s);

constinit HookOf sem_wait_hook("sem_wait", Module::kThread, &SemWait);
constinit HookOf sem_timedwait_hook("sem_timedwait", Module::kThread, &SemTimedWait);
constinit HookOf sem_clockwait_hook("sem_clockwait", Module::kThread, &SemClockWait);
constinit HookOf sem_post_hook("sem_post", Module::kThread, &SemPost);

Hook* const hooks[] = {&sem_wait_hook, &sem_timedwait_hook, &sem_clockwait_hook,
                       &sem_post_hook};

int AcquireSemaphore(Scheduler& s, Hook& hook, sem_t* semaphore, Deadline deadline) {
  const int error = Acquire(s, hook, semaphore, deadline, true, [semaphore] {
    if (sem_trywait(semaphore) == 0) return 0;
    return errno == EAGAIN ? EBUSY : errno;
  });
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int SemWait(sem_t* semaphore) {
  Scheduler* s = Cooperating(sem_wait_hook);
  if (s == nullptr) return sem_wait_hook.Original(semaphore);
  return AcquireSemaphore(*s, sem_wait_hook, semaphore, {});
}

int SemTimedWait(sem_t* semaphore, const timespec* when) {
  Scheduler* s = Cooperating(sem_timedwait_hook);
  if (s == nullptr || !IsValid(when)) {
    return sem_timedwait_hook.Original(semaphore, when);
  }
  return AcquireSemaphore(*s, sem_timedwait_hook, semaphore,
                          DeadlineAt(CLOCK_REALTIME, *when));
}

int SemClockWait(sem_t* semaphore, clockid_t clock, const timespec* when) {
  Scheduler* s = Cooperating(sem_clockwait_hook);
  if (s == nullptr || !IsValid(clock, when)) {
    return sem_clockwait_hook.Original(semaphore, clock, when);
  }
  return AcquireSemaphore(*s, sem_clockwait_hook, semaphore, DeadlineAt(clock, *when));
}

int SemPost(sem_t* semaphore) {
  const int result = sem_post_hook.Original(semaphore);
  if (result == 0) WakeAfterRelease(semaphore, 1);
  return result;
}

}  // namespace

absl::Span<Hook* const> SemaphoreHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
