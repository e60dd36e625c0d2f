#ifndef GROVE_GREEN_INTERNAL_APPLIED_TASK_H_
#define GROVE_GREEN_INTERNAL_APPLIED_TASK_H_

#include <string>

#include "absl/status/status.h"
#include "grove/green/internal/native_task.h"
#include "grove/green/internal/pool_core.h"
#include "grove/green/internal/pool_outcome.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// AppliedTask
//
// What ThreadPool::Apply() waits for. It lies on the stack of the greenlet that waits,
// and so may what its function refers to: once it has begun, it is waited for until it
// ends.
class AppliedTask : public NativeTask, private Waiter {
 public:
  // The contract of ThreadPool::Apply(). Not OK: the function has not run.
  absl::Status Perform(PoolCore* pool, Deadline deadline);

 protected:
  AppliedTask();
  ~AppliedTask() = default;

 private:
  void OnEnd() final;
  void Cancel() final {}
  std::string Describe() const final;

  Core* const core_;
  const PoolCore* pool_ = nullptr;
};

template <typename F, typename T>
class AppliedFunction final : public AppliedTask {
 public:
  explicit AppliedFunction(F& fn) : fn_(fn) {}
  PoolOutcome<T> outcome;

 private:
  void Run() override { outcome.Run(fn_); }
  F& fn_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_APPLIED_TASK_H_
