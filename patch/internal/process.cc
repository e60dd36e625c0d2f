// waitpid(2), system(3) and their like, and fork(2).

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "grove/green/os/fork.h"
#include "grove/green/status.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"
#include "grove/patch/internal/own_descriptors.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/stdio_lock.h"
#include "grove/patch/internal/thread.h"
#include "grove/patch/internal/thread_storage.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

pid_t WaitAny(int* status);
pid_t WaitPid(pid_t pid, int* status, int options);
pid_t Wait3(int* status, int options, rusage* usage);
pid_t Wait4(pid_t pid, int* status, int options, rusage* usage);
int WaitId(idtype_t type, id_t id, siginfo_t* info, int options);
int System(const char* command);
int PClose(FILE* stream);
pid_t ForkProcess();
int Daemon(int keep_directory, int keep_streams);

constinit HookOf wait_hook("wait", Module::kSubprocess, &WaitAny);
constinit HookOf waitpid_hook("waitpid", Module::kSubprocess, &WaitPid);
constinit HookOf wait3_hook("wait3", Module::kSubprocess, &Wait3);
constinit HookOf wait4_hook("wait4", Module::kSubprocess, &Wait4);
constinit HookOf waitid_hook("waitid", Module::kSubprocess, &WaitId);
constinit HookOf system_hook("system", Module::kSubprocess, &System);
constinit HookOf pclose_hook("pclose", Module::kSubprocess, &PClose);
constinit HookOf fork_hook("fork", Module::kOs, &ForkProcess);
// Or the calls of the child, which shares all memory, would let other greenlets run in
// it.
constinit HookOf vfork_hook("vfork", Module::kOs, &ForkProcess);
constinit HookOf daemon_hook("daemon", Module::kOs, &Daemon);

Hook* const hooks[] = {&wait_hook,   &waitpid_hook, &wait3_hook,  &wait4_hook,
                       &waitid_hook, &system_hook,  &pclose_hook, &fork_hook,
                       &vfork_hook,  &daemon_hook};

