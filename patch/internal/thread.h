#ifndef GROVE_PATCH_INTERNAL_THREAD_H_
#define GROVE_PATCH_INTERNAL_THREAD_H_

#include <pthread.h>

// Threads that are greenlets: what pthread_create(3) makes for a greenlet.
namespace grove::patch::patch_internal {

// Whether the current greenlet is such a thread, was cancelled (pthread_cancel(3)), and
// lets itself be.
bool IsCancelled();

// Ends it then, by an exception that runs all destructors on the way, as libc's own
// unwinding does. No effect otherwise.
void ThrowIfCancelled();

// After a fork, in the child: the thread that called it is the only one.
void ForgetThreadsInChild();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_H_
