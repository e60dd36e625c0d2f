#ifndef GROVE_SYNC_BARRIER_H_
#define GROVE_SYNC_BARRIER_H_

#include <cstddef>
#include <functional>

#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/sync/internal/shown.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Barrier
//
// Lets a number of greenlets wait for one another, again and again.
//
//   Barrier phase(3);
//   ... in each of three greenlets ...
//   for (int i = 0; i < 10; ++i) {
//     Compute(i);
//     phase.Wait().status().IgnoreError();
//   }
//
// Threads: any; see docs/sync.md. From elsewhere Abort() and Reset() do not wait.
class Barrier {
 public:
  // None is a fatal error. `on_trip` is called each time by the last that comes, before
  // the others go on; it must neither block nor throw.
  explicit Barrier(size_t parties, std::function<void()> on_trip = nullptr);
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;
  // While somebody waits at it: a fatal error that names them.
  ~Barrier() { sync_internal::CheckDestroy(home_, line_, "Barrier", this); }

  // Barrier::Wait()
  //
  // Waits until all have come. Returns the place in which this one came, from 0;
  // kAborted if the barrier was aborted or reset meanwhile, or is aborted.
  //
  // Blocks: until then.
  // Deadline: returns kDeadlineExceeded; it counts as one that has not come, and the
  //     others wait on.
  // Kill: throws; as the deadline.
  absl::StatusOr<size_t> Wait(Deadline deadline = {});
  // As std::barrier has it.
  void arrive_and_wait() { Wait().IgnoreError(); }

  // Barrier::ArriveAndDrop()
  //
  // Comes once more without waiting, and from then on one fewer is waited for. Does not
  // block. The last one of all is a fatal error.
  void ArriveAndDrop();

  // Those who wait get kAborted, and so does whoever comes until Reset(). Does not block.
  void Abort();
  // Those who wait get kAborted; the barrier begins anew. Does not block.
  void Reset();

  size_t parties() const { return parties_; }
  size_t waiting() const { return waiting_; }
  bool aborted() const { return aborted_; }

 private:
  class WaitOperation;
  void Trip();
  void Break();

  const std::function<void()> on_trip_;
  sync_internal::Shown<size_t> parties_;
  sync_internal::Shown<size_t> waiting_{0};
  sync_internal::Shown<bool> aborted_{false};
  bool tripping_ = false;
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_BARRIER_H_
