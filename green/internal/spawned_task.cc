#include "grove/green/internal/spawned_task.h"

#include <stdio.h>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/home.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// The hub that a new task belongs to: none if it will run right here.
Scheduler* HomeOfNewTask() {
  if (PoolCore::OnPoolThread()) return nullptr;
  Scheduler& s = Scheduler::Get();
  s.Retain();
  return &s;
}

}  // namespace

SpawnedTask::SpawnedTask(std::shared_ptr<PoolCore> pool, SpawnSite site)
    : NativeTask(HomeOfNewTask()), pool_(std::move(pool)), site_(site) {}

SpawnedTask::~SpawnedTask() {
  if (home() != nullptr) home()->Release();
}

// Waits for room in the queue.
class SpawnedTask::AdmissionWaiter final : public Waiter {
 public:
  explicit AdmissionWaiter(const PoolCore* pool) : pool_(pool) {}
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("room in the queue of thread pool '", pool_->name(), "'");
  }

 private:
  const PoolCore* const pool_;
};

void SpawnedTask::Begin() {
  AddRef();  // the task's own; the one that it was made with is the handle's
  if (home() == nullptr) {
    Run();
    EndHere(absl::OkStatus());
    Unref();
    return;
  }
  absl::Status status = SubmitTo(pool_.get(), &admitted_);
  if (!status.ok()) {
    EndHere(std::move(status));
    DropFunction();
    Unref();
  } else if (!admitted_) {
    AwaitAdmission();
  }
}

void SpawnedTask::AwaitAdmission() {
  Scheduler* s = home();
  AdmissionWaiter waiter(pool_.get());
  admission_waiter_ = s->current();
  if (s->ParkQuietly(&waiter, {}) != Scheduler::ParkEnd::kWoken && !admitted_ &&
      !ended()) {
    if (Withdraw(absl::CancelledError("Spawn() was interrupted"),
                 /*unless_admitted=*/true)) {
      admission_waiter_ = nullptr;
      s->DeliverPending();
    }
    // Else its letter is on its way.
    ++s->current()->shields;
    while (!admitted_ && !ended()) s->Park(&waiter);
    --s->current()->shields;
  }
  admission_waiter_ = nullptr;
}

// A task may have ended by the time this arrives, and its letter with it: hence the
// reference, which is taken while it is still in the queue.
void SpawnedTask::OnAdmitted() {
  AddRef();
  if (!PostHome(home(), &admitted_letter_)) {
    refs_.fetch_sub(1, std::memory_order_relaxed);  // not the last: it still has to run
  }
}

void SpawnedTask::AdmittedLetter::OnDelivery(::grove::Letter* letter, bool hub_alive) {
  SpawnedTask* task = static_cast<AdmittedLetter*>(letter)->task;
  if (hub_alive) {
    task->admitted_ = true;
    if (task->admission_waiter_) task->home()->Wake(task->admission_waiter_);
  }
  task->Unref(/*may_spawn=*/hub_alive);
}

void SpawnedTask::OnEnd() {
  if (admission_waiter_) home()->Wake(admission_waiter_);
  joiners_.NotifyAll();
  // What a thread of the parent may have been about to change is left as it is.
  if (lost()) return;
  DropFunction();
  Unref();
}

// Nobody who could be told of it is left; handles may be.
void SpawnedTask::OnOrphaned() { Unref(/*may_spawn=*/false); }

void SpawnedTask::Destroy(bool may_spawn) {
  if (error() && !looked_at_) {
    if (may_spawn && Scheduler::GetIfExists() != nullptr) {
      // As of a greenlet that has thrown it.
      Spawn(
          {.name = absl::StrCat("task of thread pool ", pool_->name())},
          [error = error()] { std::rethrow_exception(error); }, site_);
    } else {
      fprintf(stderr,
              "grove: a task of thread pool '%s', spawned at %s:%d, ended by an "
              "exception: %s\n",
              pool_->name().c_str(), site_.file, site_.line,
              DescribeException(error()).c_str());
    }
  }
  delete this;
}

bool SpawnedTask::ready() const {
  CheckHome("asking");
  return ended();
}

bool SpawnedTask::Join(Deadline deadline) {
  if (ready()) return true;
  JoinOperation join(this);
  return Home::WaitInLine(home(), &join, deadline);
}

bool SpawnedTask::Cancel() {
  CheckHome("Cancel");
  return home() != nullptr && Withdraw(absl::CancelledError(
                                  absl::StrCat("a task of thread pool '", pool_->name(),
                                               "' was cancelled before it began")));
}

absl::Status SpawnedTask::AwaitOutcome(Deadline deadline) {
  if (!Join(deadline)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "a task of thread pool '", pool_->name(), "' has not ended in time"));
  }
  looked_at_ = true;
  return status();
}

std::exception_ptr SpawnedTask::LookAtError() {
  if (!ready()) return nullptr;
  looked_at_ = true;
  return error();
}

void SpawnedTask::CheckHome(const char* operation) const {
  GROVE_CHECK(home() == nullptr || home()->on_home_thread(), operation,
              " of a task of thread pool '", pool_->name(), "', which belongs to hub '",
              home()->hub_name(), "', from another thread");
}

std::string SpawnedTask::JoinOperation::Describe() const {
  return absl::StrCat("a task of thread pool '", task_->pool_->name(), "'");
}

}  // namespace grove::green_internal
