#ifndef GROVE_GREEN_INTERNAL_SPAWNED_TASK_H_
#define GROVE_GREEN_INTERNAL_SPAWNED_TASK_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "grove/green/internal/native_task.h"
#include "grove/green/internal/operation.h"
#include "grove/green/internal/pool_core.h"
#include "grove/green/internal/pool_outcome.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// SpawnedTask
//
// What ThreadPool::Spawn() has started. Alive while a handle refers to it, or until it
// has ended.
//
// Threads: its hub's, but for references.
class SpawnedTask : public NativeTask {
 public:
  class JoinOperation;

  // Hands it to the pool, or runs it, on a pool's thread. Contract of
  // ThreadPool::Spawn().
  void Begin();

  void AddRef() { refs_.fetch_add(1, std::memory_order_relaxed); }
  // `may_spawn`: not while this thread's hub ends.
  void Unref(bool may_spawn = true) {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) Destroy(may_spawn);
  }

  // See AnyPoolTask.
  bool ready() const;
  bool Join(Deadline deadline);
  bool Cancel();
  // Joins; then, if it has run, OK, and its outcome counts as looked at.
  absl::Status AwaitOutcome(Deadline deadline);
  std::exception_ptr LookAtError();
  virtual const std::exception_ptr& error() const = 0;

 protected:
  SpawnedTask(std::shared_ptr<PoolCore> pool, SpawnSite site);
  virtual ~SpawnedTask();

 private:
  class AdmissionWaiter;
  struct AdmittedLetter : ::grove::Letter {
    explicit AdmittedLetter(SpawnedTask* t) : Letter(&OnDelivery), task(t) {}
    static void OnDelivery(::grove::Letter* letter, bool hub_alive);
    SpawnedTask* const task;
  };

  void OnEnd() final;
  void OnOrphaned() final;
  void OnAdmitted() final;
  virtual void DropFunction() = 0;
  void AwaitAdmission();
  void CheckHome(const char* operation) const;
  void Destroy(bool may_spawn);

  const std::shared_ptr<PoolCore> pool_;
  const SpawnSite site_;
  // One is that of the task itself, until it has ended.
  std::atomic<uint32_t> refs_{1};
  bool looked_at_ = false;
  bool admitted_ = false;
  Core* admission_waiter_ = nullptr;
  AdmittedLetter admitted_letter_{this};
  WaiterList joiners_;
};

// The wait for its end. Who waits has a handle.
class SpawnedTask::JoinOperation final : public Operation {
 public:
  explicit JoinOperation(SpawnedTask* task) : Operation(&task->joiners_), task_(task) {}
  bool Try() override { return task_->ready(); }
  std::string Describe() const override;

 private:
  SpawnedTask* const task_;
};

template <typename T>
class SpawnedResult : public SpawnedTask {
 public:
  const std::exception_ptr& error() const final { return outcome.error(); }
  PoolOutcome<T> outcome;

 protected:
  using SpawnedTask::SpawnedTask;
};

template <typename F, typename T>
class SpawnedFunction final : public SpawnedResult<T> {
 public:
  template <typename G>
  SpawnedFunction(std::shared_ptr<PoolCore> pool, SpawnSite site, G&& fn)
      : SpawnedResult<T>(std::move(pool), site), fn_(std::forward<G>(fn)) {}

 private:
  void Run() override {
    this->outcome.Run(*fn_);
    fn_.reset();
  }
  void DropFunction() override { fn_.reset(); }

  std::optional<F> fn_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SPAWNED_TASK_H_
