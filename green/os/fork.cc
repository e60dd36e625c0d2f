#include "grove/green/os/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/cores.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/unpatched.h"
#include "grove/green/os/internal/child_process.h"
#include "grove/green/os/internal/ready_operation.h"
#include "grove/green/os/internal/signal_subscription.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

using green_internal::ChildProcess;
using green_internal::ProcessMutex;
using green_internal::ReadyOperation;
using green_internal::Scheduler;

// With `starting` held by the caller, in the parent and in the child.
pid_t ForkLocked() {
  Scheduler* s = Scheduler::GetIfExists();
  GROVE_CHECK(s == nullptr || !s->on_loop_stack(), "Fork() in a loop callback of hub '",
              s->hub_name(), "'; spawn a greenlet for it");
  const green_internal::Unpatched native;  // a patched fork() comes here
  const std::optional<cpu_set_t> cores = green_internal::CoresForOthers();
  // A handler that ran in the child before all is in order could wake the parent's hubs.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ProcessMutex::LockAll();
  const pid_t pid = fork();
  const int error = errno;
  ProcessMutex::UnlockAll();
  if (pid == 0) {
    green_internal::DropSubscriptionsInChild();
    ReadyOperation::StopAllInChild();
    ChildProcess::ForgetAllInChild();
    Scheduler::LiveOnInChild();
    if (cores) sched_setaffinity(0, sizeof *cores, &*cores);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return pid;
}

template <typename F>
auto RetryOnEintr(F call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

[[noreturn]] void RunInChild(absl::FunctionRef<int()> fn) {
  int code = 1;
  try {
    code = fn();
  } catch (...) {
    fprintf(stderr, "grove: a forked child ended by an exception: %s\n",
            green_internal::DescribeException(std::current_exception()).c_str());
  }
  fflush(nullptr);
  _exit(code);
}

}  // namespace

absl::StatusOr<pid_t> Fork() {
  ChildProcess::starting().lock();
  const pid_t pid = ForkLocked();
  const int error = errno;
  if (pid != 0) ChildProcess::starting().unlock();
  if (pid < 0) return ErrnoStatus(error, "fork");
  return pid;
}

absl::StatusOr<Subprocess> ForkProcess(absl::FunctionRef<int()> fn) {
  fflush(nullptr);
  // The child begins once it can be waited for: nothing has happened if it cannot.
  int go[2];
  if (pipe2(go, O_CLOEXEC) != 0) return ErrnoStatus(errno, "fork: a pipe for the child");
  ChildProcess::starting().lock();
  const pid_t pid = ForkLocked();
  if (pid == 0) {
    close(go[1]);
    char byte;
    if (RetryOnEintr([&] { return read(go[0], &byte, 1); }) != 1) _exit(1);
    close(go[0]);
    RunInChild(fn);
  }
  absl::Status failed;
  std::shared_ptr<ChildProcess> child;
  if (pid < 0) {
    failed = ErrnoStatus(errno, "fork");
  } else if (const long pidfd = syscall(SYS_pidfd_open, pid, 0); pidfd < 0) {
    failed = ErrnoStatus(errno, "fork: pidfd_open of the child");
  } else {
    child = ChildProcess::Make(pid, static_cast<int>(pidfd), absl::StrCat("fork ", pid));
    (void)!write(go[1], "", 1);
  }
  ChildProcess::starting().unlock();
  close(go[0]);
  close(go[1]);
  if (child) return Subprocess(std::move(child));
  if (pid > 0) {
    // A child of another thread's may have its end of the pipe, and keep it waiting.
    kill(pid, SIGKILL);
    RetryOnEintr([&] { return waitpid(pid, nullptr, 0); });
  }
  return failed;
}

}  // namespace grove
