#include "grove/patch/internal/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "grove/patch/internal/thread.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::PollEntry;
using green_internal::PollSet;
using green_internal::PollWait;
using green_internal::Registration;
using green_internal::Scheduler;

// Where the kernel has no room to be told of a descriptor.
constexpr absl::Duration kAskAgain = absl::Milliseconds(10);

}  // namespace

WaitEnd Wait(Scheduler& s, absl::Span<const pollfd> descriptors, Deadline deadline,
             const char* call, SignalWatch* signal, Registration registration) {
  const KeepAlive signals_may_end_it(&s.hub());
  PollSet* const set = PollSet::Get(s);
  absl::InlinedVector<PollEntry, 1> entries;
  for (const pollfd& p : descriptors) {
    if (set == nullptr || p.fd < 0) continue;
    entries.push_back({.fd = p.fd, .events = static_cast<uint16_t>(p.events)});
  }
  PollWait wait(set, entries.data(), entries.size(), call);
  int failed;
  const int error = set ? wait.Arm(registration, failed) : errno;
  if (error == EBADF) return WaitEnd::kReady;  // the call itself will say so
  const Deadline until = error == 0 ? deadline : std::min(deadline, Deadline(kAskAgain));
  switch (signal ? signal->Park(&wait, until) : s.ParkQuietly(&wait, until)) {
    case Scheduler::ParkEnd::kWoken:
      for (const PollEntry& e : entries) {
        if (e.closed) return WaitEnd::kClosed;
      }
      return wait.woken() ? WaitEnd::kReady : WaitEnd::kSignal;
    case Scheduler::ParkEnd::kTimedOut:
      return until == deadline ? WaitEnd::kDeadline : WaitEnd::kReady;
    case Scheduler::ParkEnd::kInterrupted:
      break;
  }
  return WaitEnd::kInterrupted;
}

WaitEnd Wait(Scheduler& s, int fd, short events, Deadline deadline, const char* call,
             SignalWatch* signal, Registration registration) {
  const pollfd one = {.fd = fd, .events = events, .revents = 0};
  return Wait(s, absl::MakeConstSpan(&one, 1), deadline, call, signal, registration);
}

int Fail(WaitEnd end) {
  if (end == WaitEnd::kInterrupted) ThrowIfCancelled();
  errno = end == WaitEnd::kInterrupted ? ECANCELED
          : end == WaitEnd::kClosed    ? EBADF
          : end == WaitEnd::kSignal    ? EINTR
                                       : EAGAIN;
  return -1;
}

bool IsReadyNow(int fd, short events) {
  pollfd p = {.fd = fd, .events = events, .revents = 0};
  const timespec now = {};
  return syscall(SYS_ppoll, &p, 1, &now, nullptr, 0) != 0;
}

bool IsNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

Deadline SocketDeadline(int fd, int option) {
  timeval t = {};
  socklen_t size = sizeof t;
  if (getsockopt(fd, SOL_SOCKET, option, &t, &size) != 0) return {};
  if (t.tv_sec == 0 && t.tv_usec == 0) return {};
  return absl::DurationFromTimeval(t);
}

constinit thread_local volatile bool SignalGate::Opened::opened = false;

SignalGate::SignalGate(const sigset_t* mask) {
  if (mask == nullptr) return;
  sigset_t blocked;
  if (pthread_sigmask(SIG_SETMASK, nullptr, &blocked) != 0) return;
  sigset_t let_in;
  sigemptyset(&let_in);
  bool any = false;
  for (int signum = 1; signum < _NSIG; ++signum) {
    if (sigismember(&blocked, signum) == 1 && sigismember(mask, signum) == 0) {
      sigaddset(&let_in, signum);
      any = true;
    }
  }
  if (any) fd_ = signalfd(-1, &let_in, SFD_CLOEXEC | SFD_NONBLOCK);
}

SignalGate::~SignalGate() {
  if (fd_ < 0) return;
  const int error = errno;
  PollSet::Closing(fd_);
  // Not through close(), which may be patched.
  syscall(SYS_close, fd_);
  errno = error;
}

}  // namespace grove::patch::patch_internal
