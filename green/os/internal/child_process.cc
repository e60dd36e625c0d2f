#include "grove/green/os/internal/child_process.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/home.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/status.h"
#include "grove/hub/internal/per_thread.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace grove::green_internal {
namespace {

struct Children {
  std::shared_mutex starting;
  ProcessMutex mutex;
  std::unordered_map<pid_t, std::weak_ptr<ChildProcess>> listed;
  std::vector<std::shared_ptr<ChildProcess>> abandoned;  // for ReapAbandoned()
};

Children& TheChildren() {
  static Children* const children = new Children;
  return *children;
}

// A child that a hub waits for because nobody else does.
struct Abandoned {
  explicit Abandoned(std::shared_ptr<ChildProcess> c) : child(std::move(c)) {}

  std::shared_ptr<ChildProcess> child;
  IoWatcher watcher;
  Abandoned* previous = nullptr;
  Abandoned* next = nullptr;
};

constinit thread_local hub_internal::PerThread<Abandoned*> abandoned_here;
constinit thread_local hub_internal::PerThread<Scheduler*> watched;

std::shared_ptr<ChildProcess> Take(Abandoned* a) {
  (a->previous ? a->previous->next : abandoned_here.get()) = a->next;
  if (a->next) a->next->previous = a->previous;
  a->watcher.Stop();
  std::shared_ptr<ChildProcess> child = std::move(a->child);
  delete a;
  return child;
}

void LeaveToTheNextStart(std::shared_ptr<ChildProcess> child) {
  std::lock_guard lock(TheChildren().mutex);
  TheChildren().abandoned.push_back(std::move(child));
}

}  // namespace

std::shared_ptr<ChildProcess> ChildProcess::Make(pid_t pid, int pidfd, std::string name) {
  std::shared_ptr<ChildProcess> child(new ChildProcess(pid, pidfd, std::move(name)));
  std::lock_guard lock(TheChildren().mutex);
  TheChildren().listed[pid] = child;
  return child;
}

ChildProcess::~ChildProcess() { close(pidfd_); }

std::shared_mutex& ChildProcess::starting() { return TheChildren().starting; }

std::shared_ptr<ChildProcess> ChildProcess::Find(pid_t pid) {
  std::lock_guard lock(TheChildren().mutex);
  const auto found = TheChildren().listed.find(pid);
  return found == TheChildren().listed.end() ? nullptr : found->second.lock();
}

void ChildProcess::ForgetAllInChild() {
  while (abandoned_here != nullptr) Take(abandoned_here);
  Children& children = TheChildren();
  children.listed.clear();
  children.abandoned.clear();
  // Such a lock knows the thread that holds it, by a number that it has no more.
  ::new (&children.starting) std::shared_mutex;
}

std::optional<ExitStatus> ChildProcess::Look() {
  std::lock_guard lock(TheChildren().mutex);
  if (status_) return status_;
  siginfo_t info;
  info.si_pid = 0;
  if (waitid(static_cast<idtype_t>(P_PIDFD), pidfd_, &info, WEXITED | WNOHANG) != 0) {
    status_ = ExitStatus();  // ECHILD: somebody else has reaped it
  } else if (info.si_pid == 0) {
    return std::nullopt;
  } else if (info.si_code == CLD_EXITED) {
    status_ = ExitStatus::Exited(info.si_status);
  } else {
    status_ = ExitStatus::Signaled(info.si_status, info.si_code == CLD_DUMPED);
  }
  // Another child may have the number by now.
  auto& listed = TheChildren().listed;
  const auto found = listed.find(pid_);
  if (found != listed.end() && !found->second.owner_before(weak_from_this()) &&
      !weak_from_this().owner_before(found->second)) {
    listed.erase(found);
  }
  return status_;
}

std::optional<ExitStatus> ChildProcess::Wait(Deadline deadline) {
  for (;;) {
    if (std::optional<ExitStatus> status = Look()) return status;
    ExitOperation op(shared_from_this());
    if (!Home::WaitInLine(&Scheduler::Get(), &op, deadline)) return Look();
  }
}

absl::Status ChildProcess::SendSignal(int signum) {
  if (syscall(SYS_pidfd_send_signal, pidfd_, signum, nullptr, 0) == 0 || errno == ESRCH) {
    return absl::OkStatus();
  }
  return ErrnoStatus(
      errno, absl::StrCat("signal ", signum, " to '", name_, "' (pid ", pid_, ")"));
}

absl::Status ChildProcess::SendSignalToGroup(int signum) {
  constexpr unsigned kProcessGroup = 4;  // PIDFD_SIGNAL_PROCESS_GROUP, since Linux 6.9
  if (syscall(SYS_pidfd_send_signal, pidfd_, signum, nullptr, kProcessGroup) == 0) {
    return absl::OkStatus();
  }
  if (errno == EINVAL) {
    // By number, which is its own only until it has been reaped.
    std::lock_guard lock(TheChildren().mutex);
    if (status_ || kill(-pid_, signum) == 0) return absl::OkStatus();
  }
  if (errno == ESRCH) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("signal ", signum, " to the process group of '",
                                         name_, "' (pid ", pid_, ")"));
}

void ChildProcess::Abandon(std::shared_ptr<ChildProcess> child) {
  if (child->Look()) return;
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr || s->handle().closed()) {  // there is no hub, or it is ending
    LeaveToTheNextStart(std::move(child));
    return;
  }
  if (watched != s) {
    watched = s;
    s->AtEnd([] {
      watched = nullptr;
      while (abandoned_here != nullptr) LeaveToTheNextStart(Take(abandoned_here));
    });
  }
  auto* a = new Abandoned(std::move(child));
  a->next = abandoned_here;
  if (a->next) a->next->previous = a;
  abandoned_here = a;
  a->watcher.Set(
      &s->hub().loop(), a->child->pidfd(), kReadable,
      [](void* self, int) { Take(static_cast<Abandoned*>(self))->Look(); }, a);
  if (!a->watcher.Start()) LeaveToTheNextStart(Take(a));
}

void ChildProcess::ReapAbandoned() {
  std::vector<std::shared_ptr<ChildProcess>> left;
  {
    std::lock_guard lock(TheChildren().mutex);
    left.swap(TheChildren().abandoned);
  }
  for (std::shared_ptr<ChildProcess>& child : left) {
    if (!child->Look()) LeaveToTheNextStart(std::move(child));
  }
}

std::string ExitOperation::Describe() const {
  return absl::StrCat("the end of '", child_->name(), "' (pid ", child_->pid(), ")");
}

}  // namespace grove::green_internal
