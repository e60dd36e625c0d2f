// sigaction(2), signal(2) and their like, whose handlers end calls of greenlets as they
// would end those of threads; and pause(2), sigwait(3) and their like, which wait for
// one.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/spin_mutex.h"
#include "grove/patch/internal/thread.h"
#include "grove/patch/internal/timespec.h"
#include "grove/patch/internal/wait.h"
#include "grove/patch/patch.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;
using green_internal::Waiter;
using SimpleHandler = void (*)(int);

int SigAction(int signum, const struct sigaction* action, struct sigaction* before);
SimpleHandler Signal(int signum, SimpleHandler handler);
SimpleHandler SysVSignal(int signum, SimpleHandler handler);
SimpleHandler SigSet(int signum, SimpleHandler handler);
int SigInterrupt(int signum, int interrupts);
int Raise(int signum);
int Pause();
int SigSuspend(const sigset_t* mask);
int SigPause(int mask);
int XpgSigPause(int signum);
int SigWait(const sigset_t* set, int* signum);
int SigWaitInfo(const sigset_t* set, siginfo_t* info);
int SigTimedWait(const sigset_t* set, siginfo_t* info, const timespec* timeout);

constinit HookOf sigaction_hook("sigaction", Module::kSignal, &SigAction);
constinit HookOf sigaction2_hook("__sigaction", Module::kSignal, &SigAction);
constinit HookOf signal_hook("signal", Module::kSignal, &Signal);
constinit HookOf bsd_signal_hook("bsd_signal", Module::kSignal, &Signal);
constinit HookOf ssignal_hook("ssignal", Module::kSignal, &Signal);
constinit HookOf sysv_signal_hook("sysv_signal", Module::kSignal, &SysVSignal);
constinit HookOf sysv_signal2_hook("__sysv_signal", Module::kSignal, &SysVSignal);
constinit HookOf sigset_hook("sigset", Module::kSignal, &SigSet);
constinit HookOf siginterrupt_hook("siginterrupt", Module::kSignal, &SigInterrupt);
constinit HookOf raise_hook("raise", Module::kSignal, &Raise);
constinit HookOf gsignal_hook("gsignal", Module::kSignal, &Raise);
constinit HookOf pause_hook("pause", Module::kSignal, &Pause);
constinit HookOf sigsuspend_hook("sigsuspend", Module::kSignal, &SigSuspend);
constinit HookOf sigpause_hook("sigpause", Module::kSignal, &SigPause);
constinit HookOf xpg_sigpause_hook("__xpg_sigpause", Module::kSignal, &XpgSigPause);
constinit HookOf sigwait_hook("sigwait", Module::kSignal, &SigWait);
constinit HookOf sigwaitinfo_hook("sigwaitinfo", Module::kSignal, &SigWaitInfo);
constinit HookOf sigtimedwait_hook("sigtimedwait", Module::kSignal, &SigTimedWait);

Hook* const hooks[] = {&sigaction_hook,    &sigaction2_hook,  &signal_hook,
                       &bsd_signal_hook,   &ssignal_hook,     &sysv_signal_hook,
                       &sysv_signal2_hook, &sigset_hook,      &siginterrupt_hook,
                       &raise_hook,        &gsignal_hook,     &pause_hook,
                       &sigsuspend_hook,   &sigpause_hook,    &xpg_sigpause_hook,
                       &sigwait_hook,      &sigwaitinfo_hook, &sigtimedwait_hook};

// --- handlers ---

// What the program has installed, where the kernel has been given OnSignal(). Handlers
// read it, who take no lock.
struct Installed {
  std::atomic<uintptr_t> handler = 0;
  std::atomic<int> flags = 0;
};
std::array<Installed, NSIG> all_installed{};
SpinMutex changes;
// Those that signal(2) is to install without SA_RESTART: siginterrupt(3).
sigset_t interrupting;

// A handler of the program's that waits for a lock which its own thread holds waits for
// ever: none comes while one is changed.
class AllBlocked {
 public:
  AllBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
    changes.lock();
  }
  ~AllBlocked() {
    changes.unlock();
    const int error = errno;
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  AllBlocked(const AllBlocked&) = delete;
  AllBlocked& operator=(const AllBlocked&) = delete;

 private:
  sigset_t before_;
};

void OnSignal(int signum, siginfo_t* info, void* context) {
  const Installed& installed = all_installed[static_cast<size_t>(signum)];
  const int flags = installed.flags.load(std::memory_order_relaxed);
  // First, for it may leave by siglongjmp(3). The hub does nothing before it has ended.
  NoteHandler(signum, (flags & SA_RESTART) != 0,
              info->si_code == SI_TKILL || info->si_code == SI_QUEUE);
  const uintptr_t handler = installed.handler.load(std::memory_order_relaxed);
  const RunningHandler running((flags & SA_NODEFER) != 0 ? 0 : signum);
  if (flags & SA_SIGINFO) {
    reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler)(signum, info, context);
  } else {
    reinterpret_cast<SimpleHandler>(handler)(signum);
  }
}

