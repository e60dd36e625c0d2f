#include "grove/green/task_group.h"

#include <stdio.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"
#include "grove/hub/internal/check.h"

namespace grove {

using green_internal::Core;
using green_internal::InheritedRef;
using green_internal::Scheduler;

class TaskGroup::EndWaiter final : public green_internal::ListedWaiter {
 public:
  EndWaiter(Core* core, TaskGroup* group)
      : ListedWaiter(core, &group->waiters_), group_(group) {}
  std::string Describe() const override {
    return absl::StrCat("the end of ", group_->running(), " task",
                        group_->running() == 1 ? "" : "s", " of ", group_->Label());
  }

 private:
  TaskGroup* const group_;
};

class TaskGroup::PlaceWaiter final : public green_internal::ListedWaiter {
 public:
  PlaceWaiter(Core* core, TaskGroup* group)
      : ListedWaiter(core, &group->place_line_), group_(group) {}
  std::string Describe() const override {
    return absl::StrCat("one of the ", group_->running(), " tasks of ", group_->Label(),
                        " to end");
  }

 private:
  TaskGroup* const group_;
};

std::string TaskFailure::ToString() const {
  return absl::StrCat(task, ", spawned at ", site.file, ":", site.line, ": ",
                      exception ? std::string(status.message()) : status.ToString());
}

// --- tasks ----------------------------------------------------------------------------

TaskGroup::Task::Task(TaskGroup* g, Core* core, ReturnedFn fn)
    : group(g), returned(fn), end(core) {
  end.WaitsFor(this);
  end.Enlist();
}

TaskGroup::Place::Place(TaskGroup* group) : group_(group) {
  group->CheckHome("Spawn");
  if (ABSL_PREDICT_TRUE(group->has_place() && group->place_line_.empty()) ||
      group->HasCurrent()) {
    ++group->promised_;
    return;
  }
  PlaceWaiter waiter(group->scheduler_->current(), group);
  group->scheduler_->Park(&waiter);  // whoever ends this wait has promised a place
}

TaskGroup::Place::~Place() {
  --group_->promised_;
  group_->GivePlaces();
  group_->WakeIfDone();
}

void TaskGroup::GivePlaces() {
  while (!place_line_.empty() && has_place()) {
    ++promised_;
    place_line_.PopFront()->Notify();
  }
}

TaskGroup::Inheriting::Inheriting(TaskGroup* group) {
  const Deadline deadline = group->options_.deadline;
  Core* core = group->scheduler_->current();
  if (deadline.infinite() || (core->inherited && core->inherited->deadline <= deadline)) {
    return;
  }
  core_ = core;
  before_ = std::exchange(core->inherited,
                          InheritedRef::WithDeadline(core->inherited, deadline));
}

TaskGroup::Inheriting::~Inheriting() {
  if (core_) core_->inherited = std::move(before_);
}

void TaskGroup::Add(Core* core, ReturnedFn returned) {
  core->watched = true;
  ++spawned_;
  if (core->finished) return;  // killed by a hook
  if (cancelled_) {
    scheduler_->Kill(core, nullptr);
    return;
  }
  tasks_.emplace_back(this, core, returned);
  tasks_.back().self = std::prev(tasks_.end());
}

// In the greenlet that ends, or the one that killed it before it began.
void TaskGroup::Ended(std::list<Task>::iterator task) {
  Core* core = task->end.target();
  TaskFailure failure;
  if (core->expired) {
    failure.status = green_internal::OutcomeOf(core);
  } else if (core->error) {
    try {
      std::rethrow_exception(core->error);
    } catch (const TimeoutExpired& e) {
      failure.status = absl::DeadlineExceededError(e.ToString());
    } catch (...) {
      failure.exception = core->error;
      failure.status = absl::UnknownError(green_internal::DescribeException(core->error));
    }
  } else if (!core->killed) {
    failure.status = task->returned(core);
  }
  tasks_.erase(task);
  if (!failure.status.ok()) {
    failure.task = core->Label();
    failure.site = core->site;
    failures_.push_back(std::move(failure));
    if (options_.cancel_on_failure && !cancelled_) Cancel();
  }
  GivePlaces();
  WakeIfDone();
}

void TaskGroup::WakeIfDone() {
  if (!done()) return;
  while (green_internal::ListedWaiter* w = waiters_.PopFront()) w->Notify();
}

// --- the group ------------------------------------------------------------------------

TaskGroup::TaskGroup(TaskGroupOptions options)
    : options_(std::move(options)), scheduler_(&Scheduler::Get()) {
  GROVE_CHECK(options_.max_running > 0, Label(), " none of whose tasks may run");
}

TaskGroup::~TaskGroup() {
  if (!done()) {
    CheckHome("~TaskGroup");
    CheckNotMine("ends");
    Shield shield;
    Cancel();
    while (!done()) {
      EndWaiter waiter(scheduler_->current(), this);
      scheduler_->Park(&waiter);
    }
  }
  for (size_t i = reported_; i < failures_.size(); ++i) {
    if (!failures_[i].exception) continue;
    fprintf(stderr, "grove: a task of %s, which nobody joined, failed: %s\n",
            Label().c_str(), failures_[i].ToString().c_str());
  }
}

void TaskGroup::CheckHome(const char* operation) const {
  if (ABSL_PREDICT_TRUE(scheduler_->on_home_thread())) return;
  const Hub* here = Hub::Current();
  GROVE_FATAL(operation, " of ", Label(), " of hub '", scheduler_->hub_name(), "', from ",
              here ? absl::StrCat("hub '", here->name(), "'") : "a thread without a hub");
}

// Whoever waits for the tasks is none of them.
void TaskGroup::CheckNotMine(const char* what) const {
  GROVE_CHECK(!HasCurrent(), scheduler_->current()->Label(), " ", what, " ", Label(),
              ", of which it is a task");
}

bool TaskGroup::HasCurrent() const {
  const Core* self = scheduler_->current();
  return std::any_of(tasks_.begin(), tasks_.end(),
                     [self](const Task& task) { return task.end.target() == self; });
}

std::string TaskGroup::Label() const {
  return options_.name.empty() ? "a TaskGroup"
                               : absl::StrCat("TaskGroup '", options_.name, "'");
}

void TaskGroup::Cancel() {
  CheckHome("Cancel");
  cancelled_ = true;
  GivePlaces();
  // A kill may end tasks at once, and run destructors that block: none that has not begun
  // begins meanwhile, and the group lives until we are done.
  ++cancelling_;
  std::vector<AnyGreenlet> left;
  for (Task& task : tasks_) {
    if (std::exchange(task.told, true)) continue;
    left.push_back(AnyGreenlet::FromCore(task.end.target(), /*add_ref=*/true));
  }
  KillAll(left, {.wait = false});
  --cancelling_;
  WakeIfDone();
}

absl::Status TaskGroup::Join(Deadline deadline) {
  CheckHome("Join");
  while (!done()) {
    CheckNotMine("joins");
    bool ended = false;
    if (deadline != Deadline::Passed()) {
      EndWaiter waiter(scheduler_->current(), this);
      ended = scheduler_->ParkUntil(&waiter, deadline);
    }
    if (!ended) {
      return absl::DeadlineExceededError(absl::StrCat(
          tasks_.size(), " of ", spawned_, " tasks of ", Label(),
          " have not ended in time",
          tasks_.empty() ? "" : ", among them " + tasks_.front().end.target()->Label()));
    }
  }
  reported_ = failures_.size();
  if (failures_.empty()) return absl::OkStatus();
  for (const TaskFailure& failure : failures_) {
    if (failure.exception) throw TaskGroupError(DescribeFailures(), failures_);
  }
  const absl::Status& first = failures_.front().status;
  absl::Status all(first.code(), DescribeFailures());
  first.ForEachPayload([&all](absl::string_view type, const absl::Cord& payload) {
    all.SetPayload(type, payload);
  });
  return all;
}

std::string TaskGroup::DescribeFailures() const {
  std::string out = absl::StrCat(failures_.size(), " of ", spawned_, " tasks of ",
                                 Label(), " failed: ");
  for (const TaskFailure& failure : failures_) {
    absl::StrAppend(&out, &failure == &failures_.front() ? "" : "; ", failure.ToString());
  }
  return out;
}

}  // namespace grove
