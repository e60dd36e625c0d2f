#ifndef GROVE_GREEN_TASK_GROUP_H_
#define GROVE_GREEN_TASK_GROUP_H_

#include <cstddef>
#include <exception>
#include <limits>
#include <list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/deadline.h"

// Structured concurrency: greenlets that do not outlive the scope that spawned them, and
// whose errors are not lost.
namespace grove {

// TaskGroupOptions
struct TaskGroupOptions {
  // For messages.
  std::string name = {};
  // Whether the first task that fails cancels the others. With false, all run to their
  // end, and all failures are collected.
  bool cancel_on_failure = true;
  // Inherited by the tasks and by what they spawn, as if by a DeadlineScope: at this
  // moment their blocking calls throw TimeoutExpired.
  Deadline deadline = {};
  // How many tasks run at once: Spawn() waits for one to end when so many do. 0 is a
  // fatal error.
  size_t max_running = std::numeric_limits<size_t>::max();
};

// TaskFailure
//
// How one task failed.
struct TaskFailure {
  // "greenlet 'fetch' (#7)", and where it was spawned.
  std::string task;
  SpawnSite site;
  // What it returned; for one that threw, kUnknown with the type and text of what it
  // threw; for one that ended by a timeout, kDeadlineExceeded. Never OK.
  absl::Status status;
  // What it threw, if it did.
  std::exception_ptr exception;

  std::string ToString() const;
};

// TaskGroupError
//
// Thrown by TaskGroup::Join() if a task threw: all failures of the group, in the order in
// which they happened.
class TaskGroupError : public std::exception {
 public:
  TaskGroupError(std::string what, std::vector<TaskFailure> failures)
      : what_(std::move(what)), failures_(std::move(failures)) {}
  const char* what() const noexcept override { return what_.c_str(); }
  const std::vector<TaskFailure>& failures() const { return failures_; }

 private:
  std::string what_;
  std::vector<TaskFailure> failures_;
};

// TaskGroup
//
// Greenlets that belong to a scope.
//
//   absl::StatusOr<Page> Render() {
//     TaskGroup group;
//     Greenlet<absl::StatusOr<User>> user = group.Spawn(&FetchUser);
//     Greenlet<absl::StatusOr<News>> news = group.Spawn(&FetchNews);
//     if (absl::Status s = group.Join(); !s.ok()) return s;
//     return Page(*user.Get(), *news.Get());
//   }
//
// A task *fails* if it throws, or returns an absl::Status or StatusOr that is not OK. The
// first failure cancels the group: all other tasks are killed. Join() waits for all and
// reports all that failed, in the manner of Greenlet::Get(): what was returned is
// returned, what was thrown is thrown, as one TaskGroupError. Nothing of it is reported
// on stderr, unless nobody joined. A task that was killed, by Cancel() or from outside,
// has not failed.
//
// Whichever way the scope ends, no task outlives it: the destructor kills those that are
// left and waits for their end, before an exception that leaves the scope goes on. Groups
// nest: a task that is killed in its own group's Join() unwinds, and so kills its tasks.
//
// Spawning into the group is open to all greenlets of its hub, its own tasks among them,
// also while it is being joined. The body of the scope is not interrupted by a failure:
// what may wait for long belongs in a task.
//
// Threads: those of the hub where it was made; elsewhere a fatal error.
class TaskGroup {
 public:
  explicit TaskGroup(TaskGroupOptions options = {});
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Cancel() and Join(), but for what the latter reports: failures by an exception that
  // no Join() has reported are printed on stderr. Never throws.
  //
  // Blocks: until all tasks have ended.
  // Deadline: none; shielded.
  // Kill: stays pending.
  ~TaskGroup();

