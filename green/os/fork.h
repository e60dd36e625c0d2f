#ifndef GROVE_GREEN_OS_FORK_H_
#define GROVE_GREEN_OS_FORK_H_

#include <sys/types.h>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "grove/green/os/subprocess.h"

namespace grove {

// Fork()
//
// fork(2), with a child that can go on: returns 0 there, and the child's pid in the
// parent. To run another program, Subprocess is cheaper, and has none of what follows to
// be thought of. A plain fork(2) is for a child that only calls exec or _exit.
//
// In the child there is one thread, and on it
// - the calling greenlet, and its hub, with a loop of its own: what the child waits for,
//   arms and posts does not reach the parent, nor the other way round. Timeouts that are
//   in force stay so;
// - no other greenlet: they count as killed, but nothing of them runs any more, not even
//   destructors, and their stacks stay as they are. They leave the lines in which they
//   wait: what is given there goes to others;
// - no other hub: a post to one fails, with kFailedPrecondition. What belongs to one is
//   as it was at that moment, perhaps half changed: leave it alone;
// - nobody who listens to signals; those do what they did before there were listeners;
// - no child: those that it knows by a Subprocess are the parent's, whose end it is not
//   told.
//
// What was ready to run, posted or scheduled before is the parent's to do. Descriptors
// are shared with the parent, as always: close what the child does not need.
//
// The calling greenlet is the child's main greenlet. When its function returns, the child
// ends by _exit(0), or by _exit(1) if it throws; so does a child that calls _exit().
// exit() runs what the parent has registered with atexit(3) as well.
//
// Blocks: never for a greenlet.
// Threads: any, also one without a hub. In a callback on the hub's stack: a fatal error.
// Errors: those of fork(2).
absl::StatusOr<pid_t> Fork();

// ForkProcess()
//
// Runs `fn` in a forked child, which ends with what it returns as its exit code; with 1
// if it throws, which is reported on stderr. `fn` and what it refers to are copies there.
//
//   absl::StatusOr<Subprocess> child = ForkProcess([&] { return Serve(listener); });
//   ...
//   absl::StatusOr<ExitStatus> end = child->Wait();
//
// stdio's buffers are flushed before, so that nothing is written twice, and in the child
// at its end. What is said of Fork() holds.
absl::StatusOr<Subprocess> ForkProcess(absl::FunctionRef<int()> fn);

}  // namespace grove

#endif  // GROVE_GREEN_OS_FORK_H_