// Whether it is a child of ours: any process has a pidfd.
bool IsChild(pid_t pid) {
  siginfo_t info;
  return waitid_hook.Original(P_PID, static_cast<id_t>(pid), &info,
                              WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

// Waits for the end of one child, by its pidfd, and closes that. False if something else
// came first: errno says what.
bool WaitForEnd(Scheduler& s, Hook& hook, int fd) {
  WaitEnd end = WaitEnd::kReady;
  if (!IsReadyNow(fd, POLLIN)) {
    hook.CountWait();
    SignalWatch signal(s, Restart::kByHandler);
    do {
      end = Wait(s, fd, POLLIN, {}, hook.name, &signal);
    } while (end == WaitEnd::kReady && !IsReadyNow(fd, POLLIN));
  }
  syscall(SYS_close, fd);
  if (end == WaitEnd::kReady) return true;
  Fail(end);
  return false;
}

// A single child is waited for by its pidfd; of several, or for a stop, which nothing
// tells of, the kernel is asked in a thread of the pool.
template <typename Original>
pid_t WaitCooperatively(Hook& hook, pid_t pid, int options, Original original) {
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return original();
  hook.CountCall();
  if (options & WNOHANG) {
    LetOthersRun(*s);
    ActOnCancel(*s);
    return original();
  }
  if (pid > 0 && (options & (WUNTRACED | WCONTINUED)) == 0) {
    if (!IsChild(pid)) return original();  // which says so
    const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (fd >= 0) return WaitForEnd(*s, hook, fd) ? original() : -1;
  }
  return OnAnotherThread(hook, original);
}

pid_t WaitAny(int* status) {
  return WaitCooperatively(wait_hook, -1, 0, [&] { return wait_hook.Original(status); });
}

pid_t WaitPid(pid_t pid, int* status, int options) {
  return WaitCooperatively(waitpid_hook, pid, options,
                           [&] { return waitpid_hook.Original(pid, status, options); });
}

pid_t Wait3(int* status, int options, rusage* usage) {
  return WaitCooperatively(wait3_hook, -1, options,
                           [&] { return wait3_hook.Original(status, options, usage); });
}

pid_t Wait4(pid_t pid, int* status, int options, rusage* usage) {
  return WaitCooperatively(wait4_hook, pid, options, [&] {
    return wait4_hook.Original(pid, status, options, usage);
  });
}

int WaitId(idtype_t type, id_t id, siginfo_t* info, int options) {
  const bool one = type == P_PID && (options & (WSTOPPED | WCONTINUED)) == 0;
  return WaitCooperatively(waitid_hook, one ? static_cast<pid_t>(id) : -1,
                           options & WNOHANG,
                           [&] { return waitid_hook.Original(type, id, info, options); });
}

// system(3) has SIGCHLD blocked for the thread that calls, or a handler of the program's
// would take its child away. That is the hub's, and not the pool's that waits.
class ChildSignalsBlocked {
 public:
  ChildSignalsBlocked() {
    if (count_.get()++ > 0) return;
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    Mask(SIG_BLOCK, &child, &before);
    unblock_ = sigismember(&before, SIGCHLD) == 0;
  }
  ChildSignalsBlocked(const ChildSignalsBlocked&) = delete;
  ChildSignalsBlocked& operator=(const ChildSignalsBlocked&) = delete;
  ~ChildSignalsBlocked() {
    if (--count_.get() > 0 || !unblock_.get()) return;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    Mask(SIG_UNBLOCK, &child, nullptr);
  }

 private:
  static void Mask(int how, const sigset_t* set, sigset_t* before) {
    syscall(SYS_rt_sigprocmask, how, set, before, _NSIG / 8);
  }
  static constinit inline thread_local hub_internal::PerThread<int> count_;
  static constinit inline thread_local hub_internal::PerThread<bool> unblock_;
};

int System(const char* command) {
  if (Cooperating(system_hook) == nullptr) return system_hook.Original(command);
  system_hook.CountCall();
  const ChildSignalsBlocked blocked;
  return OnAnotherThread(system_hook, [&] { return system_hook.Original(command); });
}

int PClose(FILE* stream) {
  if (Cooperating(pclose_hook) == nullptr) return pclose_hook.Original(stream);
  pclose_hook.CountCall();
  if (stream->_fileno >= 0) green_internal::PollSet::Closing(stream->_fileno);
  return OnAnotherThread(pclose_hook, [&] { return pclose_hook.Original(stream); });
}

// The child's hub has a loop of its own, and of the greenlets only the one that forks: as
// of threads.
pid_t ForkProcess() {
  if (Cooperating(fork_hook) == nullptr) return fork_hook.Original();
  fork_hook.CountCall();
  const HubStorage of_hub;  // libc makes the thread that forks the child's only one
  const bool owns = !Owned().empty();
  const std::vector<int> open_before = owns ? OpenDescriptors() : std::vector<int>();
  auto out_of_the_way = owns ? std::make_unique<OutOfTheWay>() : nullptr;
  const absl::StatusOr<pid_t> pid = Fork();
  if (pid.ok() && *pid == 0 && owns) {
    if (Scheduler* mine = Cooperating()) {
      green_internal::PollSet::Get(*mine);
      mine->hub().loop().Poll(false);  // which makes the loop's set anew
    }
  }
  out_of_the_way.reset();
  if (!pid.ok()) {
    errno = ErrnoOf(pid.status());
    return -1;
  }
  if (*pid == 0) {
    if (owns) OwnAgainInChild(open_before);
    ForgetParkedInChild();
    ForgetOnceInChild();
    ForgetSignalWatchesInChild();
    ForgetThreadsInChild();
    if (Scheduler* mine = Cooperating()) ForgetStreamsInChild(*mine);
  }
  return *pid;
}

// As daemon(3), which forks inside of libc.
int Daemon(int keep_directory, int keep_streams) {
  if (Cooperating(daemon_hook) == nullptr)
    return daemon_hook.Original(keep_directory, keep_streams);
  daemon_hook.CountCall();
  const pid_t pid = ForkProcess();
  if (pid < 0) return -1;
  if (pid > 0) _exit(0);
  if (setsid() < 0) return -1;
  if (!keep_directory && chdir("/") != 0) return -1;
  if (keep_streams) return 0;
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return -1;
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (stream != null) syscall(SYS_dup3, null, stream, 0);
  }
  if (null > STDERR_FILENO) syscall(SYS_close, null);
  return 0;
}

}  // namespace

absl::Span<Hook* const> ProcessHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
