#ifndef GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_
#define GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_

#include <errno.h>

#include "grove/green/blocking.h"
#include "grove/green/thread_pool.h"
#include "grove/green/timeout.h"
#include "grove/patch/internal/hook.h"

namespace grove::patch::patch_internal {

// OnAnotherThread()
//
// For calls that know no way not to wait: runs `fn`, which calls the original, in a
// thread of the default pool, to its end, and brings errno back. A kill waits for it.
template <typename Fn>
auto OnAnotherThread(Hook& hook, Fn fn, ThreadPool& pool = ThreadPool::Default()) {
  hook.CountWait();
  const Shield shield;
  int error = 0;
  const auto result = pool.Apply([&] {
    const auto r = fn();
    error = errno;
    return r;
  });
  // A pool that is closed or finds no thread takes nothing: better late than never.
  if (!result.ok()) return fn();
  errno = error;
  return *result;
}

// For calls that wait for other threads, and may do so without end: they take no thread
// from those that only last. As many at a time as the process's pools may have threads.
inline ThreadPool& PoolForLongWaits() {
  static ThreadPool& pool = []() -> ThreadPool& {
    ThreadPool& p = ThreadPool::Named("long waits");
    p.set_max_threads(100'000);
    return p;
  }();
  return pool;
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_