// Those by which the processor tells a program of its errors are handled where they
// happen.
bool IsError(int signum) {
  return signum == SIGSEGV || signum == SIGBUS || signum == SIGFPE || signum == SIGILL ||
         signum == SIGTRAP || signum == SIGSYS || signum == SIGABRT;
}

// What the kernel has, as the program has said it.
void Translate(struct sigaction* action, uintptr_t handler, int flags) {
  if (action == nullptr || !(action->sa_flags & SA_SIGINFO) ||
      action->sa_sigaction != &OnSignal) {
    return;
  }
  if (!(flags & SA_SIGINFO)) action->sa_flags &= ~SA_SIGINFO;
  action->sa_handler = reinterpret_cast<SimpleHandler>(handler);
}

int SigAction(int signum, const struct sigaction* action, struct sigaction* before) {
  const Scheduler* s = Scheduler::GetIfExists();
  const bool unpatched = s != nullptr && s->current()->unpatched != 0;
  if (unpatched || signum <= 0 || signum >= NSIG || IsError(signum)) {
    return sigaction_hook.Original(signum, action, before);
  }
  const AllBlocked blocked;
  Installed& installed = all_installed[static_cast<size_t>(signum)];
  const uintptr_t handler = installed.handler.load(std::memory_order_relaxed);
  const int flags = installed.flags.load(std::memory_order_relaxed);
  struct sigaction ours;
  const struct sigaction* given = action;
  if (action != nullptr && action->sa_handler != SIG_DFL &&
      action->sa_handler != SIG_IGN) {
    ours = *action;
    ours.sa_sigaction = &OnSignal;
    ours.sa_flags |= SA_SIGINFO;
    given = &ours;
    installed.handler.store(reinterpret_cast<uintptr_t>(action->sa_handler),
                            std::memory_order_relaxed);
    installed.flags.store(action->sa_flags, std::memory_order_relaxed);
  }
  const int result = sigaction_hook.Original(signum, given, before);
  if (result == 0) {
    Translate(before, handler, flags);
  } else if (given == &ours) {
    installed.handler.store(handler, std::memory_order_relaxed);
    installed.flags.store(flags, std::memory_order_relaxed);
  }
  return result;
}

