#ifndef GROVE_GREEN_BLOCKING_H_
#define GROVE_GREEN_BLOCKING_H_

#include <utility>

#include "grove/green/thread_pool.h"
#include "grove/hub/deadline.h"

namespace grove {

// Blocking()
//
// Runs a function that would block its thread on another one, and waits for its result as
// a greenlet: others go on meanwhile.
//
//   absl::Status synced = Blocking([&] { return SyncFile(fd); });
//   absl::StatusOr<std::string> text = Blocking([&] { return ReadAll(path); });
//
// The same as ThreadPool::Default().Apply(fn, deadline): see there for the contract.
template <typename F>
auto Blocking(F&& fn, Deadline deadline = {}) {
  return ThreadPool::Default().Apply(std::forward<F>(fn), deadline);
}

}  // namespace grove

#endif  // GROVE_GREEN_BLOCKING_H_
