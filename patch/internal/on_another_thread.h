#ifndef GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_
#define GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_

#include <errno.h>

#include "grove/green/blocking.h"
#include "grove/green/timeout.h"
#include "grove/patch/internal/hook.h"

namespace grove::patch::patch_internal {

// OnAnotherThread()
//
// For calls that know no way not to wait: runs `fn`, which calls the original, in a
// thread of the default pool, to its end, and brings errno back. A kill waits for it.
template <typename Fn>
auto OnAnotherThread(Hook& hook, Fn fn) {
  hook.CountWait();
  const Shield shield;
  int error = 0;
  const auto result = Blocking([&] {
    const auto r = fn();
    error = errno;
    return r;
  });
  // A pool that is closed or finds no thread takes nothing: better late than never.
  if (!result.ok()) return fn();
  errno = error;
  return *result;
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_ON_ANOTHER_THREAD_H_