SimpleHandler Install(int signum, SimpleHandler handler, int flags, bool mask_itself) {
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (handler == SIG_ERR || (mask_itself && sigaddset(&action.sa_mask, signum) != 0)) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return SigAction(signum, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

SimpleHandler Signal(int signum, SimpleHandler handler) {
  const bool interrupts = sigismember(&interrupting, signum) == 1;
  return Install(signum, handler, interrupts ? 0 : SA_RESTART, /*mask_itself=*/true);
}

SimpleHandler SysVSignal(int signum, SimpleHandler handler) {
  return Install(signum, handler, SA_RESETHAND | SA_NODEFER, /*mask_itself=*/false);
}

SimpleHandler SigSet(int signum, SimpleHandler handler) {
  sigset_t one;
  sigset_t before;
  sigemptyset(&one);
  if (handler == SIG_ERR || sigaddset(&one, signum) != 0) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction was = {};
  if (handler == SIG_HOLD) {
    if (SigAction(signum, nullptr, &was) != 0) return SIG_ERR;
    pthread_sigmask(SIG_BLOCK, &one, &before);
  } else {
    was.sa_handler = Install(signum, handler, 0, /*mask_itself=*/false);
    if (was.sa_handler == SIG_ERR) return SIG_ERR;
    pthread_sigmask(SIG_UNBLOCK, &one, &before);
  }
  return sigismember(&before, signum) == 1 ? SIG_HOLD : was.sa_handler;
}

int SigInterrupt(int signum, int interrupts) {
  struct sigaction action;
  if (SigAction(signum, nullptr, &action) != 0) return -1;
  if (interrupts) {
    sigaddset(&interrupting, signum);
    action.sa_flags &= ~SA_RESTART;
  } else {
    sigdelset(&interrupting, signum);
    action.sa_flags |= SA_RESTART;
  }
  return SigAction(signum, &action, nullptr);
}

int Raise(int signum) {
  if (const Scheduler* s = Cooperating(raise_hook)) Address(signum, s->current());
  return raise_hook.Original(signum);
}

// --- waiting for one ---

class SignalWait final : public Waiter {
 public:
  SignalWait(Scheduler& s, const char* call) : scheduler_(s), call_(call) {
    s.hub().AddWaker();
  }
  ~SignalWait() { scheduler_.hub().RemoveWaker(); }
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("a signal, in a patched ", call_, "()");
  }

 private:
  Scheduler& scheduler_;
  const char* const call_;
};

int Pause() {
  Scheduler* s = Cooperating(pause_hook);
  if (s == nullptr) return pause_hook.Original();
  pause_hook.CountCall();
  pause_hook.CountWait();
  SignalWait wait(*s, pause_hook.name);
  SignalWatch signal(*s, Restart::kNever);
  const Scheduler::ParkEnd end = signal.Park(&wait, {});
  return Fail(end == Scheduler::ParkEnd::kInterrupted ? WaitEnd::kInterrupted
                                                      : WaitEnd::kSignal);
}

// Handlers of what `mask` lets in run in the kernel's own call, if they have not already
// since they were let in before.
int SuspendWith(Scheduler& s, Hook& hook, const sigset_t* mask) {
  hook.CountCall();
  hook.CountWait();
  static auto* const look =
      GetOriginal<int(pollfd*, nfds_t, const timespec*, const sigset_t*)>("ppoll");
  const SignalGate gate(mask);
  SignalWatch signal(s, Restart::kNever);
  for (;;) {
    {
      const SignalGate::Opened opened;
      const timespec now = {};
      if (look(nullptr, 0, &now, mask) != 0) return -1;
    }
    WaitEnd end = WaitEnd::kSignal;
    if (gate.fd() >= 0) {
      end = Wait(s, gate.fd(), POLLIN, {}, hook.name, &signal);
    } else {
      SignalWait wait(s, hook.name);
      if (signal.Park(&wait, {}) == Scheduler::ParkEnd::kInterrupted) {
        end = WaitEnd::kInterrupted;
      }
    }
    if (end != WaitEnd::kReady) return Fail(end);
  }
}

int SigSuspend(const sigset_t* mask) {
  Scheduler* s = Cooperating(sigsuspend_hook);
  if (s == nullptr) return sigsuspend_hook.Original(mask);
  return SuspendWith(*s, sigsuspend_hook, mask);
}

int SigPause(int mask) {
  Scheduler* s = Cooperating(sigpause_hook);
  if (s == nullptr) return sigpause_hook.Original(mask);
  sigset_t set;
  sigemptyset(&set);
  for (int signum = 1; signum <= 32; ++signum) {
    if ((static_cast<unsigned>(mask) >> (signum - 1) & 1) != 0) sigaddset(&set, signum);
  }
  return SuspendWith(*s, sigpause_hook, &set);
}

int XpgSigPause(int signum) {
  Scheduler* s = Cooperating(xpg_sigpause_hook);
  if (s == nullptr) return xpg_sigpause_hook.Original(signum);
  sigset_t set;
  pthread_sigmask(SIG_SETMASK, nullptr, &set);
  if (sigdelset(&set, signum) != 0) return -1;
  return SuspendWith(*s, xpg_sigpause_hook, &set);
}

// The number of one of the set, or -1.
int TakeOne(Scheduler& s, Hook& hook, const sigset_t* set, siginfo_t* info,
            Deadline deadline, bool interruptible) {
  constexpr timespec kNow = {};
  hook.CountCall();
  int taken = sigtimedwait_hook.Original(set, info, &kNow);
  if (taken >= 0 || errno != EAGAIN || deadline.HasPassed()) return taken;
  hook.CountWait();
  const int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return -1;
  struct Closer {
    ~Closer() {
      const int error = errno;
      syscall(SYS_close, fd);
      errno = error;
    }
    const int fd;
  } const closer{fd};
  std::optional<SignalWatch> signal;
  if (interruptible) signal.emplace(s, Restart::kNever);
  for (;;) {
    const WaitEnd end =
        Wait(s, fd, POLLIN, deadline, hook.name, signal ? &*signal : nullptr);
    if (end == WaitEnd::kInterrupted) return Fail(end);
    // Of several that wait for the same signal, another may have taken it.
    taken = sigtimedwait_hook.Original(set, info, &kNow);
    if (taken >= 0 || errno != EAGAIN) return taken;
    if (end != WaitEnd::kReady) return Fail(end);
  }
}

int SigWait(const sigset_t* set, int* signum) {
  Scheduler* s = Cooperating(sigwait_hook);
  if (s == nullptr) return sigwait_hook.Original(set, signum);
  siginfo_t info;
  // Not ended by other signals (sigwait(3)).
  const int taken = TakeOne(*s, sigwait_hook, set, &info, {}, /*interruptible=*/false);
  if (taken < 0) return errno;
  *signum = taken;
  return 0;
}

int SigWaitInfo(const sigset_t* set, siginfo_t* info) {
  Scheduler* s = Cooperating(sigwaitinfo_hook);
  if (s == nullptr) return sigwaitinfo_hook.Original(set, info);
  return TakeOne(*s, sigwaitinfo_hook, set, info, {}, /*interruptible=*/true);
}

int SigTimedWait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  Scheduler* s = Cooperating(sigtimedwait_hook);
  if (s == nullptr || !IsValidTimeout(timeout)) {
    return sigtimedwait_hook.Original(set, info, timeout);
  }
  return TakeOne(*s, sigtimedwait_hook, set, info, DeadlineOf(timeout),
                 /*interruptible=*/true);
}

}  // namespace

absl::Span<Hook* const> SignalHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