  // TaskGroup::Spawn()
  //
  // As grove::Spawn(), into this group. If that was cancelled, the task never begins.
  //
  // Blocks: while `max_running` tasks run and the group is not cancelled; first come,
  // first served. A task of the group does not wait, as it would for itself: what it
  // spawns counts, and may be more. Kill: throws, and `fn` does not run.
  template <typename F>
  auto Spawn(const SpawnOptions& options, F&& fn, SpawnSite site = SpawnSite::Here())
      -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
    using T = std::invoke_result_t<std::decay_t<F>&>;
    const Place place(this);
    const Inheriting inheriting(this);
    Greenlet<T> g = grove::Spawn(options, std::forward<F>(fn), site);
    Add(g.core(), &Returned<T>);
    return g;
  }
  template <typename F>
  auto Spawn(F&& fn, SpawnSite site = SpawnSite::Here())
      -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
    return Spawn(SpawnOptions(), std::forward<F>(fn), site);
  }

  // TaskGroup::Join()
  //
  // Waits until all tasks have ended, those too that are spawned meanwhile. OK if none
  // has failed. If none threw, the first failure's status, with all of them in its
  // message; else throws TaskGroupError. May be called again, and says the same.
  //
  // Blocks: until then. Joining from a task of the group is a fatal error.
  // Deadline: returns kDeadlineExceeded, naming a task that has not ended; they go on.
  // That of the group ends them: then they have failed.
  // Kill: throws; the tasks go on until the group's end.
  absl::Status Join(Deadline deadline = {});

  // TaskGroup::Cancel()
  //
  // Kills all tasks, without waiting for their end; that of the caller too, if it is one.
  // Tasks that are spawned from here on never begin. Does not block.
  void Cancel();

  // Whether that has happened, by a call or a failure.
  bool cancelled() const { return cancelled_; }
  // How many tasks have not ended.
  size_t running() const { return tasks_.size(); }
  // So far, in the order in which they happened.
  const std::vector<TaskFailure>& failures() const { return failures_; }

 private:
  using ReturnedFn = absl::Status (*)(green_internal::Core*);

  struct Task final : green_internal::Observer {
    Task(TaskGroup* g, green_internal::Core* core, ReturnedFn fn);
    void Fulfilled(green_internal::ListedWaiter*) override { group->Ended(self); }
    std::string Who() const override { return group->Label(); }

    TaskGroup* const group;
    const ReturnedFn returned;
    bool told = false;  // that it is cancelled
    std::list<Task>::iterator self;
    green_internal::JoinOperation end;
  };

  // One of `max_running`, until the task that is spawned while it exists has it.
  class Place {
   public:
    explicit Place(TaskGroup* group);
    ~Place();

   private:
    TaskGroup* const group_;
  };

  // Lets what is spawned while it exists have the group's deadline.
  class Inheriting {
   public:
    explicit Inheriting(TaskGroup* group);
    ~Inheriting();

   private:
    green_internal::Core* core_ = nullptr;
    green_internal::InheritedRef before_;
  };

  class EndWaiter;
  class PlaceWaiter;

  template <typename T>
  static absl::Status Returned(green_internal::Core* core) {
    if constexpr (std::is_same_v<T, absl::Status>) {
      return *green_internal::ResultOf<T>(core);
    } else if constexpr (std::is_same_v<typename green_internal::GetResult<T>::type, T>) {
      return green_internal::ResultOf<T>(core)->status();
    } else {
      return absl::OkStatus();
    }
  }

  void CheckHome(const char* operation) const;
  bool HasCurrent() const;
  void CheckNotMine(const char* what) const;
  std::string Label() const;
  void Add(green_internal::Core* core, ReturnedFn returned);
  void Ended(std::list<Task>::iterator task);
  bool done() const { return tasks_.empty() && promised_ == 0 && cancelling_ == 0; }
  bool has_place() const {
    return cancelled_ || tasks_.size() + promised_ < options_.max_running;
  }
  void GivePlaces();
  void WakeIfDone();
  std::string DescribeFailures() const;

  const TaskGroupOptions options_;
  green_internal::Scheduler* const scheduler_;
  std::list<Task> tasks_;
  size_t spawned_ = 0;
  size_t promised_ = 0;  // places of tasks that are about to be spawned
  bool cancelled_ = false;
  int cancelling_ = 0;   // calls of Cancel() that have not returned
  size_t reported_ = 0;  // how many failures a Join() has reported
  std::vector<TaskFailure> failures_;
  green_internal::WaiterList waiters_;
  green_internal::WaiterList place_line_;
};

}  // namespace grove

#endif  // GROVE_GREEN_TASK_GROUP_H_
