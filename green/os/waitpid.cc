#include "grove/green/os/waitpid.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/home.h"
#include "grove/green/os/internal/child_process.h"
#include "grove/green/os/internal/ready_operation.h"
#include "grove/green/os/signals.h"
#include "grove/green/status.h"

namespace grove {
namespace {

using green_internal::ChildProcess;
using green_internal::Home;
using green_internal::ReadyOperation;
using green_internal::Scheduler;

std::string NameOf(pid_t pid) {
  if (pid > 0) return absl::StrCat("pid ", pid);
  if (pid == -1) return "any child";
  return absl::StrCat("any child in process group ", pid == 0 ? getpgrp() : -pid);
}

absl::Status NotInTime(pid_t pid) {
  return absl::DeadlineExceededError(
      absl::StrCat("wait for ", NameOf(pid), ": none has ended in time"));
}

ExitStatus StatusOf(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return ExitStatus::Exited(info.si_status);
  return ExitStatus::Signaled(info.si_status, info.si_code == CLD_DUMPED);
}

// Reaps one that has ended; nothing if none has.
absl::StatusOr<std::optional<EndedChild>> Reap(pid_t pid, idtype_t type, id_t id) {
  // So that what has ended is either listed as a Subprocess's, or is none.
  std::unique_lock lock(ChildProcess::starting());
  for (;;) {
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(type, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      return ErrnoStatus(errno, absl::StrCat("wait for ", NameOf(pid)));
    }
    if (info.si_pid == 0) return std::nullopt;
    if (const std::shared_ptr<ChildProcess> known = ChildProcess::Find(info.si_pid)) {
      // Whoever asks for it will be told. Then it is out of the way.
      known->Look();
      continue;
    }
    siginfo_t reaped;
    reaped.si_pid = 0;
    if (waitid(P_PID, info.si_pid, &reaped, WEXITED | WNOHANG) != 0 ||
        reaped.si_pid == 0) {
      continue;  // somebody was faster
    }
    return EndedChild{.pid = reaped.si_pid, .status = StatusOf(reaped)};
  }
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::StatusOr<EndedChild> WaitForOne(pid_t pid, Deadline deadline) {
  if (const std::shared_ptr<ChildProcess> known = ChildProcess::Find(pid)) {
    const std::optional<ExitStatus> status = known->Wait(deadline);
    if (!status) return NotInTime(pid);
    return EndedChild{.pid = pid, .status = *status};
  }
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int error = errno;
  for (;;) {
    absl::StatusOr<std::optional<EndedChild>> ended = Reap(pid, P_PID, pid);
    if (!ended.ok()) return ended.status();
    if (*ended) return **ended;
    if (pidfd.get() < 0)
      return ErrnoStatus(error, absl::StrCat("wait for ", NameOf(pid)));
    ReadyOperation op(pidfd.get(), kReadable);
    if (!Home::WaitInLine(&Scheduler::Get(), &op, deadline)) return NotInTime(pid);
  }
}

}  // namespace

absl::StatusOr<EndedChild> WaitPid(pid_t pid, Deadline deadline) {
  if (pid > 0) return WaitForOne(pid, deadline);
  const idtype_t type = pid == -1 ? P_ALL : P_PGID;
  const id_t id = pid == -1 ? 0 : pid == 0 ? getpgrp() : -pid;
  // Before the first look, so that no end comes in between.
  std::optional<SignalListener> ends;
  if (deadline != Deadline::Passed()) ends.emplace(std::initializer_list<int>{SIGCHLD});
  for (;;) {
    absl::StatusOr<std::optional<EndedChild>> ended = Reap(pid, type, id);
    if (!ended.ok()) return ended.status();
    if (*ended) return **ended;
    if (!ends) return NotInTime(pid);
    // A program may have SIGCHLD blocked, for a signalfd(2) or for sigwait(3).
    constexpr absl::Duration kLookAgain = absl::Seconds(1);
    if (!ends->Wait(std::min<Deadline>(deadline, kLookAgain)) && deadline.HasPassed()) {
      return NotInTime(pid);
    }
  }
}

}  // namespace grove
