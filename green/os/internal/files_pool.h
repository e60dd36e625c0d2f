#ifndef GROVE_GREEN_OS_INTERNAL_FILES_POOL_H_
#define GROVE_GREEN_OS_INTERNAL_FILES_POOL_H_

#include <utility>

#include "grove/green/thread_pool.h"

namespace grove::green_internal {

// OnFilesPool()
//
// Runs `fn` where system calls on files may take their time: on a thread of the pool
// "files". As ThreadPool::Apply(): a kill is thrown only before `fn` has begun, so that
// it may use the caller's buffers, and the pool's own errors are joined with fn's.
template <typename F>
auto OnFilesPool(F&& fn) {
  static ThreadPool& pool = ThreadPool::Named("files");
  return pool.Apply(std::forward<F>(fn));
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_FILES_POOL_H_
