#ifndef GROVE_GREEN_OS_WAITPID_H_
#define GROVE_GREEN_OS_WAITPID_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "grove/green/os/exit_status.h"
#include "grove/hub/deadline.h"

namespace grove {

// EndedChild
struct EndedChild {
  pid_t pid = 0;
  ExitStatus status;
};

// WaitPid()
//
// waitpid(2) for children that other code has started, by fork(2) or posix_spawn(3):
// waits until one has ended, reaps it, and says how it ended. `pid` is
//
//   > 0   that child
//   -1    any child
//   0     any child in this process's group
//   < -1  any child in the process group -pid
//
// What a Subprocess stands for is never taken away from it. Asked for by its pid, it is
// waited for here and there alike, until the Subprocess knows how it ended: from then on
// there is no such child (ECHILD). It is none of "any child". While one runs, a wait for
// any child does not say that there is none: it waits.
//
// kNotFound with ECHILD if there is no such child, or somebody else has reaped it.
//
// Blocks: until a child has ended.
// Deadline: returns kDeadlineExceeded. One that has passed is WNOHANG.
// Kill: throws; nothing was reaped.
// Threads: any, several at a time. Each child is told to one of them.
absl::StatusOr<EndedChild> WaitPid(pid_t pid, Deadline deadline = {});

}  // namespace grove

#endif  // GROVE_GREEN_OS_WAITPID_H_
