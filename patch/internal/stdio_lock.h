#ifndef GROVE_PATCH_INTERNAL_STDIO_LOCK_H_
#define GROVE_PATCH_INTERNAL_STDIO_LOCK_H_

#include <stdio.h>

#include "grove/patch/internal/hook.h"

// Who is inside of a stream of stdio. libc locks each stream for the time of each call,
// by the thread: greenlets of a hub would all get in. So which greenlet is in is kept
// here; libc's own lock is taken beneath it, for steps that do not wait.
namespace grove::patch::patch_internal {

// Waits, as a greenlet, until no other greenlet is in it, of any hub. May be taken again
// by who has it. Kills do not end it.
void LockStream(green_internal::Scheduler& s, Hook& hook, FILE* f);
bool TryLockStream(green_internal::Scheduler& s, FILE* f);
// Nothing, if the current greenlet does not have it.
void UnlockStream(green_internal::Scheduler& s, FILE* f);

// It is closed: that the current greenlet was in it means nothing any more.
void ForgetStream(green_internal::Scheduler& s, const FILE* f);

// Whether some greenlet is in some stream: a load.
bool AnyStreamIsLocked();

// libc's own, with no hook in between.
void LockNative(FILE* f);
void UnlockNative(FILE* f);

// After a fork, in the child: `s`'s current greenlet is the only one.
void ForgetStreamsInChild(green_internal::Scheduler& s);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_STDIO_LOCK_H_
