#ifndef GROVE_GREEN_POOL_TASK_H_
#define GROVE_GREEN_POOL_TASK_H_

#include <concepts>
#include <exception>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "grove/green/internal/pool_outcome.h"
#include "grove/green/internal/spawned_task.h"
#include "grove/green/wait.h"
#include "grove/hub/deadline.h"

namespace grove {

// AnyPoolTask
//
// A handle to what ThreadPool::Spawn() has started, whatever it returns. Copies refer to
// the same task. Dropping them neither stops nor cancels it.
//
//   PoolTask<Image> image = pool.Spawn([path] { return Decode(path); });
//   Greenlet<User> user = Spawn([id] { return FetchUser(id); });
//   Wait({image.AsWaitable(), user});
//
// What the task has thrown and nobody has asked for by Get() or exception() is reported,
// as that of a greenlet is, when the last handle goes.
//
// Threads: that of the hub where it was spawned, for everything but copying and
// destroying; elsewhere it is a fatal error.
class AnyPoolTask {
 public:
  // Refers to nothing: only assignment, destruction and bool.
  AnyPoolTask() = default;
  AnyPoolTask(const AnyPoolTask& other) : state_(other.state_) {
    if (state_) state_->AddRef();
  }
  AnyPoolTask(AnyPoolTask&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)) {}
  AnyPoolTask& operator=(AnyPoolTask other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~AnyPoolTask() {
    if (state_) state_->Unref();
  }

  // AnyPoolTask::Join()
  //
  // Waits until the task has ended: it has run, or will not. True if it has.
  //
  // Blocks: until then.
  // Deadline: returns false. Kill: throws. The task is unaffected.
  bool Join(Deadline deadline = {}) const { return state_->Join(deadline); }

  // AnyPoolTask::Cancel()
  //
  // If it has not begun it never will, and has ended as kCancelled; true then. Does not
  // block.
  bool Cancel() const { return state_->Cancel(); }

  // Whether it has ended; and whether it has run, and thrown nothing.
  bool ready() const { return state_->ready(); }
  bool successful() const { return ready() && state_->status().ok() && !state_->error(); }
  // What it threw; null if nothing.
  std::exception_ptr exception() const { return state_->LookAtError(); }

  // AnyPoolTask::AsWaitable()
  //
  // For Wait(). A handle has to outlive the wait.
  Waitable AsWaitable() const {
    return Waitable::Of<green_internal::SpawnedTask::JoinOperation>(state_);
  }

  explicit operator bool() const { return state_ != nullptr; }
  friend bool operator==(const AnyPoolTask&, const AnyPoolTask&) = default;

 protected:
  explicit AnyPoolTask(green_internal::SpawnedTask* state) : state_(state) {}

  green_internal::SpawnedTask* state_ = nullptr;
};

// PoolTask
//
// A handle to a task whose function returns T.
template <typename T = void>
class PoolTask : public AnyPoolTask {
 public:
  // What Get() returns; see Greenlet.
  using Result = typename green_internal::GetResult<T>::type;

  PoolTask() = default;

  // PoolTask::Get()
  //
  // Waits for the task's end and returns what its function returned. If it threw, throws
  // the same; if it never ran, returns why: kCancelled, or what ThreadPool::Apply() would
  // have returned. On an rvalue, moves the result out.
  //
  // Blocks: until the task has ended.
  // Deadline: returns kDeadlineExceeded; the task is unaffected.
  // Kill: throws; the task is unaffected.
  Result Get(Deadline deadline = {}) const& requires(std::is_void_v<T> ||
                                                     std::copy_constructible<T>) {
    absl::Status status = state_->AwaitOutcome(deadline);
    if (!status.ok()) return status;
    return outcome().Get();
  }
  Result Get(Deadline deadline = {}) && {
    absl::Status status = state_->AwaitOutcome(deadline);
    if (!status.ok()) return status;
    return std::move(outcome()).Get();
  }

  // For ThreadPool.
  explicit PoolTask(green_internal::SpawnedResult<T>* state) : AnyPoolTask(state) {}

 private:
  green_internal::PoolOutcome<T>& outcome() const {
    return static_cast<green_internal::SpawnedResult<T>*>(state_)->outcome;
  }
};

}  // namespace grove

#endif  // GROVE_GREEN_POOL_TASK_H_
