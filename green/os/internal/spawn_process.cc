#include "grove/green/os/internal/spawn_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <new>
#include <optional>

#include "grove/green/internal/cores.h"
#include "grove/green/internal/sanitizer.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace grove::green_internal {
namespace {

constexpr unsigned kCloseRangeCloexec = 4;  // CLOSE_RANGE_CLOEXEC
constexpr size_t kChildStack = 32 << 10;

// The kernel's own form of sigaction(2) and sigset_t: glibc's functions leave out the
// signals that it uses itself.
using KernelSigset = uint64_t;
struct KernelSigaction {
  void (*handler)(int) = nullptr;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  KernelSigset mask = 0;
};

// What the child reads and writes. It may be another process's memory, or our own.
struct Child {
  const SpawnRequest* request;
  KernelSigset mask;                          // to be in force in the new program
  const std::optional<cpu_set_t>* own_cores;  // if not those of the thread here
  int max_fd;
  SpawnStage failed = SpawnStage::kNone;
  int error = 0;
  size_t which = 0;
};

// All that follows runs in the child: system calls only, for nothing else is safe while
// other threads of the parent may hold any lock, and no function that a sanitizer has
// replaced.

GROVE_NO_SANITIZE bool Fail(Child* child, SpawnStage stage, size_t which = 0) {
  child->error = errno;
  child->which = which;
  child->failed = stage;
  return false;
}

GROVE_NO_SANITIZE bool SetStdio(Child* child) {
  const SpawnRequest& r = *child->request;
  int from[3] = {r.stdio[0], r.stdio[1], r.stdio[2]};
  // One that lies where another is to be gets out of the way first.
  for (int fd = 0; fd < 3; ++fd) {
    if (from[fd] < 0 || from[fd] > 2 || from[fd] == fd) continue;
    from[fd] = static_cast<int>(syscall(SYS_fcntl, from[fd], F_DUPFD_CLOEXEC, 3));
    if (from[fd] < 0) return Fail(child, SpawnStage::kStdio, fd);
  }
  for (int fd = 0; fd < 3; ++fd) {
    long done = 0;
    if (fd == 2 && r.stderr_to_stdout) {
      done = syscall(SYS_dup3, 1, 2, 0);
    } else if (from[fd] == fd) {
      done = syscall(SYS_fcntl, fd, F_SETFD, 0);
    } else if (from[fd] >= 0) {
      done = syscall(SYS_dup3, from[fd], fd, 0);
    }
    if (done < 0) return Fail(child, SpawnStage::kStdio, fd);
  }
  return true;
}

// As the kernel has it: glibc's dirent is another one.
struct KernelDirent {
  uint64_t inode;
  int64_t next;
  uint16_t size;
  uint8_t type;
  char name[];
};

// Without close_range(2): those that there are, by /proc, as the limit may be of a
// billion. Marks do not change what is listed.
GROVE_NO_SANITIZE bool CloseOthersByList() {
  const long folder = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
                              O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return false;
  alignas(KernelDirent) char entries[1024];
  long size;
  while ((size = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0) {
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const KernelDirent*>(entries + at);
      at += entry->size;
      int fd = 0;
      const char* digit = entry->name;
      for (; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + (*digit - '0');
      if (*digit == '\0' && fd > 2) syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    }
  }
  syscall(SYS_close, folder);
  return size == 0;
}

// All that there may be.
GROVE_NO_SANITIZE void CloseOthersByLimit(int limit) {
  for (int fd = 3; fd < limit; ++fd) syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
}

GROVE_NO_SANITIZE bool SetOtherDescriptors(Child* child) {
  const SpawnRequest& r = *child->request;
  // Marked and not closed: if exec fails, nothing was done.
  if (r.close_others &&
      syscall(SYS_close_range, 3u, ~0u, kCloseRangeCloexec) != 0 &&  // Linux 5.11
      !CloseOthersByList()) {
    CloseOthersByLimit(child->max_fd);
  }
  for (size_t i = 0; i < r.pass_fds_count; ++i) {
    if (syscall(SYS_fcntl, r.pass_fds[i], F_SETFD, 0) != 0) {
      return Fail(child, SpawnStage::kPassFd, i);
    }
  }
  return true;
}

// All signals are blocked. Handlers go before the mask does: one that ran here would run
// on the parent's memory.
GROVE_NO_SANITIZE void SetSignals(Child* child) {
  for (int signum = 1; signum <= 64; ++signum) {
    KernelSigaction action;
    if (syscall(SYS_rt_sigaction, signum, nullptr, &action, sizeof action.mask) != 0) {
      continue;
    }
    const bool ignored = action.handler == SIG_IGN;
    if (action.handler == SIG_DFL) continue;
    if (ignored &&
        !(child->request->restore_signals && (signum == SIGPIPE || signum == SIGXFSZ))) {
      continue;
    }
    KernelSigaction fallback;
    syscall(SYS_rt_sigaction, signum, &fallback, nullptr, sizeof fallback.mask);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &child->mask, nullptr, sizeof child->mask);
}

GROVE_NO_SANITIZE bool SetUser(Child* child) {
  const SpawnRequest& r = *child->request;
  if (r.set_groups && syscall(SYS_setgroups, r.groups_count, r.groups) != 0) {
    return Fail(child, SpawnStage::kGroups);
  }
  if (r.set_group && syscall(SYS_setresgid, r.group, r.group, r.group) != 0) {
    return Fail(child, SpawnStage::kGroup);
  }
  if (r.set_user && syscall(SYS_setresuid, r.user, r.user, r.user) != 0) {
    return Fail(child, SpawnStage::kUser);
  }
  return true;
}

// As execvp(3): a path that is not there leaves it to the next one, and one that may not
// be executed counts if none is better.
GROVE_NO_SANITIZE void Exec(Child* child) {
  const SpawnRequest& r = *child->request;
  int error = ENOENT;
  size_t which = 0;
  bool denied = false;
  bool going_on = true;
  for (size_t i = 0; r.paths[i] != nullptr && going_on; ++i) {
    syscall(SYS_execve, r.paths[i], r.argv, r.envp);
    switch (errno) {
      case ENOENT:
      case ENOTDIR:
      case ENODEV:
      case ESTALE:
      case ETIMEDOUT:
        if (denied) continue;
        break;
      case EACCES:
        if (denied) continue;
        denied = true;
        break;
      default:
        going_on = false;
    }
    error = errno;
    which = i;
  }
  // Only now: whatever is written here says that there is no new program.
  errno = error;
  Fail(child, SpawnStage::kExec, which);
}

GROVE_NO_SANITIZE bool Prepare(Child* child) {
  const SpawnRequest& r = *child->request;
  if (r.new_session && syscall(SYS_setsid) < 0) {
    return Fail(child, SpawnStage::kSession);
  }
  if (r.set_process_group && syscall(SYS_setpgid, 0, r.process_group) != 0) {
    return Fail(child, SpawnStage::kProcessGroup);
  }
  if (!SetStdio(child)) return false;
  if (r.cwd && syscall(SYS_chdir, r.cwd) != 0) {
    return Fail(child, SpawnStage::kDirectory);
  }
  if (r.set_umask) syscall(SYS_umask, r.umask);
  if (*child->own_cores) {
    syscall(SYS_sched_setaffinity, 0, sizeof(cpu_set_t), &**child->own_cores);
  }
  if (!SetOtherDescriptors(child) || !SetUser(child)) return false;
  SetSignals(child);
  return true;
}

GROVE_NO_SANITIZE int RunChild(void* argument) {
  Child* child = static_cast<Child*>(argument);
  if (Prepare(child)) Exec(child);
  syscall(SYS_exit_group, 127);
  __builtin_unreachable();
}

}  // namespace

SpawnOutcome SpawnProcess(const SpawnRequest& request) {
  const std::optional<cpu_set_t> cores = CoresForOthers();
  Child local{.request = &request,
              .mask = 0,
              .own_cores = &cores,
              .max_fd = request.close_others ? getdtablesize() : 0};
  Child* child = &local;
  int flags = CLONE_PIDFD | CLONE_VFORK | SIGCHLD;
  if (!request.set_user && !request.set_group && !request.set_groups) {
    flags |= CLONE_VM;
  } else {
    // The one thing that is shared with a child that has a copy of all else.
    void* page = mmap(nullptr, sizeof(Child), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return {.failed = SpawnStage::kClone, .error = errno};
    child = new (page) Child(local);
  }
  // Uninitialised, so that only what the child uses is touched.
  const std::unique_ptr<char[]> stack(new char[kChildStack]);
  char* const top = reinterpret_cast<char*>(
      reinterpret_cast<uintptr_t>(stack.get() + kChildStack) & ~uintptr_t{63});

  SpawnOutcome outcome;
  const KernelSigset all = ~KernelSigset{0};
  KernelSigset before = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof all);
  if (!request.restore_signals) child->mask = before;
  outcome.pid = GROVE_CLONE(&RunChild, top, flags, child, &outcome.pidfd);
  const int error = errno;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);

  if (outcome.pid < 0) {
    outcome = {.failed = SpawnStage::kClone, .error = error};
  } else if (child->failed != SpawnStage::kNone) {
    siginfo_t info;
    while (waitid(static_cast<idtype_t>(P_PIDFD), outcome.pidfd, &info, WEXITED) != 0 &&
           errno == EINTR) {
    }
    close(outcome.pidfd);
    outcome = {.failed = child->failed, .error = child->error, .which = child->which};
  }
  if (child != &local) munmap(child, sizeof(Child));
  return outcome;
}

}  // namespace grove::green_internal
