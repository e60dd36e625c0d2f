#ifndef GROVE_GREEN_OS_INTERNAL_CHILD_PROCESS_H_
#define GROVE_GREEN_OS_INTERNAL_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>

#include "absl/status/status.h"
#include "grove/green/os/exit_status.h"
#include "grove/green/os/internal/ready_operation.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// ChildProcess
//
// A child of this process, and how it has ended, which the kernel tells once and this
// remembers for all who ask. Known by its pidfd, which is readable once it has ended and
// never means another process, as a pid may.
//
// All children that are known in this way are listed by pid, so that WaitPid() takes none
// of them away.
//
// Threads: any.
class ChildProcess : public std::enable_shared_from_this<ChildProcess> {
 public:
  // Takes the pidfd over, and lists the child.
  static std::shared_ptr<ChildProcess> Make(pid_t pid, int pidfd, std::string name);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Held while a child is started and not listed yet; exclusively by who must not meet
  // one like that.
  static std::shared_mutex& starting();
  // The listed child with this pid, if there is one.
  static std::shared_ptr<ChildProcess> Find(pid_t pid);
  // In a forked child, which has no children. `starting()` is free then.
  static void ForgetAllInChild();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }
  const std::string& name() const { return name_; }

  // How it has ended, if it has. Reaps it.
  std::optional<ExitStatus> Look();
  // Waits until it has ended. Contract as Subprocess::Wait().
  std::optional<ExitStatus> Wait(Deadline deadline);

  // No effect on one that has ended.
  absl::Status SendSignal(int signum);
  absl::Status SendSignalToGroup(int signum);

  // Sees to it that a child that nobody waits for any more is reaped when it ends: by
  // this thread's hub, if there is one, else when the next child is started.
  static void Abandon(std::shared_ptr<ChildProcess> child);
  static void ReapAbandoned();

 private:
  ChildProcess(pid_t pid, int pidfd, std::string name)
      : pid_(pid), pidfd_(pidfd), name_(std::move(name)) {}

  const pid_t pid_;
  const int pidfd_;
  const std::string name_;
  std::optional<ExitStatus> status_;  // under the lock of the list
};

// ExitOperation
//
// The wait for a child's end.
class ExitOperation final : public ReadyOperation {
 public:
  explicit ExitOperation(std::shared_ptr<ChildProcess> child)
      : ReadyOperation(child->pidfd(), kReadable), child_(std::move(child)) {}
  bool Try() override { return child_->Look().has_value(); }
  std::string Describe() const override;

 private:
  const std::shared_ptr<ChildProcess> child_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_CHILD_PROCESS_H_
